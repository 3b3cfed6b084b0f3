//! Stopping the world: no worker starts or resumes a task while a dump looks at all tasks.
//!
//! # How the workers stop
//!
//! The dumping thread asks every worker to stop, and shuts the gate. A worker checks its status
//! before it takes a task or goes on with one (`Worker::tick`). If asked, it waits at the gate. The
//! dumping thread waits until each worker is in one of these states:
//!
//! - *held*: at the gate;
//! - *asleep*: its state is `SLEEPING`, and it passes the gate before it runs anything;
//! - *inside*: it says that it runs task T (`Published::current`). It gets a moment to come out.
//!
//! # Why nothing else runs
//!
//! A worker announces which task it runs next, or that it runs none. It does so before any other
//! thread may run or free the previous task, and before it checks whether it is asked:
//!
//! ```text
//!     worker                               dumping thread
//!     W1  current = nothing, or the next   D1  ask
//!     W2  light barrier (`is_plain`)       D2  heavy barrier
//!     W3  asked? then wait at the gate     D3  read current
//!     W4  current = the task taken
//!     W5  run it
//! ```
//!
//! If W3 does not see D1, then D3 sees W1 or a later write, by the barriers, and not the task that
//! the worker ran *before*. So when D3 reads T, the worker runs T, is about to run it, or has just
//! stopped running it. It is held the next time that it gets to W3, and runs only T meanwhile. If
//! D3 reads that the worker runs nothing, the worker is between W1 and W4. It runs no user code
//! there, so the dumping thread waits until it is through.
//!
//! A worker's writes before W1 or W4 happen before D3's read (release and acquire), and so before
//! the dump. Therefore each task, except the one T of every worker that is inside, is suspended or
//! has not started, and its writes are visible. It stays so, because a worker must take it to run
//! it. It may be claimed meanwhile and put into a queue. It cannot be freed, because it has not
//! finished. New tasks may be made, by the tasks T and by OS threads, but they are not started.
//!
//! Workers that come later: sysmon starts a spare. To create the spare's shared side, sysmon takes
//! the lock that the dump holds (`shared_sides`). If the shared side existed already, the spare was
//! asked with the others, and is held when it starts.
//!
//! The dumping thread may be a task, an OS thread of any kind, or sysmon. It takes no lock that a
//! held worker may have: a worker is held in its loop, where it has none. And it never suspends
//! meanwhile.

use std::time::{Duration, Instant};

use crate::loom::{MutexGuard, lock};
use crate::runtime::context;
use crate::runtime::remote::Remote;
use crate::runtime::shared::Shared;
use crate::runtime::status::{BLOCKING, SLEEPING, Status};
use crate::sys::fork;
use crate::task::header::TaskRef;
use crate::util::backoff::Backoff;
use crate::util::barrier;

/// How long a worker gets to come out of its task.
const GRACE: Duration = Duration::from_millis(10);

/// How long a worker that runs no task is waited for: it has lost the processor, or a debugger has
/// stopped it.
const LIMIT: Duration = Duration::from_secs(2);

/// The state in which a dump finds a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<T = TaskRef> {
    /// At the gate. It would go on at once.
    Held,
    Asleep,
    /// Inside of this task, or just out of it.
    Inside(T),
    /// Inside of this task, which has said that it blocks.
    Blocking(T),
    /// Unknown: the worker did not stop in time.
    Lost,
}

/// A stopped world: no worker starts or resumes a task for the lifetime of this guard.
pub(crate) struct Stopped<'a> {
    shared: &'a Shared,
    /// By the worker's number.
    pub(crate) workers: Vec<Found>,
    _shared_sides: MutexGuard<'a, ()>,
}

/// Stops the world. One thread must not stop the world of one runtime twice at once.
pub(crate) fn stop_world(shared: &Shared) -> Stopped<'_> {
    let shared_sides = lock(&shared.world.shared_sides);
    shared.world.gate.shut();
    let mut stopped = Stopped { shared, workers: Vec::new(), _shared_sides: shared_sides };
    stopped.remotes().for_each(|remote| remote.own.status.ask());
    barrier::heavy();
    let own = context::with(|worker| {
        worker.filter(|worker| worker.serves(shared)).map(|worker| worker.index() as usize)
    });
    let start = Instant::now();
    for (index, remote) in stopped.remotes().enumerate() {
        let found = if own == Some(index) {
            // Inside of the dumping task. A worker between tasks makes no dump, so `Held` is not
            // expected.
            remote.current().map_or(Found::Held, Found::Inside)
        } else {
            wait_for(remote, start)
        };
        stopped.workers.push(found);
    }
    stopped
}

/// Waits for one worker to stop.
fn wait_for(remote: &Remote, start: Instant) -> Found {
    if fork::is_child() {
        // The worker was lost in the fork, in a state that is unknown.
        return Found::Lost;
    }
    let mut patience = Backoff::new();
    loop {
        if let Some(found) = look_at(&remote.own.status, || remote.current()) {
            if !matches!(found, Found::Inside(_)) || start.elapsed() >= GRACE {
                return found;
            }
        } else if start.elapsed() >= LIMIT {
            return Found::Lost;
        }
        patience.wait();
    }
}

