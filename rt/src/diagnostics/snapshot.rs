//! Who is there: all green threads of some schedulers, with the world stopped.
//!
//! Threads are found where they live, in the slots of the pool (`TaskRef::at_top`). What may be done with one
//! that was found is argued at the head of `world.rs`: unless a worker may be inside of it, it is
//! suspended or has not started, and stays so, so that it may be read, and walk its own stack.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use gthread_arch::stacks::Slot;

use crate::diagnostics::dump::{
    Dump, LockDump, Names, OsThreadDump, Place, RuntimeDump, Scratch, StackDump, ThreadDump,
    ThreadState, WaitDump, Walk, WorkerDump, WorkerState,
};
use crate::diagnostics::racy_read::peek;
use crate::diagnostics::stop_world::{self, Stopped, stop_world};
use crate::runtime::shared::Shared;
use crate::task::header::{Task, TaskRef};
use crate::task::lock_owner::{FREE, Numbers};
use crate::task::os_thread::{OsAsleep, OsThread};
use crate::task::wait_info::Reason;
use crate::task::wait_note::Target;

/// Call stacks that a dump takes of one runtime. Each takes some 10 µs, during which nothing runs.
const MAX_WALKS: usize = 4096;

/// A thread as it was found.
struct Person {
    thread: ThreadDump,
    /// The task, and the one that it waits to join: to be compared, no longer to be read.
    task: TaskRef,
    joins: Option<TaskRef>,
    /// The number of who has the lock that it waits for; and the addresses of its own
    /// stacks, by which it may be known as one that has a lock.
    holder: u32,
    stacks: Vec<Range<usize>>,
    calls: Vec<usize>,
}

/// A scheduler as it was found.
struct Found {
    dump: RuntimeDump,
    threads: Vec<Person>,
    /// By number of the worker: the system's number of its OS thread.
    os_threads: Vec<i32>,
}

/// Ends the waits of all tasks that sleep for no time, where that can be. The caller makes them runnable.
pub(crate) fn interrupt_sleepers(shared: &Shared) -> Vec<TaskRef> {
    let stopped = stop_world(shared);
    let mut tasks = suspended_tasks(shared, &stopped);
    // SAFETY: the world is stopped, and no worker may be inside of them.
    tasks.retain(|task| unsafe { task.interrupt() });
    tasks
}

/// What was found in some schedulers, with calls as addresses.
pub(crate) struct Snapshot {
    found: Vec<Found>,
    /// Those that wait in gthread.
    os_threads: Vec<OsAsleep>,
    scratch: Option<Scratch>,
}

impl Snapshot {
    /// Looks at all that is in the given schedulers at one moment. The worlds are stopped meanwhile.
    pub(crate) fn take(scheds: &[Arc<Shared>]) -> Self {
        Self::take_with(scheds, Scratch::new())
    }

    /// As [`Snapshot::take`], without calls: less to read, and it takes only a fraction of the time.
    pub(crate) fn take_briefly(scheds: &[Arc<Shared>]) -> Self {
        let mut brief = Self::take_with(scheds, None);
        brief.found.iter_mut().for_each(|found| found.dump.without_backtrace = 0);
        brief
    }

    fn take_with(scheds: &[Arc<Shared>], mut scratch: Option<Scratch>) -> Self {
        let stopped: Vec<_> = scheds.iter().map(|shared| stop_world(shared)).collect();
        let found = scheds
            .iter()
            .zip(&stopped)
            .map(|(shared, stopped)| look_into(shared, stopped, scratch.as_mut()))
            .collect();
        Self { found, os_threads: OsThread::all_asleep(), scratch }
    }

    /// Finds names for everything. Takes long, and need not be done with the worlds stopped.
    pub(crate) fn into_dump(self) -> Dump {
        match self.scratch {
            Some(mut scratch) => scratch.call(|| name_all(self.found, self.os_threads)),
            None => name_all(self.found, self.os_threads),
        }
    }
}

/// The tasks that no worker may be inside of: they are suspended or have not started, and stay so while the world is stopped.
/// None if some worker was not found.
fn suspended_tasks(shared: &Shared, stopped: &Stopped<'_>) -> Vec<TaskRef> {
    let mut tasks = Vec::new();
    shared.pool.for_each_in_use(|top| {
        // SAFETY: the pool's own slots. What is found is looked at only if it cannot finish.
        let task = unsafe { TaskRef::at_top(top) };
        tasks.extend(task.filter(|&task| stopped.is_whole() && !stopped.may_run(task)));
    });
    tasks
}

