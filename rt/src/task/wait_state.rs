//! The state machine of waiting: one word per thread, green or not.
//!
//! A thread waits in four steps: it *arms* its cell, registers the wait wherever a wake can come from
//! (a channel's queue, a timer, a join word), *commits* to sleep, and later finds out which wake
//! *claimed* it. Any number of wakers may race to claim one wait; exactly one wins.
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
//! - Only the owner (the thread itself; for `commit` of a green thread, the worker that just switched
//!   away from it) leaves Idle and Selected. Nobody else writes the word in those phases, so the owner
//!   arms with a plain store.
//! - Only claims, and the owner's `commit` and `cancel`, leave Armed; only claims leave Parked. All of
//!   these are compare-and-swaps of the whole word.
//! - Every arm increments the generation in the word. A claim that was prepared against an earlier
//!   wait therefore fails, however late it comes. Claims through a queue need no such help: they happen
//!   under the lock of the queue, in which a wait is registered only while it is current. `unpark`,
//!   which anyone may call at any time, does.
//! - A green thread that waits in one place only, and for no deadline, needs none of this: it parks
//!   while it holds the lock of the queue that it is in, its worker releases the lock after the switch,
//!   and whoever takes it out of the queue under the lock has it, asleep and complete. The word is then
//!   Idle with the flag `HELD`, for dumps to see, and the waker only leaves the operation in it.
//! - When its scheduler has ended the owner never goes on. Its wait is *ended*: an armed one is Selected with `ENDED`, as by
//!   any claim; with one that is held `DYING` goes with `HELD`, and a waker that sees it passes the owner over. One that
//!   has looked before may still leave its operation. The owner finds out under the lock of the queue, when it withdraws
//!   (`runtime/README.md`, §11).
//! - A thread whose claim found it Parked does not run until the winner schedules it, so the winner may
//!   use its control block until then. After a claim that found it Armed, the winner must not.

use crate::loom::{AtomicBool, AtomicU64, Ordering, fence};

/// What a wait was woken with. Meanings belong to whoever registers the wait.
pub(crate) type WakeReason = u32;

/// The operation that a deadline selects.
pub(crate) const TIMED_OUT: WakeReason = MAX_OP;

/// The operation that ends the wait of a thread whose runtime has ended (`sched/last.rs`), and which never goes on.
const ENDED: WakeReason = MAX_OP - 1;

const PHASE: u64 = 0b11;

/// Running, no wait under way.
const IDLE: u64 = 0;

/// A wait is announced, and the thread has not gone to sleep for it yet.
const ARMED: u64 = 1;

/// The thread sleeps: a green one is off its stack, an OS thread is about to call the kernel.
const PARKED: u64 = 2;

/// A waker has claimed the wait, with the operation in the word.
const SELECTED: u64 = 3;

/// Set with `ARMED` and `PARKED` if the wait is a `park`, the only kind that `unpark` may claim.
const BY_TOKEN: u64 = 1 << 2;

/// Set with `IDLE` while a green thread sleeps without having armed its cell, its queue's lock in its
/// command.
const HELD: u64 = 1 << 3;

/// Set with `HELD` if the runtime has ended: nobody claims the wait any more, except by chance one that looked before.
const DYING: u64 = 1 << 4;

const OP_SHIFT: u32 = 8;

const GENERATION: u64 = 1 << 32;

/// The greatest operation that fits between them.
pub(crate) const MAX_OP: WakeReason = (1 << 24) - 1;

/// What became of a claim.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// The wait was over already, or claimed by another.
    Lost,
    /// Won before the thread went to sleep; it will notice by itself.
    Awake,
    /// Won, and the thread sleeps: the winner must make it runnable.
    Asleep,
}

/// What became of the attempt to go to sleep.
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
    /// The token of `std::thread::park`. Set by anyone; taken by the owner.
    token: AtomicBool,
}

