//! Joining for a while: by green and by OS threads, of one runtime or of another.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::{JoinHandle, Runtime, blocking, channel, go, no_switch, scope};
use gthread_tests::{
    Drops, Flag, LONG, SHORT, for_workers, runtime, stress, stress_time, under_chaos, watchdog,
};

/// Lets `joins` join threads of a runtime from everywhere: it is given what starts one.
fn from_everywhere(joins: impl Fn(&Runtime) + Sync) {
    for_workers(|of| {
        joins(of);
        of.run(|| joins(of));
        of.run(|| blocking(|| joins(of)));
        runtime(2).run(|| joins(of));
    });
}

#[test]
fn it_gives_the_result_or_the_handle() {
    from_everywhere(|of| {
        let (tx, rx) = channel::bounded::<u32>(0);
        let mut thread = of.spawn(move || rx.recv().unwrap() + 1);
        let id = thread.thread().id();
        for timeout in [Duration::ZERO, Duration::from_micros(50), SHORT, Duration::ZERO, SHORT] {
            let start = Instant::now();
            thread = thread.join_timeout(timeout).unwrap_err();
            assert!(start.elapsed() >= timeout);
            assert_eq!(thread.thread().id(), id);
        }
        tx.send(6).unwrap();
        assert_eq!(thread.join_timeout(LONG).unwrap().unwrap(), 7);
    });
}

#[test]
fn after_it_timed_out_all_is_as_before() {
    from_everywhere(|of| {
        let drops = Drops::new();
        let (tx, rx) = channel::bounded::<()>(0);
        let start = || {
            let (rx, token) = (rx.clone(), drops.token());
            let thread = of.spawn(move || {
                let _ = rx.recv();
                token
            });
            thread.join_timeout(Duration::from_micros(10)).unwrap_err()
        };
        let [joined, dropped, finished, again] = std::array::from_fn(|_| start());
        drop(dropped);
        assert!(!joined.is_finished());
        drop(tx);
        drop(joined.join().unwrap());
        gthread_tests::Way::green(1).until(|| finished.is_finished() && drops.count() == 2);
        // One that has ended is joined without waiting.
        drop(finished.join_timeout(Duration::ZERO).unwrap());
        drop(again.join_timeout(Duration::MAX).unwrap());
        assert_eq!(drops.count(), 4);
    });
}

#[test]
fn a_panic_is_a_result() {
    from_everywhere(|of| {
        let thread = of.spawn(|| resume_unwind(Box::new(5_u8)));
        let result: std::thread::Result<()> = thread.join_timeout(LONG).unwrap();
        assert_eq!(result.unwrap_err().downcast_ref(), Some(&5_u8));
    });
}

#[test]
fn a_thread_whose_runtime_is_dropped_is_an_error() {
    watchdog(gthread_tests::LIMIT, || {
        let joins = || {
            let gone = Runtime::builder().workers(1).report_leaks(gthread::Leaks::Ignore);
            let gone = gone.build().unwrap();
            let thread = gone.spawn(gthread::park);
            let late = gone.spawn(gthread::park);
            let waits = std::thread::spawn(|| thread.join_timeout(LONG).unwrap().unwrap_err());
            std::thread::sleep(SHORT);
            blocking(|| drop(gone));
            for error in [waits.join().unwrap(), late.join_timeout(LONG).unwrap().unwrap_err()] {
                assert!(error.downcast_ref::<&str>().unwrap().contains("runtime was dropped"));
            }
        };
        joins();
        runtime(1).run(joins);
    });
}

#[test]
fn scoped_threads_too() {
    for_workers(|runtime| {
        let body = || {
            let (tx, rx) = channel::bounded::<u32>(0);
            let text = String::from("text");
            let sum = scope(|s| {
                let thread = s.spawn(|| rx.recv().unwrap() as usize + text.len());
                let thread = thread.join_timeout(SHORT).unwrap_err();
                tx.send(1).unwrap();
                thread.join_timeout(LONG).unwrap().unwrap()
            });
            assert_eq!(sum, 5);
            // A panic that was joined does not count against the scope, one that was not joined in time does.
            let panics = || resume_unwind(Box::new(1));
            scope(|s| {
                let result: std::thread::Result<()> = s.spawn(panics).join_timeout(LONG).unwrap();
                assert!(result.is_err());
            });
            let (tx, rx) = channel::bounded::<()>(1);
            let not_joined = || {
                scope(|s| {
                    let thread = s.spawn(|| {
                        rx.recv().unwrap();
                        panics()
                    });
                    let thread: Result<std::thread::Result<()>, _> = thread.join_timeout(SHORT);
                    assert!(thread.is_err());
                    tx.send(()).unwrap();
                });
            };
            assert!(catch_unwind(AssertUnwindSafe(not_joined)).is_err());
        };
        body();
        runtime.run(body);
    });
}

