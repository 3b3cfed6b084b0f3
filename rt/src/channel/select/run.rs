//! The algorithm of a select: try and register the arms in turn, sleep, withdraw all, and accept
//! the arm that was claimed.
//!
//! Invariants:
//! - All seats of one wait share one armed wait. So one claim wins, and identifies its seat.
//! - Seats stay in this frame from registration until each is unregistered. Every seat but the
//!   claimed one is unregistered under its channel's lock; the claimed one was popped by the
//!   claimer. So no other thread can reach a seat when the frame ends.
//! - After a wake, the claimed arm is tried before the others. On a buffered channel the wake
//!   stands for a value or a free slot, for which no other thread is woken.
//! - A select waits for a promised value only once all seats are withdrawn, because that is a
//!   separate wait.
//!
//! A select that finds no arm ready, and does not wait, must have found a moment at which none of
//! its arms was ready. One look at each arm is not enough: a value may move from an arm that is
//! still to be looked at to one that was. So the select looks twice, and each arm returns a version
//! that only counts up. If no arm was ready in either look and the sum is the same, then each
//! version is the same, and between the two looks no arm was ever ready. Otherwise another thread
//! has made progress, and the select looks again. (A `collect` that is done twice is the textbook's
//! atomic snapshot.)

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::channel::flavors::timer::sleep_until;
use crate::channel::select::arm::{Arm, Place, Round, Seat, Step};
use crate::channel::select::token::Token;
use crate::loom::Ordering;
use crate::runtime::context;
use crate::task::wait_state::TIMED_OUT;
use crate::util::backoff::Backoff;
use crate::wait::park::may_suspend;
use crate::wait::queue::{MAX_ARMS, arm_and_outcome};

/// The moment when a select gives up.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// Immediately.
    Now,
    Never,
    At(Instant),
}

impl Until {
    /// Creates a deadline after `timeout`; `Never` if the clock cannot represent it.
    pub(crate) fn after(timeout: Duration) -> Self {
        Instant::now().checked_add(timeout).map_or(Self::Never, Self::At)
    }

    fn is_over(self) -> bool {
        match self {
            Self::Now => true,
            Self::Never => false,
            Self::At(when) => Instant::now() >= when,
        }
    }

    fn deadline(self) -> Option<Instant> {
        match self {
            Self::At(when) => Some(when),
            Self::Now | Self::Never => None,
        }
    }
}

/// An arm, with its index among the arms that the user added.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub(crate) arm: &'a dyn Arm,
    pub(crate) index: usize,
}

