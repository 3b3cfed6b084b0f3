//! Contexts: who ends with whom, why, and who is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::channel::{RecvError, Select, TryRecvError, bounded, select};
use gthread::context::{Context, Error};
use gthread_tests::{
    Drops, LIMIT, LONG, SHORT, Way, assert_passed, every_way, is_child, os_threads, rerun, runtime,
    watchdog,
};

every_way!(
    those_who_wait_are_told,
    a_select_is_told,
    a_select_of_many_arms_is_told,
    many_wait_for_one_of_a_tree,
    a_channel_that_outlives_its_context_is_disconnected,
);

fn ended(ctx: &Context) -> Option<Error> {
    let done = match ctx.done().try_recv() {
        Ok(never) => match never {},
        Err(TryRecvError::Empty) => false,
        Err(TryRecvError::Disconnected) => true,
    };
    assert_eq!(ctx.err().is_some(), done);
    assert_eq!(ctx.cause().is_some(), done);
    ctx.err()
}

#[test]
fn the_background_never_ends() {
    let background = Context::background();
    assert_eq!((ended(&background), background.deadline()), (None, None));
    assert!(background.done().recv_timeout(SHORT).is_err());
    assert_eq!(ended(&Context::default()), None);
}

#[test]
fn the_end_goes_down_and_not_up_nor_aside() {
    let (top, cancel_top) = Context::background().with_cancel();
    let (left, cancel_left) = top.with_cancel();
    let (right, _cancel_right) = top.with_cancel();
    let (below, _cancel_below) = left.with_value(1).with_cancel();
    cancel_left.cancel();
    let canceled = Some(Error::Canceled);
    assert_eq!([&top, &left, &right, &below].map(ended), [None, canceled, None, canceled]);
    cancel_top.cancel();
    assert_eq!([&top, &left, &right, &below].map(ended), [canceled; 4]);
}

#[test]
fn clones_and_what_has_values_end_too() {
    let (ctx, cancel) = Context::background().with_cancel();
    let (clone, valued, freed) = (ctx.clone(), ctx.with_value('x'), ctx.without_cancel());
    cancel.cancel();
    assert_eq!([&clone, &valued, &freed].map(|c| ended(c).is_some()), [true, true, false]);
}

#[test]
fn a_guard_cancels_when_dropped_unless_disarmed() {
    let (ctx, cancel) = Context::background().with_cancel();
    drop(cancel);
    assert_eq!(ended(&ctx), Some(Error::Canceled));

    let (top, cancel_top) = Context::background().with_cancel();
    let (ctx, cancel) = top.with_cancel();
    cancel.disarm();
    assert_eq!(ended(&ctx), None);
    drop(cancel_top);
    assert_eq!(ended(&ctx), Some(Error::Canceled));
}

#[test]
fn what_is_derived_from_an_ended_one_has_ended() {
    let (top, cancel) = Context::background().with_cancel();
    cancel.cancel_because("enough");
    let (ctx, cancel) = top.with_timeout(LONG);
    assert_eq!(ended(&ctx), Some(Error::Canceled));
    assert_eq!(ctx.cause().unwrap().to_string(), "enough");
    cancel.cancel_because("too late");
    assert_eq!(ctx.cause().unwrap().to_string(), "enough");
}

#[test]
fn the_first_cause_is_kept_and_handed_down() {
    #[derive(Debug)]
    struct Teapot(u32);
    impl std::fmt::Display for Teapot {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "teapot {}", self.0)
        }
    }
    impl std::error::Error for Teapot {}

    let (top, cancel_top) = Context::background().with_cancel();
    let (ctx, cancel) = top.with_cancel();
    let (below, _cancel_below) = ctx.with_cancel();
    cancel.cancel_because(Teapot(418));
    cancel.cancel_because("again");
    cancel_top.cancel();
    for ctx in [&ctx, &below] {
        let cause = ctx.cause().unwrap();
        assert_eq!(cause.downcast_ref::<Teapot>().unwrap().0, 418);
        assert_eq!(ctx.err().unwrap().to_string(), "context canceled");
    }
    // None was given: the cause is why.
    let cause = top.cause().unwrap();
    assert_eq!(cause.downcast_ref::<Error>(), Some(&Error::Canceled));
}

