//! Facts from the kernel about an OS thread of this process: its processor time, and whether it
//! sleeps.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

/// Returns the processor time that the calling OS thread has used.
pub(crate) fn own_time() -> Duration {
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or_default()
}

/// Returns the processor time that the thread with the system's number `thread` has used, or `None`
/// if it has ended or the system does not say.
pub(crate) fn time_used(thread: i32) -> Option<Duration> {
    if cfg!(target_os = "linux") { read_clock(clock_of(thread)) } else { None }
}

/// Returns `true` if a thread sleeps in the kernel, so that it competes for no processor: it
/// neither runs nor waits for one. Returns `None` if the system does not say. Takes about 10 µs.
pub(crate) fn is_asleep(thread: i32) -> Option<bool> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut text = [0; 128];
    let length = File::open(format!("/proc/self/task/{thread}/stat")).ok()?.read(&mut text).ok()?;
    Some(state(&text[..length])? != b'R')
}

/// Returns the letter of the state in a thread's `stat`: it is after the name, which is in
/// parentheses and may contain parentheses itself.
fn state(stat: &[u8]) -> Option<u8> {
    let name_ends = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(name_ends + 2).copied()
}

/// Returns Linux's number of the processor clock of a thread of this process, like
/// `pthread_getcpuclockid`. That function must not be asked about a thread that has ended; the
/// kernel may be.
const fn clock_of(thread: i32) -> libc::clockid_t {
    const PER_THREAD: libc::clockid_t = 6;
    (!thread << 3) | PER_THREAD
}

/// Reads a clock. Returns `None` if there is no such thread.
fn read_clock(clock: libc::clockid_t) -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes only to `time`, a timespec that lives until it returns. Any number is
    // a valid clock argument: a number of no clock is an error.
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

    /// A number that no thread has: Linux's numbers are smaller.
    const NONE: i32 = 1 << 22;
    const LIMIT: Duration = Duration::from_secs(10);

    #[test]
    fn the_clock_of_a_thread_can_be_read_by_another() {
        let number = os_thread_number();
        let of_this = move || time_used(number).unwrap();
        let before = of_this();
        let end = Instant::now() + LIMIT;
        while of_this() < before + Duration::from_millis(1) {
            assert!(Instant::now() < end, "the clock stands still");
        }
        let seen = thread::spawn(of_this).join().unwrap();
        assert!(seen >= before && own_time() >= seen);
        assert_eq!(time_used(NONE), None);
    }

    #[test]
    fn a_thread_that_sleeps_is_told_from_one_that_runs() {
        let (tell, told) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        // The name contains text that looks like the fields after it.
        let thread = thread::Builder::new().name("a) R (b".into()).spawn(move || {
            tell.send(os_thread_number()).unwrap();
            let _ = woken.recv();
        });
        let number = told.recv().unwrap();
        let end = Instant::now() + LIMIT;
        while is_asleep(number) != Some(true) {
            assert!(Instant::now() < end, "the thread does not fall asleep");
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
