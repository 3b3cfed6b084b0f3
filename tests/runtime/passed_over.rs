//! Threads of a dropped runtime that wait for what others wait for too: they are passed over, so that somebody gets it
//! who lives. Each primitive, with a live waiter that comes before the drop or after it, on an OS thread or in a green
//! thread of another runtime.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use gthread::channel::{
    self, Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError,
    bounded, select, unbounded,
};
use gthread::context::Context;
use gthread::sync::{Barrier, Condvar, Mutex, Once, OnceLock, RwLock, Semaphore, WaitGroup};
use gthread::{Builder, Leaks, Runtime, ThreadState};
use gthread_tests::{Flag, LIMIT, hog_until, os_thread_id, runtime, until, watchdog};

const SHORT: Duration = Duration::from_millis(1);

/// What a scene leaves open.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// Of the runtime that is dropped, and of that of the green live waiter.
    workers: usize,
    green: bool,
    /// The live waiter comes before the drop.
    early: bool,
}

impl Scene {
    /// `doomed` waits; `live` waits behind it, and what it gives is given; its runtime is dropped before or after
    /// `live` came; then comes `event`.
    fn play<T: Send + 'static>(
        self,
        doomed: impl FnOnce() + Send + 'static,
        live: impl FnOnce() -> T + Send + 'static,
        event: impl FnOnce(),
    ) -> T {
        let mut ending = Some(self.doomed([Box::new(doomed) as Box<dyn FnOnce() + Send>]));
        if !self.early {
            ending = None;
        }
        let other = runtime(self.workers);
        let live = self.start(&other, live);
        drop(ending);
        event();
        live()
    }

    /// A runtime all threads of which are asleep.
    fn doomed(self, threads: impl IntoIterator<Item = Box<dyn FnOnce() + Send>>) -> Runtime {
        let runtime = silent(self.workers);
        for thread in threads {
            runtime.spawn(thread);
            until(|| all_are_parked(&runtime));
        }
        runtime
    }

    /// Starts a live thread, and gives it the time to wait. What is given waits for its end.
    fn start<T: Send + 'static>(
        self,
        other: &Runtime,
        live: impl FnOnce() -> T + Send + 'static,
    ) -> impl FnOnce() -> T {
        let (green, os) = if self.green {
            let thread = other.spawn(live);
            // Or it has ended.
            until(|| all_are_parked(other));
            (Some(thread), None)
        } else {
            let (begins, begun) = mpsc::channel();
            let thread = thread::spawn(move || {
                begins.send(()).unwrap();
                live()
            });
            begun.recv().unwrap();
            // Likely enough.
            thread::sleep(2 * SHORT);
            (None, Some(thread))
        };
        || match (green, os) {
            (Some(thread), _) => thread.join().unwrap(),
            (_, Some(thread)) => thread.join().unwrap(),
            _ => unreachable!("it is one of the two"),
        }
    }
}

/// A runtime that says nothing of those it leaves behind.
fn silent(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).report_leaks(Leaks::Ignore).build().unwrap()
}

fn all_are_parked(runtime: &Runtime) -> bool {
    runtime.dump().threads.iter().all(|thread| thread.state == ThreadState::Parked)
}

/// Runs `body` with every scene.
fn in_every_scene(body: impl Fn(Scene)) {
    for workers in [1, 2, 8] {
        for (green, early) in [(false, false), (false, true), (true, false), (true, true)] {
            let scene = Scene { workers, green, early };
            println!("{scene:?}");
            watchdog(LIMIT, || body(scene));
        }
    }
}

/// Clones what both threads of a scene use.
fn both<T: Clone>(shared: &T) -> (T, T) {
    (shared.clone(), shared.clone())
}

// ---- locks ------------------------------------------------------------------------------------

