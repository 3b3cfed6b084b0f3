//! A list of threads that wait for a condition that others change without a lock: a channel's
//! buffer, a counter.
//!
//! This is the Dekker pattern. A waiting thread enters the queue, fences, and looks at the
//! condition again. A thread that changes the condition does so with a sequentially consistent
//! operation, and then checks with another one whether a thread waits. (The condition is read with
//! sequentially consistent loads too. On x86 all of this is free except for the waiter's fence.)
//!
//! The models at the end of this file cover a condition and its list. The models of a wait's state
//! machine are in `task/wait_state.rs`.

use std::panic::Location;
use std::ptr::{self, NonNull};
use std::time::Instant;

use crate::loom::{AtomicUsize, Ordering, fence};
use crate::runtime::handle;
use crate::task::header::Wake;
use crate::task::wait_info::Reason;
use crate::task::wait_state::{TIMED_OUT, WakeReason};
use crate::util::spin_lock::SpinLock;
use crate::wait::park::{self, Wait};
use crate::wait::queue::{Node, Queue, WOKEN};

/// A list of waiting threads; see the head of this file.
#[derive(Debug)]
pub(crate) struct WaitList {
    /// The number of nodes, to be read without the lock.
    waiting: AtomicUsize,
    queues: SpinLock<Queues>,
}

#[derive(Debug)]
struct Queues {
    /// Threads that will act on the change: one is woken for each change.
    takers: Queue,
    /// Threads that only observe the change: all are woken.
    watchers: Queue,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        let queues = Queues { takers: Queue::new(), watchers: Queue::new() };
        Self { waiting: AtomicUsize::new(0), queues: SpinLock::new(queues) }
    }

    /// Blocks until notified or until `deadline`, unless `ready` returns `true` already. The caller
    /// has tried for a moment before ([`Retry`](crate::wait::park::Retry)), and checks its
    /// condition again whatever the outcome. `ready` is called with a lock held.
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
        let wait = wait.interruptible().looked();
        let mut node = Node::new(wait.waiter(), ptr::null_mut());
        let node = NonNull::from(&mut node);
        // SAFETY: the node stays in this frame until it is claimed, or removed below.
        unsafe { queues.takers.push(node) };
        self.count(&queues);
        fence(Ordering::SeqCst);
        if ready() {
            // SAFETY: the node was pushed to this queue above, and is alive. No thread has claimed
            // it, because the lock was held throughout.
            unsafe { queues.takers.remove(node) };
            self.count(&queues);
            drop(queues);
            wait.disarm();
        } else if wait.park_unlocking_or_withdraw(queues, reason, deadline, site) == TIMED_OUT {
            // SAFETY: the node was entered above as a taker, and is alive.
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
        // SAFETY: by this function's contract, which is that of `push`.
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
        // SAFETY: the caller guarantees that the node was pushed to this queue and is alive.
        unsafe { queue.remove(node) };
        self.count(&queues);
    }

    /// Wakes one taker and all watchers, because the condition has changed for one waiter. See the
    /// head of this file for the order of operations.
    #[inline]
    pub(crate) fn notify_one(&self) {
        self.notify_one_with(());
    }

    /// Like [`WaitList::notify_one`], for a caller that holds a value: passed through, it occupies
    /// no register that must be saved first.
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
        self.claim_one().for_each(handle::wake);
    }

    /// Ends the waits of one taker and all watchers.
    fn claim_one(&self) -> impl Iterator<Item = Wake> {
        let mut queues = self.queues.lock();
        let taker = queues.takers.claim_one(WOKEN);
        let watchers = queues.watchers.claim_all(WOKEN);
        self.count(&queues);
        drop(queues);
        taker.into_iter().chain(watchers)
    }

    /// Wakes all waiting threads, because the condition has changed for all.
    pub(crate) fn notify_all(&self, outcome: WakeReason) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut queues = self.queues.lock();
        // Threads that enter later, while this goes on, see the change; they stand behind the
        // threads counted here.
        let (mut takers, mut watchers) = (queues.takers.len(), queues.watchers.len());
        loop {
            let mut wakes = queues.takers.claim_some(outcome, &mut takers);
            wakes.extend(queues.watchers.claim_some(outcome, &mut watchers));
            self.count(&queues);
            drop(queues);
            if wakes.is_empty() {
                return;
            }
            handle::wake_many(wakes);
            queues = self.queues.lock();
        }
    }

    /// Returns `true` if a thread waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Like [`notify_one`](Self::notify_one), for a caller that makes the threads run itself.
    pub(crate) fn take_one(&self, wake: &mut dyn FnMut(Wake)) {
        sequentially_consistent();
        if self.is_waited_for() {
            self.claim_one().for_each(wake);
        }
    }

    /// Like [`notify_all`](Self::notify_all), for a caller that makes the threads run itself.
    pub(crate) fn take_all(&self, outcome: WakeReason, wake: &mut dyn FnMut(Wake)) {
        sequentially_consistent();
        if !self.is_waited_for() {
            return;
        }
        let mut queues = self.queues.lock();
        let wakes = queues.takers.claim_all(outcome);
        let watchers = queues.watchers.claim_all(outcome);
        self.count(&queues);
        drop(queues);
        wakes.into_iter().chain(watchers).for_each(wake);
    }

    fn count(&self, queues: &Queues) {
        self.waiting.store(queues.takers.len() + queues.watchers.len(), Ordering::Relaxed);
    }
}

