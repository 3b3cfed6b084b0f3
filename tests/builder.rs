//! What a `Builder` and a `RuntimeBuilder` are told.

use std::io::ErrorKind;
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
        assert!(runtime.metrics().picks > 0);
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
