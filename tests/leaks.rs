//! Green threads that are left when their runtime goes are reported, unless that is not wanted.
//!
//! Apart from other tests: whether everybody waits for ever is asked of all threads of a process, and if so the waits of all
//! are interrupted.

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
    let output = rerun!("what_is_printed_says_who_and_where", &[]);
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
    let unset = rerun!(name, &[]);
    assert_passed(&unset);
    assert!(stderr(&unset).contains(said), "{}", stderr(&unset));
    let quiet = rerun!(name, &[("GTHREAD_LEAKS", "ignore")]);
    assert_passed(&quiet);
    assert!(!stderr(&quiet).contains(said));
    let strict = rerun!(name, &[("GTHREAD_LEAKS", "panic")]);
    assert!(!strict.status.success());
    let wrong = rerun!(name, &[("GTHREAD_LEAKS", "nonsense")]);
    assert!(
        stderr(&wrong).contains("GTHREAD_LEAKS must be print or panic or ignore"),
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

/// Even if the test does not look at how the thread has ended that waited for ever.
#[test]
fn check_leaks_fails_what_waits_for_ever_unseen() {
    watchdog(LIMIT, || {
        let message = message(|| {
            testing::check_leaks(|| {
                let (tx, rx) = channel::bounded::<u32>(0);
                let waits = go!(move || rx.recv());
                let _ = waits.join();
                drop(tx);
            })
        });
        assert!(message.contains("everybody waited for ever"), "{message}");
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

/// What tests of a test-suite do that wait for ever, and one that does not. Nothing here; they run in a process of their own.
mod in_a_test_suite {
    use gthread::sync::Mutex;

    use super::*;

    fn recv_for_ever() {
        let (tx, rx) = channel::bounded::<u32>(0);
        let _ = rx.recv();
        drop(tx);
    }

    #[test]
    fn it_hangs_on_its_own_thread() {
        if is_child() {
            let (tx, rx) = channel::unbounded::<u32>();
            go!({
                let tx = tx.clone();
                move || tx.send(1).unwrap()
            });
            assert_eq!(rx.iter().sum::<u32>(), 1);
            drop(tx);
        }
    }

    #[test]
    fn it_hangs_in_run() {
        if is_child() {
            gthread::run(recv_for_ever);
        }
    }

    #[test]
    fn it_hangs_in_an_os_thread_that_it_joins() {
        if is_child() {
            // Where there is no runtime nobody looks.
            go!(|| ()).join().unwrap();
            std::thread::scope(|s| {
                s.spawn(recv_for_ever);
            });
        }
    }

    #[test]
    fn check_leaks_hangs() {
        if is_child() {
            testing::check_leaks(|| {
                let waits = go!(recv_for_ever);
                let lock = Mutex::new(());
                gthread::scope(|s| {
                    let _guard = lock.lock().unwrap();
                    s.spawn(|| drop(lock.lock()));
                    waits.join().unwrap();
                });
            });
        }
    }

    #[test]
    fn it_passes() {
        if is_child() {
            let thread = gthread::run(|| go!(|| gthread::sleep(Duration::from_millis(300))));
            thread.join().unwrap();
        }
    }
}

fn run_suite(threads: &str, variables: &[(&str, &str)]) -> (String, String) {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["in_a_test_suite", "--test-threads", threads]);
    command.env_remove("GTHREAD_DEADLOCK").env("GTHREAD_TEST_CHILD", "1");
    let output =
        command.env("RUST_BACKTRACE", "0").envs(variables.iter().copied()).output().unwrap();
    (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output))
}

/// The tests that hang fail, each by itself, and the others are run.
#[test]
fn tests_that_hang_fail() {
    for threads in ["1", "2", "5"] {
        let _watchdog = gthread_tests::Watchdog::new(LIMIT, threads);
        let (said, report) = run_suite(threads, &[("GTHREAD_DEADLOCK", "panic")]);
        assert!(said.contains("1 passed; 4 failed"), "{said}\n{report}");
        assert!(said.contains("it_passes ... ok"), "{said}");
        // By the names that libtest gives to its threads.
        assert!(report.contains("OS thread 'in_a_test_suite::it_hangs_in_run' ("), "{report}");
        assert!(report.contains("leaks.rs:") && said.contains("leaks.rs:"), "{report}\n{said}");
    }
}

#[test]
fn check_leaks_in_a_green_thread() {
    watchdog(LIMIT, || {
        let inside = || testing::check_leaks(|| go!(|| 5).join().unwrap());
        assert_eq!(gthread::run(inside), 5);
    });
}
