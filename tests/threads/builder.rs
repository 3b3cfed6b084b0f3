//! What a `Builder` and a `RuntimeBuilder` are told.

use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gthread::{Builder, Runtime, channel, go};
use gthread_tests::{Drops, LIMIT, for_workers, os_thread_names, runtime, use_stack, watchdog};

#[test]
fn a_name_is_seen_inside_and_outside() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<()>(0);
            let named = Builder::new()
                .name("bee".into())
                .spawn(move || {
                    rx.recv().unwrap();
                    gthread::current().name().map(str::to_owned)
                })
                .unwrap();
            assert_eq!(named.thread().name(), Some("bee"));
            assert!(format!("{:?}", named.thread()).contains("bee"));
            tx.send(()).unwrap();
            assert_eq!(named.join().unwrap().as_deref(), Some("bee"));
            assert_eq!(go!(|| gthread::current().name().map(str::to_owned)).join().unwrap(), None);
        });
    });
}

/// What was to run is dropped in the thread that wanted it to, where that may do anything: suspend, and go on on another OS
/// thread, and start others. In debug builds the runtime looks whether it may suspend there.
#[test]
fn what_a_refused_spawn_drops_may_suspend() {
    struct Suspends(Drops);
    impl Drop for Suspends {
        fn drop(&mut self) {
            gthread::yield_now();
            gthread::sleep(Duration::from_micros(20));
            assert_eq!(go!(|| 3).join().unwrap(), 3);
            drop(self.0.token());
        }
    }
    for_workers(|runtime| {
        let drops = &Drops::new();
        runtime.run(|| {
            gthread::scope(|s| {
                for n in 0..4 {
                    let refused = move || {
                        let value = Suspends(drops.clone());
                        Builder::new()
                            .stack_size(usize::MAX / 2)
                            .queued(n % 2 == 1)
                            .pinned(n / 2 == 1)
                            .spawn(move || drop(value))
                    };
                    s.spawn(move || {
                        for _ in 0..20 {
                            assert_eq!(refused().unwrap_err().kind(), ErrorKind::InvalidInput);
                        }
                    });
                    // Nor is its thread counted, or its name kept.
                    s.spawn(move || {
                        let value = Suspends(drops.clone());
                        let wish = Builder::new().name("big".into()).stack_size(usize::MAX / 2);
                        wish.spawn_scoped(s, move || drop(value)).unwrap_err();
                    });
                }
            });
        });
        assert_eq!(drops.count(), 4 * 21);
    });
}

#[test]
fn an_os_thread_has_its_own_name() {
    let name = || gthread::current().name().map(str::to_owned);
    let thread = std::thread::Builder::new().name("plain".into()).spawn(name).unwrap();
    assert_eq!(thread.join().unwrap().as_deref(), Some("plain"));
}

#[test]
fn a_deep_recursion_fits_in_the_stack_asked_for() {
    for_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..5 {
                let deep = Builder::new().stack_size(4 << 20).spawn(|| use_stack(4000 << 10));
                assert!(deep.unwrap().join().unwrap() > 100);
            }
        });
    });
}

#[test]
fn every_size_up_to_the_limit_is_given() {
    for_workers(|runtime| {
        runtime.run(|| {
            for size in [0, 1, 4096, 16 << 10, 100_000, 1 << 20, 64 << 20, 1 << 30] {
                let thread = Builder::new().stack_size(size).spawn(move || size).unwrap();
                assert_eq!(thread.join().unwrap(), size);
            }
        });
    });
}

#[test]
fn the_default_size_is_a_quarter_of_a_mebibyte() {
    watchdog(LIMIT, || {
        runtime(1).run(|| use_stack(200 << 10));
        let large = Runtime::builder().workers(1).stack_size(3 << 20).build().unwrap();
        large.run(|| use_stack(3000 << 10));
        large.run(|| go!(|| use_stack(3000 << 10)).join().unwrap());
    });
}

#[test]
fn too_large_a_stack_is_an_error() {
    for_workers(|runtime| {
        for size in [(1 << 30) + 1, usize::MAX / 2, usize::MAX] {
            let spawn = || Builder::new().stack_size(size).spawn(|| ()).unwrap_err();
            for error in [runtime.run(spawn), spawn()] {
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains(&size.to_string()), "{error}");
            }
            let scoped = gthread::scope(|s| {
                Builder::new().stack_size(size).spawn_scoped(s, || ()).unwrap_err().kind()
            });
            assert_eq!(scoped, ErrorKind::InvalidInput);
        }
    });
    let error = Runtime::builder().stack_size(usize::MAX).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_closure_that_is_not_started_is_dropped() {
    watchdog(LIMIT, || {
        let drops = gthread_tests::Drops::new();
        let token = drops.token();
        let refused = Builder::new().stack_size(usize::MAX).spawn(move || drop(token));
        assert!(refused.is_err());
        assert_eq!(drops.count(), 1);
    });
}

#[test]
fn absurd_numbers_of_workers_are_an_error() {
    for workers in [0, 1025, usize::MAX] {
        let error = Runtime::builder().workers(workers).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("1 to 1024"), "{error}");
    }
}

#[test]
fn workers_are_counted_and_named() {
    watchdog(LIMIT, || {
        let runtime = Runtime::builder().workers(3).name("hive").build().unwrap();
        assert_eq!(runtime.metrics().workers, 3);
        gthread_tests::until(|| {
            let names = os_thread_names();
            (0..3).all(|n| names.contains(&format!("hive-{n}")))
        });
        assert_eq!(runtime.run(|| 1), 1);
        assert!(runtime.metrics().task_switches > 0);
    });
}