#[test]
fn a_mutex_is_had_by_the_living() {
    in_every_scene(|scene| {
        let lock = Arc::new(Mutex::new(0));
        let guard = lock.lock().unwrap();
        let (a, b) = both(&lock);
        scene.play(move || drop(a.lock()), move || *b.lock().unwrap() += 1, || drop(guard));
        assert_eq!(*lock.try_lock().unwrap(), 1);
    });
}

#[test]
fn an_rwlock_is_read_behind_a_dead_writer() {
    in_every_scene(|scene| {
        let lock = Arc::new(RwLock::new(7));
        let guard = lock.read().unwrap();
        let (a, b) = both(&lock);
        // Nothing else happens: those who read have the lock already.
        let read = scene.play(move || drop(a.write()), move || *b.read().unwrap(), || ());
        assert_eq!(read, 7);
        assert!(lock.try_read().is_ok());
        drop(guard);
        assert!(lock.try_write().is_ok());
    });
}

#[test]
fn an_rwlock_is_written_behind_the_dead() {
    for reads in [false, true] {
        in_every_scene(|scene| {
            let lock = Arc::new(RwLock::new(0));
            let guard = lock.write().unwrap();
            let (a, b) = both(&lock);
            let doomed = move || if reads { drop(a.read()) } else { drop(a.write()) };
            scene.play(doomed, move || *b.write().unwrap() += 1, || drop(guard));
            assert_eq!(*lock.try_write().unwrap(), 1);
        });
    }
}

#[test]
fn an_rwlock_that_is_downgraded_lets_readers_in_behind_a_dead_writer() {
    in_every_scene(|scene| {
        let lock = Arc::new(RwLock::new(3));
        let guard = lock.write().unwrap();
        let (a, b) = both(&lock);
        let mut kept = None;
        let event = || kept = Some(gthread::sync::RwLockWriteGuard::downgrade(guard));
        assert_eq!(scene.play(move || drop(a.write()), move || *b.read().unwrap(), event), 3);
        drop(kept);
    });
}

#[test]
fn a_dead_request_for_many_permits_keeps_nobody_from_one() {
    in_every_scene(|scene| {
        let permits = Arc::new(Semaphore::new(1));
        let (a, b) = both(&permits);
        // Nothing else happens: there is a permit.
        scene.play(move || a.acquire_many(2).forget(), move || b.acquire().forget(), || ());
        permits.add_permits(1);
        assert!(permits.try_acquire().is_some());
    });
}

#[test]
fn permits_are_not_given_to_others_of_the_dead() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            let permits = Arc::new(Semaphore::new(1));
            let scene = Scene { workers, green: false, early: false };
            let requests = [2, 1, 1].map(|permits_wanted| {
                let permits = Arc::clone(&permits);
                // Keeps what it is given.
                Box::new(move || {
                    let _permit = permits.acquire_many(permits_wanted);
                    gthread::park();
                }) as Box<dyn FnOnce() + Send>
            });
            drop(scene.doomed(requests));
            assert_eq!(permits.available_permits(), 1);
            assert!(permits.try_acquire().is_some());
        });
    }
}

#[test]
fn a_permit_that_is_added_goes_to_the_living() {
    for timed in [false, true] {
        in_every_scene(|scene| {
            let permits = Arc::new(Semaphore::new(0));
            let (a, b) = both(&permits);
            let live = move || match timed {
                false => {
                    b.acquire().forget();
                    Some(())
                }
                true => b.acquire_timeout(LIMIT).map(|permit| permit.forget()),
            };
            let doomed = move || drop(a.acquire_timeout(2 * LIMIT));
            assert!(scene.play(doomed, live, || permits.add_permits(1)).is_some());
            assert_eq!(permits.available_permits(), 0);
        });
    }
}

