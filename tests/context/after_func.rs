//! What is called once a context has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::channel::{Sender, bounded, unbounded};
use gthread::context::{Context, Error};
use gthread_tests::{Drops, LONG, SHORT, Way, every_way, for_workers, yield_until};

every_way!(
    it_is_called_once_after_the_end,
    it_is_called_after_a_deadline,
    one_that_is_stopped_is_not_called,
    it_is_called_if_the_deadline_has_passed_when_the_context_goes,
    all_calls_of_a_context_are_made,
    calls_may_arrange_for_others,
    it_is_called_though_everybody_has_left,
    not_without_an_end,
    of_stop_and_end_one_wins,
    it_is_called_though_the_runtime_of_the_first_is_dropped,
);

fn it_is_called_once_after_the_end(on: Way) {
    let (ctx, cancel) = Context::background().with_cancel();
    let (tx, rx) = bounded(10);
    let seen = ctx.clone();
    let call = tx.clone();
    let after = ctx.after_func(move || call.send(seen.err().is_some()).unwrap());
    on.lull();
    assert!(rx.try_recv().is_err());
    cancel.cancel();
    assert_eq!(rx.recv(), Ok(true));
    assert!(!after.stop());
    // At once if it has ended.
    let late = ctx.after_func(move || tx.send(false).unwrap());
    assert_eq!(rx.recv(), Ok(false));
    assert!(!late.stop());
    assert!(rx.recv().is_err(), "called again");
}

/// A context outlives the runtime in which something was arranged for it first.
fn it_is_called_though_the_runtime_of_the_first_is_dropped(_: Way) {
    let (ctx, _cancel) = Context::background().with_timeout(SHORT * 5);
    let (tx, rx) = bounded(2);
    let dropped = gthread_tests::runtime(1);
    let (first, again) = (tx.clone(), ctx.clone());
    dropped.run(move || drop(again.after_func(move || first.send(1).unwrap())));
    drop(dropped);
    drop(ctx.after_func(move || tx.send(2).unwrap()));
    let mut calls = [rx.recv().unwrap(), rx.recv().unwrap()];
    calls.sort_unstable();
    assert_eq!(calls, [1, 2]);
}

fn it_is_called_after_a_deadline(on: Way) {
    on.spawn(|| {
        let (ctx, cancel) = Context::background().with_timeout(SHORT);
        let (tx, rx) = bounded(1);
        let _ = ctx.after_func(move || tx.send(()).unwrap());
        cancel.disarm();
        rx.recv_timeout(LONG).unwrap();
    })
    .join();
}

fn one_that_is_stopped_is_not_called(on: Way) {
    let drops = Drops::new();
    let token = drops.token();
    let (ctx, cancel) = Context::background().with_cancel();
    let after = ctx.after_func(move || {
        let _token = token;
        panic!("it was stopped");
    });
    on.lull();
    assert!(after.stop());
    assert_eq!(drops.count(), 1, "what it would have used is gone");
    assert!(!after.stop());
    cancel.cancel();
}

/// Whoever drops the context after its deadline has ended it, though nobody else has noticed.
fn it_is_called_if_the_deadline_has_passed_when_the_context_goes(on: Way) {
    on.spawn(move || {
        for n in 0..30 {
            let (ctx, cancel) = Context::background().with_timeout(Duration::from_micros(n * 20));
            let (tx, rx) = bounded(1);
            let (drops, deadline) = (Drops::new(), ctx.deadline().unwrap());
            let token = drops.token();
            let _ = ctx.after_func(move || {
                let _token = token;
                tx.send(()).unwrap();
            });
            cancel.disarm();
            while Instant::now() < deadline {
                on.yield_now();
            }
            drop(ctx);
            rx.recv_timeout(LONG).unwrap();
            on.until(|| drops.count() == 1);
        }
    })
    .join();
}

fn all_calls_of_a_context_are_made(on: Way) {
    on.spawn(move || {
        let (top, cancel) = Context::background().with_cancel();
        let (timed, _cancel_timed) = top.with_timeout(LONG);
        let (low, _cancel_low) = timed.with_cancel();
        let (tx, rx) = unbounded();
        let arrange = |ctx: &Context, n: u32| {
            let (seen, tx) = (ctx.clone(), tx.clone());
            ctx.after_func(move || {
                assert_eq!(seen.err(), Some(Error::Canceled));
                tx.send(n).unwrap();
            })
        };
        let calls: Vec<_> = [&low, &top, &timed, &low, &top, &timed]
            .into_iter()
            .zip(0..)
            .map(|(ctx, n)| arrange(ctx, n))
            .collect();
        assert!(calls[3].stop());
        cancel.cancel();
        assert!(calls.iter().all(|call| !call.stop()));
        drop(tx);
        let mut made: Vec<_> = rx.iter().collect();
        made.sort_unstable();
        assert_eq!(made, [0, 1, 2, 4, 5]);
    })
    .join();
}