/// A fence for loom, where two sequentially consistent operations follow each other. Loom treats
/// such operations as acquire and release only, and supports the stronger order only for fences.
#[inline(always)]
pub(crate) fn sequentially_consistent() {
    if cfg!(loom) {
        fence(Ordering::SeqCst);
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::wait::queue::WOKEN;
    use loom::sync::Arc;
    use loom::thread;

    /// A counting condition in front of a list, like a channel's buffer.
    struct Counter {
        count: AtomicUsize,
        list: WaitList,
    }

    impl Counter {
        fn new() -> Arc<Self> {
            Arc::new(Self { count: AtomicUsize::new(0), list: WaitList::new() })
        }

        fn add(&self, number: usize) {
            self.count.fetch_add(number, Ordering::SeqCst);
        }

        fn try_take(&self) -> bool {
            let take = |count: usize| count.checked_sub(1);
            self.count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
        }

        fn wait(&self, deadline: Option<Instant>) {
            let ready = || self.count.load(Ordering::SeqCst) > 0;
            self.list.wait(ready, Reason::Recv, deadline, Location::caller());
        }

        fn take(&self) {
            while !self.try_take() {
                self.wait(None);
            }
        }

        /// Checks, waits until a deadline that has passed, and checks again.
        fn take_or_time_out(&self) -> bool {
            self.try_take() || {
                self.wait(Some(Instant::now()));
                self.try_take()
            }
        }

        fn assert_at_rest(&self, count: usize) {
            assert_eq!(self.count.load(Ordering::Relaxed), count);
            assert_eq!(self.list.waiting.load(Ordering::Relaxed), 0, "no waiters");
        }
    }

    fn spawn(
        counter: &Arc<Counter>,
        run: impl FnOnce(&Counter) + 'static,
    ) -> thread::JoinHandle<()> {
        let counter = Arc::clone(counter);
        thread::spawn(move || run(&counter))
    }

    /// Bounded, because a waiter has many steps. A lost wake would be a deadlock.
    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    #[test]
    fn a_waiter_sees_the_change_or_is_woken() {
        check(3, || {
            let counter = Counter::new();
            let taker = spawn(&counter, Counter::take);
            counter.add(1);
            counter.list.notify_one();
            taker.join().unwrap();
            counter.assert_at_rest(0);
        });
    }

    /// One thread is woken for each change, and none for two.
    #[test]
    fn two_waiters_and_two_changes() {
        check(2, || {
            let counter = Counter::new();
            let takers = [(); 2].map(|()| spawn(&counter, Counter::take));
            for _ in 0..2 {
                counter.add(1);
                counter.list.notify_one();
            }
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            counter.assert_at_rest(0);
        });
    }

    #[test]
    fn two_waiters_and_a_change_for_all() {
        check(2, || {
            let counter = Counter::new();
            let takers = [(); 2].map(|()| spawn(&counter, Counter::take));
            counter.add(2);
            counter.list.notify_all(WOKEN);
            takers.into_iter().for_each(|taker| taker.join().unwrap());
            counter.assert_at_rest(0);
        });
    }

    /// A waiter that times out keeps no wake from another.
    #[test]
    fn one_that_times_out_beside_one_that_waits() {
        check(2, || {
            let counter = Counter::new();
            let quitter = spawn(&counter, |counter| {
                if counter.take_or_time_out() {
                    // Returned, for the other thread.
                    counter.add(1);
                    counter.list.notify_one();
                }
            });
            let taker = spawn(&counter, Counter::take);
            counter.add(1);
            counter.list.notify_one();
            quitter.join().unwrap();
            taker.join().unwrap();
            counter.assert_at_rest(0);
        });
    }

    /// A watcher is notified of every change, and takes none: a taker is woken beside it.
    #[test]
    fn a_watcher_takes_nothing_from_a_taker() {
        check(2, || {
            let counter = Counter::new();
            let taker = spawn(&counter, Counter::take);
            let watcher = spawn(&counter, |counter| {
                let site = Location::caller();
                let wait = Wait::arm(site);
                let mut node = Node::new(wait.waiter(), ptr::null_mut());
                let node = NonNull::from(&mut node);
                // SAFETY: the node stays in this frame until it has left below.
                unsafe { counter.list.enter(node, true) };
                if counter.count.load(Ordering::SeqCst) > 0 {
                    // Or it was notified, which is the same.
                    let _ = wait.cancel();
                } else {
                    wait.park(Reason::Select, None, site);
                }
                // SAFETY: the node was entered above as a watcher, and is alive.
                unsafe { counter.list.leave(node, true) };
            });
            counter.add(1);
            counter.list.notify_one();
            taker.join().unwrap();
            // For the watcher, which may have come when everything was taken.
            counter.add(1);
            counter.list.notify_one();
            watcher.join().unwrap();
            counter.assert_at_rest(1);
        });
    }
}
