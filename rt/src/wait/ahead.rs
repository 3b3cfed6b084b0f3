//! Looks ahead in a long queue. Each node is found through the one before, and each is on a page of its own:
//! one by one they would take a cache miss and a walk through the page tables each, for a long time. But
//! threads that were spawned in a row often wait in a row, on neighbouring stacks.

use std::ptr::NonNull;

use crate::task::header::Task;

/// See the head of this file.
pub(crate) struct Ahead {
    last: usize,
}

impl Ahead {
    const NODES: usize = 8;
    /// Bytes of a node.
    const NODE: usize = 64;
    const PAGE: usize = 4 << 10;
    /// Neighbours are no further apart.
    const NEAR: usize = 1 << 20;

    pub(crate) fn new() -> Self {
        Self { last: 0 }
    }

    /// Has the processor fetch what is probably a node further behind `node`, which is in the queue, and its
    /// thread's control block.
    #[inline]
    pub(crate) fn look(&mut self, node: NonNull<u8>, task: Option<*mut Task>) {
        let place = node.addr().get();
        // The same place on another stack: in whole pages, so that stacks' colours do not matter, which recur
        // with this very period.
        let step = place.wrapping_sub(self.last).wrapping_add(Self::PAGE / 2) & !(Self::PAGE - 1);
        self.last = place;
        if step.wrapping_add(Self::NEAR) > 2 * Self::NEAR {
            return;
        }
        let ahead = step.wrapping_mul(Self::NODES);
        let node = node.as_ptr();
        if let Some(task) = task {
            gthread_arch::prefetch(task.cast::<u8>().wrapping_add(ahead));
            gthread_arch::prefetch(node.wrapping_add(ahead));
            gthread_arch::prefetch(node.wrapping_add(ahead + Self::NODE - 1));
        }
    }
}
