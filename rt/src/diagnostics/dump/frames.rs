//! Call stacks: captured as addresses on a thread's own behalf, named later.
//!
//! Capturing happens while the world is stopped, naming after. Both run on a stack of the dump's own: the
//! thread that is walked may have no room, and so may the one that dumps.

use std::ptr::NonNull;

use gthread_arch::stacks::{GuardConfig, GuardKind, Pool, SizeClass, Slot};
use gthread_arch::{FiberStack, on_stack, stack_pointer};

use crate::diagnostics::dump::FrameDump;
use crate::task::remote_call::RemoteCall;

/// Naming reads the program's debug information, which takes some.
const SCRATCH: usize = 2 << 20;

/// A stack for a dump to work on.
pub(crate) struct Scratch {
    /// Given back when this is dropped.
    slot: Option<Slot>,
    pool: Pool,
}

impl Scratch {
    /// None if the system has no memory for it.
    pub(crate) fn new() -> Option<Self> {
        let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
        let slot = pool.take(SizeClass::of_size(SCRATCH).ok()?).ok()?;
        Some(Self { slot: Some(slot), pool })
    }

    /// Calls `f` on it.
    pub(crate) fn call<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let slot = self.slot.as_ref().expect("it is taken when dropped");
        // SAFETY: the slot is ours, out of its pool, and borrowed mutably by this one call.
        on_stack(unsafe { FiberStack::new(slot, 0) }, f)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.pool.put(self.slot.take().expect("it is taken once"));
    }
}

/// A look at a suspended thread from inside: where its stack ends, and who called whom.
pub(crate) struct Walk<'a> {
    /// Where to unwind; nowhere if the frames are not wanted.
    scratch: Option<&'a mut Scratch>,
    /// Its stack pointer, where it is suspended.
    pub(crate) stack_pointer: usize,
    /// Return addresses with the stack pointers of the frames, the innermost first. Includes those of the
    /// walk and of whoever has the thread walk.
    frames: Vec<(usize, usize)>,
}

impl<'a> Walk<'a> {
    /// To be sent to a thread with [`Walk::errand`].
    pub(crate) fn new(scratch: Option<&'a mut Scratch>) -> Self {
        Self { scratch, stack_pointer: 0, frames: Vec::new() }
    }

    /// # Safety
    ///
    /// The walk stays where it is until the errand is done.
    pub(crate) unsafe fn errand(&mut self) -> RemoteCall {
        // SAFETY: `walk` is called once with this walk, which is there. It neither suspends nor unwinds:
        // what could panic in it is a failed allocation, which aborts.
        unsafe { RemoteCall::new(walk, NonNull::from(self).cast()) }
    }

    /// The return addresses of the frames on stacks for which `on_stack` is true.
    pub(crate) fn addresses(&self, on_stack: impl Fn(usize) -> bool) -> Vec<usize> {
        self.frames.iter().filter(|&&(_, sp)| on_stack(sp)).map(|&(address, _)| address).collect()
    }
}

