//! The operating system's numbers of threads.

/// Returns the system's number of the calling OS thread, or zero, which no thread has, if the
/// system does not say.
pub(crate) fn os_thread_number() -> i32 {
    #[cfg(target_os = "linux")]
    // SAFETY: gettid has no preconditions.
    return unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    #[cfg(not(target_os = "linux"))]
    0
}