#[test]
fn notify_one_wakes_the_living() {
    for timed in [false, true] {
        in_every_scene(|scene| {
            let pair = Arc::new((Mutex::new(false), Condvar::new()));
            let (a, b) = both(&pair);
            let doomed = move || {
                let guard = a.0.lock().unwrap();
                if timed {
                    drop(a.1.wait_timeout(guard, 2 * LIMIT));
                } else {
                    drop(a.1.wait(guard));
                }
            };
            let live = move || drop(b.1.wait_while(b.0.lock().unwrap(), |happened| !*happened));
            let event = || {
                *pair.0.lock().unwrap() = true;
                pair.1.notify_one();
            };
            scene.play(doomed, live, event);
        });
    }
}

/// The dead was notified, and waits for the mutex, when its runtime is dropped.
#[test]
fn a_notification_is_passed_on_by_one_that_does_not_get_the_mutex() {
    for workers in [1, 2, 8] {
        for green in [false, true] {
            watchdog(LIMIT, || {
                let scene = Scene { workers, green, early: true };
                let pair = Arc::new((Mutex::new(()), Condvar::new()));
                let (a, b) = both(&pair);
                let doomed = move || drop(a.1.wait(a.0.lock().unwrap()));
                let ending = scene.doomed([Box::new(doomed) as Box<dyn FnOnce() + Send>]);
                let other = runtime(workers);
                let waits = Flag::new();
                let live = scene.start(&other, {
                    let waits = waits.clone();
                    move || {
                        let guard = b.0.lock().unwrap();
                        waits.raise();
                        drop(b.1.wait(guard));
                    }
                });
                until(|| waits.is_up());
                let guard = pair.0.lock().unwrap();
                pair.1.notify_one();
                until(|| {
                    let dump = ending.dump();
                    dump.threads[0].wait.as_ref().is_some_and(|wait| wait.lock.is_some())
                });
                drop(ending);
                drop(guard);
                live();
            });
        }
    }
}

#[test]
fn a_barrier_counts_those_who_came_before_they_died() {
    in_every_scene(|scene| {
        let barrier = Arc::new(Barrier::new(3));
        let (a, b) = both(&barrier);
        let event = || assert!(barrier.wait().is_leader());
        assert!(!scene.play(move || _ = a.wait(), move || b.wait().is_leader(), event));
    });
}

#[test]
fn what_is_initialised_once_is_had_by_the_living() {
    in_every_scene(|scene| {
        let once = Arc::new((Once::new(), OnceLock::new()));
        let (a, b) = both(&once);
        let doomed = move || a.0.wait();
        let live = move || {
            b.0.wait();
            *b.1.wait()
        };
        let event = || {
            once.1.set(5).unwrap();
            once.0.call_once(|| ());
        };
        assert_eq!(scene.play(doomed, live, event), 5);
    });
}

#[test]
fn a_wait_group_ends_for_the_living() {
    in_every_scene(|scene| {
        let group = WaitGroup::new();
        group.add(1);
        let (a, b) = both(&group);
        scene.play(move || a.wait(), move || b.wait(), || group.done());
        group.wait();
    });
}

// ---- channels ---------------------------------------------------------------------------------

fn channels() -> [(Sender<u32>, Receiver<u32>); 3] {
    [bounded(0), bounded(4), unbounded()]
}

#[test]
fn a_message_goes_to_the_living() {
    for nth in 0..3 {
        for timed in [false, true] {
            in_every_scene(|scene| {
                let (tx, rx) = channels()[nth].clone();
                let (a, b) = both(&rx);
                let doomed = move || match timed {
                    false => drop(a.recv()),
                    true => drop(a.recv_timeout(2 * LIMIT)),
                };
                assert_eq!(scene.play(doomed, move || b.recv(), || tx.send(1).unwrap()), Ok(1));
                assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            });
        }
    }
}

#[test]
fn a_free_place_goes_to_the_living() {
    for capacity in [0, 1] {
        in_every_scene(|scene| {
            let (tx, rx) = bounded(capacity);
            (0..capacity).for_each(|_| tx.send(0).unwrap());
            let (a, b) = both(&tx);
            let event = || {
                (0..capacity).for_each(|_| assert_eq!(rx.recv(), Ok(0)));
                assert_eq!(rx.recv(), Ok(2));
            };
            scene.play(move || a.send(1).unwrap(), move || b.send(2).unwrap(), event);
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        });
    }
}

