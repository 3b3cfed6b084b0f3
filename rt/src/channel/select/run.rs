//! How a select runs: try and register the arms in turn, sleep, withdraw all, accept the one that was
//! claimed.
//!
//! Invariants:
//! - All seats of one wait share one armed wait, so one claim wins, and tells which seat it was.
//! - Seats are in this frame from registration until each is unregistered, under its channel's lock if
//!   it was not the one claimed (that one was popped by the claimer); so no one else can reach a seat
//!   when the frame ends.
//! - After a wake, the arm that was claimed is tried before the others: on a buffered channel the wake
//!   stands for a value or a free slot, which nobody else is woken for.

use std::mem::MaybeUninit;
use std::panic::Location;
use std::ptr::NonNull;
use std::time::Instant;

use super::arm::{Arm, Place, Round, Seat, Step, Token};
use super::operation::SelectedOperation;
use crate::channel::timer::sleep_until;
use crate::prim::Ordering;
use crate::sched::current;
use crate::task::state::TIMED_OUT;
use crate::wait::{MAX_ARMS, arm_and_outcome};

/// When a select gives up.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// At once.
    Now,
    Never,
    At(Instant),
}

impl Until {
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

/// An arm, with its index among those that the user added.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    pub(crate) arm: &'a dyn Arm,
    pub(crate) index: usize,
}

/// Selects one of the cases: the first that is ready in their order, which is shuffled first unless
/// `biased`.
pub(crate) fn select<'a>(
    cases: &mut [Case<'a>],
    until: Until,
    biased: bool,
    site: &'static Location<'static>,
) -> Option<SelectedOperation<'a>> {
    if cases.is_empty() {
        wait_for_nothing(until, site);
        return None;
    }
    if !biased {
        shuffle(cases);
    }
    let mut token = Token::Nothing;
    while !until.is_over() {
        // SAFETY: as many places as cases.
        let done =
            with_seats(cases.len(), |seats| unsafe { wait(cases, seats, until, &mut token, site) });
        if let Some(case) = done {
            return Some(SelectedOperation::new(cases[case], token));
        }
    }
    let done = cases.iter().find(|case| case.arm.try_select(&mut token));
    done.map(|case| SelectedOperation::new(*case, token))
}

/// Waits until one of the cases is ready, and does nothing. Gives its index.
pub(crate) fn ready(
    cases: &mut [Case<'_>],
    until: Until,
    biased: bool,
    site: &'static Location<'static>,
) -> Option<usize> {
    if cases.is_empty() {
        wait_for_nothing(until, site);
        return None;
    }
    if !biased {
        shuffle(cases);
    }
    loop {
        if let Some(case) = cases.iter().find(|case| case.arm.is_ready()) {
            return Some(case.index);
        }
        if until.is_over() {
            return None;
        }
        // SAFETY: as many places as cases.
        with_seats(cases.len(), |seats| unsafe { watch(cases, seats, until, site) });
    }
}

/// No operation will ever be ready.
fn wait_for_nothing(until: Until, site: &'static Location<'static>) {
    match until {
        Until::Now => {}
        Until::Never | Until::At(_) => sleep_until(until.deadline(), site),
    }
}

/// The earliest moment at which something is to be done without a wake.
fn deadline(cases: &[Case<'_>], until: Until) -> Option<Instant> {
    cases.iter().filter_map(|case| case.arm.deadline()).chain(until.deadline()).min()
}

/// Runs `f` with a place for each of `count` seats: in the frame for a few, on the heap for more.
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

/// Tries and registers the cases in turn, and waits if none was ready. Gives the case whose operation
/// was done, if one was.
///
/// # Safety
///
/// There are as many places at `seats` as cases.
#[inline(always)]
unsafe fn wait(
    cases: &[Case<'_>],
    seats: NonNull<Seat>,
    until: Until,
    token: &mut Token,
    site: &'static Location<'static>,
) -> Option<usize> {
    assert!(cases.len() < MAX_ARMS, "too many operations in a select");
    // SAFETY, of all blocks in this function: seat n is the n-th place of `seats`, is registered with
    // case n, and stays until it is unregistered, which is done for every registered one before this
    // returns. It is claimed or unregistered when its content is looked at.
    let place = |arm| Place { seat: unsafe { seats.add(arm) }, arm };
    let mut round = Round::new();
    let (mut registered, mut done, mut claimed) = (cases.len(), None, None);
    let mut step = Step::Registered;
    for (n, case) in cases.iter().enumerate() {
        // SAFETY: above.
        step = unsafe { case.arm.register(place(n), &mut round, token) };
        if step != Step::Registered {
            registered = n + usize::from(step == Step::Ready);
            break;
        }
    }
    match step {
        Step::Registered => match round.park(deadline(cases, until), site) {
            TIMED_OUT => {}
            op => claimed = Some(op),
        },
        Step::Ready | Step::Claimed => claimed = round.claimed(),
        Step::Done => done = Some(registered),
        Step::Again => {}
    }
    let claimed = claimed.map(arm_and_outcome);
    for (n, case) in cases[..registered].iter().enumerate() {
        let was_claimed = claimed.is_some_and(|(arm, _)| arm == n);
        // SAFETY: above.
        unsafe { case.arm.unregister(place(n).seat, was_claimed) };
    }
    if let Some((n, outcome)) = claimed {
        // SAFETY: above.
        done = unsafe { cases[n].arm.accept(token, place(n).seat, outcome) }.then_some(n);
    }
    done
}

/// One wait with all cases watched.
///
/// # Safety
///
/// There are as many places at `seats` as cases.
unsafe fn watch(
    cases: &[Case<'_>],
    seats: NonNull<Seat>,
    until: Until,
    site: &'static Location<'static>,
) {
    assert!(cases.len() < MAX_ARMS, "too many operations in a select");
    // SAFETY, of all blocks in this function: as in `wait`.
    let place = |arm| Place { seat: unsafe { seats.add(arm) }, arm };
    let mut round = Round::new();
    let (mut watched, mut ready) = (0, false);
    for (n, case) in cases.iter().enumerate() {
        watched = n + 1;
        // SAFETY: above.
        ready = unsafe { case.arm.watch(place(n), &mut round) };
        if ready {
            break;
        }
    }
    if ready {
        // Whether or not somebody claimed it: nobody counts on a watcher.
        round.stop();
    } else {
        round.park(deadline(cases, until), site);
    }
    for (n, case) in cases[..watched].iter().enumerate() {
        // SAFETY: above.
        unsafe { case.arm.unwatch(place(n).seat) };
    }
}

/// Puts the cases in a random order (Fisher and Yates).
fn shuffle(cases: &mut [Case<'_>]) {
    let mut random = random();
    for n in (1..cases.len()).rev() {
        // A number up to n, from the high half of a product; then the next random number.
        let other = ((random >> 32) * (n as u64 + 1)) >> 32;
        cases.swap(n, other as usize);
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
    }
}

/// A random number: a worker has its own; other threads share one sequence (Weyl's, mixed).
fn random() -> u64 {
    static SHARED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    current::with(|worker| worker.map(|worker| worker.random())).unwrap_or_else(|| {
        let mut x = SHARED.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x ^ (x >> 31)
    })
}