fn look_into(shared: &Shared, stopped: &Stopped<'_>, mut scratch: Option<&mut Scratch>) -> Found {
    let mut tasks = suspended_tasks(shared, stopped);
    tasks.sort_unstable_by_key(|task| task.id);
    let now = shared.advance_clock();
    let mut walks = 0;
    let mut without_backtrace = 0;
    let mut threads: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            let scratch = scratch.as_deref_mut().filter(|_| walks < MAX_WALKS);
            let walked = scratch.is_some();
            // SAFETY: the world is stopped, and no worker may be inside of it.
            let found = unsafe { look_at(task, now, scratch) };
            if found.thread.state == ThreadState::Parked {
                walks += usize::from(walked);
                without_backtrace += usize::from(!walked && cfg!(feature = "backtrace"));
            }
            found
        })
        .collect();
    let workers = stopped.workers.iter().enumerate().map(|(index, &found)| {
        let (state, task) = match found {
            stop_world::Found::Held => (WorkerState::Awake, None),
            stop_world::Found::Asleep => (WorkerState::Asleep, None),
            stop_world::Found::Inside(task) => (WorkerState::Inside, Some(task)),
            stop_world::Found::Blocking(task) => (WorkerState::Blocked, Some(task)),
            stop_world::Found::Lost => (WorkerState::Lost, None),
        };
        let running = task.and_then(|task| {
            peek(stopped, index, task, |copy, name| {
                describe_running(copy, name, state, index, task)
            })
        });
        let thread = running.as_ref().map(|running| running.thread.id);
        threads.extend(running);
        WorkerDump { state, thread }
    });
    let workers = workers.collect();
    threads.sort_by_key(|found| found.thread.id);
    let name = shared.config.name.clone();
    let dump = RuntimeDump { name, workers, threads: Vec::new(), without_backtrace };
    let os_threads = stopped.os_threads().collect();
    Found { dump, threads, os_threads }
}

/// A task that a worker is inside of, from a copy of its control block.
fn describe_running(
    copy: &Task,
    name: Option<String>,
    state: WorkerState,
    worker: usize,
    task: TaskRef,
) -> Person {
    let state = match state {
        WorkerState::Blocked => ThreadState::Blocked,
        _ => ThreadState::Running,
    };
    let thread = ThreadDump {
        id: copy.id.get(),
        name,
        spawned_at: copy.site.into(),
        state,
        wait: None,
        worker: Some(worker),
        stack: None,
        backtrace: Vec::new(),
    };
    Person {
        thread,
        task,
        joins: None,
        holder: FREE,
        stacks: vec![addresses_of(copy.slot())],
        calls: Vec::new(),
    }
}

/// Looks at a task that is suspended or has not started.
///
/// # Safety
///
/// So it is, and it stays so.
unsafe fn look_at(task: TaskRef, now: u64, scratch: Option<&mut Scratch>) -> Person {
    // Asked once: it may be woken meanwhile, though not run.
    let asleep = task.wait.is_asleep();
    let mut walk = Walk::new(scratch);
    if asleep {
        // SAFETY: it is asleep, and nobody else has the fiber, says the caller; the walk stays here meanwhile.
        unsafe { task.send(&walk.errand()) };
    }
    let state = match asleep {
        true => ThreadState::Parked,
        // SAFETY: the caller's.
        false if unsafe { task.has_started() } => ThreadState::Runnable,
        false => ThreadState::New,
    };
    let wait = task.last_wait().filter(|_| asleep);
    let (mut joins, mut holder, mut lock) = (None, FREE, None);
    match wait.and_then(|wait| Some((wait.reason, wait.target?))) {
        None => {}
        Some((_, Target::Task(task))) => joins = Some(task),
        Some((reason, Target::Lock(awaited))) => {
            // SAFETY: it is asleep in its wait, and stays there, so the note is in its frame.
            let awaited = unsafe { awaited.read() };
            // SAFETY: the lock is there, since the task borrows it in that frame, and no frame goes before what borrows
            // from it has ended (`deadlock`).
            holder = unsafe { awaited.holder() };
            let kind = if reason == Reason::Lock { "Mutex" } else { "RwLock" };
            lock = Some(LockDump { kind, address: awaited.address(), held: holder != FREE });
        }
    }
    let thread = ThreadDump {
        id: task.id.get(),
        name: task.name.as_deref().map(str::to_owned),
        spawned_at: task.site.into(),
        state,
        wait: wait.map(|wait| WaitDump {
            reason: wait.reason.text(),
            at: Place::from(wait.site),
            waited_ms: now.saturating_sub(wait.since),
            thread: None,
            lock,
        }),
        worker: task.pinned().map(|worker| worker as usize),
        stack: asleep.then(|| stack_of(task, walk.stack_pointer)),
        backtrace: Vec::new(),
    };
    let stacks = stacks_of(task);
    let calls = walk.addresses(|sp| stacks.iter().any(|stack| stack.contains(&sp)));
    Person { thread, task, joins, holder, stacks, calls }
}