#[test]
fn values_are_found_by_their_type() {
    #[derive(Debug, PartialEq)]
    struct User(&'static str);
    let drops = Drops::new();
    let plain = Context::background().with_value(1_u8);
    let (ctx, _cancel) = plain.with_value(User("ann")).with_cancel();
    let newer = ctx.with_value(User("bob")).with_value(drops.token());
    assert_eq!(plain.value::<User>(), None);
    assert_eq!(ctx.value::<User>(), Some(&User("ann")));
    assert_eq!(newer.value::<User>(), Some(&User("bob")));
    assert_eq!((newer.value::<u8>(), newer.value::<u16>()), (Some(&1), None));
    assert_eq!(newer.without_cancel().value::<User>(), Some(&User("bob")));
    drop(newer);
    assert_eq!(drops.count(), 1);
}

#[test]
fn nobody_but_the_guard_ends_it() {
    let (ctx, _cancel) = Context::background().with_cancel();
    assert!(!ctx.done().close());
    assert!(ctx.done().same_channel(ctx.done()) && ctx.done().same_channel(ctx.clone().done()));
    assert!(!ctx.done().same_channel(Context::background().done()));
    assert_eq!((ctx.done().len(), ctx.done().capacity()), (0, Some(0)));
    assert_eq!(ended(&ctx), None);
}

fn those_who_wait_are_told(on: Way) {
    let (ctx, cancel) = Context::background().with_cancel();
    let peers: Vec<_> = (0..8)
        .map(|n| {
            let ctx = ctx.clone();
            on.spawn(move || {
                let result = match n % 3 {
                    0 => ctx.done().recv().map_err(|RecvError| ()),
                    1 => ctx.done().recv_timeout(LONG).map_err(drop),
                    _ => ctx.done().iter().next().ok_or(()),
                };
                assert!(result.is_err());
                ctx.err()
            })
        })
        .collect();
    on.lull();
    cancel.cancel();
    peers.into_iter().for_each(|peer| assert_eq!(peer.join(), Some(Error::Canceled)));
}

fn a_select_is_told(on: Way) {
    let (ctx, cancel) = Context::background().with_cancel();
    let (tx, rx) = bounded::<u32>(0);
    let peer = on.spawn({
        let ctx = ctx.clone();
        move || {
            let mut sum = 0;
            loop {
                select! {
                    recv(rx) -> n => sum += n.unwrap(),
                    recv(ctx.done()) -> end => {
                        assert_eq!(end, Err(RecvError));
                        return sum;
                    }
                }
            }
        }
    });
    (1..=10).for_each(|n| tx.send(n).unwrap());
    on.lull();
    cancel.cancel();
    assert_eq!(peer.join(), 55);
}

fn a_select_of_many_arms_is_told(on: Way) {
    let contexts: Vec<_> = (0..20).map(|_| Context::background().with_cancel()).collect();
    let dones: Vec<_> = contexts.iter().map(|(ctx, _)| ctx.done().clone()).collect();
    let peer = on.spawn(move || {
        let mut select = Select::new();
        dones.iter().for_each(|done| _ = select.recv(done));
        assert_eq!(select.ready(), 13);
        let operation = select.select();
        assert_eq!(operation.index(), 13);
        operation.recv(&dones[13]).unwrap_err();
        assert!(select.try_ready().is_ok());
        select.remove(13);
        assert!(select.ready_timeout(SHORT).is_err());
    });
    on.lull();
    contexts[13].1.cancel();
    peer.join();
}

fn many_wait_for_one_of_a_tree(on: Way) {
    let woken = Arc::new(AtomicUsize::new(0));
    let (top, cancel) = Context::background().with_cancel();
    let mut contexts = vec![top];
    let mut guards = Vec::new();
    for n in 0..15 {
        let (ctx, guard) = contexts[n / 2].with_cancel();
        contexts.push(ctx);
        guards.push(guard);
    }
    let peers: Vec<_> = contexts
        .iter()
        .map(|ctx| {
            let (ctx, woken) = (ctx.clone(), Arc::clone(&woken));
            on.spawn(move || {
                ctx.done().recv().unwrap_err();
                woken.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    on.lull();
    cancel.cancel();
    assert!(
        contexts.iter().all(|ctx| ended(ctx).is_some()),
        "when `cancel` returns all have ended"
    );
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(woken.load(Ordering::SeqCst), 16);
}

fn a_channel_that_outlives_its_context_is_disconnected(on: Way) {
    let (ctx, cancel) = Context::background().with_cancel();
    let done = ctx.done().clone();
    let peer = on.spawn(move || done.recv().is_err());
    cancel.disarm();
    on.lull();
    drop(ctx);
    assert!(peer.join());
}

#[test]
fn a_long_chain_ends_and_is_dropped() {
    let runtime = runtime(1);
    runtime.run(|| {
        let (top, cancel) = Context::background().with_cancel();
        let mut ctx = top.clone();
        for n in 0..100_000_u32 {
            let (next, guard) = ctx.with_value(n).with_cancel();
            guard.disarm();
            ctx = next;
        }
        assert_eq!(ended(&ctx), None);
        cancel.cancel();
        assert_eq!(ended(&ctx), Some(Error::Canceled));
    });
}

/// No runtime is needed, and none is started.
#[test]
fn os_threads_can_do_without_green_ones() {
    if !is_child() {
        // Other tests of this process have runtimes.
        return watchdog(LIMIT, || {
            assert_passed(&rerun!("os_threads_can_do_without_green_ones", &[]));
        });
    }
    let before = os_threads();
    let (ctx, _cancel) = Context::background().with_timeout(SHORT);
    ctx.done().recv().unwrap_err();
    assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
    assert_eq!(os_threads(), before);
}
