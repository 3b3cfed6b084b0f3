//! Contexts that end at a deadline.

use std::time::{Duration, Instant};

use gthread::channel::{bounded, select};
use gthread::context::{Context, Error};
use gthread_tests::{LONG, SHORT, Way, every_way};

every_way!(
    it_ends_at_its_deadline,
    those_who_wait_for_one_below_wake_up,
    a_select_wakes_up,
    cancelled_before_it_stays_cancelled,
    a_timeout_of_the_wait_comes_first,
);

fn it_ends_at_its_deadline(on: Way) {
    on.spawn(|| {
        let deadline = Instant::now() + SHORT;
        let (ctx, _cancel) = Context::background().with_deadline(deadline);
        assert_eq!(ctx.deadline(), Some(deadline));
        loop {
            // Looked at first, so that it has not passed if nothing has ended.
            let now = Instant::now();
            let (err, done) = (ctx.err(), ctx.done().try_recv());
            if err.is_none() {
                assert!(now < deadline);
            } else {
                assert!(Instant::now() >= deadline && done.is_err());
                assert_eq!(err, Some(Error::DeadlineExceeded));
                break;
            }
        }
        assert_eq!(ctx.cause().unwrap().to_string(), "context deadline exceeded");
    })
    .join();
}

fn those_who_wait_for_one_below_wake_up(on: Way) {
    let deadline = Instant::now() + SHORT * 2;
    let (top, _cancel_top) = Context::background().with_deadline_cause(deadline, "slow");
    let (middle, _cancel_middle) = top.with_cancel();
    let (low, _cancel_low) = middle.with_timeout(LONG);
    assert_eq!(low.deadline(), Some(deadline));
    let peers: Vec<_> = [&top, &middle, &low]
        .map(|ctx| {
            let ctx = ctx.clone();
            on.spawn(move || {
                ctx.done().recv().unwrap_err();
                assert!(Instant::now() >= deadline);
                (ctx.err(), ctx.cause().unwrap().to_string())
            })
        })
        .into();
    for peer in peers {
        assert_eq!(peer.join(), (Some(Error::DeadlineExceeded), "slow".to_owned()));
    }
}

fn a_select_wakes_up(on: Way) {
    let (_tx, rx) = bounded::<()>(0);
    let (ctx, _cancel) = Context::background().with_timeout(SHORT);
    on.spawn(move || {
        select! {
            recv(rx) -> _ => unreachable!(),
            recv(ctx.done()) -> end => assert!(end.is_err()),
            default(LONG) => unreachable!(),
        }
        assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
    })
    .join();
}

fn cancelled_before_it_stays_cancelled(on: Way) {
    on.spawn(|| {
        let (ctx, cancel) = Context::background().with_timeout(SHORT);
        let (below, _cancel_below) = ctx.with_cancel();
        let early = Instant::now() < ctx.deadline().unwrap();
        cancel.cancel_because("no need");
        let (err, cause) = (ctx.err(), ctx.cause().unwrap().to_string());
        // Unless the machine was too slow for the test.
        if early && err == Some(Error::Canceled) {
            assert_eq!(cause, "no need");
        }
        gthread::sleep(SHORT * 2);
        assert_eq!((ctx.err(), ctx.cause().unwrap().to_string()), (err, cause));
        assert_eq!(below.err(), err);
    })
    .join();
}

fn a_timeout_of_the_wait_comes_first(on: Way) {
    let (ctx, _cancel) = Context::background().with_timeout(LONG);
    on.spawn(move || {
        assert!(ctx.done().recv_timeout(SHORT).unwrap_err().is_timeout());
        assert_eq!(ctx.err(), None);
    })
    .join();
}

#[test]
fn the_earlier_deadline_counts() {
    let now = Instant::now();
    let [soon, later] = [1000, 2000].map(|seconds| now + Duration::from_secs(seconds));
    let background = Context::background();
    let (outer_later, _a) = background.with_deadline(later);
    let (inner_soon, _b) = outer_later.with_deadline(soon);
    assert_eq!(inner_soon.deadline(), Some(soon));
    let (outer_soon, _c) = background.with_deadline(soon);
    let (inner_later, _d) = outer_soon.with_deadline(later);
    assert_eq!(inner_later.deadline(), Some(soon));
    assert_eq!(inner_later.without_cancel().deadline(), None);
}

/// The one whose deadline is its own says why, even if nobody asks before the other's has passed too.
#[test]
fn each_deadline_has_its_cause() {
    let now = Instant::now();
    let (outer, _a) = Context::background().with_deadline_cause(now + SHORT * 2, "outer");
    let (inner, _b) = outer.with_deadline_cause(now + SHORT, "inner");
    let (innermost, _c) = inner.with_deadline_cause(now + LONG, "innermost");
    std::thread::sleep(SHORT * 3);
    let causes = [&innermost, &outer, &inner].map(|ctx| ctx.cause().unwrap().to_string());
    assert_eq!(causes, ["inner", "outer", "inner"]);
}

#[test]
fn deadlines_that_have_passed_and_that_never_come() {
    let (ctx, _cancel) = Context::background().with_deadline(Instant::now());
    assert_eq!(ctx.err(), Some(Error::DeadlineExceeded));
    let (ctx, cancel) = Context::background().with_timeout(Duration::MAX);
    assert_eq!((ctx.deadline(), ctx.err()), (None, None));
    cancel.cancel();
    assert_eq!(ctx.err(), Some(Error::Canceled));
}
