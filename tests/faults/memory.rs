//! Memory for stacks.

use std::any::Any;
use std::ffi::c_int;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gthread::context::Context;
use gthread::{Builder, JoinHandle, Runtime, channel, go};
use gthread_tests::{Drops, runtime, unhelped};

use crate::alone;
use crate::inject::{Call, refuse, refuse_after};

/// The text of a panic.
fn text(payload: &(dyn Any + Send)) -> String {
    payload.downcast_ref::<String>().cloned().expect("a formatted message")
}

/// Starts threads that wait until no more can be started, in every way there is, and sees that the error
/// has the parts, that the threads which wait are unharmed, and that no closure is lost.
fn until_refused(parts: &[&str]) -> usize {
    let (tx, rx) = channel::bounded::<()>(0);
    let drops = Drops::new();
    let mut made = 0;
    let mut token = || {
        made += 1;
        drops.token()
    };
    let mut waiting: Vec<JoinHandle<bool>> = Vec::new();
    let error = loop {
        let (rx, token) = (rx.clone(), token());
        let wait = move || {
            let _token = token;
            rx.recv().is_err()
        };
        match Builder::new().spawn(wait) {
            Ok(thread) => waiting.push(thread),
            Err(error) => break error,
        }
    };
    let check = |text: String| {
        parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?}: {text}"));
    };
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    check(error.to_string());
    // The one that was refused is dropped.
    assert_eq!(drops.count(), 1);
    let ways: [(&str, &dyn Fn(gthread_tests::Token)); 5] = [
        ("go!", &|token| drop(go!(move || drop(token)))),
        ("scope", &|token| gthread::scope(|scope| _ = scope.spawn(move || drop(token)))),
        ("join", &|token| _ = gthread::join(move || drop(token), || ())),
        ("WaitGroup", &|token| drop(gthread::sync::WaitGroup::new().go(move || drop(token)))),
        ("with_stack", &|token| gthread::with_stack(200 << 10, move || drop(token))),
    ];
    for (way, start) in ways {
        let (before, token) = (drops.count(), token());
        match catch_unwind(AssertUnwindSafe(|| start(token))) {
            // `join` may do without: its caller's stack is there.
            Ok(()) => println!("{way} does without"),
            Err(payload) => check(text(&*payload)),
        }
        // A stack that came back may serve a detached one, which ends when it likes.
        gthread_tests::yield_until(|| drops.count() > before);
        assert_eq!(drops.count(), before + 1, "{way}");
    }
    assert!(waiting.iter().all(|thread| !thread.is_finished()));
    drop(tx);
    let count = waiting.len();
    assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
    assert_eq!(drops.count(), made);
    count
}

/// As many as fit in several reservations.
fn plenty() {
    let (tx, rx) = channel::bounded::<()>(0);
    let start = |n| {
        let rx = rx.clone();
        go!(move || rx.recv().map_or(n, |()| 0))
    };
    let threads: Vec<_> = (0..600).map(start).collect();
    drop(tx);
    let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(sum, 599 * 300);
}

/// Refused from the start, and again amid others, on one worker and on two; then all is well.
fn refused(call: Call, error: c_int, parts: &[&str]) {
    for workers in [1, 2] {
        // Not even the first.
        let first: Runtime = runtime(workers);
        {
            let _refused = refuse(call, error);
            let payload = catch_unwind(AssertUnwindSafe(|| first.run(|| ()))).unwrap_err();
            let text = text(&*payload);
            parts.iter().for_each(|part| assert!(text.contains(part), "no {part:?}: {text}"));
        }
        first.run(plenty);
        let runtime = runtime(workers);
        runtime.run(|| {
            // Some there are.
            go!(|| ()).join().unwrap();
            for _ in 0..2 {
                let refused = refuse(call, error);
                until_refused(parts);
                drop(refused);
                plenty();
            }
        });
    }
}

#[test]
fn address_space_is_refused() {
    alone("memory::address_space_is_refused", &[], || {
        let parts = ["cannot reserve", "ulimit -v", "vm.overcommit_memory", "GTHREAD_STACK_SIZE"];
        refused(Call::Reserve, libc::ENOMEM, &parts);
    });
}

