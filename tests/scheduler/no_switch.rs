//! `no_switch`: what would suspend panics, names both places, and has no effect.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::sync::WaitGroup;
use gthread::{Builder, channel, go, no_switch};
use gthread_tests::{
    Drops, Flag, LIMIT, assert_passed, for_workers, is_child, os_thread_id, rerun, runtime,
    under_chaos, watchdog, yield_until,
};

/// The message of the panic that `f` ends with.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it went through");
    *payload.downcast::<String>().expect("a formatted message")
}

/// Asserts that `f` panics when it is called inside a `no_switch`, with a message that names where that was
/// entered and where `f` is.
#[track_caller]
fn assert_refused<T>(f: impl FnOnce() -> T) {
    let here = Location::caller();
    let entered = std::cell::Cell::new(0);
    let message = panic_of(|| {
        entered.set(line!() + 1);
        no_switch(f);
    });
    let entered = format!("has entered at {}:{}:", file!(), entered.get());
    assert!(message.contains(&entered), "{message:?} has no {entered:?}");
    // The caller's closure spans some lines.
    let attempted =
        message.split("suspended at ").nth(1).unwrap().split(", inside").next().unwrap();
    let mut attempted = attempted.rsplitn(3, ':');
    let (_column, line) = (attempted.next(), attempted.next().unwrap().parse::<u32>().unwrap());
    assert_eq!(attempted.next(), Some(here.file()), "{message}");
    assert!((here.line()..here.line() + 12).contains(&line), "{message} is not at {here}");
}

#[test]
fn whatever_suspends_panics_and_names_both_places() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<u32>(1);
            let (meet, meets) = channel::bounded::<u32>(0);
            assert_refused(|| rx.recv());
            assert_refused(|| rx.recv_timeout(Duration::from_secs(1)));
            assert_refused(|| rx.iter().next());
            assert_refused(|| meet.send(1));
            assert_refused(|| meet.send_timeout(1, Duration::from_secs(1)));
            assert_refused(|| meets.recv());
            tx.send(1).unwrap();
            assert_refused(|| tx.send(2));
            assert_refused(|| {
                channel::select! {
                    send(tx, 2) -> _ => {}
                    recv(meets) -> _ => {}
                }
            });
            assert_refused(|| {
                let mut select = channel::Select::new();
                select.recv(&meets);
                select.ready();
            });
            assert_refused(|| channel::after(Duration::from_secs(1)).recv());
            assert_refused(|| channel::never::<u32>().recv());
            assert_refused(|| gthread::park());
            assert_refused(|| gthread::park_timeout(Duration::from_secs(1)));
            assert_refused(|| gthread::sleep(Duration::from_secs(1)));
            assert_refused(|| gthread::sleep(Duration::ZERO));
            assert_refused(|| gthread::yield_now());
            assert_refused(|| go!(|| ()));
            assert_refused(|| Builder::new().spawn(|| ()));
            assert_refused(|| Builder::new().pinned(true).spawn(|| ()));
            assert_refused(|| gthread::join(|| (), || ()));
            assert_refused(|| gthread::scope(|s| drop(s.spawn(|| ()))));
            let group = WaitGroup::new();
            group.add(1);
            assert_refused(|| group.wait());
            assert_refused(|| group.go(|| ()));
            group.done();
            let other = gthread_tests::runtime(1);
            assert_refused(|| other.run(|| ()));
            let stop = Flag::new();
            let thread = go!({
                let stop = stop.clone();
                move || yield_until(|| stop.is_up())
            });
            assert_refused(|| thread.join());
            stop.raise();
            // And after all that the thread is as it was.
            assert_eq!(rx.recv(), Ok(1));
            assert_eq!(go!(|| 2).join().unwrap(), 2);
        });
    });
}

