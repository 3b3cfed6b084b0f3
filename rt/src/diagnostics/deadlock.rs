//! Deadlock detection: finding out that no thread will ever wake another again.
//!
//! # Which threads could wake another
//!
//! A green thread is made runnable only by an OS thread of this process that is awake. (A signal
//! handler may not call gthread.) So there is a deadlock if there was one moment, the *rest*, at
//! which nothing was runnable, no timer was set, and every OS thread that the kernel lists slept
//! *until woken by another of them*. The threads that sleep like this are:
//!
//! - A worker in the list of sleepers. Not a spare that sleeps for a time: it ends then, and runs
//!   the destructors of thread-locals, which may drop a sender.
//! - A dormant sysmon. It may wake up to trim stacks, and to look for deadlocks. By itself it wakes
//!   others only for timers, for spares that were asked for and for work, and there is none of
//!   these.
//! - Any OS thread, including a blocked worker, that waits in gthread without a deadline
//!   (`OsThread`).
//! - The thread that dumps on SIGQUIT: it wakes no other.
//! - The thread that passes signals on to receivers: it wakes threads that wait for a signal, and
//!   while there is one, every look fails, as it does while a thread waits for a descriptor.
//!
//! All others are *unknown threads*, and count as awake, whatever they do. They may be about to
//! wake another, they may hold senders and locks, and they may start threads. While there is an
//! unknown thread, no deadlock is reported, only a warning after a while. A thread that has just
//! been made, or is ending, is also unknown. So are the OS threads of a runtime that is starting or
//! stopping, because it is not in the list of live runtimes. If a runtime has detection switched
//! off, or has a worker that runs, every look fails.
//!
//! # Why two looks find such a moment
//!
//! All threads cannot be looked at at once. So each sleeping thread has a *mark*, which no other
//! sleep of any thread has: its identity, and how often it has slept ([`Mark`]). [`is_at_rest`]
//! looks at all threads, passes a heavy barrier at a moment *t*, and looks at all threads again.
//! The second look sees everything that was done before *t*. The first look sees nothing that is
//! done after *t*. Suppose that both looks find no unknown thread, nothing runnable, no timer, and
//! the same sleepers with the same marks. Then all threads slept at *t*:
//!
//! 1. Suppose that thread A was awake at *t*, or at any time between the first look at it and *t*.
//!    If the first look saw it asleep, it was woken since. Then the second look sees it awake, with
//!    another mark, or not at all. (If the kernel gave its number to another thread meanwhile, the
//!    mark is another.) So the first look did not list A: A was made after the list, or had ended
//!    before.
//! 2. If A was made after the list, follow its makers back to the first thread that was made after
//!    the list. The maker of that thread was listed, and was awake after that. That is case 1 for
//!    the maker.
//! 3. If A had ended before it could be listed, that was long before *t*. A thread that A woke
//!    after the first look had seen it asleep is case 1 too. If A made something runnable, the
//!    second look sees that, or a thread that was woken for it.
//! 4. A sysmon has no mark. It can be awake at *t*, and about to wake another thread, only for a
//!    timer that was set or work that was there. Then it is not dormant, or it has done so by the
//!    second look, which sees that as in case 3. A timer that was set when the first look had seen
//!    all threads asleep was seen by that look, because sleeping threads set none.
//!
//! So nothing happens after *t*: the queues and timers that the second look found are all there is,
//! and they stay as they are.
//!
//! With one look only, A could wake B after the look at B, and end before the look at A: the models
//! below fail then.
//!
//! # The reaction
//!
//! The report is printed and the process ends with status 2, like Go's. Nothing is unwound. An OS
//! thread that waits in `run` or for a scope has lent its frames, and the borrowers still exist:
//! green threads, and OS threads that a green thread has scoped. If that thread unwound, it would
//! free what it has lent and drop senders. That wakes a borrower, which reads freed memory. Keeping
//! all green threads from running again would not be enough, because OS threads sleep in gthread
//! too.
//!
//! `GTHREAD_DEADLOCK=panic` and `testing::check_leaks` keep the process, for the other tests in it.
//! They *interrupt* the waits of all threads, green or not: each thread leaves its queues, like a
//! thread that has timed out, and panics in its own frames. Nothing that was lent goes before its
//! borrower has ended: `run` and scopes are not interrupted; they wait for their threads, which end
//! now. Nor is a `join` interrupted, because the joined thread is; nor the wait for a lock, because
//! a holder that unwinds releases it. If no wait can be interrupted, as in a cycle of locks, the
//! process ends.
//!
//! A test has unknown threads, at least libtest's main thread, so a panic takes less certainty. If
//! every unknown thread sleeps in a futex without a timeout, it waits for another thread of the
//! process (or a signal handler). Then the argument above holds for it, with the kernel's count of
//! its runs as the mark. The main thread may have a timeout, because libtest's has one. If an
//! unknown thread does anything else, the process must have hardly used the processor for [`IDLE`].
//! A deadlock is then only likely, and the consequence is no worse than panics.
//!
//! # When the looks are taken
//!
//! Sysmon looks when its own runtime is quiet and has no timers, after 50 ms, 100 ms, 200 ms and so
//! on: while a program waits for the outside world, the looks become ever rarer. No other thread
//! pays for them.

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
use crate::runtime::driver::poller;
use crate::runtime::registry::live_runtimes;
use crate::runtime::shared::{self, Shared};
use crate::runtime::status::{BLOCKING, RETAKEN, SLEEPING};
use crate::sys::fork;
use crate::sys::signals;
use crate::sys::tid::os_thread_number;
use crate::task::header::Wake;
use crate::task::os_thread::{OsAsleep, OsThread};
use crate::util::barrier;