/// Where little is left, it is used.
#[test]
fn much_address_space_is_refused() {
    alone("memory::much_address_space_is_refused", &[], || {
        let refused = refuse(Call::ReserveMuch, libc::ENOMEM);
        runtime(1).run(plenty);
        // As the size is halved each time.
        println!("{} reservations were refused", refused.count());
    });
}

#[test]
fn cheap_guards_are_refused() {
    alone("memory::cheap_guards_are_refused", &[], || {
        refused(Call::Guard, libc::ENOMEM, &["cannot guard", "os error 12", "memory.max"]);
    });
}

/// What the kernel does not know has a substitute.
#[test]
fn cheap_guards_are_unknown() {
    alone("memory::cheap_guards_are_unknown", &[], || {
        let _refused = refuse(Call::Guard, libc::EINVAL);
        runtime(2).run(|| {
            plenty();
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let guards = maps.lines().filter(|map| map.contains("---p")).count();
            assert!(guards > 500, "{guards}");
        });
    });
}

/// One map too many: what is guarded by then is used.
#[test]
fn some_of_a_batch_are_guarded() {
    alone("memory::some_of_a_batch_are_guarded", &[], || {
        const GUARDED: usize = 5;
        // Who was refused this once does without from then on.
        let _batches = refuse(Call::AdviseMany, libc::EPERM);
        let count = unhelped(|runtime| {
            let count = {
                let _refused = refuse_after(GUARDED, Call::Guard, libc::ENOMEM);
                runtime.run(|| until_refused(&["cannot guard"]))
            };
            runtime.run(plenty);
            count
        });
        // One of them is the thread that starts the others.
        assert_eq!(count, GUARDED - 1);
    });
}

#[test]
fn guards_that_take_maps_are_refused() {
    let name = "memory::guards_that_take_maps_are_refused";
    alone(name, &[("GTHREAD_GUARD", "mprotect")], || {
        let parts = ["cannot guard", "os error 12", "vm.max_map_count is ", "sysctl -w"];
        refused(Call::Protect, libc::ENOMEM, &parts);
    });
}

/// What is to be called when a context has ended is called where that is, if there is no stack for it.
#[test]
fn calls_after_a_context_need_no_stack() {
    alone("memory::calls_after_a_context_need_no_stack", &[], || {
        for workers in [1, 2] {
            runtime(workers).run(|| {
                let (ctx, cancel) = Context::background().with_cancel();
                let (seen, calls) = channel::unbounded();
                for panics in [false, true, false] {
                    let seen = seen.clone();
                    let _ = ctx.after_func(move || {
                        seen.send(gthread::current().id()).unwrap();
                        assert!(!panics, "on purpose");
                    });
                }
                let (tx, rx) = channel::bounded::<()>(0);
                let refused = refuse(Call::Guard, libc::ENOMEM);
                let wait = || {
                    let rx = rx.clone();
                    Builder::new().queued(true).spawn(move || rx.recv().is_err())
                };
                let waiting: Vec<_> = std::iter::from_fn(|| wait().ok()).collect();
                cancel.cancel();
                let here = gthread::current().id();
                assert_eq!(calls.try_iter().collect::<Vec<_>>(), [here; 3]);
                drop((tx, refused));
                assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
                assert_eq!(seen.len(), 0);
            });
        }
    });
}

/// Advice is only that: without it things are slower, or larger.
#[test]
fn advice_is_refused() {
    alone("memory::advice_is_refused", &[], || {
        for error in [libc::ENOMEM, libc::EINVAL, libc::EAGAIN, libc::EPERM] {
            let refusals = [
                refuse(Call::Populate, error),
                refuse(Call::NoHugePages, error),
                refuse(Call::GiveBack, error),
                refuse(Call::Residency, error),
            ];
            // Which gives every stack back when its thread has ended.
            let runtime = Runtime::builder().workers(2).profile_stacks(true).build().unwrap();
            runtime.run(plenty);
            let used = runtime.run(|| go!(gthread::stack_high_water).join().unwrap());
            println!("{used:?} bytes of stack are said to be used");
            assert!(refusals.iter().all(|refused| refused.count() > 0));
        }
    });
}
