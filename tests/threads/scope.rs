//! Scopes: green threads that borrow, and end before the scope does. Panics as std.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::{Builder, scope};
use gthread_tests::{Drops, Flag, LIMIT, for_workers, stress_time, watchdog, yield_often};

/// Runs `body` in a green thread of each runtime, and on an OS thread.
fn green_and_os(body: impl Fn() + Send + Sync) {
    for_workers(|runtime| runtime.run(&body));
    watchdog(LIMIT, &body);
}

#[test]
fn threads_borrow_and_give_results() {
    green_and_os(|| {
        let numbers = vec![1, 2, 3];
        let mut last = 0;
        let sum = scope(|s| {
            let sum = s.spawn(|| numbers.iter().sum::<u32>());
            let len = s.spawn(|| numbers.len());
            s.spawn(|| last = *numbers.last().unwrap());
            sum.join().unwrap() + u32::try_from(len.join().unwrap()).unwrap()
        });
        assert_eq!((sum, last), (9, 3));
        drop(numbers);
    });
}

#[test]
fn it_waits_for_threads_that_nobody_joined() {
    green_and_os(|| {
        let ended = AtomicUsize::new(0);
        scope(|s| {
            for _ in 0..50 {
                s.spawn(|| {
                    yield_often();
                    ended.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(ended.load(Ordering::Relaxed), 50);
    });
}

#[test]
fn scopes_nest() {
    green_and_os(|| {
        let ended = AtomicUsize::new(0);
        let count = || _ = ended.fetch_add(1, Ordering::Relaxed);
        scope(|outer| {
            for _ in 0..5 {
                outer.spawn(|| {
                    scope(|inner| {
                        inner.spawn(count);
                        // A thread of the outer scope, started in the inner one.
                        outer.spawn(count);
                    });
                    count();
                });
            }
        });
        assert_eq!(ended.load(Ordering::Relaxed), 15);
    });
}

#[test]
fn threads_start_threads_in_the_same_scope() {
    fn chain<'scope>(
        s: &'scope gthread::Scope<'scope, '_>,
        left: usize,
        ended: &'scope AtomicUsize,
    ) {
        ended.fetch_add(1, Ordering::Relaxed);
        if left > 0 {
            s.spawn(move || chain(s, left - 1, ended));
        }
    }
    green_and_os(|| {
        let ended = AtomicUsize::new(0);
        scope(|s| chain(s, 300, &ended));
        assert_eq!(ended.load(Ordering::Relaxed), 301);
    });
}

fn caught<T>(f: impl FnOnce() -> T) -> Option<Box<dyn std::any::Any + Send>> {
    catch_unwind(AssertUnwindSafe(f)).err()
}

#[test]
fn a_panic_that_was_joined_is_the_joiners() {
    green_and_os(|| {
        let payload: Result<(), _> = scope(|s| s.spawn(|| resume_unwind(Box::new(7_u32))).join());
        assert_eq!(payload.unwrap_err().downcast_ref(), Some(&7_u32));
    });
}

#[test]
fn a_panic_that_was_not_joined_is_the_scopes() {
    green_and_os(|| {
        let ended = Flag::new();
        let payload = caught(|| {
            scope(|s| {
                drop(s.spawn(|| resume_unwind(Box::new(7_u32))));
                let ended = &ended;
                s.spawn(move || {
                    yield_often();
                    ended.raise();
                });
            });
        });
        // A message of its own, as std, and after the others have ended.
        assert!(payload.unwrap().downcast_ref::<&str>().unwrap().contains("panicked"));
        assert!(ended.is_up());
    });
}

#[test]
fn a_panic_of_the_scopes_own_comes_first_and_waits() {
    green_and_os(|| {
        let ended = Flag::new();
        let payload = caught(|| {
            scope(|s| {
                s.spawn(|| {
                    yield_often();
                    ended.raise();
                    resume_unwind(Box::new(8_u32));
                });
                resume_unwind(Box::new(9_u32));
            });
        });
        assert_eq!(payload.unwrap().downcast_ref(), Some(&9_u32));
        assert!(ended.is_up());
    });
}

#[test]
fn results_are_dropped_once_joined_or_not() {
    green_and_os(|| {
        let (results, closures) = (Drops::new(), Drops::new());
        scope(|s| {
            let thread = |yields: bool| {
                let (result, closure) = (results.token(), closures.token());
                s.spawn(move || {
                    if yields {
                        yield_often();
                    }
                    drop(closure);
                    result
                })
            };
            drop(thread(false).join().unwrap());
            drop(thread(true).join().unwrap());
            drop(thread(false));
            drop(thread(true));
            let finished = thread(false);
            gthread_tests::yield_until(|| finished.is_finished());
            drop(finished);
        });
        assert_eq!((results.count(), closures.count()), (5, 5));
    });
}

#[test]
fn a_built_thread_is_scoped_too() {
    green_and_os(|| {
        let word = String::from("borrowed");
        scope(|s| {
            let builder = Builder::new().name("scoped".into()).queued(true);
            let thread = builder.spawn_scoped(s, || word.len()).unwrap();
            assert_eq!(thread.thread().name(), Some("scoped"));
            assert_eq!(thread.join().unwrap(), 8);
        });
    });
}

#[test]
fn a_scope_inside_of_blocking_and_on_a_pinned_thread() {
    for_workers(|runtime| {
        let ended = runtime.run(|| {
            let ended = AtomicUsize::new(0);
            let count = || _ = ended.fetch_add(1, Ordering::Relaxed);
            gthread::blocking(|| {
                scope(|s| {
                    s.spawn(count);
                });
            });
            scope(|s| {
                let pinned = Builder::new().pinned(true);
                pinned
                    .spawn_scoped(s, || {
                        scope(|s| {
                            s.spawn(count);
                        })
                    })
                    .unwrap();
            });
            ended.into_inner()
        });
        assert_eq!(ended, 2);
    });
}

/// The count of running threads may reach zero and rise again before the scope ends. A wake that is
/// late from the first time must not end the scope.
#[test]
fn it_never_ends_early() {
    let end = std::time::Instant::now() + stress_time() / 3;
    for_workers(|runtime| {
        for round in 0.. {
            if round % 50 == 0 && std::time::Instant::now() > end && round > 0 {
                break;
            }
            let ended = Flag::new();
            let others = Flag::new();
            scope(|s| {
                let _ = &runtime;
                s.spawn(|| {});
                gthread::yield_now();
                s.spawn(|| {
                    others.raise();
                    yield_often();
                    ended.raise();
                });
            });
            assert!(ended.is_up(), "the scope ended before its thread");
            runtime.run(|| {
                let ended = Flag::new();
                scope(|s| {
                    s.spawn(|| {});
                    s.spawn(gthread::yield_now);
                    gthread::yield_now();
                    s.spawn(|| {
                        (0..5).for_each(|_| gthread::yield_now());
                        ended.raise();
                    });
                });
                assert!(ended.is_up(), "the scope ended before its thread");
            });
        }
    });
}
