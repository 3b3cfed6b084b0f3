//! Dumps on SIGQUIT: Ctrl-\ in a terminal, `kill -QUIT` from elsewhere.
//!
//! The handler only writes a byte to a pipe, because a handler may safely do little more. A thread
//! of its own reads the pipe and dumps. So it works when every worker is stuck, and before any
//! runtime has started.

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::diagnostics::deadlock::Ignored;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::registry::live_runtimes;
use crate::sys::fork;

/// The end of the pipe to which the handler writes. Negative while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// Forgets the pipe in the child of a `fork`: the thread at the other end is the parent's. Does
/// only what a signal handler may do.
fn forget_pipe() {
    PIPE.store(-1, Ordering::Relaxed);
}

/// Installs the handler. See [`crate::dump_on_sigquit`].
pub(crate) fn dump_on_sigquit() -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if PIPE.load(Ordering::Relaxed) >= 0 {
        return Ok(());
    }
    refuse_to_replace()?;
    fork::on_child(forget_pipe);
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer).into_raw_fd();
    // SAFETY: the descriptor is ours. Non-blocking: a handler that waited for room could wait for
    // ever.
    unsafe { libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK) };
    let dumps =
        thread::Builder::new().name("gthread-dump".into()).spawn(move || dump_for_each(reader));
    // Stored before the handler is installed, which would find no pipe otherwise.
    PIPE.store(writer, Ordering::Release);
    if let Err(error) = dumps.and_then(|_| install()) {
        PIPE.store(-1, Ordering::Relaxed);
        // SAFETY: the descriptor is ours, and nothing else has it. The reader ends with it.
        drop(unsafe { OwnedFd::from_raw_fd(writer) });
        return Err(error);
    }
    Ok(())
}

fn dump_for_each(mut signals: impl Read) {
    // This thread wakes no other.
    let _ignored = Ignored::new();
    // Signals that come faster than dumps are made count as one.
    let mut bytes = [0; 64];
    loop {
        match signals.read(&mut bytes) {
            Ok(1..) => {}
            // Interrupted by another signal of the program, whose handler does not restart calls.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => return,
        }
        let dump = Snapshot::take(&live_runtimes()).into_dump();
        // If the write fails, nothing can be done.
        let _ = write!(io::stderr(), "\nSIGQUIT: all green threads\n\n{dump}");
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let pipe = PIPE.load(Ordering::Relaxed);
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
    // SAFETY: errno belongs to the interrupted thread, which may be about to read it, so it is
    // restored. `write` is async-signal-safe, and the byte is alive during the call.
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

/// Returns an error if the program has its own handler for the signal.
fn refuse_to_replace() -> io::Result<()> {
    let mut before = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no new action is passed, and there is a place for the old one.
    if unsafe { libc::sigaction(libc::SIGQUIT, std::ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, so it has written the old action.
    match unsafe { before.assume_init() }.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => Ok(()),
        // This crate's handler, in the child of a fork.
        handler if handler == on_signal as *const () as usize => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the program has a handler for SIGQUIT already, which a dump on that signal would replace; \
             call gthread::dump where that handler wants one",
        )),
    }
}

fn install() -> io::Result<()> {
    // SAFETY: all fields are integers, for which zero is a valid value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    // Blocking calls of the program go on. The handler runs on the alternate stack if there is one,
    // because a green thread may have little room.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler does only what a signal handler may do. `action` is alive during the
    // call.
    match unsafe { libc::sigaction(libc::SIGQUIT, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
