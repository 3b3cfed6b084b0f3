//! Stopping the world: no worker picks a task up while a dump looks at them all.
//!
//! # Who waits for whom
//!
//! Whoever dumps asks every worker to stop, and shuts the gate. A worker looks at its status before it picks
//! or goes on with a task (`Worker::tick`), and if asked waits at the gate. The dumper waits until
//! each worker is one of
//!
//! - *held*: at the gate;
//! - *asleep*: its state is `SLEEPING`, and it passes the gate before it runs anything;
//! - *inside*: it says that it runs task T (`Published::current`). It is given a moment to come out.
//!
//! # Why nothing else runs
//!
//! A worker announces what it runs next, or that it runs nothing, before the task that it ran is another's to
//! run or to free, and before it looks whether it is asked:
//!
//! ```text
//!     worker                               dumper
//!     W1  current = nothing, or the next   D1  ask
//!     W2  light barrier (`is_plain`)       D2  heavy barrier
//!     W3  asked? then wait at the gate     D3  read current
//!     W4  current = what was picked
//!     W5  run it
//! ```
//!
//! If W3 does not see D1, then D3 sees W1 or something later, by the barriers: not the task that the worker
//! ran *before*. So when D3 reads T, the worker runs T, or is about to, or has just stopped running it, and the
//! next time that it gets to W3 it is held. It runs nothing but T meanwhile. If D3 reads that it runs nothing,
//! the worker is between W1 and W4; it runs no user code there, so the dumper waits until it is through.
//!
//! What a worker did before W1 or W4 happened before D3's reading (release and acquire), and so before the
//! dump. Therefore each task, except the one T of every worker that is inside, is suspended or has not started,
//! and what it wrote is seen; and it stays so, because to run it must be picked. It may be claimed meanwhile
//! and put into a queue. It cannot be freed, because it has not finished. New tasks may be made, by T's and OS
//! threads; they are not started.
//!
//! Workers that come later: a spare is started by the monitor, which takes the world's lock to make its
//! shared side; one whose shared side was there is asked with the others, and held when it starts.
//!
//! The dumper itself may be a task or an OS thread of any kind, or the monitor. It takes no lock that a held
//! worker may have (it is held in its loop, where it has none), and suspends nowhere.

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

/// How long a worker is given to come out of its task.
const GRACE: Duration = Duration::from_millis(10);

/// How long one is waited for that runs none: it has lost the processor, or a debugger has it.
const LIMIT: Duration = Duration::from_secs(2);

/// A worker as a dump finds it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<T = TaskRef> {
    /// Held, and would go on at once.
    Held,
    Asleep,
    /// In this task, or just out of it.
    Inside(T),
    /// In this task, which said that it blocks.
    Blocking(T),
    /// Not found: it did not stop within the time.
    Lost,
}

/// While it lives no worker picks a task up.
pub(crate) struct Stopped<'a> {
    shared: &'a Shared,
    /// By number.
    pub(crate) workers: Vec<Found>,
    _shared_sides: MutexGuard<'a, ()>,
}

/// Stops the world. Not for two of one scheduler at once on one thread.
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
            // In the task that dumps, or else between tasks, which it does not do.
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
        // What it was at when its process was forked, nobody can say.
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

/// Where a worker is that was asked, after a heavy barrier; none while it is between tasks.
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

    /// The system's numbers of the workers' OS threads, by number of the worker; zero for one that has none.
    pub(crate) fn os_threads(&self) -> impl Iterator<Item = i32> + use<'a> {
        self.remotes().map(|remote| remote.parker.thread_id())
    }

    /// Whether a worker may be running this task, or be just done with it.
    pub(crate) fn may_run(&self, task: TaskRef) -> bool {
        self.workers.iter().any(|found| match found {
            Found::Inside(running) | Found::Blocking(running) => *running == task,
            Found::Held | Found::Asleep | Found::Lost => false,
        })
    }

    /// Whether tasks that `may_run` excludes are known to stay where they are.
    pub(crate) fn is_whole(&self) -> bool {
        !self.workers.iter().any(|found| matches!(found, Found::Lost))
    }

    /// Whether worker `index` is still inside of `task`. If so, what was read of the task before this call was
    /// read while it ran.
    pub(crate) fn is_inside(&self, index: usize, task: TaskRef) -> bool {
        // With the light barrier (or more) that a worker passes when it has taken back `current`.
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

    /// One worker with two tasks, reduced to what a dump sees of it.
    struct Worker {
        gate: Gate,
        status: Status,
        /// Zero for none.
        current: AtomicUsize,
        tasks: [Checked<usize>; 2],
    }

    impl Worker {
        /// As `Worker::run`: each task once, then sleep.
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
                // SAFETY: the worker runs it; loom checks that nobody looks.
                self.tasks[task - 1].with_mut(|frames| unsafe { *frames += 1 });
            }
            self.current.store(0, Ordering::Release);
            self.status.enter(SLEEPING);
        }

        /// As `Shared::stop_world`, and a look at every task but the one that may run.
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
                // SAFETY: it is not running; loom checks that.
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

    /// The check on the model: a worker that still names its last task when it looks whether it is asked.
    #[test]
    #[should_panic]
    fn a_stale_name_lets_a_dump_look_at_what_runs() {
        model(false);
    }
}