/// Nothing waits, nothing was started, nothing was taken, and what was to be sent or run is dropped.
#[test]
fn what_was_refused_has_no_effect() {
    for_workers(|runtime| {
        let (drops, ran) = (Drops::new(), AtomicUsize::new(0));
        runtime.run(|| {
            let (full, one) = channel::bounded(1);
            let (meet, meets) = channel::bounded(0);
            full.send(drops.token()).unwrap();
            assert_refused(|| full.send(drops.token()));
            assert_refused(|| meet.send(drops.token()));
            assert_eq!(drops.count(), 2);
            assert!(meets.try_recv().is_err(), "a sender that was refused waits");
            assert_eq!(one.len(), 1);
            assert_refused(|| meets.recv());
            assert!(meet.try_send(drops.token()).is_err(), "a receiver that was refused waits");
            assert_eq!(drops.count(), 3);
            // A partner that has no value yet would have to be waited for: it is not taken.
            let token = drops.token();
            let partner = go!({
                let meet = meet.clone();
                move || channel::select! { send(meet, token) -> sent => assert!(sent.is_ok()) }
            });
            yield_until(|| {
                let mut select = channel::Select::new();
                select.recv(&meets);
                select.try_ready().is_ok()
            });
            assert_refused(|| meets.try_recv());
            assert_refused(|| meets.recv());
            assert_refused(|| meets.recv_timeout(Duration::from_secs(1)));
            assert_refused(|| channel::select! { recv(meets) -> _ => {}, default => {} });
            assert_refused(|| {
                let mut select = channel::Select::new();
                select.recv(&meets);
                drop(select.try_select());
            });
            assert!(!partner.is_finished());
            assert!(meets.recv_timeout(LIMIT).is_ok());
            partner.join().unwrap();
            assert_eq!(drops.count(), 4);

            let (token, counts) = (drops.token(), &ran);
            let child = move || {
                let _token = token;
                counts.fetch_add(1, Ordering::Relaxed);
            };
            assert_refused(|| gthread::join(child, || counts.fetch_add(1, Ordering::Relaxed)));
            let token = drops.token();
            // Too large to be kept in the child's stack.
            let large = [1_u8; 5000];
            assert_refused(|| go!(move || (token, large)));
            assert_eq!(drops.count(), 6);
            (0..50).for_each(|_| gthread::yield_now());
            assert_eq!(ran.load(Ordering::Relaxed), 0, "a child that was refused ran");
        });
        // The stacks of the children are back: the runtime ends without leaving any.
        let stacks = runtime.metrics().stacks;
        runtime.run(|| (0..100).for_each(|_| assert_refused(|| drop(go!(|| ())))));
        assert!(runtime.metrics().stacks <= stacks.max(64), "{:?}", runtime.metrics());
    });
}

/// A detached thread goes on, and is not waited for.
#[test]
fn a_refused_join_drops_its_handle() {
    for_workers(|runtime| {
        let drops = Drops::new();
        runtime.run(|| {
            let (stop, token) = (Flag::new(), drops.token());
            let thread = go!({
                let stop = stop.clone();
                move || {
                    yield_until(|| stop.is_up());
                    token
                }
            });
            assert_refused(|| thread.join());
            stop.raise();
            yield_until(|| drops.count() == 1);
        });
    });
}

#[test]
fn what_does_not_switch_goes_through() {
    if under_chaos("what could switch does") {
        return;
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(1);
            let (meet, _meets) = channel::bounded(0);
            let (unbounded, values) = channel::unbounded();
            let ended = go!(|| 1);
            yield_until(|| ended.is_finished());
            let here = os_thread_id();
            let queued = no_switch(|| {
                assert!(meet.try_send(1).is_err());
                assert!(rx.try_recv().is_err());
                tx.send(1).unwrap();
                assert_eq!(rx.recv(), Ok(1));
                (0..100).for_each(|n| unbounded.send(n).unwrap());
                assert_eq!(values.try_iter().count(), 100);
                let chosen = channel::select! {
                    recv(rx) -> _ => 1,
                    default => 2,
                };
                assert_eq!(chosen, 2);
                assert_eq!(ended.join().unwrap(), 1);
                gthread::current().unpark();
                gthread::park();
                WaitGroup::new().wait();
                gthread::scope(|_| ());
                assert_eq!(gthread::run(|| 3), 3);
                gthread::with_stack(100_000, || assert_eq!(os_thread_id(), here));
                Builder::new().queued(true).spawn(|| 4).unwrap()
            });
            assert_eq!(os_thread_id(), here);
            assert_eq!(queued.join().unwrap(), 4);
        });
    });
}

