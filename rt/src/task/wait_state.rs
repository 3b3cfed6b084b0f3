//! The wait state: the state machine of waiting. Each thread, green or not, has one.
//!
//! A thread waits in four steps: it *arms* its wait state; it registers the wait wherever a wake
//! can come from (a channel's queue, a timer, a join state); it *commits* to sleep; and later it
//! finds out which wake *claimed* it. Any number of wakers may race to claim one wait. Exactly one
//! wins.
//!
//! ```text
//!            arm              commit
//!   Idle ----------> Armed -----------> Parked
//!    ^  <----------    |                  |
//!    |     cancel      | claim            | claim: the winner must make the thread runnable
//!    |                 v                  v
//!    '------------- Selected <------------'
//!        next arm
//! ```
//!
//! Invariants:
//! - Only the owner leaves Idle and Selected. The owner is the thread itself, or, for `commit` of a
//!   green thread, the worker that has just switched away from it. No other thread writes the word
//!   in those phases, so the owner arms with a plain store.
//! - Only claims, and the owner's `commit` and `cancel`, leave Armed. Only claims leave Parked, and
//!   the `cancel` of an OS thread whose deadline has passed. All of these are compare-and-swaps of
//!   the whole word.
//! - Every arm increments the generation in the word. So a claim that was prepared against an
//!   earlier wait fails, however late it comes. Claims through a queue do not need this: they
//!   happen under the lock of the queue, in which a wait is registered only while it is current.
//!   `unpark`, which any thread may call at any time, needs it.
//! - A green thread that waits in only one queue, without a deadline, needs none of this. It parks
//!   while it holds the queue's lock, and its worker releases the lock after the switch. The thread
//!   that takes it out of the queue under the lock has it, asleep and complete. The word is then
//!   Idle with the flag `HELD`, for dumps to see, and the waker only stores the wake reason in it.
//! - When its runtime has ended the owner never goes on. Its wait is *ended*. An armed wait is
//!   Selected with `ENDED`, as by any claim. For a held wait, `DYING` is set with `HELD`, and a
//!   waker that sees it passes the owner over. A waker that has looked before may still store its
//!   wake reason. The owner finds out under the lock of the queue, when it withdraws
//!   (`runtime/README.md`, §11).
//! - A thread whose claim found it Parked does not run until the winner schedules it, so the winner
//!   may use its control block until then. After a claim that found it Armed, the winner must not.

use crate::loom::{AtomicBool, AtomicU64, Ordering, fence};

/// The reason of a wake. The code that registers the wait gives it its meaning.
pub(crate) type WakeReason = u32;

/// The wake reason of a passed deadline.
pub(crate) const TIMED_OUT: WakeReason = MAX_OP;

/// The wake reason that ends the wait of a thread whose runtime has ended
/// (`runtime/last_turns.rs`), and which never goes on.
const ENDED: WakeReason = MAX_OP - 1;

const PHASE: u64 = 0b11;

/// The thread runs, and has no wait under way.
const IDLE: u64 = 0;

/// A wait is announced, and the thread has not committed to sleep yet.
const ARMED: u64 = 1;

/// The thread sleeps: a green thread is off its stack, an OS thread is about to call the kernel.
const PARKED: u64 = 2;

/// A waker has claimed the wait, with the wake reason in the word.
const SELECTED: u64 = 3;

/// Set with `ARMED` and `PARKED` if the wait is a `park`, the only kind that `unpark` may claim.
const BY_TOKEN: u64 = 1 << 2;

/// Set with `IDLE` while a green thread sleeps without having armed its wait state, with its
/// queue's lock in its switch request.
const HELD: u64 = 1 << 3;

/// Set with `HELD` if the runtime has ended. No waker claims the wait any more, except a waker that
/// has looked at the word before.
const DYING: u64 = 1 << 4;

const OP_SHIFT: u32 = 8;

const GENERATION: u64 = 1 << 32;

/// The greatest wake reason that fits between the flags and the generation.
pub(crate) const MAX_OP: WakeReason = (1 << 24) - 1;

