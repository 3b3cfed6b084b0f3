//! Finding out that nobody will ever wake anybody again.
//!
//! # Who could
//!
//! A green thread is woken by a timer, or by a thread that runs: a worker, the monitor (timers, tasks it
//! moves), or an OS thread of the program. So there is a deadlock if there was one moment, the *rest*, at which
//! no timer was set, nothing was runnable, and all OS threads of the process slept *until woken by one of
//! them*:
//!
//! - a worker that is in the list of sleepers,
//! - a monitor that is dormant,
//! - any OS thread, a blocked worker too, that waits in gthread without a deadline (`OsThread`).
//!
//! An OS thread that is none of these is awake, whatever it does: it may be about to wake somebody. (What the
//! kernel itself could do, run a signal handler, wakes nobody: gthread may not be called there.) A spare that has
//! slept long enough ends by itself, and a monitor trims stacks; both look for work that is there, and make
//! none.
//!
//! # Why two looks find such a moment
//!
//! They cannot be looked at all at once. Each sleeper has a *mark* that changes with every sleep: the picks of
//! the workers, the generation of an OS thread's wait. [`is_at_rest`] looks at all of them twice. If everybody
//! sleeps in both looks, with the same marks, and the lists of OS threads are the same, then nobody was awake
//! between the looks:
//!
//! Suppose that somebody is awake then. It was seen asleep in the first look, so it was woken after that
//! sleep began, by another that was awake; who was seen asleep too, and so on: follow this back to the first
//! who wakes one that the first look has seen asleep, in a sleep of that look. The waker V woke U *before* V
//! began the sleep that the first look saw (else V would itself have been woken before, and not be the first).
//! The first look read V's sleep with acquire, so U's waking happened before the second look, which
//! therefore saw U awake, or in another sleep. Contradiction. A thread that was made after the first look
//! listed them has a maker for whom the same holds.
//!
//! For the same reason what is read in the second look of queues and timers is all that those who now sleep
//! have ever put there. After a rest nothing ever changes, so what is found is true, and remains so: no wrong
//! report.
//!
//! # When it is looked for
//!
//! By the monitor, when its own scheduler is quiet and has no timers, after 50 ms, 100 ms, 200 ms and so on:
//! while a program waits for the outside world the looks become ever rarer. Nothing else pays for it.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::start::Detection;
use super::status::{BLOCKING, COVERED, SLEEPING};
use super::{Census, DEADLOCKED, Sched, live_scheds};
use crate::prim::Ordering;
use crate::task::OsThread;

/// Until the first look. Doubles with each.
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// When those who wait are warned, if there is no certainty.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// What a monitor remembers of the time that its scheduler is quiet.
#[derive(Debug, Default)]
pub(super) struct Watch {
    quiet: Option<Quiet>,
    /// Something was said; once is enough.
    said: bool,
}

#[derive(Debug)]
struct Quiet {
    /// Of all workers, when it became quiet.
    picks: u64,
    since: Instant,
    next: Instant,
    pause: Duration,
}

impl Watch {
    /// The scheduler is quiet, and its monitor, which calls, is dormant: looks if it is time to. When to call
    /// again.
    pub(super) fn watch(&mut self, sched: &Arc<Sched>) -> Option<Instant> {
        let first = match sched.config.detection {
            Detection::On => FIRST_LOOK,
            Detection::Eager => Duration::ZERO,
            Detection::Off => return None,
        };
        if self.said || sched.has_timers() {
            return None;
        }
        let now = Instant::now();
        let picks = sched.picks();
        let anew = Quiet { picks, since: now, next: now + first, pause: first };
        let quiet = match &mut self.quiet {
            Some(quiet) if quiet.picks == picks => quiet,
            other => other.insert(anew),
        };
        if now >= quiet.next {
            self.said = match look_twice() {
                Outcome::Deadlock(scheds) => report(&scheds),
                Outcome::Perhaps(strangers) if now - quiet.since >= WARN_AFTER => {
                    warn(sched, now - quiet.since, &strangers)
                }
                Outcome::Perhaps(_) | Outcome::Awake => false,
            };
            quiet.pause *= 2;
            quiet.next = now + quiet.pause;
        }
        Some(quiet.next)
    }
}

