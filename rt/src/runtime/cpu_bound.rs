//! Tasks that are known to compute for long without a pause run beside the workers.
//!
//! There is no preemption, so a task that computes keeps its worker, and whoever waits there, until sysmon has
//! another run in its place: ten milliseconds at least, each time. A task that was found so is a *CPU-bound task* from then
//! on. When one is switched, its worker gives its place up at once, as if the task had announced
//! [`blocking`](crate::blocking), and another serves the rest; it is the kernel that then divides the processors
//! between them, and it does preempt. (Erlang's dirty CPU schedulers are the like: so many threads for what is long, beside
//! as many for the rest.)
//!
//! No more of them run at once than there are workers; the others wait in a line, first come, first served. Whoever
//! ends a turn lets the next in. That may take for ever, where a CPU-bound task waits for one in the line without saying so, or never
//! pauses; therefore sysmon lets in as many again when nobody has been for some time.
//!
//! To be a CPU-bound task is forgotten when a turn ends otherwise than by suspending, as by a fork, and after some turns that were
//! short: of processor time, since one that keeps its worker by waiting for the kernel is no CPU-bound task, and any number of those
//! may run at once.
//!
//! Invariants (of [`Line`], under its lock):
//! - `running` counts the tasks that were let in and whose turn is not over, be it that they are still on their way in
//!   a queue. Each has left the line marked [`CpuBound::Admitted`], or never was in it.
//! - While any wait, `running` is at least `limit + extra`; or one waits alone, which yielded and was put there by the
//!   worker whose turn that ends. So there is a turn whose end lets the next in, and nobody in the line relies on a
//!   worker that sleeps.
//! - A worker has a turn (`Worker::turn`) only while it is retaken, or in `blocking` just after: its first move ends both.
//! - Sysmon is not dormant while any wait. Who put the task there was running and so had stirred it, and stops to run
//!   only afterwards; sysmon looks at who runs first, and then into the line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::loom::{Mutex, lock};
use crate::task::cpu_bound::CpuBound;
use crate::task::header::TaskRef;

/// Who has used less processor time in its turn, or since sysmon has found it, is no CPU-bound task.
pub(crate) const SHORTEST: Duration = Duration::from_millis(2);

/// A CPU-bound task is known for so many short turns, since it may wait in between to pass on what it has computed.
pub(crate) const CREDIT: u8 = 8;

/// How long nobody was let in, though some wait, before the turns seem to have no end and sysmon lets in as many again.
/// So much longer as there are more turns than processors.
const PATIENCE: Duration = Duration::from_millis(100);

/// The CPU-bound tasks of a scheduler.
#[derive(Debug)]
pub(crate) struct AdmissionQueue {
    pub(crate) line: Mutex<Line<TaskRef>>,
}

#[derive(Debug)]
pub(crate) struct Line<T> {
    /// How many may run at once.
    pub(crate) limit: usize,
    pub(crate) running: usize,
    /// So many turns are not counted, because they seem to have no end.
    pub(crate) extra: usize,
    /// Changes when one is let in.
    pub(crate) turns: u64,
    pub(crate) waiting: VecDeque<T>,
}

impl<T> Line<T> {
    const fn new(limit: usize) -> Self {
        Self { limit, running: 0, extra: 0, turns: 0, waiting: VecDeque::new() }
    }

    /// Gives the CPU-bound task back if it may run now; it is in the line otherwise.
    fn enter(&mut self, cpu_bound: T) -> Option<T> {
        if self.has_room() {
            self.let_in();
            return Some(cpu_bound);
        }
        self.waiting.push_back(cpu_bound);
        None
    }

    const fn has_room(&self) -> bool {
        self.running < self.limit + self.extra
    }

    fn let_in(&mut self) {
        self.running += 1;
        self.turns = self.turns.wrapping_add(1);
    }

    /// A turn is over, `long` if it seemed to have no end: who is next.
    fn leave(&mut self, long: bool) -> Option<T> {
        self.running -= 1;
        match self.running {
            0 => self.extra = 0,
            _ if long => self.extra = self.extra.saturating_sub(1),
            _ => {}
        }
        if self.has_room() { self.admit() } else { None }
    }

    /// The turns seem to have no end, so there is room for as many again: who is next.
    fn widen(&mut self) -> Vec<T> {
        let next: Vec<T> = (0..self.running).map_while(|_| self.admit()).collect();
        self.extra += next.len();
        next
    }

    /// Lets the next in.
    fn admit(&mut self) -> Option<T> {
        let next = self.waiting.pop_front();
        if next.is_some() {
            self.let_in();
        }
        next
    }
}

impl AdmissionQueue {
    pub(crate) fn new(limit: u32) -> Self {
        Self { line: Mutex::new(Line::new(limit as usize)) }
    }

    /// True if it may run at once; it is in the line otherwise, and not the caller's any more.
    pub(crate) fn enter(&self, task: TaskRef) -> bool {
        lock(&self.line).enter(task).is_some()
    }

    /// A turn that began then is over: who is next, for the caller to make runnable.
    pub(crate) fn leave(&self, began: Instant) -> Option<TaskRef> {
        let long = began.elapsed() >= PATIENCE;
        lock(&self.line).leave(long).inspect(|&task| mark_admitted(task))
    }

    /// A CPU-bound task whose turn is about to end waits for the next.
    pub(crate) fn line_up(&self, task: TaskRef) {
        lock(&self.line).waiting.push_back(task);
    }

