//! Call stacks: captured as addresses on behalf of a thread, and named later.
//!
//! Capturing happens while the world is stopped, naming afterwards. Both run on a separate stack of
//! the dump: the thread that is walked may have too little room, and so may the thread that dumps.

use std::ptr::NonNull;

use gthread_arch::stacks::{GuardConfig, GuardKind, Pool, SizeClass, Slot};
use gthread_arch::{FiberStack, on_stack, stack_pointer};

use crate::diagnostics::dump::FrameDump;
use crate::task::remote_call::RemoteCall;

/// Naming reads the program's debug information, which needs much stack.
const SCRATCH: usize = 2 << 20;

/// A stack for a dump to work on.
pub(crate) struct Scratch {
    /// Returned to the pool when this is dropped.
    slot: Option<Slot>,
    pool: Pool,
}

impl Scratch {
    /// Returns `None` if the system has no memory for it.
    pub(crate) fn new() -> Option<Self> {
        let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
        let slot = pool.take(SizeClass::of_size(SCRATCH).ok()?).ok()?;
        Some(Self { slot: Some(slot), pool })
    }

    /// Calls `f` on this stack.
    pub(crate) fn call<R>(&mut self, f: impl FnOnce() -> R) -> R {
        let slot = self.slot.as_ref().expect("it is taken when dropped");
        // SAFETY: the slot is owned here, out of its pool, and borrowed mutably by this one call.
        on_stack(unsafe { FiberStack::new(slot, 0) }, f)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.pool.put(self.slot.take().expect("it is taken once"));
    }
}

/// A look at a suspended thread from inside: the end of its stack, and its calls.
pub(crate) struct Walk<'a> {
    /// The stack to unwind on; `None` if the frames are not wanted.
    scratch: Option<&'a mut Scratch>,
    /// The thread's stack pointer, where it is suspended.
    pub(crate) stack_pointer: usize,
    /// Return addresses with the stack pointers of the frames, the innermost first. Includes the
    /// frames of the walk, and of the code that has the thread walk.
    frames: Vec<(usize, usize)>,
}

impl<'a> Walk<'a> {
    /// Creates a walk, to be sent to a thread with [`Walk::remote_call`].
    pub(crate) fn new(scratch: Option<&'a mut Scratch>) -> Self {
        Self { scratch, stack_pointer: 0, frames: Vec::new() }
    }

    /// Returns the call that a thread has to make.
    ///
    /// # Safety
    ///
    /// The walk stays where it is until the call is made.
    pub(crate) unsafe fn remote_call(&mut self) -> RemoteCall {
        // SAFETY: `walk` is called once with this walk, which exists until then. It neither
        // suspends nor unwinds: only a failed allocation could panic in it, and that aborts.
        unsafe { RemoteCall::new(walk, NonNull::from(self).cast()) }
    }

    /// Returns the return addresses of the frames on stacks for which `on_stack` returns `true`.
    pub(crate) fn addresses(&self, on_stack: impl Fn(usize) -> bool) -> Vec<usize> {
        self.frames.iter().filter(|&&(_, sp)| on_stack(sp)).map(|&(address, _)| address).collect()
    }
}

