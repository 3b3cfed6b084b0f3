//! Handlers of signals, which pass the signals on to an OS thread through a pipe.
//!
//! A handler may safely do little more than write to a descriptor. A thread at the other end of the
//! pipe does the rest. The bytes in the pipe only wake that thread: which signals have come is noted
//! before, so that none is lost when the pipe is full. Signals of one kind that come faster than the
//! thread takes them count as one, as they do in the kernel.

use std::io::{self, PipeReader};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::sys::fork;

/// Signals have numbers below this.
pub(crate) const LIMIT: libc::c_int = 65;

/// For each signal the pipe to which its handler writes, also one that is about to return when the
/// signal is no longer caught. Negative if there was none in this process.
static PIPES: [AtomicI32; LIMIT as usize] = [const { AtomicI32::new(-1) }; LIMIT as usize];

/// The signals that are caught, by their [bits](bit).
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// The signals that have come, by their [bits](bit).
static PENDING: AtomicU64 = AtomicU64::new(0);

/// Returns the bit of a signal in a set of signals. The number must be positive and below [`LIMIT`].
pub(crate) const fn bit(signal: libc::c_int) -> u64 {
    1 << (signal - 1)
}

/// Tells whether a thread waits for a signal, once there can be one.
static ARE_WAITED_FOR: OnceLock<fn() -> bool> = OnceLock::new();

/// Has [`are_waited_for`] call `f`. The first caller's function stays.
#[cfg_attr(not(feature = "io"), expect(dead_code))]
pub(crate) fn on_are_waited_for(f: fn() -> bool) {
    let _ = ARE_WAITED_FOR.set(f);
}

/// Returns `true` if a thread waits for a signal, so that the outside world may wake it.
pub(crate) fn are_waited_for() -> bool {
    ARE_WAITED_FOR.get().is_some_and(|are_waited_for| are_waited_for())
}

/// Takes the signals of a set that have come.
pub(crate) fn take_pending(set: u64) -> u64 {
    PENDING.fetch_and(!set, Ordering::Acquire) & set
}

/// Forgets the pipes in the child of a `fork`: the threads at their other ends are the parent's. Does
/// only what a signal handler may do.
fn forget_pipes() {
    CAUGHT.store(0, Ordering::Relaxed);
    PENDING.store(0, Ordering::Relaxed);
    for pipe in &PIPES {
        pipe.store(-1, Ordering::Relaxed);
    }
}

/// Creates a pipe for handlers. Its writing end does not block: a handler that waited for room could
/// wait for ever.
pub(crate) fn pipe() -> io::Result<(PipeReader, OwnedFd)> {
    fork::on_child(forget_pipes);
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer);
    // SAFETY: the descriptor is open, and the call touches no memory.
    if unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((reader, writer))
}

/// Returns the pipe to which the signal's handler writes, if the signal is caught in this process.
pub(crate) fn caught_by(signal: libc::c_int) -> Option<RawFd> {
    let is_caught = CAUGHT.load(Ordering::Relaxed) & bit(signal) != 0;
    is_caught.then(|| PIPES[signal as usize].load(Ordering::Relaxed))
}

/// Has the handler of a signal write to `pipe`, which stays open as long as the process runs. Returns
/// the action before.
///
/// # Errors
///
/// Those of the system call.
pub(crate) fn catch(signal: libc::c_int, pipe: RawFd) -> io::Result<libc::sigaction> {
    // What came before is over.
    take_pending(bit(signal));
    // Stored before the handler is installed, which would find no pipe otherwise.
    PIPES[signal as usize].store(pipe, Ordering::Release);
    // SAFETY: all fields are integers, for which zero is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Other signals wait until the handler has returned: an alternate stack has hardly more room
    // than one handler needs.
    // SAFETY: the set is a place for the answer.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    action.sa_sigaction = on_signal as *const () as usize;
    // Blocking calls of the program go on. The handler runs on the alternate stack if there is one,
    // because a green thread may have little room.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    let previous = exchange(signal, Some(&action));
    if previous.is_ok() {
        CAUGHT.fetch_or(bit(signal), Ordering::Relaxed);
    } else {
        PIPES[signal as usize].store(-1, Ordering::Relaxed);
    }
    previous
}

/// Undoes [`catch`], unless the program has another handler by now.
#[cfg_attr(not(feature = "io"), expect(dead_code))]
pub(crate) fn release(signal: libc::c_int, previous: &libc::sigaction) {
    if action(signal).is_ok_and(|action| is_ours(&action)) {
        // The same call has succeeded before, and nothing could be done.
        let _ = exchange(signal, Some(previous));
    }
    CAUGHT.fetch_and(!bit(signal), Ordering::Relaxed);
}

/// Returns the action of a signal.
///
/// # Errors
///
/// If there is no such signal.
pub(crate) fn action(signal: libc::c_int) -> io::Result<libc::sigaction> {
    exchange(signal, None)
}

/// Returns `true` if an action is this crate's handler.
pub(crate) fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == on_signal as *const () as usize
}

fn exchange(signal: libc::c_int, new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut previous = MaybeUninit::<libc::sigaction>::uninit();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or alive during the call, and there is a place for the old action. The
    // actions are ones that the program had before, or this file's handler, which does only what a
    // signal handler may do.
    if unsafe { libc::sigaction(signal, new, previous.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has written the old action.
    Ok(unsafe { previous.assume_init() })
}

extern "C" fn on_signal(signal: libc::c_int) {
    let pipe = PIPES[signal as usize].load(Ordering::Relaxed);
    if pipe < 0 {
        // The child of a fork: the signal has its default effect. It is blocked until this handler
        // returns.
        // SAFETY: both functions are async-signal-safe.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    PENDING.fetch_or(bit(signal), Ordering::Release);
    // SAFETY: errno belongs to the interrupted thread, which may be about to read it, so it is
    // restored. `write` is async-signal-safe, and the byte is alive during the call. If the pipe is
    // full, the thread at its other end is awake or about to be.
    unsafe {
        let errno = errno();
        let before = *errno;
        libc::write(pipe, [0_u8].as_ptr().cast(), 1);
        *errno = before;
    }
}

unsafe fn errno() -> *mut libc::c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: the function has no preconditions. It returns a pointer to the calling thread's
    // errno.
    return unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: same as above.
    unsafe {
        libc::__error()
    }
}