/// The time until the first look. It doubles with each look.
const FIRST_LOOK: Duration = Duration::from_millis(50);

/// The time until the warning, if there is no certainty.
const WARN_AFTER: Duration = Duration::from_secs(5);

/// How long a runtime must be quiet before a deadlock becomes a panic, if unknown threads wait for
/// other threads. Where deadlocks become panics, also the longest time between looks.
const PANIC_AFTER: Duration = Duration::from_secs(1);

/// How long the process must be idle before a deadlock becomes a panic, if unknown threads may wait
/// for the outside world.
const IDLE: Duration = Duration::from_secs(10);

/// An idle process uses less than this part of a processor, as a divisor.
const HARDLY: u32 = 100;

/// The exit status of a process in a deadlock, which is the same as Go's.
const STATUS: i32 = 2;

const REPORT: &str = "all green threads are asleep - deadlock!";

/// A sysmon's memory of the time in which its runtime has been quiet.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    quiet: Option<Quiet>,
    /// Whether the warning was printed, which happens once.
    warned: bool,
}

#[derive(Debug)]
struct Quiet {
    /// The task switches of all workers, when the runtime became quiet.
    task_switches: u64,
    since: Instant,
    next: Instant,
    pause: Duration,
    idle: Idle,
}

/// The start of the time in which the process has hardly used the processor, and the processor time
/// at that start.
#[derive(Debug)]
struct Idle {
    since: Instant,
    used: Duration,
}

impl Idle {
    fn begin(now: Instant) -> Self {
        Self { since: now, used: processor_time() }
    }

    /// Returns how long the process has been idle.
    fn time(&mut self, now: Instant) -> Duration {
        let time = now - self.since;
        if processor_time().saturating_sub(self.used) > time / HARDLY {
            *self = Self::begin(now);
        }
        now - self.since
    }
}

/// Creates the function that a runtime's sysmon calls while the runtime is quiet.
pub(crate) fn watch() -> shared::Watch {
    let mut watch = Watch::default();
    Box::new(move |shared| watch.watch(shared))
}