/// Selects one of the cases, and does its operation as far as possible. Chooses the first that is
/// ready, in a random order, or in the order of `cases` if `biased`. Returns its place in `cases`.
pub(crate) fn select(
    cases: &[Case<'_>],
    token: &mut Token,
    until: Until,
    biased: bool,
    site: &'static Location<'static>,
) -> Option<usize> {
    let order = order(cases.len(), until, biased, site)?;
    while !until.is_over() {
        // SAFETY: `with_seats` provides as many places as there are cases.
        let done = with_seats(cases.len(), |seats| unsafe {
            wait(cases, &order, seats, until, token, site)
        });
        if done.is_some() {
            return done;
        }
    }
    find(cases, &order, |arm| arm.try_select(token, site))
}

/// Returns the first case for which `get` succeeds, unless there was a moment at which none was
/// ready.
fn find(cases: &[Case<'_>], order: &Order, mut get: impl FnMut(&dyn Arm) -> bool) -> Option<usize> {
    let mut before = None;
    let mut patience = Backoff::new();
    loop {
        let mut now = Some(0_usize);
        for n in order.iter(cases.len()) {
            let arm = cases[n].arm;
            match arm.not_ready() {
                Some(version) => now = now.map(|sum| sum.wrapping_add(version)),
                None if get(arm) => return Some(n),
                // Another thread was faster.
                None => now = None,
            }
        }
        if cases.len() == 1 || now.is_some() && now == before {
            return None;
        }
        if before.is_some() || now.is_none() {
            patience.lost();
        }
        before = now;
    }
}

/// Waits until one of the cases is ready, without doing its operation. Returns its place in
/// `cases`.
pub(crate) fn ready(
    cases: &[Case<'_>],
    until: Until,
    biased: bool,
    site: &'static Location<'static>,
) -> Option<usize> {
    let order = order(cases.len(), until, biased, site)?;
    loop {
        let ready = order.iter(cases.len()).find(|&n| cases[n].arm.not_ready().is_none());
        if ready.is_some() {
            return ready;
        }
        if until.is_over() {
            return find(cases, &order, |_| true);
        }
        // SAFETY: `with_seats` provides as many places as there are cases.
        with_seats(cases.len(), |seats| unsafe { watch(cases, seats, until, site) });
    }
}

/// The order in which cases are tried.
enum Order {
    /// Numbers of four bits, the first in the lowest bits: no memory to move.
    Few(u64),
    Many(Box<[usize]>),
}

impl Order {
    fn new(count: usize, biased: bool) -> Self {
        const NIBBLES: usize = 16;
        let mut random = if biased { 0 } else { random() };
        // Returns a number from zero to n, from the high half of a product; then steps the
        // generator.
        let mut up_to = |n: usize| {
            let number = ((random >> 32) * (n as u64 + 1)) >> 32;
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            number as usize
        };
        // Both branches are Fisher–Yates shuffles.
        if count <= NIBBLES {
            let mut order = 0xfedc_ba98_7654_3210_u64;
            if !biased {
                for n in (1..count).rev() {
                    let (a, b) = (4 * n, 4 * up_to(n));
                    let differ = (order >> a ^ order >> b) & 0xf;
                    order ^= differ << a;
                    order ^= differ << b;
                }
            }
            Self::Few(order)
        } else {
            let mut order: Box<[usize]> = (0..count).collect();
            if !biased {
                (1..count).rev().for_each(|n| order.swap(n, up_to(n)));
            }
            Self::Many(order)
        }
    }

    fn get(&self, n: usize) -> usize {
        match self {
            Self::Few(order) => (order >> (4 * n) & 0xf) as usize,
            Self::Many(order) => order[n],
        }
    }

    fn iter(&self, count: usize) -> impl Iterator<Item = usize> {
        (0..count).map(|n| self.get(n))
    }
}

/// Returns the order to try the cases in. With no cases, none is ever ready: waits until the
/// deadline.
fn order(
    count: usize,
    until: Until,
    biased: bool,
    site: &'static Location<'static>,
) -> Option<Order> {
    if !matches!(until, Until::Now) {
        may_suspend(site);
    }
    if count > 0 {
        return Some(Order::new(count, biased));
    }
    if !matches!(until, Until::Now) {
        sleep_until(until.deadline(), site);
    }
    None
}

/// Returns the earliest moment at which the select has to act without a wake.
fn deadline(cases: &[Case<'_>], until: Until) -> Option<Instant> {
    cases.iter().filter_map(|case| case.arm.deadline()).chain(until.deadline()).min()
}

/// Runs `f` with places for `count` seats: in the frame for a few, on the heap for more.
#[inline]
fn with_seats<R>(count: usize, f: impl FnOnce(NonNull<Seat>) -> R) -> R {
    const FEW: usize = 4;
    if count <= FEW {
        let mut seats = [const { MaybeUninit::<Seat>::uninit() }; FEW];
        f(NonNull::from(&mut seats).cast())
    } else {
        let mut seats = Box::<[Seat]>::new_uninit_slice(count);
        f(NonNull::from(&mut *seats).cast())
    }
}

/// Tries and registers the cases in turn, and waits if none was ready. Returns the case whose
/// operation was done, if one was.
///
/// # Safety
///
/// `seats` has as many places as there are cases.
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn wait(
    cases: &[Case<'_>],
    order: &Order,
    seats: NonNull<Seat>,
    until: Until,
    token: &mut Token,
    site: &'static Location<'static>,
) -> Option<usize> {
    assert!(cases.len() < MAX_ARMS, "too many operations in a select");
    // SAFETY: there is a place for each case, so the offset is in bounds. The blocks below rely on
    // the following: seat n is registered with case n, and stays until it is unregistered; every
    // registered seat is unregistered before this returns; and a seat's content is looked at only
    // once it was claimed or unregistered.
    let place = |arm| Place { seat: unsafe { seats.add(arm) }, arm };
    let mut round = Round::new(site);
    let (mut registered, mut done, mut claimed) = (cases.len(), None, None);
    let (mut step, mut timed_out) = (Step::Registered, None);
    for (nth, n) in order.iter(cases.len()).enumerate() {
        // SAFETY: see `place`: the seat stays until it is unregistered below.
        step = unsafe { cases[n].arm.register(place(n), &mut round, token) };
        if step != Step::Registered {
            registered = nth + usize::from(step == Step::Ready);
            break;
        }
    }
    match step {
        Step::Registered => {
            let deadline = deadline(cases, until);
            match round.park(deadline) {
                TIMED_OUT => timed_out = Some(deadline),
                op => claimed = Some(op),
            }
        }
        Step::Ready | Step::Claimed => claimed = round.claimed(),
        Step::Done => done = Some(order.get(registered)),
        Step::Again => {}
    }
    let claimed = claimed.map(arm_and_outcome);
    for n in order.iter(registered) {
        let was_claimed = claimed.is_some_and(|(arm, _)| arm == n);
        // SAFETY: see `place`: the seat was registered with this case.
        unsafe { cases[n].arm.unregister(place(n).seat, was_claimed) };
    }
    round.end(timed_out);
    if let Some((n, outcome)) = claimed {
        // SAFETY: see `place`: the seat was registered with this case and claimed with this
        // outcome, and is unregistered.
        done = unsafe { cases[n].arm.accept(token, place(n).seat, outcome) }.then_some(n);
    }
    done
}

/// Waits once, with all cases watched.
///
/// # Safety
///
/// `seats` has as many places as there are cases.
unsafe fn watch(
    cases: &[Case<'_>],
    seats: NonNull<Seat>,
    until: Until,
    site: &'static Location<'static>,
) {
    assert!(cases.len() < MAX_ARMS, "too many operations in a select");
    // SAFETY: as in `wait`, with `watch` and `unwatch`.
    let place = |arm| Place { seat: unsafe { seats.add(arm) }, arm };
    let mut round = Round::new(site);
    let (mut watched, mut ready) = (0, false);
    for (n, case) in cases.iter().enumerate() {
        watched = n + 1;
        // SAFETY: see `place`: the seat stays until it is unwatched below.
        ready = unsafe { case.arm.watch(place(n), &mut round) };
        if ready {
            break;
        }
    }
    let mut timed_out = None;
    if ready {
        // The result does not matter: a claim of a watcher carries nothing.
        round.stop();
    } else {
        let deadline = deadline(cases, until);
        timed_out = (round.park(deadline) == TIMED_OUT).then_some(deadline);
    }
    for (n, case) in cases[..watched].iter().enumerate() {
        // SAFETY: see `place`: the seat was watched with this case.
        unsafe { case.arm.unwatch(place(n).seat) };
    }
    round.end(timed_out);
}

/// Returns a random number. Each worker has its own generator; other threads share one sequence (a
/// Weyl sequence, mixed).
fn random() -> u64 {
    static SHARED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    context::with(|worker| worker.map(|worker| worker.random())).unwrap_or_else(|| {
        let mut x = SHARED.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ (x >> 31)
    })
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::channel::select::macro_support::{Selection, recv, send};
    use crate::channel::{Receiver, Select, Sender, bounded};
    use loom::thread;

    // Biased, because a model must behave the same in each run.

    /// Selects a send, and completes it or gives up.
    fn select_and_send(tx: &Sender<usize>, value: Option<usize>) -> bool {
        let cases = [send(tx, 0)];
        let mut selection = Selection::new(&cases);
        selection.select(true);
        value.is_some_and(|value| selection.send(tx, value).is_ok())
    }

    /// Receives by a select with a second arm, which never becomes ready.
    fn select_and_receive(rx: &Receiver<usize>, other: &Receiver<usize>) -> Option<usize> {
        let cases = [recv(other, 0), recv(rx, 1)];
        let mut selection = Selection::new(&cases);
        assert_eq!(selection.select(true), 1);
        selection.recv(rx).ok()
    }

    #[test]
    fn a_promise_is_kept() {
        loom::model(|| {
            let (tx, rx) = bounded(0);
            let sender = thread::spawn(move || select_and_send(&tx, Some(1)));
            assert_eq!(rx.recv(), Ok(1));
            assert!(sender.join().unwrap());
        });
    }

    /// The receiver looks for another sender, and finds the next one, or finds that there is none.
    #[test]
    fn a_promise_is_broken() {
        loom::model(|| {
            let (tx, rx) = bounded(0);
            let sender = thread::spawn(move || {
                assert!(!select_and_send(&tx, None));
            });
            assert!(rx.recv().is_err());
            sender.join().unwrap();
        });
        loom::model(|| {
            let (tx, rx) = bounded(0);
            let sender = thread::spawn(move || {
                assert!(!select_and_send(&tx, None));
                tx.send(2)
            });
            assert_eq!(rx.recv(), Ok(2));
            assert_eq!(sender.join().unwrap(), Ok(()));
        });
    }

    #[test]
    fn two_selects_meet() {
        loom::model(|| {
            let ((tx, rx), (_other, others)) = (bounded(0), bounded(0));
            let sender = thread::spawn(move || select_and_send(&tx, Some(1)));
            assert_eq!(select_and_receive(&rx, &others), Some(1));
            assert!(sender.join().unwrap());
        });
    }

    /// A value that was promised to a select that gives up is dropped by its sender, or was
    /// received.
    #[test]
    fn a_promise_is_declined() {
        loom::model(|| {
            let (tx, rx) = bounded(0);
            let value = std::sync::Arc::new(());
            let theirs = std::sync::Arc::clone(&value);
            let sender = thread::spawn(move || {
                let cases = [send(&tx, 0)];
                let mut selection = Selection::new(&cases);
                selection.select(true);
                assert!(selection.send(&tx, theirs).is_ok());
            });
            let mut select = Select::new_biased();
            select.recv(&rx);
            let mut operation = std::mem::ManuallyDrop::new(select.select());
            operation.give_up();
            sender.join().unwrap();
            assert!(std::sync::Arc::strong_count(&value) <= 2);
        });
    }

    /// Of two values, sent to two channels, one is received; the other is still there.
    #[test]
    fn a_select_takes_one_value_and_leaves_the_other() {
        loom::model(|| {
            let ((a_tx, a), (b_tx, b)) = (bounded(0), bounded(1));
            let sender = thread::spawn(move || {
                let given = a_tx.try_send(1).is_ok();
                b_tx.send(2).unwrap();
                given
            });
            let cases = [recv(&a, 0), recv(&b, 1)];
            let mut selection = Selection::new(&cases);
            let got = match selection.select(true) {
                0 => selection.recv(&a),
                _ => selection.recv(&b),
            };
            drop(selection);
            let given = sender.join().unwrap();
            let rest = b.try_recv().ok();
            // Both values are there if the select saw the disconnection of the first channel.
            match got {
                Ok(1) => assert!(given && rest == Some(2)),
                Ok(_) => assert!(!given && rest.is_none()),
                Err(_) => assert!(!given && rest == Some(2)),
            }
        });
    }

    /// A value comes to the second channel before one leaves the first: at any time there is one.
    #[test]
    fn nothing_is_ready_only_if_there_was_such_a_moment() {
        loom::model(|| {
            let ((a_tx, a), (b_tx, b)) = (bounded(1), bounded(1));
            a_tx.send(1).unwrap();
            let theirs = a.clone();
            let mover = thread::spawn(move || {
                b_tx.send(2).unwrap();
                theirs.try_recv().is_ok()
            });
            let cases = [recv(&b, 0), recv(&a, 1)];
            let mut selection = Selection::new(&cases);
            let got = match selection.try_select(true).expect("there was one at any time") {
                0 => selection.recv(&b),
                _ => selection.recv(&a),
            };
            let moved = mover.join().unwrap();
            assert_eq!(got, Ok(if moved { 2 } else { 1 }));
            drop(a_tx);
        });
    }
}