#[test]
fn a_rendezvous_meets_nobody_who_is_dead() {
    for workers in [1, 2, 8] {
        let scene = Scene { workers, green: false, early: false };
        let threads: [fn(Sender<u32>, Receiver<u32>); 6] = [
            |tx, _| _ = tx.send(1),
            |_, rx| _ = rx.recv(),
            |tx, _| select! { send(tx, 1) -> _ => {} },
            |_, rx| select! { recv(rx) -> _ => {} },
            |tx, _| _ = tx.send_timeout(1, 2 * LIMIT),
            |_, rx| select! { recv(rx) -> _ => {}, default(2 * LIMIT) => {} },
        ];
        for doomed in threads {
            watchdog(LIMIT, || {
                let (tx, rx) = bounded(0);
                let (a, b) = (tx.clone(), rx.clone());
                drop(scene.doomed([Box::new(move || doomed(a, b)) as Box<dyn FnOnce() + Send>]));
                assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
                assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
                assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
                assert_eq!(tx.send_timeout(2, SHORT), Err(SendTimeoutError::Timeout(2)));
                let mut select = Select::new();
                select.send(&tx);
                select.recv(&rx);
                assert!(select.try_ready().is_err());
                assert!(select.try_select().is_err());
                assert!(select.ready_timeout(SHORT).is_err());
                assert!(select.select_timeout(SHORT).is_err());
                assert_eq!((tx.len(), rx.is_empty()), (0, true));
            });
        }
    }
}

#[test]
fn a_select_is_passed_over_in_all_its_channels() {
    for nth in 0..3 {
        in_every_scene(|scene| {
            let (tx, rx) = channels()[nth].clone();
            let (_other_tx, other_rx) = unbounded::<u32>();
            let (a, b) = both(&rx);
            let doomed = move || {
                select! {
                    recv(a) -> _ => {}
                    recv(other_rx) -> _ => {}
                }
            };
            let live = move || {
                select! {
                    recv(b) -> message => message,
                    recv(channel::never::<()>()) -> _ => unreachable!(),
                }
            };
            assert_eq!(scene.play(doomed, live, || tx.send(1).unwrap()), Ok(1));
        });
    }
}

#[test]
fn a_select_that_sends_is_passed_over() {
    for capacity in [0, 1] {
        in_every_scene(|scene| {
            let (tx, rx) = bounded(capacity);
            (0..capacity).for_each(|_| tx.send(0).unwrap());
            let (a, b) = both(&tx);
            let doomed = move || select! { send(a, 1) -> _ => {} };
            let live = move || select! { send(b, 2) -> sent => sent.unwrap() };
            let event = || {
                (0..capacity).for_each(|_| assert_eq!(rx.recv(), Ok(0)));
                assert_eq!(rx.recv_timeout(LIMIT), Ok(2));
            };
            scene.play(doomed, live, event);
        });
    }
}

#[test]
fn watchers_are_told_of_the_living() {
    for nth in 0..3 {
        in_every_scene(|scene| {
            let (tx, rx) = channels()[nth].clone();
            let (a, b) = both(&rx);
            let doomed = move || {
                let mut select = Select::new();
                select.recv(&a);
                select.ready();
            };
            let live = move || {
                let mut select = Select::new();
                select.recv(&b);
                (select.ready(), b.recv())
            };
            assert_eq!(scene.play(doomed, live, || tx.send(1).unwrap()), (0, Ok(1)));
        });
    }
}

#[test]
fn a_context_ends_for_the_living() {
    in_every_scene(|scene| {
        let (context, cancel) = Context::background().with_cancel();
        let (a, b) = both(&context);
        let wait = |context: Context| -> Result<Infallible, _> { context.done().recv() };
        scene.play(move || _ = wait(a), move || wait(b), || cancel.cancel()).unwrap_err();
    });
}