/// A switch is what is forbidden, not to wait.
#[test]
fn blocking_allows_it_either_way() {
    for_workers(|runtime| {
        runtime.run(|| {
            let waits = |rx: channel::Receiver<i32>| {
                let here = os_thread_id();
                assert_eq!(rx.recv(), Ok(1));
                assert_eq!(go!(|| 2).join().unwrap(), 2);
                gthread::yield_now();
                gthread::sleep(Duration::from_micros(10));
                assert_eq!(gthread::join(|| 3, || 4), (3, 4));
                assert_eq!(os_thread_id(), here);
            };
            for inside in [false, true] {
                let (tx, rx) = channel::bounded(0);
                let sender = Builder::new().queued(true).spawn(move || tx.send(1)).unwrap();
                if inside {
                    no_switch(|| gthread::blocking(|| waits(rx)));
                } else {
                    gthread::blocking(|| no_switch(|| waits(rx)));
                }
                sender.join().unwrap().unwrap();
            }
            // What is left is left, whichever was entered first.
            no_switch(|| {
                gthread::blocking(|| ());
                assert_refused(|| gthread::yield_now());
            });
            gthread::blocking(|| no_switch(|| ()));
            gthread::yield_now();
        });
    });
}

#[test]
fn regions_nest() {
    for_workers(|runtime| {
        runtime.run(|| {
            no_switch(|| {
                // The innermost is named.
                assert_refused(|| gthread::yield_now());
                no_switch(|| ());
                let outer = panic_of(|| gthread::yield_now());
                assert!(outer.contains(file!()), "{outer}");
            });
            gthread::yield_now();
        });
    });
}

#[test]
fn a_panic_leaves_the_region() {
    for_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..10 {
                let ended = catch_unwind(|| no_switch(|| resume_unwind(Box::new(1))));
                assert!(ended.is_err());
                gthread::yield_now();
                let thread = go!(|| no_switch(|| resume_unwind(Box::new(2))));
                let payload: Box<_> = {
                    let ended: Result<(), _> = thread.join();
                    ended.unwrap_err()
                };
                assert_eq!(payload.downcast_ref(), Some(&2));
                // Whoever runs on that worker next is in no region.
                go!(gthread::yield_now).join().unwrap();
            }
        });
    });
}

/// A drop that blocks while the thread unwinds blocks the OS thread, here as anywhere: a second panic would
/// end the process.
#[test]
fn a_drop_may_block_while_the_region_is_unwound() {
    struct Receives<'a>(channel::Receiver<u32>, &'a AtomicUsize);
    impl Drop for Receives<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.recv(), Ok(7));
            gthread::yield_now();
            go!(|| ()).join().unwrap();
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    for_workers(|runtime| {
        let dropped = AtomicUsize::new(0);
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let sender = Builder::new().queued(true).spawn(move || tx.send(7)).unwrap();
            let receives = Receives(rx, &dropped);
            let message = panic_of(|| {
                no_switch(|| {
                    let _receives = receives;
                    gthread::yield_now();
                });
            });
            assert!(message.contains("about to be suspended"), "{message}");
            sender.join().unwrap().unwrap();
        });
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    });
}

/// The threads of a scope borrow: it must not end before them, and cannot refuse to wait.
#[test]
fn a_scope_waits_and_then_panics() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (started, stop, mut ended) = (Flag::new(), Flag::new(), false);
            let message = panic_of(|| {
                no_switch(|| {
                    gthread::scope(|s| {
                        let ended = &mut ended;
                        let borrows = || {
                            started.raise();
                            gthread::sleep(Duration::from_millis(2));
                            stop.raise();
                            gthread::yield_now();
                            *ended = true;
                        };
                        drop(Builder::new().queued(true).spawn_scoped(s, borrows).unwrap());
                    });
                });
            });
            assert!(message.contains("about to be suspended"), "{message}");
            assert!(started.is_up() && stop.is_up() && ended);
            gthread::yield_now();
        });
    });
}

