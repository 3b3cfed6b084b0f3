//! The closure and the result of a green thread: of any size and alignment, dropped exactly once.

use std::cell::Cell;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::channel::{Sender, unbounded};
use gthread::{JoinHandle, ThreadId, go, green_local};
use gthread_tests::{Drops, Flag, Random, Token, for_workers, hog_until, seed, yield_until};

/// A thread that owns one token and gives another, and ends when told to.
fn thread(drops: &Drops, end: &Flag, panic: bool) -> JoinHandle<Token> {
    let (closure, result, end) = (drops.token(), drops.token(), end.clone());
    go!(move || {
        let _closure = closure;
        yield_until(|| end.is_up());
        if panic {
            std::panic::resume_unwind(Box::new(result));
        }
        result
    })
}

#[test]
fn joined_before_and_after_the_end() {
    for_workers(|runtime| {
        for panic in [false, true] {
            runtime.run(|| {
                let (drops, end) = (Drops::new(), Flag::new());
                let before = thread(&drops, &end, panic);
                assert!(!before.is_finished());
                let flag = end.clone();
                let ends =
                    gthread::Builder::new().queued(true).spawn(move || flag.raise()).unwrap();
                let result = before.join();
                ends.join().unwrap();
                assert_eq!((drops.count(), result.is_err()), (1, panic));
                drop(result);
                assert_eq!(drops.count(), 2);

                let after = thread(&drops, &end, panic);
                yield_until(|| after.is_finished());
                assert_eq!(drops.count(), 3);
                drop(after.join());
                assert_eq!(drops.count(), 4);
            });
        }
    });
}

#[test]
fn dropped_before_and_after_the_end() {
    for_workers(|runtime| {
        for panic in [false, true] {
            runtime.run(|| {
                let (drops, end) = (Drops::new(), Flag::new());
                drop(thread(&drops, &end, panic));
                assert_eq!(drops.count(), 0);
                end.raise();
                yield_until(|| drops.count() == 2);

                let after = thread(&drops, &end, panic);
                yield_until(|| after.is_finished());
                assert_eq!(drops.count(), 3);
                drop(after);
                assert_eq!(drops.count(), 4);
            });
        }
    });
}

#[test]
fn joined_and_dropped_by_os_threads() {
    for_workers(|runtime| {
        for _ in 0..100 {
            let drops = Drops::new();
            let spawn = || {
                let token = drops.token();
                runtime.spawn(move || token)
            };
            drop(spawn());
            drop(spawn().join().unwrap());
            let finished = spawn();
            gthread_tests::until(|| finished.is_finished());
            drop(finished);
            gthread_tests::until(|| drops.count() == 3);
        }
    });
}

/// A thread's drops may do what a thread does: here, on whoever drops it.
#[test]
fn a_result_whose_drop_blocks() {
    struct Joins(Option<JoinHandle<u32>>, Drops);
    impl Drop for Joins {
        fn drop(&mut self) {
            assert_eq!(self.0.take().unwrap().join().unwrap(), 4);
            drop(self.1.token());
        }
    }
    for_workers(|runtime| {
        let drops = Drops::new();
        let spawn = |yields: bool| {
            let drops = drops.clone();
            go!(move || {
                if yields {
                    gthread::yield_now();
                }
                let inner = go!(|| {
                    gthread::yield_now();
                    4
                });
                Joins(Some(inner), drops)
            })
        };
        runtime.run(|| {
            drop(spawn(false));
            drop(spawn(true));
            drop(spawn(true).join().unwrap());
            let finished = spawn(true);
            yield_until(|| finished.is_finished());
            drop(finished);
            yield_until(|| drops.count() == 4);
        });
    });
}

