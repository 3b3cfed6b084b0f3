//! A place to wait for a condition that others change without a lock: a channel's buffer, a counter.
//!
//! The Dekker pattern: who waits enters the queue, fences, and looks at the condition again; who
//! changes the condition does so with a sequentially consistent operation, and looks with another
//! whether anyone waits. (The condition is read with sequentially consistent loads too. On x86 all of
//! this but the waiter's fence is free.) A condition may also be changed inside a
//! [`Sole`](crate::sole::Sole), if those who wait come to it when they look again.
//!
//! Its model is with those of the state machine that a wait is (`task/state.rs`).

use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::Instant;

use super::{Node, Queue, WOKEN};
use crate::park::{self, Wait};
use crate::prim::{AtomicUsize, Ordering, fence};
use crate::sched;
use crate::spin::SpinLock;
use crate::task::Reason;
use crate::task::state::{Op, TIMED_OUT};

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct WaitList {
    /// How many nodes there are, to be read without the lock.
    waiting: AtomicUsize,
    queues: SpinLock<Queues>,
}

#[derive(Debug)]
struct Queues {
    /// Those who will act on the change: one is woken for each.
    takers: Queue,
    /// Those who only want to know: all are woken.
    watchers: Queue,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        let queues = Queues { takers: Queue::new(), watchers: Queue::new() };
        Self { waiting: AtomicUsize::new(0), queues: SpinLock::new(queues) }
    }

    /// Blocks until notified, or until `deadline`, unless `ready` holds already. The caller looks at
    /// its condition again whatever the outcome. `ready` is called with a lock held.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn wait(
        &self,
        ready: impl FnOnce() -> bool,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) {
        let queues = self.queues.lock();
        let (mut queues, wait) = Wait::in_queue(queues, deadline, site);
        let wait = wait.interruptible();
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it was claimed or removed below.
        unsafe { queues.takers.push(node) };
        self.count(&queues);
        fence(Ordering::SeqCst);
        if ready() {
            // SAFETY: pushed above, and alive. Nobody has claimed it: the lock was held throughout.
            unsafe { queues.takers.remove(node) };
            self.count(&queues);
            drop(queues);
            wait.disarm();
        } else if wait.park_unlocking_or_withdraw(queues, reason, deadline, site) == TIMED_OUT {
            // SAFETY: as above.
            unsafe { self.leave(node, false) };
            if wait.withdrawn() == TIMED_OUT && deadline.is_none() {
                park::interrupted(site);
            }
        }
    }

    /// Enters a node of a wait that has several. The caller looks at the condition afterwards.
    ///
    /// # Safety
    ///
    /// As for [`Queue::push`].
    pub(crate) unsafe fn enter(&self, node: NonNull<Node>, watches: bool) {
        let mut queues = self.queues.lock();
        let queue = if watches { &mut queues.watchers } else { &mut queues.takers };
        // SAFETY: the caller's.
        unsafe { queue.push(node) };
        self.count(&queues);
        drop(queues);
        fence(Ordering::SeqCst);
    }

    /// Takes a node out, if it is still in.
    ///
    /// # Safety
    ///
    /// The node was entered here with the same `watches`, and is alive.
    pub(crate) unsafe fn leave(&self, node: NonNull<Node>, watches: bool) {
        let mut queues = self.queues.lock();
        let queue = if watches { &mut queues.watchers } else { &mut queues.takers };
        // SAFETY: the caller's.
        unsafe { queue.remove(node) };
        self.count(&queues);
    }

    /// The condition has changed for one waiter, as described at the head of this file.
    #[inline]
    pub(crate) fn notify_one(&self) {
        self.notify_one_with(());
    }

    /// As [`WaitList::notify_one`], for a caller that has something in hand: then that is in no register that must be
    /// saved first.
    #[inline(always)]
    pub(crate) fn notify_one_with<T>(&self, value: T) -> T {
        #[cold]
        #[inline(never)]
        fn notify<T>(list: &WaitList, value: T) -> T {
            list.notify_slow();
            value
        }
        sequentially_consistent();
        if self.waiting.load(Ordering::SeqCst) > 0 { notify(self, value) } else { value }
    }

    fn notify_slow(&self) {
        let mut queues = self.queues.lock();
        let taker = queues.takers.claim_one(WOKEN);
        let watchers = queues.watchers.claim_all(WOKEN);
        self.count(&queues);
        drop(queues);
        taker.into_iter().chain(watchers).for_each(sched::wake);
    }

    /// The condition has changed for all.
    pub(crate) fn notify_all(&self, outcome: Op) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queues = self.queues.lock();
        // Those who come later, while this goes on, see the change; they are behind those who are here.
        let (mut takers, mut watchers) = (queues.takers.len(), queues.watchers.len());
        loop {
            let mut wakes = queues.takers.claim_some(outcome, &mut takers);
            wakes.extend(queues.watchers.claim_some(outcome, &mut watchers));
            self.count(&queues);
            drop(queues);
            if wakes.is_empty() {
                return;
            }
            sched::wake_many(wakes);
            queues = self.queues.lock();
        }
    }

    fn count(&self, queues: &Queues) {
        self.waiting.store(queues.takers.len() + queues.watchers.len(), Ordering::Relaxed);
    }
}

/// Loom takes sequentially consistent operations for no more than acquire and release, and knows only
/// fences for more: there it needs one where two such operations follow each other.
#[inline(always)]
pub(crate) fn sequentially_consistent() {
    if cfg!(loom) {
        fence(Ordering::SeqCst);
    }
}