/// The outcome of a claim.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The wait was over already, or claimed by another waker.
    Lost,
    /// Won before the thread went to sleep. The thread notices by itself.
    Awake,
    /// Won, and the thread sleeps: the winner must make it runnable.
    Asleep,
}

/// The outcome of the attempt to go to sleep.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// Asleep until claimed.
    Parked,
    /// Claimed meanwhile: go on at once.
    Selected,
}

/// One thread's word of waiting, and the token of `park`/`unpark`.
#[derive(Debug)]
pub(crate) struct WaitState {
    word: AtomicU64,
    /// The token of `std::thread::park`. Set by any thread, taken by the owner.
    token: AtomicBool,
}

impl WaitState {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(IDLE), token: AtomicBool::new(false) }
    }

    /// Announces a wait. Called by the owner, before the wait is registered anywhere.
    pub(crate) fn arm(&self) {
        self.arm_as(ARMED);
    }

    fn arm_as(&self, phase: u64) {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert!(matches!(last & PHASE, IDLE | SELECTED), "armed twice");
        let generation = (last & !(GENERATION - 1)).wrapping_add(GENERATION);
        // Relaxed: a thread that may claim this wait learns of it through a lock, or through the
        // fences of `arm_park` and `unpark`.
        self.word.store(generation | phase, Ordering::Relaxed);
    }

    /// Tries to end the current wait with `op`. Called by any thread with which the wait is
    /// registered.
    pub(crate) fn claim(&self, op: WakeReason) -> Claim {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let claim = match word & PHASE {
                ARMED => Claim::Awake,
                PARKED => Claim::Asleep,
                _ => return Claim::Lost,
            };
            match self.try_select(word, op) {
                Ok(()) => return claim,
                Err(now) => word = now,
            }
        }
    }

    fn try_select(&self, word: u64, op: WakeReason) -> Result<(), u64> {
        let selected = (word & !(GENERATION - 1)) | SELECTED | u64::from(op) << OP_SHIFT;
        // Release: publishes the waker's earlier writes to the woken thread. Acquire: the frames of
        // a sleeping thread, which the winner is about to make run elsewhere, are complete.
        self.word.compare_exchange(word, selected, Ordering::AcqRel, Ordering::Relaxed).map(|_| ())
    }

    /// Goes to sleep, unless claimed meanwhile. Called by the owner. A green thread's worker calls
    /// it after the switch, when the thread's registers are saved.
    pub(crate) fn commit(&self) -> Commit {
        let word = self.word.load(Ordering::Relaxed);
        if word & PHASE == ARMED {
            let parked = (word & !PHASE) | PARKED;
            // Release: publishes the saved frames to the claiming thread.
            match self.word.compare_exchange(word, parked, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Commit::Parked,
                Err(now) => debug_assert_eq!(now & PHASE, SELECTED),
            }
        }
        Commit::Selected
    }

    /// Goes to sleep in a queue whose lock the owner holds, without a state that others could
    /// change. Called by the owner.
    #[inline(always)]
    pub(crate) fn hold(&self) {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert!(matches!(last & PHASE, IDLE | SELECTED), "held and armed");
        // Relaxed: only the thread that finds the owner in the queue, under the lock, acts on it.
        self.word.store((last & !(GENERATION - 1)) | IDLE | HELD, Ordering::Relaxed);
    }

    /// Returns `true` if the owner has gone to sleep and its wait has not ended yet. For observers.
    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.word.load(Ordering::Acquire) & (PHASE | HELD), PARKED | HELD)
    }

    /// Returns a number that no other wait of this state has, if the owner has committed to sleep
    /// and its wait has not ended yet. For observers.
    pub(crate) fn asleep_mark(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire);
        (word & PHASE == PARKED).then_some(word)
    }

    /// Ends the wait of an owner that never goes on. Returns `false` if there is no wait, or it was
    /// claimed before. A held wait may still be claimed, by a thread that has the queue's lock
    /// already, until the owner has taken the lock itself. Called by the only thread that may run
    /// the owner.
    pub(crate) fn end(&self) -> bool {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            let ended = match word & (PHASE | HELD) {
                HELD => self.word.compare_exchange(
                    word,
                    word | DYING,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                ),
                PARKED => self.try_select(word, ENDED).map(|()| word),
                // `true` also if the wait was ended before.
                _ => return self.selected() == Some(ENDED),
            };
            match ended {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Returns the wake reason if a wait that was held and [ended](WaitState::end) was claimed
    /// nevertheless. Called by the owner, after it has left the queue under the queue's lock: no
    /// thread claims it afterwards.
    pub(crate) fn claimed_at_last(&self) -> Option<WakeReason> {
        // A read-modify-write sees the last of all stores.
        let word = self.word.fetch_add(0, Ordering::AcqRel);
        Self::selected_in(word)
    }

    /// Goes to sleep for ever. Called by the owner, after its wait was [ended](WaitState::end).
    pub(crate) fn hold_for_ever(&self) {
        let last = self.word.load(Ordering::Relaxed);
        self.word.store((last & !(GENERATION - 1)) | IDLE | HELD | DYING, Ordering::Release);
    }

    /// Ends a held wait, which was never armed, because only the holder of one lock can end it. The
    /// owner sleeps. The caller has taken it out of that lock's queue, so no other thread has it.
    /// Returns `false` if the owner never goes on.
    #[inline]
    #[must_use]
    pub(crate) fn select_held(&self, op: WakeReason) -> bool {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(last & (PHASE | HELD), IDLE | HELD, "not held");
        if last & DYING != 0 {
            return false;
        }
        let selected = (last & !(GENERATION - 1)) | SELECTED | u64::from(op) << OP_SHIFT;
        // Relaxed: the caller makes the owner runnable, and so hands everything over to it. If
        // `DYING` is set by now, this store undoes that: the owner uses the wake.
        if cfg!(loom) {
            // Loom does not know that no store comes between a read-modify-write and the store that
            // it has read.
            self.word.swap(selected, Ordering::Relaxed);
        } else {
            self.word.store(selected, Ordering::Relaxed);
        }
        true
    }

    /// Ends the wait that had this [mark](Self::asleep_mark). Returns `false` if it is over. The
    /// winner must make the owner runnable. The caller guarantees that the owner exists.
    #[must_use]
    pub(crate) fn claim_asleep(&self, mark: u64, op: WakeReason) -> bool {
        self.try_select(mark, op).is_ok()
    }

    /// Withdraws the wait. Returns `None` if that succeeded, else the wake reason that was selected
    /// before. Called by the owner.
    pub(crate) fn cancel(&self) -> Option<WakeReason> {
        let word = self.word.load(Ordering::Relaxed);
        if matches!(word & PHASE, ARMED | PARKED) {
            let idle = (word & !(GENERATION - 1)) | IDLE;
            if self.word.compare_exchange(word, idle, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return None;
            }
        }
        let op = self.selected();
        debug_assert!(op.is_some(), "cancelled a wait that was not armed");
        op
    }

    /// Returns the wake reason that ended the current wait, if it has ended. Called by the owner.
    pub(crate) fn selected(&self) -> Option<WakeReason> {
        Self::selected_in(self.word.load(Ordering::Acquire))
    }

    #[inline]
    fn selected_in(word: u64) -> Option<WakeReason> {
        (word & PHASE == SELECTED).then_some((word >> OP_SHIFT) as WakeReason & MAX_OP)
    }

    /// Takes the token. Returns `false` if there is none. Called by the owner.
    pub(crate) fn take_token(&self) -> bool {
        self.token.load(Ordering::Relaxed) && self.token.swap(false, Ordering::AcqRel)
    }

    /// Announces a wait for the token. Returns `false` if the token came first and was taken.
    /// Called by the owner.
    #[must_use]
    pub(crate) fn arm_park(&self) -> bool {
        self.arm_as(ARMED | BY_TOKEN);
        // Pairs with the fence in `unpark`: either this thread sees the token, or the unparker sees
        // the armed wait.
        fence(Ordering::SeqCst);
        if self.token.load(Ordering::Relaxed) {
            // Cancelled, or claimed by the unparker: the token belongs to the owner either way.
            let _ = self.cancel();
            if self.take_token() {
                return false;
            }
            // Not reachable: only the owner takes tokens. But the thread must not sleep in a
            // cancelled wait, and a spurious return from `park` is allowed.
            return false;
        }
        true
    }

    /// Leaves the token, and claims the wait if it is for the token. Called by any thread.
    pub(crate) fn unpark(&self) -> Claim {
        if self.token.swap(true, Ordering::AcqRel) {
            // An earlier `unpark` left it. That one claims the wait, or the owner will find the
            // token.
            return Claim::Lost;
        }
        fence(Ordering::SeqCst);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let claim = match word & (PHASE | BY_TOKEN) {
                w if w == ARMED | BY_TOKEN => Claim::Awake,
                w if w == PARKED | BY_TOKEN => Claim::Asleep,
                _ => return Claim::Lost,
            };
            let generation = word / GENERATION;
            match self.try_select(word, 0) {
                Ok(()) => return claim,
                // The same wait went from armed to parked. A later wait must not be ended here.
                Err(now) if now / GENERATION == generation => word = now,
                Err(_) => return Claim::Lost,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Mutex, lock};
    use crate::util::spin_lock::{Guard as _, Held, SpinLock};
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    /// A thread with a wait state. Counts how often it was made runnable after it slept.
    struct Sleeper {
        cell: WaitState,
        scheduled: AtomicUsize,
    }

    impl Sleeper {
        fn new() -> Arc<Self> {
            Arc::new(Self { cell: WaitState::new(), scheduled: AtomicUsize::new(0) })
        }

        /// Does a waker's part. Returns `true` if the waker won.
        fn answer(&self, claim: Claim) -> bool {
            if claim == Claim::Asleep {
                self.scheduled.fetch_add(1, Ordering::Relaxed);
            }
            claim != Claim::Lost
        }

        /// Checks, after all wakers are through, that the sleeper runs again, and that it was
        /// scheduled if and only if it slept.
        fn assert_awake(&self, committed: Commit) {
            let scheduled = self.scheduled.load(Ordering::Relaxed);
            assert!(self.cell.selected().is_some(), "no waker ended the wait");
            assert_eq!(scheduled, usize::from(committed == Commit::Parked), "lost or doubled wake");
        }
    }

    #[test]
    fn of_two_claims_one_wins_and_the_sleeper_runs_once() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            sleeper.cell.arm();
            let wakers: Vec<_> = (1..=2)
                .map(|op| {
                    let sleeper = Arc::clone(&sleeper);
                    thread::spawn(move || sleeper.answer(sleeper.cell.claim(op)))
                })
                .collect();
            let committed = sleeper.cell.commit();
            let wins: Vec<_> = wakers.into_iter().map(|waker| waker.join().unwrap()).collect();
            sleeper.assert_awake(committed);
            assert_eq!(wins.iter().filter(|&&won| won).count(), 1);
            assert_eq!(sleeper.cell.selected(), Some(if wins[0] { 1 } else { 2 }));
        });
    }

    #[test]
    fn a_wait_is_either_cancelled_or_claimed() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            sleeper.cell.arm();
            let waker = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || sleeper.cell.claim(7))
            };
            let cancelled = sleeper.cell.cancel();
            match waker.join().unwrap() {
                Claim::Lost => assert_eq!(cancelled, None),
                Claim::Awake => assert_eq!(cancelled, Some(7)),
                Claim::Asleep => panic!("it never slept"),
            }
        });
    }

    #[test]
    fn an_unpark_is_not_lost() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            let waker = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || {
                    sleeper.answer(sleeper.cell.unpark());
                })
            };
            let slept = sleeper.cell.arm_park().then(|| sleeper.cell.commit());
            waker.join().unwrap();
            match slept {
                // It goes on by itself: it took the token before it slept.
                None => assert_eq!(sleeper.scheduled.load(Ordering::Relaxed), 0),
                Some(committed) => {
                    sleeper.assert_awake(committed);
                    assert!(sleeper.cell.take_token());
                }
            }
        });
    }

    /// A late `unpark` may end only the `park` for which it was meant, never a later wait.
    #[test]
    fn a_late_unpark_spares_the_next_wait() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            let waker = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || sleeper.cell.unpark())
            };
            if sleeper.cell.arm_park() {
                // A timeout.
                let _ = sleeper.cell.cancel();
            }
            sleeper.cell.arm();
            let ended = sleeper.cell.selected();
            let _ = waker.join().unwrap();
            assert_eq!(ended, None);
            assert_eq!(sleeper.cell.cancel(), None, "the unpark ended a wait that is not a park");
        });
    }

    /// An interrupt may end only the wait that was seen, never a later one.
    #[test]
    fn a_late_interrupt_spares_the_next_wait() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            let interrupter = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || {
                    let mark = sleeper.cell.asleep_mark()?;
                    Some((mark, sleeper.cell.claim_asleep(mark, TIMED_OUT)))
                })
            };
            // Like an OS thread with a deadline: it comes back by itself.
            let mut ends = [None, None];
            for end in &mut ends {
                sleeper.cell.arm();
                let _ = sleeper.cell.commit();
                let mark = sleeper.cell.asleep_mark();
                *end = sleeper.cell.cancel().map(|op| (op, mark));
            }
            let interrupted = interrupter.join().unwrap();
            let claimed = interrupted.is_some_and(|(_, claimed)| claimed);
            let ended = ends.iter().flatten().count();
            assert_eq!(ended, usize::from(claimed), "an interrupt ends one wait");
            for (op, mark) in ends.into_iter().flatten() {
                assert_eq!(op, TIMED_OUT);
                // Unless it was interrupted before it looked at its own mark.
                assert!(mark.is_none_or(|mark| Some(mark) == interrupted.map(|(seen, _)| seen)));
            }
        });
    }

    /// Either a waker or an interrupt wins, and the sleeper runs once.
    #[test]
    fn of_a_claim_and_an_interrupt_one_wins() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            sleeper.cell.arm();
            let waker = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || sleeper.answer(sleeper.cell.claim(7)))
            };
            let interrupter = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || {
                    let mark = sleeper.cell.asleep_mark();
                    let won = mark.is_some_and(|mark| sleeper.cell.claim_asleep(mark, TIMED_OUT));
                    sleeper.scheduled.fetch_add(usize::from(won), Ordering::Relaxed);
                    won
                })
            };
            let committed = sleeper.cell.commit();
            let (woken, interrupted) = (waker.join().unwrap(), interrupter.join().unwrap());
            sleeper.assert_awake(committed);
            assert!(woken != interrupted);
            assert_eq!(sleeper.cell.selected(), Some(if woken { 7 } else { TIMED_OUT }));
        });
    }

    /// The pattern of `WaitList`: a condition changed without the lock, a queue under one.
    #[test]
    fn a_change_beside_a_wait_list_is_not_missed() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            let world = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(false)));
            let notifier = {
                let (sleeper, world) = (Arc::clone(&sleeper), Arc::clone(&world));
                thread::spawn(move || {
                    let (condition, waiting, queued) = &*world;
                    condition.store(1, Ordering::Relaxed);
                    fence(Ordering::SeqCst);
                    if waiting.load(Ordering::Relaxed) > 0 {
                        let mut queued = lock(queued);
                        if std::mem::replace(&mut *queued, false) {
                            sleeper.answer(sleeper.cell.claim(0));
                        }
                    }
                })
            };
            let (condition, waiting, queued) = &*world;
            sleeper.cell.arm();
            *lock(queued) = true;
            waiting.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            let committed = if condition.load(Ordering::Relaxed) == 1 {
                let _ = sleeper.cell.cancel();
                None
            } else {
                Some(sleeper.cell.commit())
            };
            notifier.join().unwrap();
            if let Some(committed) = committed {
                sleeper.assert_awake(committed);
            }
        });
    }

    /// A thread that parks with the lock held: its frames are complete when a waker takes it out of
    /// the queue.
    #[test]
    fn a_thread_that_parks_with_the_lock_held_is_complete_when_found() {
        struct World {
            queue: SpinLock<bool>,
            cell: WaitState,
            frames: Checked<usize>,
        }
        loom::model(|| {
            let world = Arc::new(World {
                queue: SpinLock::new(false),
                cell: WaitState::new(),
                frames: Checked::new(0),
            });
            let waker = {
                let world = Arc::clone(&world);
                thread::spawn(move || {
                    let mut queue = world.queue.lock();
                    let found = std::mem::replace(&mut *queue, false);
                    if found {
                        assert!(world.cell.select_held(7));
                    }
                    drop(queue);
                    // Resumed here.
                    // SAFETY: this thread has taken the owner out of the queue, so the frames are
                    // its own. Loom checks it.
                    found.then(|| world.frames.with(|frames| unsafe { *frames }))
                })
            };
            let mut queue = world.queue.lock();
            *queue = true;
            world.cell.hold();
            let held = queue.into_held().into_raw();
            // The switch saves the frames.
            // SAFETY: the lock is held, so no other thread can have found the owner yet. Loom
            // checks it.
            world.frames.with_mut(|frames| unsafe { *frames = 1 });
            // SAFETY: the raw value is from the guard above and is used once. The lock is alive.
            unsafe { Held::from_raw(held).release() };
            match waker.join().unwrap() {
                Some(frames) => {
                    assert_eq!(frames, 1);
                    assert_eq!(world.cell.selected(), Some(7));
                }
                None => assert!(*world.queue.lock(), "gone from the queue, but not found"),
            }
        });
    }

    /// A thread that holds its wait, and another behind it in the queue.
    struct Ending {
        cell: WaitState,
        /// Whether the first thread is in the queue.
        queued: SpinLock<bool>,
        scheduled: AtomicUsize,
        /// The number of wakes that went to the second thread.
        passed_on: AtomicUsize,
    }

    impl Ending {
        fn wake_one(&self) {
            let mut queued = self.queued.lock();
            let claimed = std::mem::replace(&mut *queued, false) && self.cell.select_held(7);
            drop(queued);
            let given = if claimed { &self.scheduled } else { &self.passed_on };
            given.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As in `runtime/last_turns.rs` and `Wait::withdrawn`: either the thread whose runtime ends
    /// uses the wake, is made runnable and knows it; or the wake goes to the next thread.
    #[test]
    fn a_held_wait_that_is_ended_uses_a_wake_or_leaves_it() {
        loom::model(|| {
            let world = Arc::new(Ending {
                cell: WaitState::new(),
                queued: SpinLock::new(true),
                scheduled: AtomicUsize::new(0),
                passed_on: AtomicUsize::new(0),
            });
            world.cell.hold();
            let waker = {
                let world = Arc::clone(&world);
                thread::spawn(move || world.wake_one())
            };
            let ended = world.cell.end();
            let op = if ended {
                // The owner withdraws.
                *world.queued.lock() = false;
                world.cell.claimed_at_last()
            } else {
                world.cell.selected()
            };
            waker.join().unwrap();
            assert!(ended || op.is_some(), "it was asleep");
            assert_eq!(world.scheduled.load(Ordering::Relaxed), usize::from(op == Some(7)));
            assert_eq!(world.passed_on.load(Ordering::Relaxed), usize::from(op.is_none()));
            if op.is_none() {
                world.cell.hold_for_ever();
                assert!(world.cell.is_asleep() && !world.cell.select_held(7));
                assert_eq!(world.cell.claim(7), Claim::Lost);
            }
        });
    }

    /// Either a claim or the end of an armed wait wins, and only a claim makes the thread runnable.
    #[test]
    fn an_armed_wait_is_claimed_or_ended() {
        loom::model(|| {
            let sleeper = Sleeper::new();
            sleeper.cell.arm_park().then_some(()).expect("no token yet");
            assert_eq!(sleeper.cell.commit(), Commit::Parked);
            let waker = {
                let sleeper = Arc::clone(&sleeper);
                thread::spawn(move || {
                    let claim = sleeper.cell.unpark();
                    sleeper.answer(claim)
                })
            };
            let ended = sleeper.cell.end();
            assert_ne!(ended, waker.join().unwrap());
            assert_eq!(sleeper.scheduled.load(Ordering::Relaxed), usize::from(!ended));
            // A second call returns the same.
            assert_eq!(sleeper.cell.end(), ended);
        });
    }
}