/// A thread that is detached in the very moment in which it ends: its result is dropped by the thread itself, with its
/// locals and free to suspend, or by whoever drops the handle.
#[test]
fn a_result_detached_at_the_last_moment() {
    struct Tells(Sender<ThreadId>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let id = gthread::current().id();
            LAST.set(Some(id));
            gthread::yield_now();
            assert_eq!(LAST.get(), Some(id));
            self.0.send(id).unwrap();
        }
    }
    green_local! {
        static LAST: Cell<Option<ThreadId>> = const { Cell::new(None) };
    }
    let me = gthread::current().id();
    for_workers(|runtime| {
        let mut random = Random::new(seed());
        let (tx, rx) = unbounded();
        let mut by_itself = 0;
        for _ in 0..400 {
            let (runs, go, tx) = (Flag::new(), Flag::new(), tx.clone());
            let thread = runtime.spawn({
                let (runs, go) = (runs.clone(), go.clone());
                move || {
                    runs.raise();
                    hog_until(|| go.is_up());
                    Tells(tx)
                }
            });
            let id = thread.thread().id();
            hog_until(|| runs.is_up());
            go.raise();
            (0..random.below(40)).for_each(|_| std::hint::spin_loop());
            drop(thread);
            let dropped_by = rx.recv().unwrap();
            assert!(dropped_by == id || dropped_by == me, "by another: {dropped_by:?}");
            by_itself += usize::from(dropped_by == id);
        }
        println!("{by_itself} of 400 by itself");
    });
}

#[derive(Clone, Copy)]
#[repr(align(128))]
struct Aligned128([u8; 300]);

#[derive(Clone, Copy)]
#[repr(align(256))]
struct Aligned256(u8);

#[derive(Clone, Copy)]
#[repr(align(512))]
struct Aligned512(u8);

#[derive(Clone, Copy)]
#[repr(align(1024))]
struct Aligned1024(u8);

#[derive(Clone, Copy)]
#[repr(align(4096))]
struct Aligned4096(u8);

/// Sends a value in and gets it back, looking at its address on both sides. The frames on the way hold
/// copies of the value, in a debug build many, so large ones need roomy stacks.
fn there_and_back<T: Copy + Send + 'static>(value: T, check: fn(&T)) {
    let spawn = |yields: bool| {
        let builder = gthread::Builder::new();
        let large = size_of::<T>() > 2048;
        let builder = if large { builder.stack_size(4 << 20) } else { builder };
        let thread = builder.spawn(move || {
            check(&value);
            if yields {
                gthread::yield_now();
                check(&value);
            }
            value
        });
        thread.unwrap()
    };
    check(&spawn(false).join().unwrap());
    check(&spawn(true).join().unwrap());
    drop(spawn(false));
    drop(spawn(true));
}

/// As [`for_workers`], with stacks of 4 MiB.
fn for_workers_with_room(body: impl Fn(&gthread::Runtime)) {
    for workers in [1, 2, 8] {
        let _watchdog = gthread_tests::Watchdog::new(gthread_tests::LIMIT, workers);
        let builder = gthread::Runtime::builder().workers(workers).stack_size(4 << 20);
        body(&builder.build().unwrap());
    }
}

fn is_aligned<T>(value: &T) {
    let address = std::ptr::from_ref(value) as usize;
    assert_eq!(std::hint::black_box(address) % align_of::<T>(), 0);
}

#[test]
fn over_aligned_ones() {
    for_workers_with_room(|runtime| {
        runtime.run(|| {
            there_and_back(Aligned128([5; 300]), |value| {
                is_aligned(value);
                assert!(value.0.iter().all(|&byte| byte == 5));
            });
            // Small enough to be kept on the stack, were it not for the alignment: a debug build notices
            // if they are read from or written to a place that is not aligned.
            let (a, b, c) = (Aligned256(1), Aligned512(2), Aligned1024(3));
            assert_eq!(go!(move || (a, is_aligned(&a)).0).join().unwrap().0, 1);
            assert_eq!(go!(move || (b, is_aligned(&b)).0).join().unwrap().0, 2);
            assert_eq!(go!(move || (c, is_aligned(&c)).0).join().unwrap().0, 3);
            there_and_back(Aligned4096(6), |value| {
                is_aligned(value);
                assert_eq!(value.0, 6);
            });
            there_and_back([Aligned4096(7); 3], |value| value.iter().for_each(is_aligned));
        });
    });
}

