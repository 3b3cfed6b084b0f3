//! Finding out that nobody will ever wake anybody again.
//!
//! # Who could
//!
//! A green thread is made runnable by an OS thread of this process that is awake, and by nobody else. (A signal
//! handler may not call gthread.) So there is a deadlock if there was one moment, the *rest*, at which nothing was
//! runnable, no timer was set, and every OS thread that the kernel lists slept *until woken by another of them*:
//!
//! - a worker in the list of sleepers. Not a spare that sleeps for a time: it ends then, and runs the destructors of
//!   thread-locals, which may drop a sender;
//! - a monitor that is dormant. It may wake up to trim stacks, and to look for this; by itself it wakes others for
//!   timers, for spares that were asked for and for work, of which there is none;
//! - any OS thread, a blocked worker too, that waits in gthread without a deadline (`OsThread`);
//! - the thread that dumps on SIGQUIT: it wakes nobody.
//!
//! All others are *strangers*: awake, whatever they do. They may be about to wake somebody, they may hold senders and
//! locks, and they may start threads. While there is one there is no deadlock, but a warning after a while. Also a
//! thread that has just been made, or is ending, is a stranger. A scheduler that is starting or stopping has its OS
//! threads among them, because it is not in the list of those that live; one that does not want to be looked at, or
//! has a worker that runs, makes any look fail.
//!
//! # Why two looks find such a moment
//!
//! Everybody cannot be looked at at once. So each who sleeps has a *mark*, which no other sleep of any thread has: who
//! it is, and how often it has slept ([`Mark`]). [`is_at_rest`] looks at everybody, passes a heavy barrier at a moment
//! *t*, and looks at everybody again. What was done before *t* the second look sees, what is done after *t* the first
//! does not. If both looks find no stranger, nothing runnable, no timer, and the same sleepers with the same marks,
//! then all slept at *t*:
//!
//! 1. Suppose that thread A was awake at *t*, or at any time between its being looked at in the first look and *t*. If
//!    the first look saw it asleep, it was woken since, and the second look sees it awake, with another mark, or not at
//!    all. (A number that the kernel gave to another thread meanwhile comes with another mark.) So the first look did
//!    not list A: it was made after, or had ended before.
//! 2. If it was made after, follow it back to the first that was: its maker was listed, and was awake after that. That
//!    is case 1 for the maker.
//! 3. If A had ended before it could be listed, then long before *t*. Whom it woke after the first look had seen them
//!    asleep is case 1 too; what it made runnable is seen by the second look, or somebody who was woken for it.
//! 4. A monitor has no mark. It can be awake at *t*, and be about to wake somebody, only for a timer that was set
//!    or work that was there; then it is not dormant, or has done so by the second look, which sees it as in 3.
//!    A timer that was set when the first look had seen all asleep was seen by it: those that sleep set none.
//!
//! After *t*, then, nothing happens: what the second look found of queues and timers is all there is, and
//! remains so.
//!
//! With one look only A wakes B after B was looked at and ends before it is looked at itself: the models below fail.
//!
//! # What is done then
//!
//! The report is printed and the process ends with status 2, like Go's. Nothing is unwound. An OS thread that waits in `run`
//! or for a scope has lent its frames, and the borrowers are still there: green threads, and OS threads that a green thread
//! has scoped. An unwinding thread would free what it has lent and drop senders, which wakes a borrower: that reads freed
//! memory. To let no green thread run again is not enough, because OS threads sleep in gthread too.
//!
//! `GTHREAD_DEADLOCK=panic` and `testing::check_leaks` keep the process, for the other tests in it. The waits of all
//! threads, green and not, are *interrupted*: each thread leaves its queues, like one that has timed out, and panics in
//! its own frames. Nothing that was lent goes before its borrower has ended: `run` and scopes are not interrupted, they wait
//! for their threads, which end now. A `join` is not interrupted either, because the joined thread is; nor is the wait for a
//! lock, because a holder that unwinds lets go. If no wait can be interrupted, as in a circle of locks, the process ends.
//!
//! A test has strangers, libtest's main thread at least, so a panic takes less certainty. If every stranger sleeps in
//! a futex without a timeout, it waits for another thread of the process (or a signal handler), and the argument above holds
//! for it, with the kernel's count of its turns as the mark. The main thread may have a timeout: libtest's has. If a stranger
//! does anything else, the process must have hardly used the processor for [`IDLE`]; then a deadlock is only likely, and
//! nothing worse than panics comes of it.
//!
//! # When it is looked for
//!
//! By the monitor, when its own scheduler is quiet and has no timers, after 50 ms, 100 ms, 200 ms and so on:
//! while a program waits for the outside world the looks become ever rarer. Nothing else pays for it.

