//! Dumps on SIGQUIT: Ctrl-\ in a terminal, `kill -QUIT` from elsewhere.
//!
//! The handler only writes a byte to a pipe, which is all that a handler may safely do. A thread of its own reads
//! the pipe and dumps: it works when every worker is stuck, and before any runtime has started.

use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::diagnostics::deadlock::Ignored;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::registry::live_runtimes;
use crate::sys::fork;

/// The pipe's end that the handler writes to; negative while there is none.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// In the child of a `fork`: the thread at the pipe's other end is the parent's. Does what a signal handler may.
fn forget_pipe() {
    PIPE.store(-1, Ordering::Relaxed);
}

/// See [`crate::dump_on_sigquit`].
pub(crate) fn dump_on_sigquit() -> io::Result<()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if PIPE.load(Ordering::Relaxed) >= 0 {
        return Ok(());
    }
    refuse_to_replace()?;
    fork::watch();
    fork::on_child(forget_pipe);
    let (reader, writer) = io::pipe()?;
    let writer = OwnedFd::from(writer).into_raw_fd();
    // SAFETY: the descriptor is ours. A handler that waits for room could wait for ever.
    unsafe { libc::fcntl(writer, libc::F_SETFL, libc::O_NONBLOCK) };
    let dumps =
        thread::Builder::new().name("gthread-dump".into()).spawn(move || dump_for_each(reader));
    // Before the handler is there, which could not tell anybody otherwise.
    PIPE.store(writer, Ordering::Release);
    if let Err(error) = dumps.and_then(|_| install()) {
        PIPE.store(-1, Ordering::Relaxed);
        // SAFETY: ours, and nobody else has it. The reader ends with it.
        drop(unsafe { OwnedFd::from_raw_fd(writer) });
        return Err(error);
    }
    Ok(())
}

fn dump_for_each(mut signals: impl Read) {
    // It wakes nobody.
    let _ignored = Ignored::new();
    // Signals that come faster than dumps are made are one.
    let mut bytes = [0; 64];
    loop {
        match signals.read(&mut bytes) {
            Ok(1..) => {}
            // By another signal of the program's, whose handler does not restart calls.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            _ => return,
        }
        let dump = Snapshot::take(&live_runtimes()).into_dump();
        // Nothing can be done if nobody reads it.
        let _ = write!(io::stderr(), "\nSIGQUIT: all green threads\n\n{dump}");
    }
}

extern "C" fn on_signal(signal: libc::c_int) {
    let pipe = PIPE.load(Ordering::Relaxed);
    if pipe < 0 {
        // In the child of a fork: the signal does what it always did. It is blocked until this returns.
        // SAFETY: both are async-signal-safe.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    // SAFETY: errno is the interrupted thread's, and it may be about to read it; `write` is
    // async-signal-safe, and the byte is there.
    unsafe {
        let errno = errno();
        let before = *errno;
        libc::write(pipe, [0_u8].as_ptr().cast(), 1);
        *errno = before;
    }
}

unsafe fn errno() -> *mut libc::c_int {
    #[cfg(target_os = "linux")]
    // SAFETY: gives a pointer to the calling thread's variable.
    return unsafe { libc::__errno_location() };
    #[cfg(not(target_os = "linux"))]
    // SAFETY: as above.
    unsafe {
        libc::__error()
    }
}

/// An error if the program does something else on the signal.
fn refuse_to_replace() -> io::Result<()> {
    let mut before = std::mem::MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no new action is given, and there is a place for the old one.
    if unsafe { libc::sigaction(libc::SIGQUIT, std::ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded.
    match unsafe { before.assume_init() }.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => Ok(()),
        // Ours, in the child of a fork.
        handler if handler == on_signal as *const () as usize => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the program has a handler for SIGQUIT already, which a dump on that signal would replace; \
             call gthread::dump where that handler wants one",
        )),
    }
}

fn install() -> io::Result<()> {
    // SAFETY: all fields are integers, for which zero is a value: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as usize;
    // Calls of the program that block go on. On the alternate stack where there is one: a green thread may have
    // little room.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // SAFETY: the handler does what a handler may.
    match unsafe { libc::sigaction(libc::SIGQUIT, &action, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
