//! What is called once a context has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::channel::bounded;
use gthread::context::Context;
use gthread_tests::{Drops, LONG, SHORT, Way, every_way};

every_way!(
    it_is_called_once_after_the_end,
    it_is_called_after_a_deadline,
    one_that_is_stopped_is_not_called,
    it_is_called_though_everybody_has_left,
    not_without_an_end,
    of_stop_and_end_one_wins,
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
    assert!(after.stop() && !after.stop());
    // Its thread ends, and drops what it would have used.
    on.until(|| drops.count() == 1);
    cancel.cancel();
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
