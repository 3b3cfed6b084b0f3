//! A context that is gone is gone: its parent keeps nothing of it. Alone in its process: it measures.

use gthread::context::Context;
use gthread_tests::{LIMIT, LONG, resident, test_path};

use crate::alone;

#[test]
fn parents_keep_nothing_of_dropped_children() {
    alone(&test_path!("parents_keep_nothing_of_dropped_children"), LIMIT, || {
        let (top, _cancel) = Context::background().with_cancel();
        let derive = |count: u32| {
            for n in 0..count {
                let (ctx, cancel) = top.with_timeout(LONG);
                let (below, cancel_below) = ctx.with_value([n; 8]).with_cancel();
                match n % 4 {
                    0 => drop((cancel, cancel_below)),
                    1 => {
                        cancel.disarm();
                        cancel_below.disarm();
                    }
                    // In another order.
                    2 => drop((ctx, cancel)),
                    _ => _ = below.done().clone().try_recv(),
                }
            }
        };
        derive(10_000);
        let (before, _) = resident();
        derive(300_000);
        let grown = resident().0.saturating_sub(before);
        assert!(grown < 2 << 20, "300,000 contexts left {grown} bytes");
        assert_eq!(top.err(), None);
    });
}
