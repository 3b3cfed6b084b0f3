//! Contexts that are derived, cancelled, dropped and run out at once, by chance, for a while:
//! `GTHREAD_STRESS_SECS`, one second if not set. Prints its seed; `GTHREAD_TEST_SEED` runs it again with the
//! same choices (not the same timing).

use std::time::Instant;

use gthread::context::{CancelGuard, Context};
use gthread_tests::{Random, stress};

/// A tree grows while its top is cancelled, or its deadline passes: when that is over, all have ended, and
/// whoever waited was told.
#[test]
fn whatever_is_derived_ends_with_the_top() {
    fn grow(ctx: &Context, mut random: Random, depth: u32) {
        let mut kept: Vec<(Context, CancelGuard)> = Vec::new();
        for _ in 0..random.below(6) {
            let (child, cancel) = match random.below(3) {
                0 => ctx.with_cancel(),
                1 => ctx.with_timeout(random.micros(300)),
                _ => ctx.with_value(random.next()).with_cancel(),
            };
            if depth > 0 && random.one_in(2) {
                let (child, random) = (child.clone(), random.fork());
                drop(gthread::go!(move || grow(&child, random, depth - 1)));
            }
            match random.below(4) {
                0 => cancel.cancel(),
                1 => cancel.disarm(),
                _ => kept.push((child, cancel)),
            }
        }
        kept.retain(|_| !random.one_in(3));
        let _ = ctx.done().recv();
        let (err, cause) = (ctx.err().unwrap(), ctx.cause().unwrap().to_string());
        for (child, _) in &kept {
            // Whatever came first for the child: when the parent has ended it has, and will not change.
            child.done().recv().unwrap_err();
            let first = child.err().unwrap();
            assert_eq!(child.err(), Some(first));
        }
        assert_eq!((ctx.err(), ctx.cause().unwrap().to_string()), (Some(err), cause));
    }

    stress(|runtime, random| {
        let (top, cancel) = if random.one_in(2) {
            Context::background().with_cancel()
        } else {
            Context::background().with_timeout(random.micros(500))
        };
        let trees: Vec<_> = (0..8)
            .map(|_| {
                let (top, random) = (top.clone(), random.fork());
                runtime.spawn(move || grow(&top, random, 3))
            })
            .collect();
        if top.deadline().is_none() || random.one_in(2) {
            std::thread::sleep(random.micros(300));
            cancel.cancel();
        }
        trees.into_iter().for_each(|tree| tree.join().unwrap());
    });
}

/// A deadline and a cancel at the same moment: whoever asks, of whichever context of the chain, all get the
/// same answer.
#[test]
fn a_chain_agrees_why_it_has_ended() {
    stress(|runtime, random| {
        for _ in 0..20 {
            let deadline = Instant::now() + random.micros(100);
            let (top, cancel) = Context::background().with_deadline_cause(deadline, "time");
            let (middle, _cancel_middle) = top.with_cancel();
            let (low, _cancel_low) = middle.with_cancel();
            let asks: Vec<_> = [&low, &top, &middle, &low]
                .map(|ctx| {
                    let ctx = ctx.clone();
                    runtime.spawn(move || {
                        ctx.done().recv().unwrap_err();
                        (ctx.err().unwrap(), ctx.cause().unwrap().to_string())
                    })
                })
                .into();
            while Instant::now() < deadline {
                std::hint::spin_loop();
            }
            cancel.cancel_because("enough");
            let answers: Vec<_> = asks.into_iter().map(|ask| ask.join().unwrap()).collect();
            assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        }
    });
}
