//! Threads that share data under locks. OS threads use `std::sync`, green threads `gthread::sync`; beside
//! them gthread's locks and parking_lot's on OS threads.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use gthread::Runtime;
use gthread_benches::{Green, Os, Threads, time};

/// parking_lot with std's signatures.
mod parking_lot_as_std {
    use std::convert::Infallible;

    pub(super) struct Mutex<T>(parking_lot::Mutex<T>);

    impl<T> Mutex<T> {
        pub(super) fn new(data: T) -> Self {
            Self(parking_lot::Mutex::new(data))
        }

        #[inline]
        pub(super) fn lock(&self) -> Result<parking_lot::MutexGuard<'_, T>, Infallible> {
            Ok(self.0.lock())
        }
    }

    pub(super) struct RwLock<T>(parking_lot::RwLock<T>);

    impl<T> RwLock<T> {
        pub(super) fn new(data: T) -> Self {
            Self(parking_lot::RwLock::new(data))
        }

        #[inline]
        pub(super) fn read(&self) -> Result<parking_lot::RwLockReadGuard<'_, T>, Infallible> {
            Ok(self.0.read())
        }

        #[inline]
        pub(super) fn write(&self) -> Result<parking_lot::RwLockWriteGuard<'_, T>, Infallible> {
            Ok(self.0.write())
        }
    }

    pub(super) struct Condvar(parking_lot::Condvar);

    impl Condvar {
        pub(super) fn new() -> Self {
            Self(parking_lot::Condvar::new())
        }

        pub(super) fn wait<'a, T>(
            &self,
            mut guard: parking_lot::MutexGuard<'a, T>,
        ) -> Result<parking_lot::MutexGuard<'a, T>, Infallible> {
            self.0.wait(&mut guard);
            Ok(guard)
        }

        pub(super) fn notify_one(&self) {
            self.0.notify_one();
        }
    }
}

