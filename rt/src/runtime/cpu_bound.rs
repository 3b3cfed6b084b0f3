//! CPU-bound tasks: tasks that compute for long without suspending run beside the workers.
//!
//! There is no preemption. So a task that computes keeps its worker, and with it the tasks that
//! wait there, until sysmon lets another worker run in its place. That usually takes 10 ms of
//! processor time, each time. A task that was found to compute like this is a *CPU-bound task* from
//! then on. When a worker is about to run it, the worker gives up its place at once, as if the task
//! had announced [`blocking`](crate::blocking), and another worker serves the other tasks. Then the
//! kernel divides the processors between them, and the kernel does preempt. (Erlang's dirty CPU
//! schedulers are similar: one set of threads for long computations beside one for everything
//! else.)
//!
//! No more CPU-bound tasks run at once than there are workers. The others wait in the *admission
//! queue*, first come, first served. The end of each turn admits the next task. A turn may never
//! end: a CPU-bound task may never suspend, or may wait for a task in the queue in a way that the
//! runtime does not see. So sysmon admits as many again if none was admitted for some time.
//!
//! A task is no longer known as CPU-bound after a turn that did not end by suspending, for example
//! by a fork, and after some turns that were short. Only processor time counts: a task that keeps
//! its worker by waiting for the kernel is not CPU-bound, and any number of such tasks may run at
//! once.
//!
//! Invariants (of [`Line`], under its lock):
//! - `running` counts the tasks that were admitted and whose turns are not over, including those
//!   that are still in a run queue. Each of them has left the admission queue marked
//!   [`CpuBound::Admitted`], or was never in it.
//! - While any task waits, `running` is at least `limit + extra`; or one task waits alone, which
//!   has yielded, and the worker that has put it there ends a turn next. So there is a turn whose
//!   end admits the next task, and no task in the admission queue relies on a worker that sleeps.
//! - A worker has a turn (`Worker::turn`) only while it is retaken, or in `blocking` just
//!   afterwards. Its first move ends both.
//! - Sysmon is not dormant while any task waits. The worker that puts a task there is running, so
//!   sysmon was notified, and stops running only afterwards. Sysmon looks at the running workers
//!   first, and then at the admission queue.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::loom::{Mutex, lock};
use crate::task::cpu_bound::CpuBound;
use crate::task::header::TaskRef;

/// A task that has used less processor time than this in its turn, or since sysmon retook its
/// worker, is not CPU-bound.
pub(crate) const SHORTEST: Duration = Duration::from_millis(2);

/// For how many short turns a task is still known as CPU-bound: it may wait between its
/// computations, to pass on their results.
pub(crate) const CREDIT: u8 = 8;

/// If no task was admitted for this long while some wait, the turns seem to have no end, and sysmon
/// admits as many again. Multiplied by the number of turns per processor.
const PATIENCE: Duration = Duration::from_millis(100);

/// The admission queue of a runtime.
#[derive(Debug)]
pub(crate) struct AdmissionQueue {
    pub(crate) line: Mutex<Line<TaskRef>>,
}

#[derive(Debug)]
pub(crate) struct Line<T> {
    /// How many tasks may have a turn at once.
    pub(crate) limit: usize,
    pub(crate) running: usize,
    /// The number of turns that do not count against the limit, because they seem to have no end.
    pub(crate) extra: usize,
    /// Counts the admissions.
    pub(crate) turns: u64,
    pub(crate) waiting: VecDeque<T>,
}

impl<T> Line<T> {
    const fn new(limit: usize) -> Self {
        Self { limit, running: 0, extra: 0, turns: 0, waiting: VecDeque::new() }
    }

    /// Returns the task if it may run now. Otherwise it is in the queue.
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

    /// Ends a turn, `long` if it seemed to have no end. Returns the task that is admitted next.
    fn leave(&mut self, long: bool) -> Option<T> {
        self.running -= 1;
        match self.running {
            0 => self.extra = 0,
            _ if long => self.extra = self.extra.saturating_sub(1),
            _ => {}
        }
        if self.has_room() { self.admit() } else { None }
    }

    /// Makes room for as many turns again, because they seem to have no end. Returns the tasks that
    /// are admitted.
    fn widen(&mut self) -> Vec<T> {
        let next: Vec<T> = (0..self.running).map_while(|_| self.admit()).collect();
        self.extra += next.len();
        next
    }

    /// Admits the next task.
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

    /// Returns `true` if the task may run at once. Otherwise it is in the queue, and no longer the
    /// caller's.
    pub(crate) fn enter(&self, task: TaskRef) -> bool {
        lock(&self.line).enter(task).is_some()
    }

    /// Ends a turn that began at `began`. Returns the task that is admitted next, for the caller to
    /// make runnable.
    pub(crate) fn leave(&self, began: Instant) -> Option<TaskRef> {
        let long = began.elapsed() >= PATIENCE;
        lock(&self.line).leave(long).inspect(|&task| mark_admitted(task))
    }

    /// Queues a CPU-bound task whose turn is about to end, to wait for the next.
    pub(crate) fn line_up(&self, task: TaskRef) {
        lock(&self.line).waiting.push_back(task);
    }

    /// Takes the first task out of the queue, from which no task is admitted any more.
    pub(crate) fn take_waiting(&self) -> Option<TaskRef> {
        lock(&self.line).waiting.pop_front()
    }

    /// Returns `true` if no task waits. A worker that has stopped running before this call has put
    /// no task there since.
    pub(crate) fn nobody_waits(&self) -> bool {
        lock(&self.line).waiting.is_empty()
    }

    /// Returns the number of turns that are not over.
    pub(crate) fn running(&self) -> usize {
        lock(&self.line).running
    }
}

/// What sysmon remembers of the admission queue.
#[derive(Debug)]
pub(crate) struct SeenLine {
    turns: u64,
    since: Instant,
}

impl SeenLine {
    pub(crate) fn new() -> Self {
        Self { turns: 0, since: Instant::now() }
    }

    /// Admits some tasks if none was admitted for some time. Returns them, for the caller to make
    /// runnable.
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
    /// The task's credit when the turn began.
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
        // Two turns end in time, and the other two do not.
        assert_eq!(line.leave(false), Some(4));
        assert_eq!(line.leave(false), Some(5));
        // Now they end, too.
        assert_eq!(line.leave(true), None);
        assert_eq!(line.leave(true), None);
        assert_eq!(line.leave(false), Some(6));
        // As many again as have turns, but no more than wait.
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

    /// Two CPU-bound tasks come to a queue that admits one at a time, and each yields once: none is
    /// forgotten, and they do not run at once.
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

    /// A worker queues a CPU-bound task and stops running. If sysmon then sees no worker run, it
    /// does not overlook the task.
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
