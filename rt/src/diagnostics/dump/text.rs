//! A dump as text.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter};

use crate::diagnostics::dump::{
    Dump, FrameDump, OsThreadDump, Place, Quoted, RuntimeDump, ThreadDump, ThreadState, WaitDump,
    WorkerDump, WorkerState,
};

/// The number of similar threads that are named one by one.
const NAMED: usize = 5;

impl Display for Dump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.runtimes.is_empty() {
            writeln!(f, "no gthread runtime is running")?;
        }
        let cycles = self.cycles();
        for cycle in &cycles {
            write_cycle(f, cycle)?;
        }
        if !cycles.is_empty() {
            writeln!(f)?;
        }
        self.os_threads.iter().try_for_each(|thread| write_os_thread(f, thread))?;
        if !self.os_threads.is_empty() {
            writeln!(f)?;
        }
        self.runtimes.iter().try_for_each(|runtime| write!(f, "{runtime}"))
    }
}

impl Display for RuntimeDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "runtime {}: ", Quoted(&self.name))?;
        match self.threads.len() {
            0 => writeln!(f, "no green threads")?,
            count => writeln!(f, "{count} green thread{} ({})", plural(count), self.states())?,
        }
        for (index, worker) in self.workers.iter().enumerate() {
            writeln!(f, "  worker {index} {}", self.describe(worker))?;
        }
        for alike in self.groups() {
            writeln!(f)?;
            write_group(f, &alike)?;
        }
        if self.without_backtrace > 0 {
            writeln!(f, "\n{} parked threads are shown without calls", self.without_backtrace)?;
        }
        writeln!(f)
    }
}

impl RuntimeDump {
    /// Returns a text like "2 running, 1 parked".
    fn states(&self) -> String {
        let states = [
            (ThreadState::Running, "running"),
            (ThreadState::Blocked, "blocked"),
            (ThreadState::New, "new"),
            (ThreadState::Runnable, "runnable"),
            (ThreadState::Parked, "parked"),
        ];
        let counts = states.iter().filter_map(|&(state, name)| {
            let count = self.threads.iter().filter(|thread| thread.state == state).count();
            (count > 0).then(|| format!("{count} {name}"))
        });
        counts.collect::<Vec<_>>().join(", ")
    }

    fn describe(&self, worker: &WorkerDump) -> String {
        let thread = worker.thread.and_then(|id| self.threads.iter().find(|t| t.id == id));
        let thread = thread.map_or("a green thread that has ended meanwhile".into(), title);
        match worker.state {
            WorkerState::Awake => "is awake".into(),
            WorkerState::Asleep => "sleeps".into(),
            WorkerState::Inside => format!("is running {thread}"),
            WorkerState::Blocked => format!("is blocked by {thread}"),
            WorkerState::Lost => "does not answer".into(),
        }
    }

    /// Returns the groups of similar threads, ordered by the oldest thread of each.
    fn groups(&self) -> Vec<Vec<&ThreadDump>> {
        let mut places: HashMap<_, usize> = HashMap::new();
        let mut groups: Vec<Vec<&ThreadDump>> = Vec::new();
        for thread in &self.threads {
            let wait = thread.wait.map(|wait| (wait.reason, wait.at, wait.thread, wait.lock));
            let key = (thread.state, wait, thread.spawned_at, thread.worker, &thread.backtrace);
            let place = *places.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Vec::new());
            }
            groups[place].push(thread);
        }
        groups
    }
}

fn write_os_thread(f: &mut Formatter<'_>, thread: &OsThreadDump) -> fmt::Result {
    write!(f, "OS thread ")?;
    if let Some(name) = &thread.name {
        write!(f, "'{name}' ")?;
    }
    write!(f, "({}) waits", thread.os_id)?;
    write_wait(f, &thread.wait, thread.wait.waited_ms, thread.wait.waited_ms)?;
    writeln!(f, "\n  at {}", thread.wait.at)
}