#[test]
fn behind_a_crowd_of_the_dead() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            let (tx, rx) = unbounded();
            let lock = Arc::new(RwLock::new(()));
            let permits = Arc::new(Semaphore::new(1));
            let guard = lock.read().unwrap();
            let ending = silent(workers);
            for n in 0..999 {
                let (rx, lock, permits) = (rx.clone(), Arc::clone(&lock), Arc::clone(&permits));
                ending.spawn(move || match n % 3 {
                    0 => drop(rx.recv()),
                    1 => drop(lock.write()),
                    _ => permits.acquire_many(2).forget(),
                });
            }
            until(|| all_are_parked(&ending));
            drop(ending);
            tx.send(1).unwrap();
            assert_eq!(rx.recv(), Ok(1));
            assert!(lock.try_read().is_ok());
            assert!(permits.try_acquire().is_some());
            drop(guard);
            assert!(lock.try_write().is_ok());
        });
    }
}

// ---- whoever has been woken before ------------------------------------------------------------

/// A runtime with one thread that waits, and has been woken, but cannot run (as a rule: sysmon may see to it)
/// because all workers compute, until the runtime is dropped.
fn woken_before(
    workers: usize,
    pinned: bool,
    waits: impl FnOnce() + Send + 'static,
    wake: impl FnOnce(),
) {
    let ending = silent(workers);
    let go_on = Flag::new();
    let spawn = Builder::new().pinned(pinned).queued(true);
    ending.run(|| drop(spawn.spawn(waits).unwrap()));
    until(|| all_are_parked(&ending));
    let computing = Arc::new(AtomicUsize::new(0));
    for _ in 0..workers {
        let (go_on, computing) = (go_on.clone(), Arc::clone(&computing));
        ending.spawn(move || {
            computing.fetch_add(1, Ordering::SeqCst);
            hog_until(|| go_on.is_up());
        });
    }
    until(|| computing.load(Ordering::SeqCst) == workers);
    wake();
    let drops = thread::spawn(move || drop(ending));
    thread::sleep(SHORT);
    go_on.raise();
    drops.join().unwrap();
}

fn for_all_woken_before(body: impl Fn(usize, bool)) {
    for workers in [1, 2, 4] {
        for pinned in [false, true] {
            watchdog(LIMIT, || (0..5).for_each(|_| body(workers, pinned)));
        }
    }
}

#[test]
fn a_mutex_is_passed_on_by_one_that_was_woken_before() {
    for_all_woken_before(|workers, pinned| {
        let lock = Arc::new(Mutex::new(0));
        let guard = lock.lock().unwrap();
        let (a, b) = both(&lock);
        let mut live = None;
        let wake = || {
            live = Some(thread::spawn(move || *b.lock().unwrap() += 1));
            thread::sleep(SHORT);
            drop(guard);
        };
        woken_before(workers, pinned, move || *a.lock().unwrap() += 1, wake);
        live.unwrap().join().unwrap();
        assert_eq!(*lock.lock().unwrap(), 2);
    });
}

#[test]
fn what_one_was_woken_for_is_used() {
    for_all_woken_before(|workers, pinned| {
        let (tx, rx) = bounded(0);
        let got = Arc::new(AtomicUsize::new(0));
        let waits = {
            let got = Arc::clone(&got);
            move || {
                got.store(rx.recv().unwrap(), Ordering::SeqCst);
                // And that is all.
                gthread::park();
                unreachable!();
            }
        };
        woken_before(workers, pinned, waits, || tx.send(7).unwrap());
        assert_eq!(got.load(Ordering::SeqCst), 7);
        assert_eq!(tx.try_send(8), Err(TrySendError::Full(8)));
    });
}