    /// Takes the first out of the line, which nobody is let in from any more.
    pub(crate) fn take_waiting(&self) -> Option<TaskRef> {
        lock(&self.line).waiting.pop_front()
    }

    /// Whether none waits in the line. Who stopped to run before this has put nobody there since.
    pub(crate) fn nobody_waits(&self) -> bool {
        lock(&self.line).waiting.is_empty()
    }

    /// How many have been let in whose turn is not over.
    pub(crate) fn running(&self) -> usize {
        lock(&self.line).running
    }
}

/// What sysmon remembers of the line.
#[derive(Debug)]
pub(crate) struct SeenLine {
    turns: u64,
    since: Instant,
}

impl SeenLine {
    pub(crate) fn new() -> Self {
        Self { turns: 0, since: Instant::now() }
    }

    /// Lets some in if nobody was for some time: they are the caller's to make runnable.
    pub(crate) fn look(&mut self, line: &AdmissionQueue, processors: usize) -> Vec<TaskRef> {
        let mut line = lock(&line.line);
        let now = Instant::now();
        if self.turns != line.turns || line.waiting.is_empty() {
            *self = Self { turns: line.turns, since: now };
            return Vec::new();
        }
        let patience = PATIENCE * line.running.max(processors) as u32 / processors as u32;
        if now - self.since < patience {
            return Vec::new();
        }
        let next = line.widen();
        next.iter().for_each(|&task| mark_admitted(task));
        next
    }
}

fn mark_admitted(task: TaskRef) {
    task.cpu_bound.set(CpuBound::Admitted(task.cpu_bound.get().credit()));
}

/// The turn of a CPU-bound task that a worker runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) began: Instant,
    /// What the CPU-bound task had left when it began.
    pub(crate) credit: u8,
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const LIMIT: usize = 2;

    #[test]
    fn as_many_run_as_may_and_the_others_come_in_order() {
        let mut line = Line::new(LIMIT);
        assert_eq!(line.enter('a'), Some('a'));
        assert_eq!(line.enter('b'), Some('b'));
        assert_eq!(line.enter('c'), None);
        assert_eq!(line.enter('d'), None);
        // `a` has yielded.
        line.waiting.push_back('a');
        let mut leave = || line.leave(false);
        assert_eq!([leave(), leave()], [Some('c'), Some('d')]);
        assert_eq!(line.running, LIMIT);
        let mut leave = || line.leave(false);
        assert_eq!([leave(), leave(), leave()], [Some('a'), None, None]);
        assert_eq!(line.running, 0);
    }

    #[test]
    fn turns_without_an_end_are_not_counted() {
        let mut line = Line::new(LIMIT);
        (0..8).for_each(|cpu_bound| _ = line.enter(cpu_bound));
        assert_eq!(line.widen(), [2, 3]);
        assert_eq!((line.running, line.extra), (4, 2));
        // Two of those that pause; the others do not.
        assert_eq!(line.leave(false), Some(4));
        assert_eq!(line.leave(false), Some(5));
        // They do.
        assert_eq!(line.leave(true), None);
        assert_eq!(line.leave(true), None);
        assert_eq!(line.leave(false), Some(6));
        // As many again as there are, but no more than wait.
        assert_eq!(line.widen(), [7]);
        assert_eq!((line.running, line.extra), (3, 1));
        assert_eq!([(); 3].map(|()| line.leave(false)), [None; 3]);
        assert_eq!((line.running, line.extra), (0, 0));
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering};
    use crate::runtime::idle::Idle;
    use loom::sync::Arc;
    use loom::thread;

    /// Two CPU-bound tasks come to a line that lets one run, and each yields once: none is forgotten, and no two run at once.
    #[test]
    fn whoever_ends_a_turn_lets_the_next_in() {
        loom::model(|| {
            let line = Arc::new(Mutex::new(Line::new(1)));
            let (at_once, turns) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let workers: Vec<_> = (0..2)
                .map(|cpu_bound| {
                    let (line, at_once, turns) = (line.clone(), at_once.clone(), turns.clone());
                    thread::spawn(move || {
                        let mut next = lock(&line).enter((cpu_bound, 1));
                        while let Some((cpu_bound, yields)) = next {
                            assert_eq!(at_once.fetch_add(1, Ordering::Relaxed), 0);
                            turns.fetch_add(1, Ordering::Relaxed);
                            at_once.fetch_sub(1, Ordering::Relaxed);
                            if yields > 0 {
                                lock(&line).waiting.push_back((cpu_bound, yields - 1));
                            }
                            next = lock(&line).leave(false);
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            assert_eq!(turns.load(Ordering::Relaxed), 4);
            assert_eq!(lock(&line).running, 0);
        });
    }

    /// Who puts a CPU-bound task in the line and stops to run is not overlooked by sysmon that then sees nobody run.
    #[test]
    fn the_monitor_sees_who_waits() {
        loom::model(|| {
            let world = Arc::new((Idle::new(1), Mutex::new(Line::new(1))));
            let worker = {
                let world = world.clone();
                thread::spawn(move || {
                    let (idle, line) = &*world;
                    lock(line).waiting.push_back(());
                    idle.block();
                })
            };
            let (idle, line) = &*world;
            if idle.is_quiet() {
                assert!(!lock(line).waiting.is_empty(), "overlooked");
            }
            worker.join().unwrap();
        });
    }
}
