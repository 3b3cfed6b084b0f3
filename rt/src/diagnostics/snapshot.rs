//! Snapshots: all green threads of some runtimes, found with the world stopped.
//!
//! Threads are found where they live, in the slots of the pool (`TaskRef::at_top`). The head of
//! `stop_world.rs` argues what may be done with a thread that was found: unless a worker may be
//! inside of it, it is suspended or has not started, and stays so. So it may be read, and may walk
//! its own stack.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use gthread_arch::stacks::Slot;

use crate::diagnostics::dump::{
    DescriptorDump, Dump, LockDump, Names, OsThreadDump, Place, RuntimeDump, Scratch, StackDump,
    ThreadDump, ThreadState, WaitDump, Walk, WorkerDump, WorkerState,
};
use crate::diagnostics::racy_read::peek;
use crate::diagnostics::stop_world::{self, Stopped, stop_world};
use crate::runtime::shared::Shared;
use crate::task::header::{Task, TaskRef};
use crate::task::lock_owner::{FREE, Numbers};
use crate::task::os_thread::{OsAsleep, OsThread};
use crate::task::wait_info::Reason;
use crate::task::wait_note::Target;

/// The most call stacks that a dump takes of one runtime. Each takes about 10 µs, during which the
/// runtime runs nothing.
const MAX_WALKS: usize = 4096;

/// A thread record: a thread as it was found.
struct ThreadRecord {
    thread: ThreadDump,
    /// The task, and the task that it waits to join. Only compared: they must no longer be read.
    task: TaskRef,
    joins: Option<TaskRef>,
    /// The number of the holder of the lock for which the thread waits; and the addresses of the
    /// thread's own stacks, by which it may be recognized as the holder of a lock.
    holder: u32,
    stacks: Vec<Range<usize>>,
    calls: Vec<usize>,
}

/// A runtime as it was found.
struct Found {
    dump: RuntimeDump,
    threads: Vec<ThreadRecord>,
    /// The system's numbers of the workers' OS threads, by the worker's number.
    os_threads: Vec<i32>,
}

/// Ends the waits without a deadline of all sleeping tasks, where that is possible. Returns these
/// tasks, which the caller makes runnable.
pub(crate) fn interrupt_sleepers(shared: &Shared) -> Vec<TaskRef> {
    let stopped = stop_world(shared);
    let mut tasks = suspended_tasks(shared, &stopped);
    // SAFETY: the world is stopped, and no worker may be inside of these tasks. So they are
    // suspended or have not started, and no worker can make them run meanwhile.
    tasks.retain(|task| unsafe { task.interrupt() });
    tasks
}

/// The state of some runtimes at one moment, with calls as addresses.
pub(crate) struct Snapshot {
    found: Vec<Found>,
    /// The OS threads that wait in gthread.
    os_threads: Vec<OsAsleep>,
    scratch: Option<Scratch>,
}

impl Snapshot {
    /// Takes a snapshot of the given runtimes at one moment. Their worlds are stopped meanwhile.
    pub(crate) fn take(scheds: &[Arc<Shared>]) -> Self {
        Self::take_with(scheds, Scratch::new())
    }

    /// Takes a snapshot like [`Snapshot::take`], without calls: it reads less, and takes a fraction
    /// of the time.
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

    /// Finds names for everything. Takes long, and does not need stopped worlds.
    pub(crate) fn into_dump(self) -> Dump {
        match self.scratch {
            Some(mut scratch) => scratch.call(|| name_all(self.found, self.os_threads)),
            None => name_all(self.found, self.os_threads),
        }
    }
}