#[test]
fn a_pinned_thread_has_its_last_turn_on_its_own_os_thread() {
    for_all_woken_before(|workers, _| {
        let (tx, rx) = unbounded();
        let (told, tells) = mpsc::channel();
        let waits = move || {
            let home = os_thread_id();
            rx.recv().unwrap();
            told.send(home == os_thread_id()).unwrap();
        };
        woken_before(workers, true, waits, || tx.send(()).unwrap());
        assert_eq!(tells.recv(), Ok(true));
    });
}

#[test]
fn an_unpark_is_used() {
    for_all_woken_before(|workers, pinned| {
        let handle = Arc::new(std::sync::OnceLock::new());
        let went_on = Flag::new();
        let waits = {
            let (handle, went_on) = (Arc::clone(&handle), went_on.clone());
            move || {
                handle.set(gthread::current()).unwrap();
                gthread::park();
                went_on.raise();
            }
        };
        woken_before(workers, pinned, waits, || handle.get().unwrap().unpark());
        assert!(went_on.is_up());
        handle.get().unwrap().unpark();
    });
}

// ---- the drop itself --------------------------------------------------------------------------

/// None of these ever stops by itself.
#[test]
fn a_drop_ends_whatever_goes_on_in_the_runtime() {
    for workers in [1, 2, 8] {
        for _ in 0..5 {
            watchdog(LIMIT, || {
                let ending = silent(workers);
                let (ping, pong) = (bounded(0), bounded(1));
                let lock = Arc::new(Mutex::new(()));
                for n in 0..12 {
                    let ((a, b), (c, d)) = (ping.clone(), pong.clone());
                    let lock = Arc::clone(&lock);
                    ending.spawn(move || {
                        loop {
                            match n % 6 {
                                0 => {
                                    a.send(0).unwrap();
                                    d.recv().unwrap();
                                }
                                1 => c.send(b.recv().unwrap()).unwrap(),
                                2 => gthread::yield_now(),
                                3 => gthread::spawn(gthread::yield_now).join().unwrap(),
                                4 => _ = gthread::join(gthread::yield_now, gthread::yield_now),
                                _ => {
                                    let _guard = lock.lock().unwrap();
                                    gthread::yield_now();
                                }
                            }
                        }
                    });
                }
                thread::sleep(2 * SHORT);
                drop(ending);
            });
        }
    }
}

/// One that is woken all the time from outside.
#[test]
fn a_drop_ends_although_its_threads_are_woken_all_the_time() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            let ending = silent(workers);
            let (tx, rx) = bounded::<u32>(0);
            let over = Flag::new();
            let parks = ending.spawn(|| {
                loop {
                    gthread::park();
                }
            });
            let receives = rx.clone();
            ending.spawn(move || receives.iter().for_each(drop));
            let (over_too, handle) = (over.clone(), parks.thread().clone());
            let wakes = thread::spawn(move || {
                while !over_too.is_up() {
                    handle.unpark();
                    let _ = tx.try_send(1);
                }
            });
            thread::sleep(2 * SHORT);
            drop(ending);
            over.raise();
            wakes.join().unwrap();
            drop(rx);
        });
    }
}

#[test]
fn a_runtime_that_is_dropped_inside_ends_as_well() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            let lock = Arc::new(Mutex::new(()));
            let guard = lock.lock().unwrap();
            let ending = silent(workers);
            let waits = Arc::clone(&lock);
            ending.spawn(move || drop(waits.lock()));
            until(|| all_are_parked(&ending));
            let (tx, rx) = bounded(1);
            let thread = ending.spawn(move || drop::<Runtime>(rx.recv().unwrap()));
            tx.send(ending).unwrap();
            until(|| thread.is_finished());
            let live = thread::spawn({
                let lock = Arc::clone(&lock);
                move || drop(lock.lock().unwrap())
            });
            thread::sleep(2 * SHORT);
            drop(guard);
            live.join().unwrap();
        });
    }
}

