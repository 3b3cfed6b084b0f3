//! What the kernel says of an OS thread of this process: how much processor time it has used, and whether it sleeps.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// The processor time that the calling OS thread has used.
pub(crate) fn own_time() -> Duration {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// The processor time that the thread with the system's number `thread` has used; none if it has ended, or the system
/// does not say.
pub(crate) fn time_used(thread: i32) -> Option<Duration> {
    if cfg!(target_os = "linux") { read_clock(clock_of(thread)) } else { None }
}

/// Whether a thread sleeps in the kernel, so that it competes for no processor: not if it runs, or waits for one. None
/// if the system does not say. Takes some ten microseconds.
pub(crate) fn is_asleep(thread: i32) -> Option<bool> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut text = [0; 128];
    let length = File::open(format!("/proc/self/task/{thread}/stat")).ok()?.read(&mut text).ok()?;
    Some(state(&text[..length])? != b'R')
}

/// The letter for the state of a thread in its `stat`: behind its name, which stands in parentheses and may hold some.
fn state(stat: &[u8]) -> Option<u8> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_ends + 2).copied()
}

/// Linux's number for the processor clock of a thread of this process, as `pthread_getcpuclockid` makes it. That one must
/// not be asked about a thread that has ended; the kernel may.
const fn clock_of(thread: i32) -> libc::clockid_t {
    const PER_THREAD: libc::clockid_t = 6;
    (!thread << 3) | PER_THREAD
}

/// What such a clock shows; none if there is no such thread.
fn read_clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time` only, which is a timespec and lives until it returns. Any number is a valid
    // argument for the clock: one that names none is an error.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) } != 0;
    (!failed).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(all(test, not(loom), target_os = "linux"))]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;
    use crate::sys::tid::os_thread_number;

    /// Linux numbers no thread so high.
    const NONE: i32 = 1 << 22;
    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn the_clock_of_a_thread_can_be_read_by_another() {
        let number = os_thread_number();
        let of_this = move || time_used(number).unwrap();
        let before = of_this();
        let end = Instant::now() + LIMIT;
        while of_this() < before + Duration::from_millis(1) {
            assert!(Instant::now() < end, "it stands still");
        }
        let seen = thread::spawn(of_this).join().unwrap();
        assert!(seen >= before && own_time() >= seen);
        assert_eq!(time_used(NONE), None);
    }

    #[test]
    fn a_thread_that_sleeps_is_told_from_one_that_runs() {
        let (tell, told) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        // A name that looks like what stands behind a name.
        let thread = thread::Builder::new().name("a) R (b".into()).spawn(move || {
            tell.send(os_thread_number()).unwrap();
            let _ = woken.recv();
        });
        let number = told.recv().unwrap();
        let end = Instant::now() + LIMIT;
        while is_asleep(number) != Some(true) {
            assert!(Instant::now() < end, "it does not fall asleep");
        }
        assert_eq!(is_asleep(os_thread_number()), Some(false));
        drop(wake);
        thread.unwrap().join().unwrap();
        assert_eq!(is_asleep(NONE), None);
    }

    #[test]
    fn the_state_stands_behind_the_last_parenthesis() {
        assert_eq!(state(b"7 (gthread-0) S 1 1"), Some(b'S'));
        assert_eq!(state(b"7 (a) R (b) D 1"), Some(b'D'));
        assert_eq!(state(b"7 (a)"), None);
        assert_eq!(state(b""), None);
    }
}