use std::collections::HashMap;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::diagnostics::dump::Dump;
use crate::diagnostics::snapshot::{Snapshot, interrupt_sleepers};
use crate::loom::Ordering;
use crate::runtime::config::Detection;
use crate::runtime::registry::live_runtimes;
use crate::runtime::shared::{self, Shared};
use crate::runtime::status::{BLOCKING, RETAKEN, SLEEPING};
use crate::sys::tid::os_thread_number;
use crate::task::header::Wake;
use crate::task::os_thread::{OsAsleep, OsThread};
use crate::util::barrier;

/// Until the first look. Doubles with each.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// When there is a warning, if there is no certainty.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// Where a deadlock is a panic: how long a scheduler is quiet first, if strangers wait for other threads. Also the longest
/// time between looks.
const PANIC_AFTER: Duration = Duration::from_secs(1);

/// Where a deadlock is a panic: how long the process is idle first, if strangers may wait for the world outside.
const IDLE: Duration = Duration::from_secs(10);

/// An idle process uses less than this part of a processor, as a divisor.
const HARDLY: u32 = 100;

/// The exit status of a process in a deadlock. Go's.
const STATUS: i32 = 2;

const REPORT: &str = "all green threads are asleep - deadlock!";

/// What a monitor remembers of the time that its scheduler is quiet.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    quiet: Option<Quiet>,
    /// It is said once.
    warned: bool,
}

#[derive(Debug)]
struct Quiet {
    /// Of all workers, when it became quiet.
    task_switches: u64,
    since: Instant,
    next: Instant,
    pause: Duration,
    idle: Idle,
}

/// Since when the process has hardly used the processor, and how much it had used then.
#[derive(Debug)]
struct Idle {
    since: Instant,
    used: Duration,
}

impl Idle {
    fn begin(now: Instant) -> Self {
        Self { since: now, used: processor_time() }
    }

    /// For how long.
    fn time(&mut self, now: Instant) -> Duration {
        let time = now - self.since;
        if processor_time().saturating_sub(self.used) > time / HARDLY {
            *self = Self::begin(now);
        }
        now - self.since
    }
}

/// Creates what a runtime's sysmon calls while the runtime is quiet.
pub(crate) fn watch() -> shared::Watch {
    let mut watch = Watch::default();
    Box::new(move |shared| watch.watch(shared))
}

impl Watch {
    /// The scheduler is quiet, and its monitor, which calls, is dormant: looks if it is time to. When to call
    /// again.
    pub(crate) fn watch(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        let first = match shared.config.detection {
            Detection::On | Detection::Panic => FIRST_LOOK,
            Detection::Eager => Duration::ZERO,
            Detection::Off => return None,
        };
        if shared.has_timers() {
            return None;
        }
        let now = Instant::now();
        let task_switches = shared.task_switches();
        let quiet = match &mut self.quiet {
            Some(quiet) if quiet.task_switches == task_switches => quiet,
            other => other.insert(Quiet {
                task_switches,
                since: now,
                next: now + first,
                pause: first,
                idle: Idle::begin(now),
            }),
        };
        if now >= quiet.next {
            let time = now - quiet.since;
            match look_and_act(shared, time, quiet.idle.time(now)) {
                Acted::Interrupted => {
                    self.quiet = None;
                    return Some(now + FIRST_LOOK);
                }
                Acted::Perhaps(strangers) if time >= WARN_AFTER && !self.warned => {
                    self.warned = warn(shared, time, &strangers);
                }
                Acted::Perhaps(_) | Acted::Nothing => {}
            }
            quiet.pause *= 2;
            if shared.interrupts() {
                quiet.pause = quiet.pause.min(PANIC_AFTER);
            }
            quiet.next = now + quiet.pause;
            if time < WARN_AFTER {
                quiet.next = quiet.next.min(quiet.since + WARN_AFTER);
            }
        }
        Some(quiet.next)
    }
}