#[test]
fn two_runtimes_that_wait_for_each_other_are_dropped_at_once() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            for _ in 0..10 {
                let (first, second) = (silent(workers), silent(workers));
                let (ping, pong) = (bounded(0), bounded(0));
                for (runtime, tx, rx) in [(&first, &ping.0, &pong.1), (&second, &pong.0, &ping.1)] {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    runtime.spawn(move || {
                        loop {
                            select! {
                                send(tx, ()) -> sent => sent.unwrap(),
                                recv(rx) -> message => message.unwrap(),
                            }
                        }
                    });
                }
                thread::sleep(SHORT);
                let drops = thread::spawn(move || drop(first));
                drop(second);
                drops.join().unwrap();
                assert_eq!(ping.0.try_send(()), Err(TrySendError::Full(())));
                assert_eq!(pong.1.try_recv(), Err(TryRecvError::Empty));
            }
        });
    }
}

/// One that waits to join a thread of a runtime that lives on.
#[test]
fn a_thread_that_a_dead_one_waits_to_join_ends() {
    for workers in [1, 2, 8] {
        watchdog(LIMIT, || {
            let (living, ending) = (runtime(workers), silent(workers));
            let thread = living.spawn(gthread::park);
            let handle = thread.thread().clone();
            ending.spawn(move || thread.join());
            until(|| all_are_parked(&ending) && all_are_parked(&living));
            drop(ending);
            handle.unpark();
            until(|| living.dump().threads.is_empty());
        });
    }
}

/// What is said of those who were left behind is what was so before they withdrew.
#[test]
fn they_are_reported_as_waiting_where_they_waited() {
    let ending = Runtime::builder().workers(2).report_leaks(Leaks::Panic).build().unwrap();
    let lock = Arc::new((Mutex::new(()), RwLock::new(()), Semaphore::new(0)));
    let _guards = (lock.0.lock(), lock.1.write());
    let (_tx, rx) = unbounded::<()>();
    let threads: [Box<dyn FnOnce() + Send>; 6] = [
        Box::new({
            let lock = Arc::clone(&lock);
            move || drop(lock.0.lock())
        }),
        Box::new({
            let lock = Arc::clone(&lock);
            move || drop(lock.1.read())
        }),
        Box::new({
            let lock = Arc::clone(&lock);
            move || lock.2.acquire().forget()
        }),
        Box::new(move || _ = rx.recv()),
        Box::new(|| gthread::sleep(2 * LIMIT)),
        Box::new(gthread::park),
    ];
    for thread in threads {
        ending.spawn(thread);
    }
    until(|| all_are_parked(&ending));
    let message = watchdog(LIMIT, || {
        let drops = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(ending)));
        *drops.unwrap_err().downcast::<String>().unwrap()
    });
    assert!(message.contains("dropped before 6 of its green threads"), "{message}");
}

/// A select of the dropped runtime has promised a value and is still at its message: its partner looks for another sender at
/// once, however long it has waited.
#[test]
fn a_promise_of_the_dead_is_void() {
    watchdog(LIMIT, || {
        for workers in [1, 2, 8] {
            let (tx, rx) = bounded::<u32>(0);
            let (started, starts) = unbounded();
            let doomed = silent(workers);
            let promiser = tx.clone();
            doomed.spawn(move || {
                let (_never, nothing) = bounded::<u32>(0);
                let message = || {
                    started.send(()).unwrap();
                    nothing.recv().unwrap()
                };
                select! { send(promiser, message()) -> _ => {} }
            });
            let receiver = thread::spawn({
                let rx = rx.clone();
                move || rx.recv()
            });
            starts.recv().unwrap();
            let sender = thread::spawn(move || tx.send(5));
            drop(doomed);
            assert_eq!(receiver.join().unwrap(), Ok(5));
            assert_eq!(sender.join().unwrap(), Ok(()));
        }
    });
}