impl Watch {
    /// Looks for a deadlock, if it is time to. Called by sysmon, dormant, while the runtime is
    /// quiet. Returns the time of the next call.
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
                Acted::Perhaps(unknown) if time >= WARN_AFTER && !self.warned => {
                    self.warned = warn(shared, time, &unknown);
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

/// The outcome of a look.
enum Acted {
    Nothing,
    /// All green threads sleep, and so do all OS threads except these.
    Perhaps(Vec<i32>),
    /// Waiting threads are about to panic.
    Interrupted,
}

/// Looks, and reacts if there is a deadlock. The runtime has been quiet for `quiet`, and the
/// process idle for `idle`.
fn look_and_act(shared: &Shared, quiet: Duration, idle: Duration) -> Acted {
    static LOOKING: Mutex<()> = Mutex::new(());
    // If two sysmons come at once, the second looks after the first has acted.
    let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
    let scheds = live_runtimes();
    let Some(look) = is_at_rest(|| look(&scheds)) else { return Acted::Nothing };
    if look.unknown.is_empty() {
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
    Acted::Perhaps(look.unknown)
}

/// Interrupts all waits, or ends the process if there is none to interrupt.
fn interrupt_or_end(scheds: &[Arc<Shared>]) {
    if !interrupt(scheds) {
        let dump = Snapshot::take(scheds).into_dump();
        end(" No wait can be interrupted, so the process ends.", &dump);
    }
}

/// Interrupts all waits, and prints the report. Returns `false`, and prints nothing, if there is no
/// wait to interrupt.
fn interrupt(scheds: &[Arc<Shared>]) -> bool {
    let snapshot = Snapshot::take(scheds);
    let wakes = end_waits(scheds);
    if wakes.is_empty() {
        return false;
    }
    say(&format!(
        "\nerror: {REPORT} The threads that wait panic. (To end the process instead: GTHREAD_DEADLOCK=on.)\n\n{}",
        snapshot.into_dump()
    ));
    for shared in scheds.iter().filter(|shared| shared.interrupts()) {
        shared.was_interrupted.store(true, Ordering::Relaxed);
    }
    wakes.into_iter().for_each(crate::runtime::handle::wake);
    true
}

/// Ends all waits that may be interrupted. Each of the threads panics once it is woken.
fn end_waits(scheds: &[Arc<Shared>]) -> Vec<Wake> {
    let interrupt = scheds.iter().filter(|shared| shared.interrupts());
    let tasks = interrupt.flat_map(|shared| interrupt_sleepers(shared)).map(Wake::Green);
    let threads = OsThread::all_asleep();
    tasks.chain(threads.iter().filter_map(OsAsleep::interrupt).map(Wake::Os)).collect()
}

/// Returns the OS threads that wait in gthread without a deadline.
fn asleep_for_ever() -> impl Iterator<Item = OsAsleep> {
    OsThread::all_asleep().into_iter().filter(|thread| !thread.has_deadline())
}

/// The mark of a sleep, which no other sleep of any thread has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// The worker's runtime, its number, and its count of task switches: it takes a task after
    /// every sleep. While it sleeps its runtime is not freed.
    Worker(*const Shared, usize, u64),
    /// A sysmon needs no mark of its sleep.
    Sysmon(*const Shared),
    /// The thread's id and the word of its wait state, with the generation.
    Outside(NonZeroU64, u64),
    Ignored,
}

/// Marks by the system's number of the OS thread.
type Marks = HashMap<i32, Mark>;

/// The sleeping threads with their marks, and all others, which are unknown.
#[derive(PartialEq, Eq)]
struct Look {
    asleep: Vec<(i32, Mark)>,
    unknown: Vec<i32>,
}

/// Looks twice. Returns the second look if both see the same, and neither sees a thread awake.
fn is_at_rest<L: PartialEq>(look: impl Fn() -> Option<L>) -> Option<L> {
    let first = look()?;
    barrier::heavy();
    look().filter(|second| *second == first)
}

/// Looks at all threads once. Returns `None` if some runtime is not at rest.
fn look(scheds: &[Arc<Shared>]) -> Option<Look> {
    if poller::is_waited_for() || signals::are_waited_for() {
        // The outside world may wake a thread.
        return None;
    }
    let outside = |thread: OsAsleep| (thread.number(), Mark::Outside(thread.id(), thread.mark));
    let mut marks: Marks = asleep_for_ever().map(outside).collect();
    for shared in scheds {
        mark(shared, &mut marks)?;
    }
    for ignored in &IGNORED {
        marks.insert(ignored.load(Ordering::Relaxed), Mark::Ignored);
    }
    let mut look = Look { asleep: Vec::new(), unknown: Vec::new() };
    for thread in os_threads()? {
        match marks.get(&thread) {
            Some(&mark) => look.asleep.push((thread, mark)),
            None => look.unknown.push(thread),
        }
    }
    Some(look)
}

/// Looks once, counting as asleep the unknown threads that wait for other threads, with their
/// marks. Returns `None` if an unknown thread may do anything else.
fn look_closely(scheds: &[Arc<Shared>]) -> Option<(Look, Vec<String>)> {
    let look = look(scheds)?;
    if OsThread::all_asleep().iter().any(OsAsleep::has_deadline) {
        // An unknown thread that comes back by itself.
        return None;
    }
    let marks: Option<_> = look.unknown.iter().map(|&thread| waits_for_others(thread)).collect();
    Some((look, marks?))
}

/// Returns the mark of an OS thread that sleeps in a futex without a timeout, or with one if it is
/// the main thread. The mark is its system call, and how often it has run.
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

/// Returns the processor time that the process has used so far.
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place is ours, and the clock exists on all Unix systems. If the call fails, the
    // time stays zero.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The numbers of gthread's own OS threads that wake no green thread, or only ones that the look knows
/// of. Zero, which no thread has, where there is none.
static IGNORED: [AtomicI32; 2] = [const { AtomicI32::new(0) }; 2];

/// A guard: the OS thread that made it is ignored for the guard's lifetime.
pub(crate) struct Ignored(i32);

impl Ignored {
    pub(crate) fn new() -> Self {
        fork::on_child(Self::forget_all);
        let number = os_thread_number();
        // If there is no room, the thread counts as unknown, and no deadlock is certain.
        let _ = IGNORED.iter().any(|place| exchange(place, 0, number));
        Self(number)
    }

    /// Forgets the threads of the parent, in the child of a `fork`.
    fn forget_all() {
        IGNORED.iter().for_each(|place| place.store(0, Ordering::Relaxed));
    }
}

impl Drop for Ignored {
    fn drop(&mut self) {
        // The system will give the number to another thread.
        let _ = IGNORED.iter().any(|place| exchange(place, self.0, 0));
    }
}

fn exchange(place: &AtomicI32, from: i32, to: i32) -> bool {
    place.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

/// Returns the numbers of all OS threads of the process, if the system says. If a thread ends
/// meanwhile, the kernel may skip others, but only if it has listed that thread: then the two looks
/// differ.
fn os_threads() -> Option<Vec<i32>> {
    let threads = std::fs::read_dir("/proc/self/task").ok()?;
    threads.map(|thread| thread.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Adds the marks of the runtime's own sleeping OS threads. Returns `None` if a thread is awake or
/// there is work.
fn mark(shared: &Shared, marks: &mut Marks) -> Option<()> {
    let looks = shared.config.detection != Detection::Off && !shared.is_stopped();
    if !looks || !shared.sysmon.is_dormant() || !shared.idle.is_at_rest() {
        return None;
    }
    marks.insert(shared.sysmon.thread_id(), Mark::Sysmon(shared));
    for (index, remote) in shared.workers().enumerate() {
        match remote.own.status.state() {
            // A number of zero: the thread has ended, or never existed.
            SLEEPING if remote.parker.thread_id() == 0 => {}
            // It will end by itself.
            SLEEPING if remote.is_spare(index, shared.config.workers) => return None,
            SLEEPING => {
                let mark = Mark::Worker(shared, index, remote.own.counters.task_switches.get());
                marks.insert(remote.parker.thread_id(), mark);
            }
            // It counts like any OS thread.
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

/// Prints the report and ends the process.
fn end(why: &str, dump: &Dump) -> ! {
    say(&format!("\nfatal: {REPORT}{why}\n\n{dump}"));
    std::process::exit(STATUS)
}

/// Warns that there may be a deadlock, if an OS thread waits for a green one. Returns `true` if it
/// did.
fn warn(shared: &Arc<Shared>, time: Duration, unknown: &[i32]) -> bool {
    if !(shared.is_waited_for() || does_main_wait()) || !shared.all_workers_sleep() {
        return false;
    }
    let names = unknown.iter().filter_map(|thread| {
        let name = std::fs::read(format!("/proc/self/task/{thread}/comm")).ok()?;
        // The system cuts names off, perhaps in the middle of a character.
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

/// Returns `true` if the main thread waits in gthread without a deadline.
fn does_main_wait() -> bool {
    asleep_for_ever().any(|thread| thread.number() as u32 == std::process::id())
}

fn say(text: &str) {
    // If the write fails, nothing can be done.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicBool, AtomicUsize};
    use loom::sync::Arc;
    use loom::thread;

    /// A thread, whose mark is odd while it is awake.
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

        /// Goes from asleep to awake, called by another thread; or from awake to asleep, called by
        /// the thread itself.
        fn turn(&self) {
            self.mark.fetch_add(1, Ordering::AcqRel);
        }

        /// Returns `true` if the thread is in the kernel's list. Acquire, like the lock of that
        /// list.
        fn is_listed(&self) -> bool {
            self.listed.load(Ordering::Acquire)
        }

        fn end(&self) {
            self.listed.store(false, Ordering::Release);
        }
    }

    /// Runs two threads, the first awake, and a look at both. There is no moment of rest.
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

    /// The threads wake each other and sleep, in turn. One thread of the model acts for both,
    /// because they never act at once.
    fn take_turns(both: &[Thread; 2]) {
        for _ in 0..2 {
            both[1].turn();
            both[0].turn();
            both[0].turn();
            both[1].turn();
        }
    }

    /// The first thread wakes the second, and ends.
    fn wake_and_end(both: &[Thread; 2]) {
        both[1].turn();
        both[0].end();
    }

    /// Looks first at the thread that is woken first, and last at the list of threads.
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

    /// Two looks that do not compare the marks find a rest where there is none.
    #[test]
    #[should_panic(expected = "at rest")]
    fn two_looks_do_without_marks() {
        model(take_turns, |both| is_at_rest(|| look(both).map(|look| look.len())).is_some());
    }
}