/// What is borrowed by a thread that a join gives up on is still there until the scope ends.
#[test]
fn a_scoped_join_is_refused_and_the_scope_still_waits() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (stop, mut ended) = (Flag::new(), false);
            gthread::scope(|s| {
                let ended = &mut ended;
                let stopped = &stop;
                let thread = s.spawn(move || {
                    yield_until(|| stopped.is_up());
                    *ended = true;
                });
                assert_refused(|| thread.join());
                stop.raise();
            });
            assert!(ended);
        });
    });
}

/// There nothing is switched.
#[test]
fn an_os_thread_may_wait() {
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        let (tx, rx) = channel::bounded(0);
        let sender = runtime.spawn(move || tx.send(1));
        no_switch(|| {
            assert_eq!(rx.recv(), Ok(1));
            sender.join().unwrap().unwrap();
            gthread::sleep(Duration::from_micros(1));
            gthread::yield_now();
            assert_eq!(runtime.run(|| 2), 2);
            assert_eq!(gthread::join(|| 3, || 4), (3, 4));
        });
    });
}

#[test]
fn a_pinned_thread_must_not_be_switched_either() {
    for_workers(|runtime| {
        runtime.run(|| {
            let pinned = || {
                assert_refused(|| gthread::yield_now());
                // It would only be queued, but the same code would suspend elsewhere.
                assert_refused(|| go!(|| ()));
                go!(|| 1).join().unwrap()
            };
            assert_eq!(Builder::new().pinned(true).spawn(pinned).unwrap().join().unwrap(), 1);
        });
    });
}

/// The use that it is for: a borrow of a thread-local, which others of the worker would find.
#[test]
fn a_borrow_of_a_thread_local_is_kept_from_others() {
    thread_local! {
        static SCRATCH: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
    }
    #[inline(never)]
    fn add(n: u32, then: impl FnOnce()) -> usize {
        SCRATCH.with_borrow_mut(|scratch| {
            no_switch(|| {
                scratch.clear();
                scratch.push(n);
                then();
                scratch.len()
            })
        })
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..20)
                .map(|n| {
                    go!(move || {
                        for _ in 0..50 {
                            assert_eq!(add(n, || ()), 1);
                            gthread::yield_now();
                        }
                        panic_of(|| {
                            add(n, gthread::yield_now);
                        })
                    })
                })
                .collect();
            for thread in threads {
                assert!(thread.join().unwrap().contains("about to be suspended"));
            }
        });
    });
}

/// The hook that prints a panic may use the very channel: its lock was let go first.
#[test]
fn no_lock_is_held_while_the_panic_is_reported() {
    if is_child() {
        let (tx, rx) = channel::bounded::<u32>(0);
        let (list, others) = channel::bounded::<u32>(1);
        let hooks = std::sync::Arc::new(AtomicUsize::new(0));
        std::panic::set_hook(Box::new({
            let (tx, rx, others, hooks) = (tx.clone(), rx.clone(), others.clone(), hooks.clone());
            move |_| {
                assert!(tx.try_send(1).is_err());
                assert!(rx.try_recv().is_err());
                assert!(others.try_recv().is_err());
                hooks.fetch_add(1, Ordering::Relaxed);
            }
        }));
        runtime(1).run(|| {
            panic_of(|| no_switch(|| rx.recv()));
            panic_of(|| no_switch(|| tx.send(1)));
            panic_of(|| no_switch(|| others.recv()));
            panic_of(|| {
                no_switch(|| {
                    channel::select! {
                        recv(rx) -> _ => {}
                        recv(others) -> _ => {}
                    }
                });
            });
        });
        assert_eq!(hooks.load(Ordering::Relaxed), 4);
        drop(list);
        return;
    }
    watchdog(LIMIT, || {
        assert_passed(&rerun!("no_lock_is_held_while_the_panic_is_reported", &[]));
    });
}