/// What two looks at everybody have found.
enum Outcome {
    /// Everybody sleeps, for ever. These are all schedulers.
    Deadlock(Vec<Arc<Sched>>),
    /// All green threads sleep, and so do all OS threads but these.
    Perhaps(Vec<i32>),
    Awake,
}

/// Everybody who sleeps, with the mark of this sleep, and all others.
#[derive(PartialEq, Eq)]
struct Look {
    asleep: Vec<(i32, u64)>,
    strangers: Vec<i32>,
}

fn look_twice() -> Outcome {
    let scheds = live_scheds();
    match is_at_rest(|| look(&scheds)) {
        None => Outcome::Awake,
        Some(look) if look.strangers.is_empty() => Outcome::Deadlock(scheds),
        Some(look) => Outcome::Perhaps(look.strangers),
    }
}

/// What two looks in a row see if they see the same, and none sees somebody awake.
fn is_at_rest<L: PartialEq>(look: impl Fn() -> Option<L>) -> Option<L> {
    let first = look()?;
    look().filter(|second| *second == first)
}

/// One look at everybody; none if some scheduler is not at rest.
fn look(scheds: &[Arc<Sched>]) -> Option<Look> {
    let mut marks: HashMap<i32, u64> = OsThread::all_asleep().collect();
    for sched in scheds {
        sched.marks(&mut marks)?;
    }
    marks.insert(IGNORED.load(Ordering::Relaxed), 0);
    let mut look = Look { asleep: Vec::new(), strangers: Vec::new() };
    for thread in os_threads()? {
        match marks.get(&thread) {
            Some(&mark) => look.asleep.push((thread, mark)),
            None => look.strangers.push(thread),
        }
    }
    Some(look)
}

/// An OS thread of gthread's own that never wakes a green thread; zero if there is none.
static IGNORED: AtomicI32 = AtomicI32::new(0);

pub(super) fn ignore_thread(number: i32) {
    IGNORED.store(number, Ordering::Relaxed);
}

/// The numbers of all OS threads of the process, if the system says.
fn os_threads() -> Option<Vec<i32>> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    threads.map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect()
}

impl Sched {
    /// Adds the marks of its own OS threads that sleep; none if something is awake or to be done.
    fn marks(&self, marks: &mut HashMap<i32, u64>) -> Option<()> {
        let looks = self.config.detection != Detection::Off;
        if !looks || !self.monitor.is_dormant() || !self.idle.is_at_rest() {
            return None;
        }
        marks.insert(self.monitor.thread_id(), 0);
        for remote in self.remotes().iter().filter_map(|remote| remote.get()) {
            match remote.own.status.state() {
                SLEEPING => {
                    let picks = remote.own.counters.picks.get();
                    marks.insert(remote.parker.thread_id(), picks);
                }
                // As any OS thread.
                BLOCKING | COVERED => {}
                _ => return None,
            }
        }
        let idle = !self.has_timers() && !self.has_work() && !self.has_private();
        let posted = self.remotes().iter().filter_map(|remote| remote.get()).any(|r| r.has_post());
        (idle && !posted).then_some(())
    }

    /// How often its workers have picked.
    fn picks(&self) -> u64 {
        let workers = self.remotes().iter().filter_map(|remote| remote.get());
        workers.map(|remote| remote.own.counters.picks.get()).sum()
    }

    /// Whether all workers sleep, none of them blocked in a task.
    fn all_workers_sleep(&self) -> bool {
        let mut remotes = self.remotes().iter().filter_map(|remote| remote.get());
        remotes.all(|remote| remote.own.status.state() == SLEEPING)
    }
}