/// The attempt has no effect, but that the handle is gone, as with `join`.
#[test]
fn not_inside_no_switch() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let thread = go!(move || tx.send(1));
            let joins = || no_switch(|| thread.join_timeout(LONG).is_ok());
            let payload = catch_unwind(AssertUnwindSafe(joins)).unwrap_err();
            assert!(payload.downcast_ref::<String>().unwrap().contains("no_switch"));
            assert_eq!(rx.recv(), Ok(1));
            // What does not wait may be done; chaos makes it a place to switch at.
            if under_chaos("what could switch does") {
                return;
            }
            let thread = go!(|| 2);
            gthread_tests::yield_until(|| thread.is_finished());
            let result = no_switch(|| thread.join_timeout(LONG));
            assert_eq!(result.unwrap().unwrap(), 2);
            let (_go_on, rx) = channel::bounded::<()>(0);
            let thread = go!(move || rx.recv().is_ok());
            assert!(no_switch(|| thread.join_timeout(Duration::ZERO)).is_err());
        });
    });
}

/// A dump says that it waits to join whom.
#[test]
fn a_dump_shows_who_joins() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<()>(0);
        let waits = runtime.spawn(move || rx.recv().is_err());
        let id = format!("{:?}", waits.thread().id());
        let joins = runtime.spawn(move || waits.join_timeout(LONG).unwrap().unwrap());
        gthread_tests::until(|| {
            let joined = runtime.dump().threads.iter().find_map(|thread| thread.wait?.thread);
            joined.is_some_and(|joined| format!("ThreadId({joined})") == id)
        });
        drop(tx);
        assert!(joins.join().unwrap());
    });
}

/// Ends and timeouts meet: each result comes once, and nothing is left behind.
#[test]
fn ends_and_timeouts_cross() {
    stress(|runtime, random| {
        let drops = Drops::new();
        let mut made = 0;
        let mut threads = Vec::new();
        for _ in 0..20 {
            made += 1;
            let (token, wait) = (drops.token(), random.micros(120));
            let thread = runtime.spawn(move || {
                gthread::sleep(wait);
                token
            });
            threads.push((thread, random.micros(120), random.one_in(3)));
        }
        let join = |(mut thread, timeout, gives_up): (JoinHandle<_>, _, _)| {
            loop {
                match thread.join_timeout(timeout) {
                    Ok(result) => break drop(result.unwrap()),
                    Err(_) if gives_up => break,
                    Err(handle) => thread = handle,
                }
            }
        };
        // By one another, and by an OS thread.
        let outside = threads.split_off(14);
        let inside = threads.split_off(7);
        let joiner = runtime.spawn(move || {
            let joiners: Vec<_> =
                inside.into_iter().map(|thread| go!(move || join(thread))).collect();
            joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
        });
        let os = std::thread::spawn(move || outside.into_iter().for_each(join));
        gthread_tests::runtime(1).run(move || threads.into_iter().for_each(join));
        os.join().unwrap();
        joiner.join().unwrap();
        gthread_tests::until(|| drops.count() == made);
    });
}

/// Many at once, each with a joiner of its own, of which many leave too early.
#[test]
fn a_crowd_of_joiners() {
    let rounds = 1 + (stress_time().as_secs() as usize);
    for_workers(|runtime| {
        for _ in 0..rounds {
            let (go_on, ended) = (Flag::new(), Arc::new(AtomicUsize::new(0)));
            let joiners: Vec<_> = (0..300)
                .map(|n| {
                    let (go_on, ended) = (go_on.clone(), Arc::clone(&ended));
                    runtime.spawn(move || {
                        let mut thread = go!(move || gthread_tests::yield_until(|| go_on.is_up()));
                        let timeout = if n % 3 == 0 { LONG } else { Duration::from_micros(n * 7) };
                        while let Err(handle) = thread.join_timeout(timeout) {
                            thread = handle;
                        }
                        ended.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            std::thread::sleep(SHORT);
            assert_eq!(ended.load(Ordering::Relaxed), 0);
            go_on.raise();
            joiners.into_iter().for_each(|joiner| joiner.join().unwrap());
            assert_eq!(ended.load(Ordering::Relaxed), 300);
        }
    });
}