/// What came of a look.
enum Acted {
    Nothing,
    /// All green threads sleep, and so do all OS threads but these.
    Perhaps(Vec<i32>),
    /// Threads that waited are about to panic.
    Interrupted,
}

/// Looks, and does what is to be done if there is a deadlock. The scheduler has been quiet for `quiet`, and the process idle
/// for `idle`.
fn look_and_act(shared: &Shared, quiet: Duration, idle: Duration) -> Acted {
    static LOOKING: Mutex<()> = Mutex::new(());
    // Of two monitors the second looks when the first has acted.
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let scheds = live_runtimes();
    let Some(look) = is_at_rest(|| look(&scheds)) else { return Acted::Nothing };
    if look.strangers.is_empty() {
        if !scheds.iter().any(|shared| shared.interrupts()) {
            end("", &Snapshot::take(&scheds).into_dump());
        }
        interrupt_or_end(&scheds);
        return Acted::Interrupted;
    }
    let is_late = || quiet >= PANIC_AFTER && asleep_for_ever().next().is_some();
    if shared.interrupts() && is_late() {
        if is_at_rest(|| look_closely(&scheds)).is_some() {
            interrupt_or_end(&scheds);
            return Acted::Interrupted;
        }
        if idle >= IDLE && interrupt(&scheds) {
            return Acted::Interrupted;
        }
    }
    Acted::Perhaps(look.strangers)
}

/// Interrupts all waits, or ends the process if there is none to interrupt.
fn interrupt_or_end(scheds: &[Arc<Shared>]) {
    if !interrupt(scheds) {
        let dump = Snapshot::take(scheds).into_dump();
        end(" No wait can be interrupted, so the process ends.", &dump);
    }
}

/// Interrupts all waits, with the report: false, and nothing is said, if there is none to interrupt.
fn interrupt(scheds: &[Arc<Shared>]) -> bool {
    let census = Snapshot::take(scheds);
    let wakes = end_waits(scheds);
    if wakes.is_empty() {
        return false;
    }
    say(&format!(
        "\nerror: {REPORT} The threads that wait panic. (To end the process instead: GTHREAD_DEADLOCK=on.)\n\n{}",
        census.into_dump()
    ));
    for shared in scheds.iter().filter(|shared| shared.interrupts()) {
        shared.was_interrupted.store(true, Ordering::Relaxed);
    }
    wakes.into_iter().for_each(crate::runtime::handle::wake);
    true
}

/// Ends all waits that may be interrupted. Each thread panics once it is woken.
fn end_waits(scheds: &[Arc<Shared>]) -> Vec<Wake> {
    let interrupt = scheds.iter().filter(|shared| shared.interrupts());
    let tasks = interrupt.flat_map(|shared| interrupt_sleepers(shared)).map(Wake::Green);
    let threads = OsThread::all_asleep();
    tasks.chain(threads.iter().filter_map(OsAsleep::interrupt).map(Wake::Os)).collect()
}

/// The OS threads that wait in gthread without a deadline.
fn asleep_for_ever() -> impl Iterator<Item = OsAsleep> {
    OsThread::all_asleep().into_iter().filter(|thread| !thread.has_deadline())
}

/// What no other sleep of any thread has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// The worker's scheduler and number, and its picks: it picks after every sleep. (While it sleeps its scheduler
    /// is not freed.)
    Worker(*const Shared, usize, u64),
    /// None is needed.
    Sysmon(*const Shared),
    /// The thread's id and its word of waiting, generation and all.
    Outside(NonZeroU64, u64),
    Ignored,
}

/// By the system's number of the OS thread.
type Marks = HashMap<i32, Mark>;

/// Everybody who sleeps, and all others.
#[derive(PartialEq, Eq)]
struct Look {
    asleep: Vec<(i32, Mark)>,
    strangers: Vec<i32>,
}

/// What two looks in a row see if they see the same, and none sees somebody awake.
fn is_at_rest<L: PartialEq>(look: impl Fn() -> Option<L>) -> Option<L> {
    let first = look()?;
    barrier::heavy();
    look().filter(|second| *second == first)
}

