//! Panics in awkward places: in drops, scopes, joins and select arms, of threads that block meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::{Builder, channel, go};
use gthread_tests::{
    Drops, Flag, LIMIT, for_workers, is_child, rerun, stderr, watchdog, yield_often, yield_until,
};

/// What `f` panics with.
fn payload_of<T, P: 'static>(f: impl FnOnce() -> T) -> P {
    let payload = catch_unwind(AssertUnwindSafe(|| drop(f()))).expect_err("it went through");
    *payload.downcast().expect("another payload")
}

/// A panic without a message on stderr.
fn quiet<T>(payload: u32) -> T {
    resume_unwind(Box::new(payload))
}

/// Calls a closure when dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Blocks in several ways, and looks each time that this thread's panics, and no others, are counted.
fn block_a_while(panicking: bool) {
    let check = || assert_eq!(std::thread::panicking(), panicking);
    check();
    let (tx, rx) = channel::bounded(0);
    let sender = Builder::new().queued(true).spawn(move || {
        gthread::yield_now();
        assert!(!std::thread::panicking(), "a panic of another thread is counted");
        tx.send(1).unwrap();
    });
    assert_eq!(rx.recv(), Ok(1));
    check();
    sender.unwrap().join().unwrap();
    check();
    gthread::sleep(Duration::from_micros(20));
    gthread::yield_now();
    check();
    assert!(!go!(std::thread::panicking).join().unwrap());
    check();
}

/// Green threads that see to it that panics are not theirs, while `f` runs.
fn among_bystanders<T>(f: impl FnOnce() -> T) -> T {
    let stop = Flag::new();
    let bystanders: Vec<_> = (0..4)
        .map(|_| {
            let stop = stop.clone();
            go!(move || {
                yield_until(|| {
                    assert!(!std::thread::panicking());
                    stop.is_up()
                });
                // A caught panic of their own counts from zero and back.
                assert_eq!(payload_of::<(), u32>(|| quiet(1)), 1);
                assert!(!std::thread::panicking());
            })
        })
        .collect();
    let result = f();
    stop.raise();
    bystanders.into_iter().for_each(|thread| thread.join().unwrap());
    result
}

#[test]
fn a_drop_that_panics_ends_its_thread() {
    for_workers(|runtime| {
        let drops = Drops::new();
        let payload: u32 = runtime.run(|| {
            let (first, last) = (drops.token(), drops.token());
            let thread = go!(move || {
                let _last = last;
                let _panics = OnDrop(|| {
                    block_a_while(false);
                    quiet(5)
                });
                let _first = first;
            });
            *thread.join().unwrap_err().downcast().unwrap()
        });
        assert_eq!((payload, drops.count()), (5, 2));
    });
}

/// Panics two deep: one is caught inside the drop that the other one runs.
#[test]
fn a_drop_catches_a_panic_while_it_unwinds() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let thread = go!(|| {
                    let _outer = OnDrop(|| {
                        block_a_while(true);
                        let inner: u32 = payload_of(|| {
                            let _inner = OnDrop(|| block_a_while(true));
                            block_a_while(true);
                            quiet::<()>(6)
                        });
                        assert_eq!(inner, 6);
                        block_a_while(true);
                    });
                    block_a_while(false);
                    quiet::<()>(7)
                });
                assert_eq!(payload_of::<_, u32>(|| resume_unwind(thread.join().unwrap_err())), 7);
                block_a_while(false);
            });
        });
    });
}

/// As in std: nobody can unwind two panics at once.
#[test]
fn a_drop_that_panics_while_it_unwinds_aborts() {
    if is_child() {
        let _ = gthread::run(|| {
            go!(|| {
                let _panics = OnDrop(|| {
                    block_a_while(true);
                    panic!("the second")
                });
                panic!("the first")
            })
            .join()
        });
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("a_drop_that_panics_while_it_unwinds_aborts", &[]);
        let stderr = stderr(&output);
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(signal, Some(libc::SIGABRT), "{stderr}");
        assert!(stderr.contains("the first") && stderr.contains("the second"), "{stderr}");
    });
}