/// Returns the state of a worker that was asked, after a heavy barrier. Returns `None` while the
/// worker is between tasks.
fn look_at<T>(status: &Status, current: impl FnOnce() -> Option<T>) -> Option<Found<T>> {
    if status.is_held() {
        return Some(Found::Held);
    }
    match status.state() {
        SLEEPING => Some(Found::Asleep),
        BLOCKING => current().map(Found::Blocking),
        _ => current().map(Found::Inside),
    }
}

impl<'a> Stopped<'a> {
    fn remotes(&self) -> impl Iterator<Item = &'a Remote> + use<'a> {
        self.shared.workers().map(|worker| &**worker)
    }

    /// Returns the system's numbers of the workers' OS threads, by the worker's number. Zero for a
    /// worker without one.
    pub(crate) fn os_threads(&self) -> impl Iterator<Item = i32> + use<'a> {
        self.remotes().map(|remote| remote.parker.thread_id())
    }

    /// Returns `true` if a worker may be running this task, or may just have stopped running it.
    pub(crate) fn may_run(&self, task: TaskRef) -> bool {
        self.workers.iter().any(|found| match found {
            Found::Inside(running) | Found::Blocking(running) => *running == task,
            Found::Held | Found::Asleep | Found::Lost => false,
        })
    }

    /// Returns `true` if the tasks that `may_run` excludes are known to stay where they are.
    pub(crate) fn is_whole(&self) -> bool {
        !self.workers.iter().any(|found| matches!(found, Found::Lost))
    }

    /// Returns `true` if worker `index` is still inside of `task`. Then all reads of the task
    /// before this call were made while it ran.
    pub(crate) fn is_inside(&self, index: usize, task: TaskRef) -> bool {
        // Pairs with the light barrier (or a stronger one) that a worker passes after it has
        // withdrawn `current`.
        barrier::heavy();
        self.remotes().nth(index).and_then(Remote::current) == Some(task)
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.remotes().for_each(|remote| remote.own.status.unask());
        self.shared.world.gate.open();
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::{AtomicUsize, Ordering};
    use crate::loom::{Condvar, Mutex};
    use crate::runtime::gate::Gate;
    use crate::runtime::status::NORMAL;
    use loom::cell::UnsafeCell as Checked;
    use loom::sync::Arc;
    use loom::thread;

    /// One worker with two tasks, reduced to the parts that a dump sees.
    struct Worker {
        gate: Gate,
        status: Status,
        /// The running task, or zero for none.
        current: AtomicUsize,
        tasks: [Checked<usize>; 2],
    }

    impl Worker {
        /// Runs each task once like `Worker::run`, then sleeps.
        fn run(&self, announces_first: bool) {
            self.status.enter(NORMAL);
            for task in 1..=2 {
                if announces_first {
                    self.current.store(0, Ordering::Release);
                }
                if !self.status.is_plain() && self.status.is_asked() {
                    self.gate.pass(&self.status);
                }
                self.current.store(task, Ordering::Release);
                // SAFETY: the worker runs the task. Loom checks that no other thread looks at it.
                self.tasks[task - 1].with_mut(|frames| unsafe { *frames += 1 });
            }
            self.current.store(0, Ordering::Release);
            self.status.enter(SLEEPING);
        }

        /// Stops the worker like `stop_world`, and looks at every task except the one that may run.
        fn dump(&self) {
            self.gate.shut();
            self.status.ask();
            barrier::heavy();
            let current = || Some(self.current.load(Ordering::Acquire)).filter(|&task| task > 0);
            let mut patience = Backoff::new();
            let running = loop {
                match look_at(&self.status, current) {
                    None => patience.wait(),
                    Some(Found::Inside(task)) => break task,
                    Some(_) => break 0,
                }
            };
            for task in (1..=2).filter(|&task| task != running) {
                // SAFETY: the task is not running. Loom checks that.
                self.tasks[task - 1].with(|frames| unsafe { *frames });
            }
            self.status.unask();
            self.gate.open();
        }
    }

    fn model(announces_first: bool) {
        loom::model(move || {
            let worker = Arc::new(Worker {
                gate: Gate { shut: Mutex::new(false), opened: Condvar::new() },
                status: Status::new(),
                current: AtomicUsize::new(0),
                tasks: [Checked::new(0), Checked::new(0)],
            });
            let runs = {
                let worker = Arc::clone(&worker);
                thread::spawn(move || worker.run(announces_first))
            };
            worker.dump();
            runs.join().unwrap();
        });
    }

    #[test]
    fn a_dump_looks_at_no_task_that_runs() {
        model(true);
    }

    /// Checks the model itself, with a worker that still names its last task when it checks whether
    /// it is asked.
    #[test]
    #[should_panic]
    fn a_stale_name_lets_a_dump_look_at_what_runs() {
        model(false);
    }
}