fn write_group(f: &mut Formatter<'_>, alike: &[&ThreadDump]) -> fmt::Result {
    let [first, others @ ..] = alike else { return Ok(()) };
    write!(f, "thread{} {}", plural(alike.len()), number(first))?;
    for other in others.iter().take(NAMED - 1) {
        write!(f, ", {}", number(other))?;
    }
    if alike.len() > NAMED {
        write!(f, " and {} more", alike.len() - NAMED)?;
    }
    let verb = if others.is_empty() { "is" } else { "are each" };
    let state = match first.state {
        ThreadState::Running => "running",
        ThreadState::Blocked => "blocking",
        ThreadState::New => "not started yet",
        ThreadState::Runnable => "about to go on",
        ThreadState::Parked => "parked",
    };
    write!(f, " {verb} {state}")?;
    if let (Some(worker), ThreadState::Blocked) = (first.worker, first.state) {
        write!(f, " worker {worker}")?;
    }
    if let Some(wait) = &first.wait {
        let times = alike.iter().filter_map(|thread| thread.wait).map(|wait| wait.waited_ms);
        let (least, most) = times.fold((u64::MAX, 0), |(l, m), ms| (l.min(ms), m.max(ms)));
        write_wait(f, wait, least, most)?;
    }
    if let Some(descriptor) = first.wait.and_then(|wait| wait.descriptor) {
        let and = if others.is_empty() { "" } else { " and others" };
        write!(f, ", of {descriptor}{and}")?;
    }
    match (first.worker, first.state) {
        (None, _) | (_, ThreadState::Blocked) => writeln!(f)?,
        (Some(worker), ThreadState::Running) => writeln!(f, " on worker {worker}")?,
        (Some(worker), _) => writeln!(f, ", pinned to worker {worker}")?,
    }
    if let Some(wait) = &first.wait {
        writeln!(f, "  at {}", wait.at)?;
    }
    writeln!(f, "  spawned at {}", first.spawned_at)?;
    let used = alike.iter().filter_map(|thread| thread.stack).max_by_key(|stack| stack.used);
    if let Some(stack) = used {
        let which = if stack.temporary { "stack of with_stack" } else { "stack" };
        writeln!(f, "  {} of {} KiB of {which} in use", kib(stack.used), kib(stack.size))?;
    }
    let width = first.backtrace.len().saturating_sub(1).to_string().len();
    for (index, frame) in first.backtrace.iter().enumerate() {
        writeln!(f, "  {index:>width$}: {frame}")?;
        if let (Some(file), Some(line)) = (&frame.file, frame.line) {
            writeln!(f, "  {:width$}    at {}:{line}", "", short(file))?;
        }
    }
    Ok(())
}

fn write_wait(f: &mut Formatter<'_>, wait: &WaitDump, least: u64, most: u64) -> fmt::Result {
    write!(f, " in {} for {}", wait.reason, seconds(least))?;
    if seconds(least) != seconds(most) {
        write!(f, " to {}", seconds(most))?;
    }
    match (wait.lock, wait.thread) {
        (None, None) => Ok(()),
        (None, Some(thread)) => write!(f, ", for thread {thread}"),
        (Some(lock), holder) => {
            write!(f, ", for the {} at {:#x}", lock.kind, lock.address)?;
            match holder {
                Some(thread) => write!(f, " that thread {thread} has"),
                None if lock.held => write!(f, " that an OS thread seems to have"),
                None => Ok(()),
            }
        }
    }
}

fn write_cycle(f: &mut Formatter<'_>, cycle: &[&ThreadDump]) -> fmt::Result {
    write!(f, "these will never go on: ")?;
    for (at, thread) in cycle.iter().enumerate() {
        if at > 0 {
            write!(f, ", which ")?;
        } else {
            write!(f, "{} ", title(thread))?;
        }
        let next = cycle[(at + 1) % cycle.len()];
        let who = if at + 1 == cycle.len() { number_word(next) } else { title(next) };
        match thread.wait.and_then(|wait| wait.lock) {
            None => write!(f, "waits to join {who}")?,
            Some(lock) => {
                write!(f, "waits for the {} at {:#x} that {who} has", lock.kind, lock.address)?
            }
        }
    }
    writeln!(f)
}

/// Returns a text like "thread 5 'name'".
fn title(thread: &ThreadDump) -> String {
    format!("thread {}", number(thread))
}

fn number(thread: &ThreadDump) -> String {
    match &thread.name {
        Some(name) => format!("{} {}", thread.id, Quoted(name)),
        None => thread.id.to_string(),
    }
}

fn number_word(thread: &ThreadDump) -> String {
    format!("thread {}", thread.id)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn kib(bytes: usize) -> String {
    let tenths = (bytes * 10).div_ceil(1024);
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn seconds(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", short(self.file), self.line, self.column)
    }
}

/// Strips from a file of the standard library the path that it had where std was built.
fn short(file: &str) -> &str {
    file.strip_prefix("/rustc/")
        .and_then(|file| file.split_once('/'))
        .map_or(file, |(_, file)| file)
}

impl Display for FrameDump {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function),
            None => write!(f, "{:#x}", self.address),
        }
    }
}