#[test]
fn a_scope_passes_panics_on_after_all_have_ended() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let ended = AtomicUsize::new(0);
                let ends = || {
                    let _ended = OnDrop(|| {
                        yield_often();
                        ended.fetch_add(1, Ordering::Relaxed);
                    });
                    block_a_while(false);
                };
                // The closure's own payload comes first.
                let payload: u32 = payload_of(|| {
                    gthread::scope(|s| {
                        s.spawn(ends);
                        s.spawn(|| {
                            ends();
                            quiet::<()>(1)
                        });
                        quiet::<()>(2)
                    })
                });
                assert_eq!((payload, ended.load(Ordering::Relaxed)), (2, 2));
                // Of threads that nobody joined it tells that they panicked.
                let message: &str = payload_of(|| {
                    gthread::scope(|s| {
                        s.spawn(|| {
                            ends();
                            quiet::<()>(3)
                        });
                    })
                });
                assert_eq!(
                    (message, ended.load(Ordering::Relaxed)),
                    ("a scoped green thread panicked", 3)
                );
                // A panic that was joined was dealt with.
                let joined = gthread::scope(|s| {
                    let thread = s.spawn(|| {
                        ends();
                        panic_any(4_u64)
                    });
                    let payload: Box<_> = {
                        let ended: Result<(), _> = thread.join();
                        ended.unwrap_err()
                    };
                    *payload.downcast::<u64>().unwrap()
                });
                assert_eq!((joined, ended.load(Ordering::Relaxed)), (4, 4));
            });
        });
    });
}

/// A scope inside a drop, of a thread that unwinds: its threads run elsewhere, and may panic.
#[test]
fn a_scope_in_a_drop_while_unwinding() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let counts = AtomicUsize::new(0);
                let payload: u32 = payload_of(|| {
                    let _scopes = OnDrop(|| {
                        gthread::scope(|s| {
                            for n in 0..4 {
                                let counts = &counts;
                                let thread = s.spawn(move || {
                                    block_a_while(false);
                                    counts.fetch_add(n, Ordering::Relaxed);
                                    if n == 2 { quiet(n as u32) } else { n }
                                });
                                assert_eq!(thread.join().is_err(), n == 2);
                            }
                        });
                    });
                    quiet::<()>(8)
                });
                assert_eq!((payload, counts.load(Ordering::Relaxed)), (8, 6));
            });
        });
    });
}

#[test]
fn join_passes_on_what_either_side_panics_with() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let sides = AtomicUsize::new(0);
                let side = |payload: Option<u32>, blocks: bool| {
                    let _counts = OnDrop(|| {
                        sides.fetch_add(1, Ordering::Relaxed);
                    });
                    if blocks {
                        block_a_while(false);
                    }
                    payload.map_or(9, quiet::<u32>)
                };
                for (a_blocks, b_blocks) in
                    [(false, false), (false, true), (true, false), (true, true)]
                {
                    let join = |a, b| gthread::join(|| side(a, a_blocks), || side(b, b_blocks));
                    assert_eq!(payload_of::<_, u32>(|| join(Some(1), None)), 1);
                    assert_eq!(payload_of::<_, u32>(|| join(None, Some(2))), 2);
                    // Both have ended, and the first is reported.
                    assert_eq!(payload_of::<_, u32>(|| join(Some(3), Some(4))), 3);
                    assert_eq!(join(None, None), (9, 9));
                }
                assert_eq!(sides.load(Ordering::Relaxed), 32);
            });
        });
        // On an OS thread the call moves into the default runtime.
        assert_eq!(payload_of::<_, u32>(|| gthread::join(|| 1, || quiet::<u32>(5))), 5);
        assert_eq!(payload_of::<_, u32>(|| gthread::join(|| quiet::<u32>(6), || 1)), 6);
    });
}

/// The side that has not panicked borrows, so it must end first, however long it takes.
#[test]
fn join_waits_for_the_other_side() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (mut ended, stop) = (0, Flag::new());
            let payload: u32 = payload_of(|| {
                let waits = || {
                    yield_until(|| stop.is_up());
                    ended += 1;
                };
                gthread::join(waits, || {
                    let _stops = OnDrop(|| stop.raise());
                    quiet::<()>(1)
                })
            });
            assert_eq!((payload, ended), (1, 1));
        });
    });
}