/// Returns the tasks that no worker may be inside of: they are suspended or have not started, and
/// stay so while the world is stopped. Returns no task if the state of some worker is unknown.
fn suspended_tasks(shared: &Shared, stopped: &Stopped<'_>) -> Vec<TaskRef> {
    let mut tasks = Vec::new();
    shared.pool.for_each_in_use(|top| {
        // SAFETY: these are the tops of the pool's own slots, mapped now. A task is used only if it
        // cannot finish.
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
            // SAFETY: the world is stopped, and no worker may be inside of the task. So it is
            // suspended or has not started, and stays so.
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

/// Describes a task that a worker is inside of, from a copy of its control block.
fn describe_running(
    copy: &Task,
    name: Option<String>,
    state: WorkerState,
    worker: usize,
    task: TaskRef,
) -> ThreadRecord {
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
    ThreadRecord {
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
/// The task is suspended or has not started, and stays so.
unsafe fn look_at(task: TaskRef, now: u64, scratch: Option<&mut Scratch>) -> ThreadRecord {
    // Read once: the task may be woken meanwhile, although not run.
    let asleep = task.wait.is_asleep();
    let mut walk = Walk::new(scratch);
    if asleep {
        // SAFETY: the task is asleep. The caller guarantees that it stays suspended, so nothing
        // else has the fiber. The walk stays in place during the call.
        unsafe { task.send(&walk.remote_call()) };
    }
    let state = match asleep {
        true => ThreadState::Parked,
        // SAFETY: the task does not run, says the caller, so nothing else has the fiber.
        false if unsafe { task.has_started() } => ThreadState::Runnable,
        false => ThreadState::New,
    };
    let wait = task.last_wait().filter(|_| asleep);
    let (mut joins, mut holder, mut lock, mut descriptor) = (None, FREE, None, None);
    match wait.and_then(|wait| Some((wait.reason, wait.target?))) {
        None => {}
        Some((_, Target::Task(task))) => joins = Some(task),
        Some((_, Target::Descriptor(fd))) => descriptor = Some(DescriptorDump::numbered(fd)),
        Some((reason, Target::Lock(awaited))) => {
            // SAFETY: the task is asleep in its wait, and stays there, so the note is in its frame.
            let awaited = unsafe { awaited.read() };
            // SAFETY: the task waits for the lock. The lock exists, because the task borrows it in
            // that frame, and a frame never goes before all that borrows from it has ended
            // (`deadlock.rs`).
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
            descriptor,
        }),
        worker: task.pinned().map(|worker| worker as usize),
        stack: asleep.then(|| stack_of(task, walk.stack_pointer)),
        backtrace: Vec::new(),
    };
    let stacks = stacks_of(task);
    let calls = walk.addresses(|sp| stacks.iter().any(|stack| stack.contains(&sp)));
    ThreadRecord { thread, task, joins, holder, stacks, calls }
}

fn addresses_of(slot: &Slot) -> Range<usize> {
    slot.bottom().as_ptr() as usize..slot.top().as_ptr() as usize
}

/// Returns the stack of a suspended task that contains `stack_pointer`.
fn stack_of(task: TaskRef, stack_pointer: usize) -> StackDump {
    // SAFETY: the temporary stack is in a frame of the task, which is suspended.
    let temporary = unsafe { task.temporary.get().as_ref() };
    let slot = temporary.map_or_else(|| task.slot(), |temporary| &temporary.slot);
    let used = (slot.top().as_ptr() as usize).saturating_sub(stack_pointer);
    StackDump { size: slot.usable(), used, temporary: temporary.is_some() }
}

/// Returns the stack of a suspended task, and its temporary stacks.
fn stacks_of(task: TaskRef) -> Vec<Range<usize>> {
    let mut stacks = vec![addresses_of(task.slot())];
    let mut temporary = task.temporary.get();
    // SAFETY: temporary stacks are in frames of the task, which is suspended.
    while let Some(stack) = unsafe { temporary.as_ref() } {
        stacks.push(addresses_of(&stack.slot));
        temporary = stack.below;
    }
    stacks
}

/// The stacks of all threads, to find the holders of locks.
struct Holders {
    /// In the order of the numbers.
    stacks: Vec<(Numbers, u64)>,
}

impl Holders {
    fn new<'a>(all_records: impl Iterator<Item = &'a ThreadRecord>) -> Self {
        let stacks = all_records.flat_map(|record| {
            let id = record.thread.id;
            record.stacks.iter().map(move |stack| (Numbers::on(stack.clone()), id))
        });
        let mut stacks: Vec<_> = stacks.collect();
        stacks.sort_unstable_by_key(|(numbers, _)| numbers.first);
        Self { stacks }
    }

    /// Returns the green thread with this number, if there is one.
    fn find(&self, number: u32) -> Option<u64> {
        let after = self.stacks.partition_point(|(numbers, _)| !numbers.begin_after(number));
        // The numbers of the last stack may wrap around to the lowest numbers.
        let last = after.checked_sub(1).or(self.stacks.len().checked_sub(1))?;
        let (numbers, id) = self.stacks[last];
        numbers.contain(number).then_some(id)
    }
}

/// Describes the wait of an OS thread.
fn wait_of(thread: &OsAsleep) -> WaitDump {
    WaitDump {
        reason: thread.wait.reason.text(),
        at: Place::from(thread.wait.site),
        waited_ms: u64::try_from(thread.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        thread: thread.joins.map(NonZeroU64::get),
        lock: None,
        descriptor: None,
    }
}

/// Finds the workers' OS threads that are blocked because a green thread waits like an OS thread.
/// Notes each such wait in the green thread's record, and returns the other OS threads.
fn sort_out(found: &mut [Found], os_threads: Vec<OsAsleep>) -> Vec<OsThreadDump> {
    let mut others = Vec::new();
    for thread in os_threads {
        let wait = wait_of(&thread);
        let mut blocked = found.iter_mut().filter_map(|found| {
            let worker = found.os_threads.iter().position(|&n| n == thread.number())?;
            let running = found.dump.workers[worker].thread?;
            found.threads.iter_mut().find(|record| record.thread.id == running)
        });
        match blocked.next() {
            Some(record) => record.thread.wait = Some(wait),
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

/// Names the calls, and the threads that others wait for. The worlds may go on meanwhile.
fn name_all(mut found: Vec<Found>, os_threads: Vec<OsAsleep>) -> Dump {
    let os_threads = sort_out(&mut found, os_threads);
    let all_records = || found.iter().flat_map(|found| &found.threads);
    let ids: HashMap<_, u64> =
        all_records().map(|record| (record.task.as_ptr(), record.thread.id)).collect();
    let holders = Holders::new(all_records());
    let mut names = Names::default();
    let runtimes = found.into_iter().map(|Found { mut dump, threads, .. }| {
        let threads =
            threads.into_iter().map(|ThreadRecord { mut thread, joins, holder, calls, .. }| {
                if let Some(wait) = thread.wait.as_mut().filter(|wait| wait.thread.is_none()) {
                    let joined = joins.and_then(|task| ids.get(&task.as_ptr()).copied());
                    wait.thread = joined.or_else(|| holders.find(holder));
                }
                if let Some(wait) = &mut thread.wait {
                    wait.descriptor = wait.descriptor.map(DescriptorDump::described);
                }
                thread.backtrace = names.resolve(&calls);
                thread
            });
        dump.threads = threads.collect();
        dump
    });
    Dump { os_threads, runtimes: runtimes.collect() }
}