/// Captures the frames.
///
/// # Safety
///
/// `data` is a `Walk` that no other thread uses.
unsafe fn walk(data: NonNull<()>) {
    // SAFETY: the caller guarantees that `data` is a `Walk` and used by this thread only.
    let walk = unsafe { data.cast::<Walk<'_>>().as_mut() };
    walk.stack_pointer = stack_pointer();
    let frames = &mut walk.frames;
    if let Some(scratch) = &mut walk.scratch {
        scratch.call(|| capture(frames));
    }
}

/// More calls than a reader needs.
#[cfg(feature = "backtrace")]
const MAX_FRAMES: usize = 256;

#[cfg(feature = "backtrace")]
fn capture(frames: &mut Vec<(usize, usize)>) {
    let take = |frame: &backtrace::Frame| {
        // The end of the call stack is a frame, too.
        if !frame.ip().is_null() {
            frames.push((frame.ip() as usize, frame.sp() as usize));
        }
        frames.len() < MAX_FRAMES
    };
    // SAFETY: only the debug library of Windows needs synchronization, and gthread does not run on
    // Windows.
    unsafe { backtrace::trace_unsynchronized(take) };
}

#[cfg(not(feature = "backtrace"))]
fn capture(_: &mut Vec<(usize, usize)>) {}

/// The names of addresses that were looked up.
#[derive(Default)]
pub(crate) struct Names {
    #[cfg(feature = "backtrace")]
    known: std::collections::HashMap<usize, Vec<FrameDump>>,
}

#[cfg(feature = "backtrace")]
impl Names {
    /// Returns the calls that the return addresses stand for, without gthread's own calls below and
    /// above them.
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

/// Returns the function that returns to `address`, preceded by the functions that were inlined into
/// it there.
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

/// Leaves out calls that the reader did not write. These are all calls below the thread's closure.
/// Of each run of calls into gthread, including the calls that gthread makes, only the one that the
/// program made is kept.
#[cfg(feature = "backtrace")]
fn trim(frames: &mut Vec<FrameDump>) {
    if let Some(entry) = frames.iter().rposition(origin::is_entry) {
        frames.truncate(entry);
        let closure = frames.iter().rposition(|frame| !origin::is_std(frame));
        frames.truncate(closure.map_or(0, |at| at + 1));
    }
    // From the outside in: a run of internal frames is dropped, except its outermost frame of
    // gthread.
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

/// The origin of a frame's code. It is recognised by the function's name if that is a path, and
/// otherwise by the file: with line tables only, the names in the debug information are short.
#[cfg(feature = "backtrace")]
mod origin {
    use crate::diagnostics::dump::FrameDump;

    pub(super) fn is_ours(frame: &FrameDump) -> bool {
        let crates = ["gthread::", "gthread_arch::", "corosensei::"];
        let switches = ["stack_init_trampoline", "stack_call_trampoline"];
        is_named(frame, &crates)
            || is_named(frame, &switches)
            || is_in(frame, sources())
            || is_in(frame, gthread_arch::sources())
            || frame.file.as_deref().is_some_and(|file| file.contains("/corosensei-"))
    }

    pub(super) fn is_std(frame: &FrameDump) -> bool {
        is_named(frame, &["core::", "std::", "alloc::", "__rust_try"])
            || frame.file.as_deref().is_some_and(|file| file.starts_with("/rustc/"))
    }

    /// Returns `true` if this is the function in which every thread begins.
    pub(super) fn is_entry(frame: &FrameDump) -> bool {
        let file = frame.file.as_deref().unwrap_or_default();
        is_named(frame, &["gthread::task::entry::"])
            || is_in(frame, sources()) && file.ends_with("/task/entry.rs")
    }

    fn is_named(frame: &FrameDump, starts: &[&str]) -> bool {
        let function = frame.function.as_deref().unwrap_or_default();
        let path = function.trim_start_matches(['<', '&']);
        starts.iter().any(|start| path.starts_with(start))
    }

    /// Returns `true` if the frame's file is in a directory. The compiler may have been given the
    /// directory relative to another one.
    fn is_in(frame: &FrameDump, directory: &str) -> bool {
        let file = frame.file.as_deref().unwrap_or_default();
        let place = file.find(directory).filter(|_| !directory.is_empty());
        place.is_some_and(|at| at == 0 || file[..at].ends_with('/'))
    }

    /// Returns the directory of this crate's sources.
    fn sources() -> &'static str {
        file!().strip_suffix("diagnostics/dump/frames.rs").unwrap_or_default()
    }

    #[cfg(all(test, not(loom)))]
    mod tests {
        #[test]
        fn the_directory_of_sources_follows_this_file() {
            assert!(super::sources().ends_with("src/"));
        }
    }
}
