//! Prefetching in a long queue.
//!
//! Each node is found through the one before, and each is on a different page. One by one they
//! would each take a cache miss and a walk through the page tables. But threads that were spawned
//! in a row often wait in a row, on neighbouring stacks, so the addresses of the next nodes can be
//! predicted.

use std::ptr::NonNull;

use crate::task::header::Task;

/// The predictor; see the head of this file.
pub(crate) struct Ahead {
    last: usize,
}

impl Ahead {
    const NODES: usize = 8;
    /// The number of bytes of a node.
    const NODE: usize = 64;
    const PAGE: usize = 4 << 10;
    /// Neighbouring nodes are no further apart than this.
    const NEAR: usize = 1 << 20;

    pub(crate) fn new() -> Self {
        Self { last: 0 }
    }

    /// Prefetches the node that is probably some nodes behind `node`, which is in the queue, and
    /// its thread's control block.
    #[inline]
    pub(crate) fn look(&mut self, node: NonNull<u8>, task: Option<*mut Task>) {
        let place = node.addr().get();
        // The same place on another stack. The step is taken in whole pages, so that the colours of
        // stacks do not matter: they recur every `NODES` stacks.
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