/// # Safety
///
/// `data` is a `Walk` that nobody else uses.
unsafe fn walk(data: NonNull<()>) {
    // SAFETY: the caller's.
    let walk = unsafe { data.cast::<Walk<'_>>().as_mut() };
    walk.stack_pointer = stack_pointer();
    let frames = &mut walk.frames;
    if let Some(scratch) = &mut walk.scratch {
        scratch.call(|| capture(frames));
    }
}

/// More calls than anyone reads.
#[cfg(feature = "backtrace")]
const MAX_FRAMES: usize = 256;

#[cfg(feature = "backtrace")]
fn capture(frames: &mut Vec<(usize, usize)>) {
    let take = |frame: &backtrace::Frame| {
        // The end of the calls is a frame, too.
        if !frame.ip().is_null() {
            frames.push((frame.ip() as usize, frame.sp() as usize));
        }
        frames.len() < MAX_FRAMES
    };
    // SAFETY: what must be synchronised is the debug library of Windows, which gthread does not run on.
    unsafe { backtrace::trace_unsynchronized(take) };
}

#[cfg(not(feature = "backtrace"))]
fn capture(_: &mut Vec<(usize, usize)>) {}

/// What is known of addresses.
#[derive(Default)]
pub(crate) struct Names {
    #[cfg(feature = "backtrace")]
    known: std::collections::HashMap<usize, Vec<FrameDump>>,
}

#[cfg(feature = "backtrace")]
impl Names {
    /// The calls that return addresses stand for, without what gthread itself does below and above them.
    pub(crate) fn resolve(&mut self, addresses: &[usize]) -> Vec<FrameDump> {
        let mut frames = Vec::new();
        for &address in addresses {
            let calls = self.known.entry(address).or_insert_with(|| name(address));
            frames.extend_from_slice(calls);
        }
        trim(&mut frames);
        frames
    }
}

#[cfg(not(feature = "backtrace"))]
impl Names {
    pub(crate) fn resolve(&mut self, _: &[usize]) -> Vec<FrameDump> {
        Vec::new()
    }
}

/// The function that returns to `address`, preceded by those that were inlined into it there.
#[cfg(feature = "backtrace")]
fn name(address: usize) -> Vec<FrameDump> {
    let mut calls = Vec::new();
    backtrace::resolve(address as *mut _, |symbol| {
        calls.push(FrameDump {
            address,
            // Without the hash.
            function: symbol.name().map(|name| format!("{name:#}")),
            file: symbol.filename().map(|file| file.display().to_string()),
            line: symbol.lineno(),
        });
    });
    if calls.is_empty() {
        calls.push(FrameDump { address, function: None, file: None, line: None });
    }
    calls
}

/// Leaves out what a reader did not write: below the thread's closure everything, and of calls into gthread,
/// and what it calls to do its work, all but the call that the program made.
#[cfg(feature = "backtrace")]
fn trim(frames: &mut Vec<FrameDump>) {
    if let Some(entry) = frames.iter().rposition(origin::is_entry) {
        frames.truncate(entry);
        let closure = frames.iter().rposition(|frame| !origin::is_std(frame));
        frames.truncate(closure.map_or(0, |at| at + 1));
    }
    // From the outside in: a run of plumbing is dropped from the first frame of ours inwards.
    let mut inside = false;
    let mut kept = Vec::with_capacity(frames.len());
    for frame in frames.drain(..).rev() {
        let ours = origin::is_ours(&frame);
        if inside && (ours || origin::is_std(&frame)) {
            continue;
        }
        inside = ours;
        kept.push(frame);
    }
    kept.reverse();
    *frames = kept;
}

/// Whose code a frame is. By the name, if that is a path; by the file, if the debug information has line
/// tables only, in which names are short.
#[cfg(feature = "backtrace")]
mod origin {
    use crate::diagnostics::dump::FrameDump;

    pub(crate) fn is_ours(frame: &FrameDump) -> bool {
        let crates = ["gthread::", "gthread_arch::", "corosensei::"];
        let switches = ["stack_init_trampoline", "stack_call_trampoline"];
        is_named(frame, &crates)
            || is_named(frame, &switches)
            || is_in(frame, sources())
            || is_in(frame, gthread_arch::sources())
            || frame.file.as_deref().is_some_and(|file| file.contains("/corosensei-"))
    }

    pub(crate) fn is_std(frame: &FrameDump) -> bool {
        is_named(frame, &["core::", "std::", "alloc::", "__rust_try"])
            || frame.file.as_deref().is_some_and(|file| file.starts_with("/rustc/"))
    }

    /// Whether it is the function that every thread begins in.
    pub(crate) fn is_entry(frame: &FrameDump) -> bool {
        let file = frame.file.as_deref().unwrap_or_default();
        is_named(frame, &["gthread::task::entry::"])
            || is_in(frame, sources()) && file.ends_with("/task/entry.rs")
    }

    fn is_named(frame: &FrameDump, starts: &[&str]) -> bool {
        let function = frame.function.as_deref().unwrap_or_default();
        let path = function.trim_start_matches(['<', '&']);
        starts.iter().any(|start| path.starts_with(start))
    }

    /// Whether its file is in a directory, which the compiler may have been given relative to another.
    fn is_in(frame: &FrameDump, directory: &str) -> bool {
        let file = frame.file.as_deref().unwrap_or_default();
        let place = file.find(directory).filter(|_| !directory.is_empty());
        place.is_some_and(|at| at == 0 || file[..at].ends_with('/'))
    }

    /// Where the sources of this crate are.
    fn sources() -> &'static str {
        file!().strip_suffix("dump/frames.rs").unwrap_or_default()
    }
}