/// One look at everybody; none if some scheduler is not at rest.
fn look(scheds: &[Arc<Shared>]) -> Option<Look> {
    let outside = |thread: OsAsleep| (thread.number(), Mark::Outside(thread.id(), thread.mark));
    let mut marks: Marks = asleep_for_ever().map(outside).collect();
    for shared in scheds {
        mark(shared, &mut marks)?;
    }
    marks.insert(IGNORED.load(Ordering::Relaxed), Mark::Ignored);
    let mut look = Look { asleep: Vec::new(), strangers: Vec::new() };
    for thread in os_threads()? {
        match marks.get(&thread) {
            Some(&mark) => look.asleep.push((thread, mark)),
            None => look.strangers.push(thread),
        }
    }
    Some(look)
}

/// A look for which strangers that wait for other threads are asleep, with their marks; none if one may do anything else.
fn look_closely(scheds: &[Arc<Shared>]) -> Option<(Look, Vec<String>)> {
    let look = look(scheds)?;
    if OsThread::all_asleep().iter().any(OsAsleep::has_deadline) {
        // A stranger that comes back by itself.
        return None;
    }
    let marks: Option<_> = look.strangers.iter().map(|&thread| waits_for_others(thread)).collect();
    Some((look, marks?))
}

/// The mark of an OS thread that sleeps in a futex without a timeout, or with one if it is the main thread: its call, and how
/// often it has run.
#[cfg(target_os = "linux")]
fn waits_for_others(thread: i32) -> Option<String> {
    let read = |file| std::fs::read_to_string(format!("/proc/self/task/{thread}/{file}")).ok();
    let (runs, call) = (read("schedstat")?, read("syscall")?);
    let mut words = call.split_ascii_whitespace();
    let number: i64 = words.next()?.parse().ok()?;
    let timeout = words.nth(3)?;
    let is_main = thread as u32 == std::process::id();
    let waits = number == libc::SYS_futex && (timeout == "0x0" || is_main);
    waits.then(|| call + &runs)
}

#[cfg(not(target_os = "linux"))]
fn waits_for_others(_: i32) -> Option<String> {
    None
}

/// What the process has used of the processor so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours; the clock is there on all Unix systems. If it fails, nothing is said.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An OS thread of gthread's own that never wakes a green thread; zero, which none has, if there is none.
static IGNORED: AtomicI32 = AtomicI32::new(0);

/// While it lives, the OS thread that made it is ignored.
pub(crate) struct Ignored(i32);

