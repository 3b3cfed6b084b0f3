//! Green threads that are left when their runtime goes are reported, unless that is not wanted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use gthread::{Leaks, Runtime, channel, go, testing};
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, stderr, until, watchdog};

fn build(leaks: Leaks) -> Runtime {
    Runtime::builder().workers(2).name("leaky").report_leaks(leaks).build().unwrap()
}

fn message(panics: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(panics)).expect_err("no panic");
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().unwrap().to_string(),
    }
}

#[test]
fn threads_that_are_left_make_the_drop_panic() {
    watchdog(LIMIT, || {
        let runtime = build(Leaks::Panic);
        for _ in 0..3 {
            drop(runtime.spawn(gthread::park));
        }
        runtime.run(gthread_tests::yield_often);
        let message = message(|| drop(runtime));
        assert!(message.contains("dropped before 3 of its green threads"), "{message}");
    });
}

#[test]
fn a_runtime_without_leaks_is_dropped_quietly() {
    watchdog(LIMIT, || {
        let runtime = build(Leaks::Panic);
        // Ended, handle kept: that is no leak.
        let kept = runtime.spawn(|| 1);
        let thread = runtime.spawn(|| 2).thread().clone();
        until(|| kept.is_finished());
        runtime.run(|| go!(gthread::yield_now).join().unwrap());
        drop(runtime);
        assert_eq!(kept.join().unwrap(), 1);
        drop(thread);
    });
}

#[test]
fn one_that_never_started_is_left_too() {
    watchdog(LIMIT, || {
        let runtime = Runtime::builder().workers(1).report_leaks(Leaks::Panic).build().unwrap();
        // The runtime ends while its only worker is in the thread that drops it; another is queued behind.
        let (tx, rx) = channel::bounded::<Runtime>(1);
        let drops = runtime.spawn(move || {
            gthread::Builder::new().queued(true).spawn(|| ()).unwrap();
            drop::<Runtime>(rx.recv().unwrap());
        });
        tx.send(runtime).unwrap();
        // Inside it cannot panic.
        until(|| drops.is_finished());
        assert!(drops.join().is_ok());
    });
}

#[test]
fn a_panic_is_not_made_two() {
    watchdog(LIMIT, || {
        let runtime = build(Leaks::Panic);
        drop(runtime.spawn(gthread::park));
        let message = message(move || {
            let _runtime = runtime;
            panic!("the first");
        });
        assert_eq!(message, "the first");
    });
}

#[test]
fn what_is_printed_says_who_and_where() {
    if is_child() {
        let runtime = build(Leaks::Print);
        let (tx, rx) = channel::bounded::<u32>(0);
        drop(runtime.spawn(move || rx.recv()));
        runtime.run(gthread_tests::yield_often);
        drop(runtime);
        drop(tx);
        return;
    }
    let output = rerun("what_is_printed_says_who_and_where", &[]);
    assert_passed(&output);
    let text = stderr(&output);
    assert!(text.contains("runtime 'leaky' was dropped before 1 of its green threads"), "{text}");
    assert!(text.contains("is parked in recv") && text.contains("leaks.rs"), "{text}");
}

#[test]
fn the_environment_asks_for_it() {
    if is_child() {
        let runtime = Runtime::builder().workers(1).build().unwrap();
        drop(runtime.spawn(gthread::park));
        runtime.run(gthread_tests::yield_often);
        return drop(runtime);
    }
    let name = "the_environment_asks_for_it";
    let said = "was dropped before 1 of its green threads had ended";
    let unset = rerun(name, &[]);
    assert_passed(&unset);
    assert!(stderr(&unset).contains(said), "{}", stderr(&unset));
    let quiet = rerun(name, &[("GTHREAD_LEAKS", "ignore")]);
    assert_passed(&quiet);
    assert!(!stderr(&quiet).contains(said));
    let strict = rerun(name, &[("GTHREAD_LEAKS", "panic")]);
    assert!(!strict.status.success());
    let wrong = rerun(name, &[("GTHREAD_LEAKS", "nonsense")]);
    assert!(
        stderr(&wrong).contains("GTHREAD_LEAKS is print or panic or ignore"),
        "{}",
        stderr(&wrong)
    );
}

#[test]
fn check_leaks_gives_the_result_of_what_leaves_nothing() {
    watchdog(LIMIT, || {
        let word = String::from("borrowed");
        let length = testing::check_leaks(|| {
            let (tx, rx) = channel::bounded(0);
            // It ends after the test does, because it notices then.
            go!(move || {
                for () in rx {}
                gthread::sleep(Duration::from_millis(50));
            });
            tx.send(()).unwrap();
            word.len()
        });
        assert_eq!(length, 8);
    });
}

#[test]
fn check_leaks_fails_for_what_stays() {
    watchdog(LIMIT, || {
        let (tx, rx) = channel::bounded::<u32>(0);
        let message = message(|| testing::check_leaks(|| drop(go!(move || rx.recv()))));
        assert!(message.contains("1 green threads had not ended"), "{message}");
        drop(tx);
    });
}

#[test]
fn check_leaks_passes_panics_on() {
    watchdog(LIMIT, || {
        let message = message(|| {
            testing::check_leaks(|| {
                go!(gthread::park);
                panic!("on");
            })
        });
        assert_eq!(message, "on");
    });
}

#[test]
fn check_leaks_in_a_green_thread() {
    watchdog(LIMIT, || {
        let inside = || testing::check_leaks(|| go!(|| 5).join().unwrap());
        assert_eq!(gthread::run(inside), 5);
    });
}
