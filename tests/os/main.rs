//! Files, child processes, signals, and the standard streams.
#![cfg(target_os = "linux")]

mod fs;
mod process;
mod signal;
mod streams;

use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread_tests::{LIMIT, assert_passed, is_child, rerun, watchdog};

/// Runs a test's body in a process of its own, with these environment variables.
fn alone(path: &str, variables: &[(&str, &str)], body: impl FnOnce()) {
    if is_child() {
        return watchdog(LIMIT, body);
    }
    watchdog(2 * LIMIT, || assert_passed(&rerun(path, variables)));
}

/// What a command wrote to stdout.
fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Whether a descriptor has `O_NONBLOCK`.
fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: the descriptor is open, and the call touches no memory.
    let flags = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) };
    assert!(flags >= 0);
    flags & libc::O_NONBLOCK != 0
}

/// A directory that goes with this.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("gthread-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Makes a FIFO.
    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        let text = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: the path is a string that ends with a NUL.
        assert_eq!(unsafe { libc::mkfifo(text.as_ptr(), 0o600) }, 0);
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