impl WaitState {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(IDLE), token: AtomicBool::new(false) }
    }

    /// Announces a wait. Owner only; before it is registered anywhere.
    pub(crate) fn arm(&self) {
        self.arm_as(ARMED);
    }

    fn arm_as(&self, phase: u64) {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert!(matches!(last & PHASE, IDLE | SELECTED), "armed twice");
        let generation = (last & !(GENERATION - 1)).wrapping_add(GENERATION);
        // Relaxed: whoever may claim this wait learns of it through a lock, or through the fences of
        // `arm_park` and `unpark`.
        self.word.store(generation | phase, Ordering::Relaxed);
    }

    /// Tries to be the one that ends the current wait. Anyone to whom the wait is registered.
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
        // Release: what the waker did before is visible to the woken. Acquire: an asleep thread's
        // frames, which the winner is about to make run elsewhere, are complete.
        self.word.compare_exchange(word, selected, Ordering::AcqRel, Ordering::Relaxed).map(|_| ())
    }

    /// Goes to sleep, unless claimed meanwhile. Owner only; a green thread's worker calls it after the
    /// switch, when the thread's registers are saved.
    pub(crate) fn commit(&self) -> Commit {
        let word = self.word.load(Ordering::Relaxed);
        if word & PHASE == ARMED {
            let parked = (word & !PHASE) | PARKED;
            // Release: the saved frames are published to whoever claims.
            match self.word.compare_exchange(word, parked, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Commit::Parked,
                Err(now) => debug_assert_eq!(now & PHASE, SELECTED),
            }
        }
        Commit::Selected
    }

    /// Goes to sleep in a queue whose lock it holds, without a state that others could change. Owner only.
    #[inline(always)]
    pub(crate) fn hold(&self) {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert!(matches!(last & PHASE, IDLE | SELECTED), "held and armed");
        // Relaxed: nobody acts on it but who finds the thread in the queue, under the lock.
        self.word.store((last & !(GENERATION - 1)) | IDLE | HELD, Ordering::Relaxed);
    }

    /// Whether the owner has gone to sleep and nobody has ended its wait yet. For whoever looks on.
    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.word.load(Ordering::Acquire) & (PHASE | HELD), PARKED | HELD)
    }

    /// If the owner has committed to sleep and nobody has ended its wait yet: a number that no other wait of
    /// this cell has. For whoever looks on.
    pub(crate) fn asleep_mark(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire);
        (word & PHASE == PARKED).then_some(word)
    }

    /// Ends the wait of an owner that never goes on: false if it is in none, or was claimed before. One that holds its
    /// wait may still be claimed, by somebody who has its queue's lock already, until it has taken the lock itself. By the
    /// one thread that may run the owner.
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
                // Perhaps it was ended before.
                _ => return self.selected() == Some(ENDED),
            };
            match ended {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Whether a wait that was held and [ended](WaitState::end) was claimed nevertheless, and with what operation. Owner
    /// only, after it has left the queue, under its lock: nobody claims it afterwards.
    pub(crate) fn claimed_at_last(&self) -> Option<WakeReason> {
        // A read-modify-write sees the last of all stores.
        let word = self.word.fetch_add(0, Ordering::AcqRel);
        Self::selected_in(word)
    }

    /// Goes to sleep for ever. Owner only, after its wait was [ended](WaitState::end).
    pub(crate) fn hold_for_ever(&self) {
        let last = self.word.load(Ordering::Relaxed);
        self.word.store((last & !(GENERATION - 1)) | IDLE | HELD | DYING, Ordering::Release);
    }

    /// Ends a wait that was never armed, because only the holder of one lock can end it: the owner
    /// sleeps, and the caller has taken it out of that lock's queue, so nobody else has it. False if the owner never
    /// goes on.
    #[inline]
    #[must_use]
    pub(crate) fn select_held(&self, op: WakeReason) -> bool {
        let last = self.word.load(Ordering::Relaxed);
        debug_assert_eq!(last & (PHASE | HELD), IDLE | HELD, "not held");
        if last & DYING != 0 {
            return false;
        }
        let selected = (last & !(GENERATION - 1)) | SELECTED | u64::from(op) << OP_SHIFT;
        // Relaxed: the owner is made to run by the caller, which hands it everything. (If it is `DYING` by now, that is
        // undone: it uses what it is woken for.)
        if cfg!(loom) {
            // Loom does not know that no store comes between a read-modify-write and what that has read.
            self.word.swap(selected, Ordering::Relaxed);
        } else {
            self.word.store(selected, Ordering::Relaxed);
        }
        true
    }

    /// Ends the wait that had this [mark](Self::asleep_mark): false if it is over. The winner must make the owner
    /// runnable. For whoever sees to it that the owner is there.
    #[must_use]
    pub(crate) fn claim_asleep(&self, mark: u64, op: WakeReason) -> bool {
        self.try_select(mark, op).is_ok()
    }

    /// Withdraws the wait: `None` if that succeeded, else the operation that was selected before.
    /// Owner only.
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

    /// The operation that ended the current wait, if one has. Owner only.
    pub(crate) fn selected(&self) -> Option<WakeReason> {
        Self::selected_in(self.word.load(Ordering::Acquire))
    }

    #[inline]
    fn selected_in(word: u64) -> Option<WakeReason> {
        (word & PHASE == SELECTED).then_some((word >> OP_SHIFT) as WakeReason & MAX_OP)
    }

    /// Takes the token if it is there. Owner only.
    pub(crate) fn take_token(&self) -> bool {
        self.token.load(Ordering::Relaxed) && self.token.swap(false, Ordering::AcqRel)
    }

    /// Announces a wait for the token: `false` if the token came first and was taken. Owner only.
    #[must_use]
    pub(crate) fn arm_park(&self) -> bool {
        self.arm_as(ARMED | BY_TOKEN);
        // With the fence in `unpark`: either we see the token, or the unparker sees us armed.
        fence(Ordering::SeqCst);
        if self.token.load(Ordering::Relaxed) {
            // Cancelled or claimed by the unparker: the token is ours either way.
            let _ = self.cancel();
            if self.take_token() {
                return false;
            }
            // Not reachable: only the owner takes tokens. But a wait that was cancelled must not be
            // slept in, and a spurious return from `park` is allowed.
            return false;
        }
        true
    }

    /// Leaves the token, and claims the wait if it is one for the token. Anyone.
    pub(crate) fn unpark(&self) -> Claim {
        if self.token.swap(true, Ordering::AcqRel) {
            // An earlier unpark left it; that one claims, or the owner will find the token.
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
                // The same wait went from armed to parked; another one is not ours to end.
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

    /// A thread with a cell, and the number of times that it was made runnable after it slept.
    struct Sleeper {
        cell: WaitState,
        scheduled: AtomicUsize,
    }

    impl Sleeper {
        fn new() -> Arc<Self> {
            Arc::new(Self { cell: WaitState::new(), scheduled: AtomicUsize::new(0) })
        }

        /// A waker's part: true if it won.
        fn answer(&self, claim: Claim) -> bool {
            if claim == Claim::Asleep {
                self.scheduled.fetch_add(1, Ordering::Relaxed);
            }
            claim != Claim::Lost
        }

        /// After all wakers are through: the sleeper runs again, and was scheduled exactly if it slept.
        fn assert_awake(&self, committed: Commit) {
            let scheduled = self.scheduled.load(Ordering::Relaxed);
            assert!(self.cell.selected().is_some(), "nobody ended the wait");
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
                // It goes on by itself, having taken the token before it slept.
                None => assert_eq!(sleeper.scheduled.load(Ordering::Relaxed), 0),
                Some(committed) => {
                    sleeper.assert_awake(committed);
                    assert!(sleeper.cell.take_token());
                }
            }
        });
    }

    /// An unpark that comes late must end the `park` it was meant for or none: never a later wait.
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

    /// An interrupt ends the wait that was seen, or none: not one that comes after it.
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
            // As an OS thread with a deadline: it comes back by itself.
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
            assert_eq!(ended, usize::from(claimed), "of two waits, or of none");
            for (op, mark) in ends.into_iter().flatten() {
                assert_eq!(op, TIMED_OUT);
                // If it was not interrupted before it looked itself.
                assert!(mark.is_none_or(|mark| Some(mark) == interrupted.map(|(seen, _)| seen)));
            }
        });
    }

    /// Of a waker and an interrupt one wins, and the sleeper runs once.
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

    /// A thread that parks with the lock held: who takes it out of the queue finds its frames complete.
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
                    // SAFETY: it is ours now; loom checks it.
                    found.then(|| world.frames.with(|frames| unsafe { *frames }))
                })
            };
            let mut queue = world.queue.lock();
            *queue = true;
            world.cell.hold();
            let held = queue.into_held().into_raw();
            // What the switch saves.
            // SAFETY: nobody can have found us yet; loom checks it.
            world.frames.with_mut(|frames| unsafe { *frames = 1 });
            // SAFETY: from the guard above; the lock is there.
            unsafe { Held::from_raw(held).release() };
            match waker.join().unwrap() {
                Some(frames) => {
                    assert_eq!(frames, 1);
                    assert_eq!(world.cell.selected(), Some(7));
                }
                None => assert!(*world.queue.lock(), "found by nobody, and gone"),
            }
        });
    }

    /// A thread that holds its wait, and another behind it in the queue.
    struct Ending {
        cell: WaitState,
        /// Whether the first is in the queue.
        queued: SpinLock<bool>,
        scheduled: AtomicUsize,
        /// The wake went to the second.
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

    /// As in `sched/last.rs` and `Wait::withdrawn`: the wake is used by the one whose runtime ends, which is made runnable
    /// then and knows it; or it goes to the next.
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
                // It withdraws.
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

    /// Of a claim and the end of an armed wait one wins, and only a claim makes it runnable.
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
            // Asked again, it says the same.
            assert_eq!(sleeper.cell.end(), ended);
        });
    }
}