#[test]
fn large_ones() {
    for_workers_with_room(|runtime| {
        let value = [7_u8; 64 << 10];
        let outside = runtime.spawn(move || value).join().unwrap();
        assert!(outside.iter().all(|&byte| byte == 7));
        runtime.run(|| {
            there_and_back([8_u8; 64 << 10], |value| assert!(value.iter().all(|&byte| byte == 8)));
        });
    });
}

#[test]
fn ones_of_many_sizes() {
    for_workers_with_room(|runtime| runtime.run(for_each_size));
}

/// Sizes around whatever limit decides where a closure is kept.
fn for_each_size() {
    fn one<const N: usize>() {
        there_and_back([3_u8; N], |value| assert!(value.iter().all(|&byte| byte == 3)));
    }
    one::<1>();
    one::<8>();
    one::<15>();
    one::<63>();
    one::<64>();
    one::<65>();
    one::<500>();
    one::<1000>();
    one::<1008>();
    one::<1023>();
    one::<1024>();
    one::<1025>();
    one::<4096>();
    one::<8200>();
}

#[test]
fn a_large_result_of_a_small_closure_and_the_other_way_around() {
    for_workers(|runtime| {
        let both = || {
            let roomy = || gthread::Builder::new().stack_size(2 << 20);
            let result = roomy().spawn(|| [1_u8; 20_000]).unwrap().join().unwrap();
            assert!(result.iter().all(|&byte| byte == 1));
            let input = [2_u8; 20_000];
            let sum = roomy().spawn(move || input.iter().map(|&b| u32::from(b)).sum::<u32>());
            assert_eq!(sum.unwrap().join().unwrap(), 40_000);
        };
        both();
        let inside =
            move || gthread::Builder::new().stack_size(2 << 20).spawn(both).unwrap().join();
        runtime.run(inside).unwrap();
    });
}

#[test]
fn zero_sized_ones() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, SeqCst);
        }
    }
    for_workers(|runtime| {
        DROPPED.store(0, SeqCst);
        runtime.run(|| {
            go!(|| ()).join().unwrap();
            let nothing = Nothing;
            let back = go!(move || nothing).join().unwrap();
            assert_eq!(DROPPED.load(SeqCst), 0);
            drop(back);
            let nothing = Nothing;
            drop(go!(move || nothing));
            yield_until(|| DROPPED.load(SeqCst) == 2);
        });
    });
}

#[test]
fn is_finished_turns_true_once_the_result_is_there() {
    for_workers(|runtime| {
        runtime.run(|| {
            let end = Flag::new();
            let thread = {
                let end = end.clone();
                go!(move || {
                    yield_until(|| end.is_up());
                    9
                })
            };
            gthread_tests::yield_often();
            assert!(!thread.is_finished());
            end.raise();
            yield_until(|| thread.is_finished());
            assert_eq!(thread.join().unwrap(), 9);
        });
    });
}

#[test]
fn a_panic_is_finished_too() {
    for_workers(|runtime| {
        let thread = runtime.spawn(|| std::panic::resume_unwind(Box::new(1)));
        gthread_tests::until(|| thread.is_finished());
        let _: Result<(), _> = thread.join();
    });
}

#[test]
fn thousands_are_joined_in_any_order() {
    for_workers(|runtime| {
        let sum = AtomicUsize::new(0);
        runtime.run(|| {
            let mut threads: Vec<_> = (0..3000_usize)
                .map(|n| {
                    go!(move || {
                        if n % 3 == 0 {
                            gthread::yield_now();
                        }
                        n
                    })
                })
                .collect();
            let mut random = gthread_tests::Random::new(1);
            while !threads.is_empty() {
                let next = random.below(threads.len() as u64) as usize;
                sum.fetch_add(threads.swap_remove(next).join().unwrap(), Ordering::Relaxed);
            }
        });
        assert_eq!(sum.into_inner(), 2999 * 3000 / 2);
    });
}