/// A call may do what any thread may: derive contexts, end them, arrange for calls.
fn calls_may_arrange_for_others(on: Way) {
    fn next(ctx: &Context, left: u32, done: Sender<()>) {
        let seen = ctx.clone();
        let _ = ctx.after_func(move || {
            if left > 0 {
                let (low, cancel) = seen.without_cancel().with_cancel();
                next(&low, left - 1, done.clone());
                drop(cancel);
                next(&seen, left - 1, done);
            }
        });
    }
    on.spawn(|| {
        let (ctx, cancel) = Context::background().with_cancel();
        let (tx, rx) = bounded(0);
        next(&ctx, 6, tx);
        cancel.cancel();
        rx.recv().unwrap_err();
    })
    .join();
}

/// Nobody waits for the end of a context without a deadline; one thread does for all calls of one that has one, in the default
/// runtime, which outlives the others.
#[test]
fn no_thread_waits_for_a_call() {
    for_workers(|runtime| {
        let threads = || runtime.dump().threads.len();
        runtime.run(|| {
            let before = threads();
            let (ctx, cancel) = Context::background().with_cancel();
            let calls: Vec<_> = (0..50).map(|_| ctx.after_func(|| ())).collect();
            assert_eq!(threads(), before);
            let (timed, _cancel_timed) = ctx.with_timeout(LONG);
            let line = line!() + 1;
            let timed_calls: Vec<_> = (0..50).map(|_| timed.after_func(|| ())).collect();
            let watchers = || {
                let runtimes = gthread::dump().runtimes;
                let places = runtimes.iter().flat_map(|r| &r.threads).map(|t| t.spawned_at);
                places.filter(|at| at.file == file!() && at.line == line).count()
            };
            assert_eq!((threads(), watchers()), (before, 1));
            drop((calls, timed_calls));
            cancel.cancel();
            yield_until(|| threads() == before && watchers() == 0);
        });
    });
}

#[test]
fn a_call_that_panics_is_alone() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (ctx, cancel) = Context::background().with_cancel();
            let (tx, rx) = bounded(1);
            let _ = ctx.after_func(|| panic!("on purpose"));
            let _ = ctx.after_func(move || tx.send(()).unwrap());
            cancel.cancel();
            assert_eq!(rx.recv(), Ok(()));
        });
    });
}

fn it_is_called_though_everybody_has_left(on: Way) {
    let (ctx, cancel) = Context::background().with_cancel();
    let (tx, rx) = bounded(1);
    drop(ctx.after_func(move || tx.send(()).unwrap()));
    drop((ctx, cancel));
    on.spawn(move || rx.recv().unwrap()).join();
}

fn not_without_an_end(on: Way) {
    let drops = Drops::new();
    let [one, other] = [drops.token(), drops.token()];
    let (ctx, cancel) = Context::background().with_cancel();
    drop(ctx.after_func(move || {
        let _token = one;
        panic!("it has not ended");
    }));
    cancel.disarm();
    drop(ctx);
    on.until(|| drops.count() == 1);
    let after = Context::background().after_func(move || drop(other));
    assert_eq!(drops.count(), 2, "nothing can come of it");
    assert!(after.stop());
}

fn of_stop_and_end_one_wins(on: Way) {
    let calls = Arc::new(AtomicUsize::new(0));
    let mut stopped = 0;
    for _ in 0..100 {
        let drops = Drops::new();
        let (ctx, cancel) = Context::background().with_cancel();
        let (token, counted) = (drops.token(), Arc::clone(&calls));
        let after = ctx.after_func(move || {
            let _token = token;
            counted.fetch_add(1, Ordering::SeqCst);
        });
        let peer = on.spawn(move || cancel.cancel());
        stopped += usize::from(after.stop());
        peer.join();
        on.until(|| drops.count() == 1);
    }
    assert_eq!(calls.load(Ordering::SeqCst) + stopped, 100);
}