/// The workloads, with the locks of one crate.
macro_rules! workloads {
    ($module:ident, $sync:path) => {
        mod $module {
            use super::*;
            use $sync as sync;

            pub(super) fn uncontended<S: Threads>(_: S, times: u64) -> Duration {
                let mutex = sync::Mutex::new(0_u64);
                time(|| {
                    for _ in 0..times {
                        *black_box(&mutex).lock().unwrap() += 1;
                    }
                })
            }

            pub(super) fn uncontended_read<S: Threads>(_: S, times: u64) -> Duration {
                let lock = sync::RwLock::new(0_u64);
                time(|| {
                    for _ in 0..times {
                        black_box(*black_box(&lock).read().unwrap());
                    }
                })
            }

            pub(super) fn uncontended_write<S: Threads>(_: S, times: u64) -> Duration {
                let lock = sync::RwLock::new(0_u64);
                time(|| {
                    for _ in 0..times {
                        *black_box(&lock).write().unwrap() += 1;
                    }
                })
            }

            /// So many threads add to one number: the time is for one addition.
            pub(super) fn contended<S: Threads>(threads: S, times: u64, count: u64) -> Duration {
                let mutex = Arc::new(sync::Mutex::new(0_u64));
                let taken = time(|| {
                    let adders: Vec<_> = (0..count)
                        .map(|id| {
                            let mutex = Arc::clone(&mutex);
                            let share = times / count + u64::from(id < times % count);
                            threads.spawn(move || {
                                for _ in 0..share {
                                    *mutex.lock().unwrap() += 1;
                                }
                            })
                        })
                        .collect();
                    adders.into_iter().for_each(S::join);
                });
                assert_eq!(*mutex.lock().unwrap(), times);
                taken
            }

            pub(super) fn contended_2<S: Threads>(threads: S, times: u64) -> Duration {
                contended(threads, times, 2)
            }

            pub(super) fn contended_8<S: Threads>(threads: S, times: u64) -> Duration {
                contended(threads, times, 8)
            }

            pub(super) fn contended_64<S: Threads>(threads: S, times: u64) -> Duration {
                contended(threads, times, 64)
            }

            /// Eight threads that hold the lock while they let others run: the time is for one turn.
            pub(super) fn yielding<S: Threads>(threads: S, times: u64) -> Duration {
                const COUNT: u64 = 8;
                let mutex = Arc::new(sync::Mutex::new(0_u64));
                time(|| {
                    let adders: Vec<_> = (0..COUNT)
                        .map(|id| {
                            let mutex = Arc::clone(&mutex);
                            let share = times / COUNT + u64::from(id < times % COUNT);
                            threads.spawn(move || {
                                for _ in 0..share {
                                    let mut guard = mutex.lock().unwrap();
                                    threads.yield_now();
                                    *guard += 1;
                                }
                            })
                        })
                        .collect();
                    adders.into_iter().for_each(S::join);
                })
            }

            /// Eight threads, of whose operations one in sixteen writes: the time is for one.
            pub(super) fn mostly_read<S: Threads>(threads: S, times: u64) -> Duration {
                const COUNT: u64 = 8;
                let lock = Arc::new(sync::RwLock::new(0_u64));
                time(|| {
                    let users: Vec<_> = (0..COUNT)
                        .map(|id| {
                            let lock = Arc::clone(&lock);
                            let share = times / COUNT + u64::from(id < times % COUNT);
                            threads.spawn(move || {
                                for n in 0..share {
                                    if n % 16 == 15 {
                                        *lock.write().unwrap() += 1;
                                    } else {
                                        black_box(*lock.read().unwrap());
                                    }
                                }
                            })
                        })
                        .collect();
                    users.into_iter().for_each(S::join);
                })
            }

            /// Two threads take turns: the time is for one round trip.
            pub(super) fn ping_pong<S: Threads>(threads: S, times: u64) -> Duration {
                let shared = Arc::new((sync::Mutex::new(0_u64), sync::Condvar::new()));
                let turns = move |shared: &(sync::Mutex<u64>, sync::Condvar), mine: u64| {
                    let (turn, changed) = shared;
                    let mut turn = turn.lock().unwrap();
                    for _ in 0..times {
                        while *turn % 2 != mine {
                            turn = changed.wait(turn).unwrap();
                        }
                        *turn += 1;
                        changed.notify_one();
                    }
                };
                time(|| {
                    let other = {
                        let shared = Arc::clone(&shared);
                        threads.spawn(move || turns(&shared, 1))
                    };
                    turns(&shared, 0);
                    S::join(other);
                })
            }
        }
    };
}

workloads!(green, gthread::sync);
workloads!(os, std::sync);
workloads!(parking, parking_lot_as_std);

/// Measures a workload: each kind of threads with its own locks, and gthread's and parking_lot's on OS threads.
macro_rules! measure {
    ($criterion:ident, $name:literal, $function:ident) => {{
        let mut group = $criterion.benchmark_group($name);
        group.bench_function("std::thread", |b| b.iter_custom(|times| os::$function(Os, times)));
        for workers in [1, 2] {
            let runtime = Runtime::builder().workers(workers).build().expect("a runtime starts");
            group.bench_function(format!("gthread-{workers}"), |b| {
                b.iter_custom(|times| runtime.run(|| green::$function(Green, times)));
            });
        }
        group.bench_function("gthread-os", |b| b.iter_custom(|times| green::$function(Os, times)));
        group.bench_function("parking_lot", |b| {
            b.iter_custom(|times| parking::$function(Os, times));
        });
        group.finish();
    }};
}

fn benches(criterion: &mut Criterion) {
    measure!(criterion, "mutex, alone", uncontended);
    measure!(criterion, "mutex, 2 contenders", contended_2);
    measure!(criterion, "mutex, 8 contenders", contended_8);
    measure!(criterion, "mutex, 64 contenders", contended_64);
    measure!(criterion, "mutex held over a yield, 8 contenders", yielding);
    measure!(criterion, "rwlock, alone, a read", uncontended_read);
    measure!(criterion, "rwlock, alone, a write", uncontended_write);
    measure!(criterion, "rwlock, 8 contenders, 1 in 16 writes", mostly_read);
    measure!(criterion, "condvar ping-pong, a round trip", ping_pong);
}

criterion_group! {
    name = sync;
    config = Criterion::default().sample_size(20);
    targets = benches
}
criterion_main!(sync);