impl Ignored {
    pub(crate) fn new() -> Self {
        let number = os_thread_number();
        IGNORED.store(number, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        // The system will give the number to another. If a later one is ignored instead by now, so be it.
        let _ = IGNORED.compare_exchange(self.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// The numbers of all OS threads of the process, if the system says. Where a thread ends meanwhile the kernel may
/// pass over others, but only if it has listed that one: then the two looks differ.
fn os_threads() -> Option<Vec<i32>> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    threads.map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Adds the marks of its own OS threads that sleep; none if something is awake or to be done.
fn mark(shared: &Shared, marks: &mut Marks) -> Option<()> {
    let looks = shared.config.detection != Detection::Off && !shared.is_stopped();
    if !looks || !shared.sysmon.is_dormant() || !shared.idle.is_at_rest() {
        return None;
    }
    marks.insert(shared.sysmon.thread_id(), Mark::Sysmon(shared));
    for (index, remote) in shared.workers().enumerate() {
        match remote.own.status.state() {
            // A number of zero: it has ended, or was never there.
            SLEEPING if remote.parker.thread_id() == 0 => {}
            // It will end by itself.
            SLEEPING if remote.is_spare(index, shared.config.workers) => return None,
            SLEEPING => {
                let mark = Mark::Worker(shared, index, remote.own.counters.task_switches.get());
                marks.insert(remote.parker.thread_id(), mark);
            }
            // As any OS thread.
            BLOCKING | RETAKEN => {}
            _ => return None,
        }
    }
    let posted = shared.workers().any(|remote| remote.has_post());
    let idle = shared.cpu_bound.nobody_waits()
        && !shared.has_timers()
        && !shared.has_work()
        && !shared.has_private()
        && !posted;
    idle.then_some(())
}

/// Ends the process, with the report.
fn end(why: &str, dump: &Dump) -> ! {
    say(&format!("\nfatal: {REPORT}{why}\n\n{dump}"));
    std::process::exit(STATUS)
}

/// Says that there may be a deadlock, if an OS thread waits for it: true if so.
fn warn(shared: &Arc<Shared>, time: Duration, strangers: &[i32]) -> bool {
    if !(shared.is_waited_for() || does_main_wait()) || !shared.all_workers_sleep() {
        return false;
    }
    let names = strangers.iter().filter_map(|thread| {
        let name = std::fs::read(format!("/proc/self/task/{thread}/comm")).ok()?;
        // The system cuts names off, be it in the middle of a character.
        Some(format!("{} ({thread})", String::from_utf8_lossy(&name).trim().escape_debug()))
    });
    let names = names.collect::<Vec<_>>().join(", ");
    say(&format!(
        "\nwarning: all green threads have been asleep for {} s, and an OS thread waits for one of them. \
         That is a deadlock, unless one of these OS threads wakes one: {names}. (To have this not said: \
         GTHREAD_DEADLOCK=off, or RuntimeBuilder::deadlock_detection.)\n\n{}",
        time.as_secs(),
        Snapshot::take(&live_runtimes()).into_dump(),
    ));
    true
}

/// Whether the main thread waits in gthread, and not for a time.
fn does_main_wait() -> bool {
    asleep_for_ever().any(|thread| thread.number() as u32 == std::process::id())
}

fn say(text: &str) {
    // Nothing can be done if nobody reads it.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicBool, AtomicUsize};
    use loom::sync::Arc;
    use loom::thread;

    /// A thread: its mark is odd while it is awake.
    struct Thread {
        mark: AtomicUsize,
        listed: AtomicBool,
    }

    impl Thread {
        fn new(mark: usize) -> Self {
            Self { mark: AtomicUsize::new(mark), listed: AtomicBool::new(true) }
        }

        fn mark(&self) -> Option<usize> {
            Some(self.mark.load(Ordering::Acquire)).filter(|mark| mark % 2 == 0)
        }

        /// From asleep to awake, by another; from awake to asleep, by itself.
        fn turn(&self) {
            self.mark.fetch_add(1, Ordering::AcqRel);
        }

        /// The kernel's list has a lock.
        fn is_listed(&self) -> bool {
            self.listed.load(Ordering::Acquire)
        }

        fn end(&self) {
            self.listed.store(false, Ordering::Release);
        }
    }

    /// Two threads, the first awake, and a look at both. There is no moment of rest.
    fn model(acts: fn(&[Thread; 2]), is_at_rest: fn(&[Thread; 2]) -> bool) {
        loom::model(move || {
            let both = Arc::new([Thread::new(1), Thread::new(0)]);
            let looker = {
                let both = Arc::clone(&both);
                thread::spawn(move || is_at_rest(&both))
            };
            acts(&both);
            assert!(!looker.join().unwrap(), "at rest, with one awake");
        });
    }

    /// Each wakes the other and sleeps, in turn. (One thread of the model acts for both: they never act at once.)
    fn take_turns(both: &[Thread; 2]) {
        for _ in 0..2 {
            both[1].turn();
            both[0].turn();
            both[0].turn();
            both[1].turn();
        }
    }

    /// The first wakes the second, and ends.
    fn wake_and_end(both: &[Thread; 2]) {
        both[1].turn();
        both[0].end();
    }

    /// Looks first at the one that is woken first, and last at which of them there are.
    fn look(both: &[Thread; 2]) -> Option<Vec<(usize, usize)>> {
        let marks = [1, 0].map(|n: usize| (n, both[n].mark()));
        let listed = marks.into_iter().filter(|&(n, _)| both[n].is_listed());
        listed.map(|(n, mark)| Some((n, mark?))).collect()
    }

    #[test]
    fn two_looks_find_no_rest_where_there_is_none() {
        model(take_turns, |both| is_at_rest(|| look(both)).is_some());
        model(wake_and_end, |both| is_at_rest(|| look(both)).is_some());
    }

    #[test]
    #[should_panic(expected = "at rest")]
    fn one_look_does_where_they_take_turns() {
        model(take_turns, |both| look(both).is_some());
    }

    #[test]
    #[should_panic(expected = "at rest")]
    fn one_look_does_where_the_waker_ends() {
        model(wake_and_end, |both| look(both).is_some());
    }

    /// Nor do two looks that do not compare the sleeps.
    #[test]
    #[should_panic(expected = "at rest")]
    fn two_looks_do_without_marks() {
        model(take_turns, |both| is_at_rest(|| look(both).map(|look| look.len())).is_some());
    }
}