#[test]
fn a_panic_in_an_arm_of_a_select() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let (tx, rx) = channel::bounded(1);
                let (meet, meets) = channel::bounded::<u32>(0);
                tx.send(1).unwrap();
                // In the body: the message was received.
                let payload: u32 = payload_of(|| {
                    channel::select! {
                        recv(rx) -> value => quiet::<()>(value.unwrap()),
                        recv(meets) -> _ => {}
                    }
                });
                assert_eq!((payload, rx.len()), (1, 0));
                // In what is to be sent: it is not, and the partner goes on waiting.
                let receiver = go!({
                    let meets = meets.clone();
                    move || meets.recv()
                });
                for _ in 0..3 {
                    let payload: u32 = payload_of(|| {
                        channel::select! {
                            send(meet, { block_a_while(false); quiet(2) }) -> _ => {}
                        }
                    });
                    assert_eq!(payload, 2);
                }
                meet.send(3).unwrap();
                assert_eq!(receiver.join().unwrap(), Ok(3));
                // The same with a buffer, which has room afterwards.
                let payload: u32 = payload_of(|| {
                    channel::select! {
                        send(tx, quiet(4)) -> _ => {}
                    }
                });
                assert_eq!(payload, 4);
                tx.send(5).unwrap();
                assert_eq!(rx.recv(), Ok(5));
                // In the default, and in what names a channel.
                let payload: u32 = payload_of(|| {
                    channel::select! {
                        recv(rx) -> _ => {}
                        default => quiet::<()>(6),
                    }
                });
                assert_eq!(payload, 6);
                let none = || quiet::<channel::Receiver<u32>>(7);
                assert_eq!(
                    payload_of::<_, u32>(|| channel::select! { recv(none()) -> _ => {} }),
                    7
                );
            });
        });
    });
}

/// A select, as everything that waits, in a thread that unwinds.
#[test]
fn a_select_in_a_drop_while_unwinding() {
    for_workers(|runtime| {
        runtime.run(|| {
            among_bystanders(|| {
                let (tx, rx) = channel::bounded(0);
                let (_quiet, never) = channel::unbounded::<u32>();
                let sender = go!(move || (0..10).try_for_each(|n| tx.send(n)));
                let payload: u32 = payload_of(|| {
                    let _selects = OnDrop(|| {
                        for n in 0..10 {
                            channel::select! {
                                recv(rx) -> value => assert_eq!(value, Ok(n)),
                                recv(never) -> _ => unreachable!(),
                            }
                            assert!(std::thread::panicking());
                        }
                    });
                    quiet::<()>(8)
                });
                assert_eq!(payload, 8);
                sender.join().unwrap().unwrap();
            });
        });
    });
}

/// A payload may be large, borrow nothing, and be dropped anywhere.
#[test]
fn payloads_arrive_intact_and_are_dropped_once() {
    struct Payload(Vec<u64>, [u8; 3000], #[expect(dead_code)] gthread_tests::Token);
    for_workers(|runtime| {
        let drops = Drops::new();
        for n in 0..20_u64 {
            let token = drops.token();
            let thread = runtime.spawn(move || {
                block_a_while(false);
                resume_unwind(Box::new(Payload(vec![n; 1000], [n as u8; 3000], token)));
            });
            let payload = thread.join().unwrap_err().downcast::<Payload>().unwrap();
            assert_eq!(drops.count(), n as usize);
            assert!(payload.0 == [n; 1000] && payload.1 == [n as u8; 3000]);
            // Through several hands.
            let payload: Payload = payload_of(|| {
                runtime
                    .run(|| gthread::join(|| gthread::scope(|_| resume_unwind(payload)), || ()).0)
            });
            assert!(payload.0 == [n; 1000] && payload.1 == [n as u8; 3000]);
        }
        assert_eq!(drops.count(), 20);
    });
}

/// Many at once, each at its own depth of panics: the counts of the OS threads come out even.
#[test]
fn panics_of_many_threads_do_not_mix() {
    fn descend(depth: u32, rx: &channel::Receiver<u32>) -> u32 {
        if depth == 0 {
            return rx.recv().unwrap();
        }
        let got = std::cell::Cell::new(0);
        let payload: u32 = payload_of(|| {
            let _descends = OnDrop(|| {
                assert!(std::thread::panicking());
                got.set(descend(depth - 1, rx));
                assert!(std::thread::panicking());
            });
            quiet::<()>(depth)
        });
        assert_eq!(payload, depth);
        got.get() + 1
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let threads: Vec<_> = (0..16)
                .map(|n| {
                    let rx = rx.clone();
                    go!(move || {
                        let depth = n % 4;
                        assert_eq!(descend(depth, &rx), 100 + depth);
                        assert!(!std::thread::panicking());
                    })
                })
                .collect();
            for _ in 0..16 {
                assert!(!std::thread::panicking());
                tx.send(100).unwrap();
                gthread::yield_now();
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        // Whatever OS thread they run on.
        let threads: Vec<_> = (0..30).map(|_| runtime.spawn(std::thread::panicking)).collect();
        assert!(threads.into_iter().all(|thread| !thread.join().unwrap()));
    });
}