/// Says that there is a deadlock, and ends it for those who wait outside: true.
fn report(scheds: &[Arc<Sched>]) -> bool {
    static REPORTING: Mutex<()> = Mutex::new(());
    // Two monitors may have found it.
    let _reporting = REPORTING.lock().unwrap_or_else(PoisonError::into_inner);
    if scheds.iter().any(|sched| sched.is_stopped()) {
        return true;
    }
    let dump = Census::take(scheds).into_dump();
    let waited_for = scheds.iter().any(|sched| sched.is_waited_for());
    let hangs = if waited_for {
        ""
    } else {
        "Nobody waits in run() or join() who could be told, so the process stays as it is.\n"
    };
    say(&format!("\nfatal: all green threads are asleep - deadlock!\n{hangs}\n{dump}"));
    if waited_for {
        // Those who are told may go on, and drop what green threads have borrowed: these must never run again.
        scheds.iter().for_each(|sched| sched.condemn());
        scheds.iter().for_each(|sched| sched.abandon_joiners(DEADLOCKED));
    }
    true
}

/// Says that there may be a deadlock, if somebody waits for it: true if so.
fn warn(sched: &Arc<Sched>, time: Duration, strangers: &[i32]) -> bool {
    if !sched.is_waited_for() || !sched.all_workers_sleep() {
        return false;
    }
    let names = strangers.iter().filter_map(|thread| {
        let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).ok()?;
        Some(format!("{} ({thread})", name.trim()))
    });
    let names = names.collect::<Vec<_>>().join(", ");
    let mut text = String::new();
    let _ = write!(
        text,
        "\nwarning: all green threads have been asleep for {} s, and an OS thread waits for one of them. \
         That is a deadlock, unless one of these OS threads wakes one: {names}. (To have this not said: \
         GTHREAD_DEADLOCK=off, or RuntimeBuilder::deadlock_detection.)\n\n{}",
        time.as_secs(),
        Census::take(&live_scheds()).into_dump(),
    );
    say(&text);
    true
}

fn say(text: &str) {
    // Nothing can be done if nobody reads it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::prim::AtomicUsize;
    use loom::sync::Arc;
    use loom::thread;

    /// A thread: its mark is odd while it is awake.
    struct Thread(AtomicUsize);

    impl Thread {
        fn mark(&self) -> Option<usize> {
            Some(self.0.load(Ordering::Acquire)).filter(|mark| mark % 2 == 0)
        }

        fn is_awake(&self) -> bool {
            self.0.load(Ordering::Acquire) % 2 == 1
        }

        /// From asleep to awake, by another; from awake to asleep, by itself.
        fn turn(&self) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The first of two threads wakes the second and sleeps; the second then wakes the first and sleeps, or if
    /// it comes too early for that stays awake. There is no moment of rest.
    fn model(looks: fn(&[Thread; 2]) -> bool) {
        loom::model(move || {
            let both = Arc::new([Thread(AtomicUsize::new(1)), Thread(AtomicUsize::new(0))]);
            let looker = {
                let both = Arc::clone(&both);
                thread::spawn(move || looks(&both))
            };
            let second = {
                let both = Arc::clone(&both);
                thread::spawn(move || {
                    if both[1].is_awake() && !both[0].is_awake() {
                        both[0].turn();
                        both[1].turn();
                    }
                })
            };
            both[1].turn();
            both[0].turn();
            second.join().unwrap();
            assert!(!looker.join().unwrap(), "at rest, with one awake");
        });
    }

    fn look(both: &[Thread; 2]) -> Option<[usize; 2]> {
        // The one that is woken first.
        let second = both[1].mark()?;
        Some([both[0].mark()?, second])
    }

    #[test]
    fn two_looks_find_no_rest_where_there_is_none() {
        model(|both| is_at_rest(|| look(both)).is_some());
    }

    #[test]
    #[should_panic(expected = "at rest")]
    fn one_look_does() {
        model(|both| look(both).is_some());
    }
}