fn addresses_of(slot: &Slot) -> Range<usize> {
    slot.bottom().as_ptr() as usize..slot.top().as_ptr() as usize
}

/// The stack of a suspended task that `stack_pointer` is in.
fn stack_of(task: TaskRef, stack_pointer: usize) -> StackDump {
    // SAFETY: in a frame of the task's, which is suspended.
    let temporary = unsafe { task.temporary.get().as_ref() };
    let slot = temporary.map_or_else(|| task.slot(), |temporary| &temporary.slot);
    let used = (slot.top().as_ptr() as usize).saturating_sub(stack_pointer);
    StackDump { size: slot.usable(), used, temporary: temporary.is_some() }
}

/// The stack of a suspended task, and those that it has for a while.
fn stacks_of(task: TaskRef) -> Vec<Range<usize>> {
    let mut stacks = vec![addresses_of(task.slot())];
    let mut temporary = task.temporary.get();
    // SAFETY: in frames of the task's, which is suspended.
    while let Some(stack) = unsafe { temporary.as_ref() } {
        stacks.push(addresses_of(&stack.slot));
        temporary = stack.below;
    }
    stacks
}

/// Who has which stacks, to find the holders of locks.
struct Holders {
    /// In the order of the numbers.
    stacks: Vec<(Numbers, u64)>,
}

impl Holders {
    fn new<'a>(everybody: impl Iterator<Item = &'a Person>) -> Self {
        let stacks = everybody.flat_map(|person| {
            let id = person.thread.id;
            person.stacks.iter().map(move |stack| (Numbers::on(stack.clone()), id))
        });
        let mut stacks: Vec<_> = stacks.collect();
        stacks.sort_unstable_by_key(|(numbers, _)| numbers.first);
        Self { stacks }
    }

    /// The green thread with this number, if there is one.
    fn find(&self, number: u32) -> Option<u64> {
        let after = self.stacks.partition_point(|(numbers, _)| !numbers.begin_after(number));
        // The last one may go on at the first numbers.
        let last = after.checked_sub(1).or(self.stacks.len().checked_sub(1))?;
        let (numbers, id) = self.stacks[last];
        numbers.contain(number).then_some(id)
    }
}

/// What an OS thread waits for.
fn wait_of(thread: &OsAsleep) -> WaitDump {
    WaitDump {
        reason: thread.wait.reason.text(),
        at: Place::from(thread.wait.site),
        waited_ms: u64::try_from(thread.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        thread: thread.joins.map(NonZeroU64::get),
        lock: None,
    }
}

/// Tells those OS threads that wait as green threads, which block them, from the others.
fn sort_out(found: &mut [Found], os_threads: Vec<OsAsleep>) -> Vec<OsThreadDump> {
    let mut others = Vec::new();
    for thread in os_threads {
        let wait = wait_of(&thread);
        let mut blocked = found.iter_mut().filter_map(|found| {
            let worker = found.os_threads.iter().position(|&n| n == thread.number())?;
            let running = found.dump.workers[worker].thread?;
            found.threads.iter_mut().find(|person| person.thread.id == running)
        });
        match blocked.next() {
            Some(person) => person.thread.wait = Some(wait),
            None => others.push(OsThreadDump {
                id: thread.id().get(),
                os_id: thread.number().unsigned_abs(),
                name: thread.name().map(str::to_owned),
                wait,
            }),
        }
    }
    others.sort_by_key(|thread| thread.os_id);
    others
}

/// Names the calls, and the threads that others wait for. With the worlds going on.
fn name_all(mut found: Vec<Found>, os_threads: Vec<OsAsleep>) -> Dump {
    let os_threads = sort_out(&mut found, os_threads);
    let everybody = || found.iter().flat_map(|found| &found.threads);
    let ids: HashMap<_, u64> =
        everybody().map(|person| (person.task.as_ptr(), person.thread.id)).collect();
    let holders = Holders::new(everybody());
    let mut names = Names::default();
    let runtimes = found.into_iter().map(|Found { mut dump, threads, .. }| {
        let threads =
            threads.into_iter().map(|Person { mut thread, joins, holder, calls, .. }| {
                if let Some(wait) = thread.wait.as_mut().filter(|wait| wait.thread.is_none()) {
                    let joined = joins.and_then(|task| ids.get(&task.as_ptr()).copied());
                    wait.thread = joined.or_else(|| holders.find(holder));
                }
                thread.backtrace = names.resolve(&calls);
                thread
            });
        dump.threads = threads.collect();
        dump
    });
    Dump { os_threads, runtimes: runtimes.collect() }
}