#[test]
fn queued_leaves_the_spawner_where_it_is() {
    for_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..100 {
                let before = gthread_tests::os_thread_id();
                let child = Builder::new().queued(true).spawn(|| 1).unwrap();
                assert_eq!(gthread_tests::os_thread_id(), before, "spawn was a suspension point");
                assert_eq!(child.join().unwrap(), 1);
            }
        });
    });
}

#[test]
fn all_at_once() {
    for_workers(|runtime| {
        runtime.run(|| {
            let thread = Builder::new()
                .name("all".into())
                .stack_size(1 << 20)
                .pinned(true)
                .queued(true)
                .spawn(|| (use_stack(900 << 10), gthread::current().name().map(str::to_owned)))
                .unwrap();
            assert_eq!(thread.join().unwrap().1.as_deref(), Some("all"));
        });
    });
}

/// As std's.
#[test]
fn a_name_with_a_nul_panics_at_the_spawn() {
    for_workers(|runtime| {
        let drops = gthread_tests::Drops::new();
        let named = || Builder::new().name("a\0b".into());
        let spawns: [&(dyn Fn() + Sync); 4] = [
            &|| drop(std::thread::Builder::new().name("a\0b".into()).spawn(|| ())),
            &|| {
                let token = drops.token();
                drop(named().spawn(move || drop(token)));
            },
            &|| drop(named().queued(true).pinned(true).spawn(|| ())),
            &|| gthread::scope(|s| drop(named().spawn_scoped(s, || ()))),
        ];
        for spawn in spawns {
            let spawns = || catch_unwind(AssertUnwindSafe(spawn)).is_err();
            assert!(spawns());
            assert!(runtime.run(spawns));
        }
        assert_eq!(drops.count(), 2, "what was not started is dropped");
        runtime.run(|| go!(|| ()).join().unwrap());
    });
}

#[test]
fn a_runtimes_name_with_a_nul_is_an_error() {
    for name in ["\0", "a\0b", "bee\0"] {
        let error = Runtime::builder().name(name).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("name must not contain a NUL byte"), "{error}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
}

/// Any other name will do. One that has ends of lines in it looks like no line of its own.
#[test]
fn odd_names_stay_in_their_line() {
    let odd =
        ["", " ", "it's \"odd\"", "two\nlines", "\u{1b}[31mred\r", "größer als fünfzehn 字", "\\"];
    for name in odd {
        watchdog(LIMIT, || {
            let runtime = Runtime::builder().workers(1).name(name).build().unwrap();
            let (tx, rx) = channel::bounded::<()>(0);
            let thread = runtime.run(|| {
                let waits = move || rx.recv().is_err();
                Builder::new().name(name.into()).spawn(waits).unwrap()
            });
            assert_eq!(thread.thread().name(), Some(name));
            let dump = runtime.dump();
            assert_eq!((&*dump.name, dump.threads[0].name.as_deref()), (name, Some(name)));
            let text = dump.to_string();
            let escaped = name.escape_debug();
            assert!(text.starts_with(&format!("runtime '{escaped}': ")), "{text}");
            let title = format!("thread {} '{escaped}' ", dump.threads[0].id);
            assert!(text.lines().any(|line| line.starts_with(&title)), "no {title}: {text}");
            assert!(!text.contains(['\r', '\u{1b}']), "{text:?}");
            drop(tx);
            assert!(thread.join().unwrap());
        });
    }
}

#[test]
fn a_thread_is_started_in_a_given_runtime() {
    for_workers(|here| {
        let there = Runtime::builder().workers(2).name("there").build().unwrap();
        let is_there = || {
            let name = std::thread::current().name().unwrap().to_owned();
            (gthread::current().name() == Some("named"), name.starts_with("there-"))
        };
        let body = || {
            for pinned in [false, true] {
                let before = gthread_tests::os_thread_id();
                let builder =
                    Builder::new().name("named".into()).stack_size(1 << 20).pinned(pinned);
                let thread = builder.spawn_in(&there, move || (use_stack(900 << 10), is_there()).1);
                assert_eq!(gthread_tests::os_thread_id(), before, "it was a suspension point");
                assert_eq!(thread.unwrap().join().unwrap(), (true, true));
            }
            // What it starts is there too, also from a thread of that runtime.
            let inside = Builder::new().name("named".into()).spawn_in(&there, move || {
                Builder::new().name("named".into()).spawn(is_there).unwrap().join().unwrap()
            });
            assert_eq!(inside.unwrap().join().unwrap(), (true, true));
            let again = there.run(|| Builder::new().spawn_in(&there, is_there).unwrap().join());
            assert_eq!(again.unwrap(), (false, true));
            let error = Builder::new().stack_size(usize::MAX).spawn_in(&there, || ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let nul = || Builder::new().name("\0".into()).spawn_in(&there, || ()).is_ok();
            assert!(catch_unwind(AssertUnwindSafe(nul)).is_err());
        };
        body();
        here.run(body);
    });
}

#[test]
fn a_new_runtime_has_the_defaults() {
    watchdog(LIMIT, || {
        let new = Runtime::new().unwrap();
        let built = Runtime::builder().build().unwrap();
        assert_eq!(new.metrics().workers, built.metrics().workers);
        assert_eq!(new.run(|| go!(|| 1).join().unwrap()), 1);
        let inside =
            |runtime: &Runtime| runtime.spawn(|| std::thread::current().name().map(String::from));
        let name = inside(&new).join().unwrap().unwrap();
        assert!(name.starts_with("gthread-"), "{name}");
    });
}
