//! Scheduling attributes: the length of the time slices that the kernel gives to a worker.
//!
//! When the kernel (EEVDF) wakes a thread on a busy processor, the thread preempts the running one
//! only if its own slice would end earlier. The thread that wakes a worker is often the only one on
//! its processor, and the worker last ran on that same processor. With slices of equal length, it
//! is a toss-up whether the worker runs at once or only when its waker next sleeps. A woken worker,
//! like sysmon, runs for microseconds. So both ask for shorter slices than others have. That asks
//! for another order of turns, not for a larger share: it needs no privilege, and a thread that
//! computes all the time keeps its share.

use std::mem;

/// Shorter than Linux's default: 0.7 ms with one processor, and more with each doubling of them.
/// Not much shorter, because the turns of a worker that computes beside other programs have this
/// length too.
const SLICE_NANOS: u64 = 500_000;

const USUAL: u32 = libc::SCHED_OTHER as u32;

/// Threads and processes that this thread starts get default slices: they are not the runtime's.
/// The price: without `CAP_SYS_NICE` this thread's policy can no longer be changed.
const RESET_ON_FORK: u64 = libc::SCHED_FLAG_RESET_ON_FORK as u64;

/// Shortens the slices of the calling OS thread, if it has the default policy and the kernel lets a
/// thread choose its slice (6.12 and later). If the kernel refuses, nothing changes.
pub(crate) fn shorten() {
    if is_filtered() {
        return;
    }
    let Some(mut attr) = read() else { return };
    // An older kernel reports zero.
    if attr.sched_policy != USUAL || attr.sched_runtime <= SLICE_NANOS {
        return;
    }
    attr.sched_runtime = SLICE_NANOS;
    // The flag would also reset a negative nice value, which started threads must inherit.
    if attr.sched_nice >= 0 {
        attr.sched_flags |= RESET_ON_FORK;
    }
    // SAFETY: the kernel reads `size` bytes of `attr`: the number that it reported to have written.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// Returns `true` if system calls are filtered, or if that is unknown. A filter may end the process
/// for `sched_setattr`, which services are often not allowed to call (systemd's `@resources`).
fn is_filtered() -> bool {
    // SAFETY: this operation of prctl takes no pointers.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 }
}

fn read() -> Option<libc::sched_attr> {
    // SAFETY: all fields are numbers, for which zero is a value.
    let mut attr: libc::sched_attr = unsafe { mem::zeroed() };
    let size = mem::size_of_val(&attr);
    // SAFETY: the kernel writes no more than `size` bytes.
    let done = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attr, size, 0) };
    (done == 0).then_some(attr)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    fn slice() -> u64 {
        read().map_or(0, |attr| attr.sched_runtime)
    }

    #[test]
    fn it_is_the_threads_own_and_not_of_those_that_it_starts() {
        let usual = slice();
        let inherited = read().is_none_or(|attr| attr.sched_nice < 0);
        let (shortened, started) = thread::spawn(|| {
            shorten();
            (slice(), thread::spawn(slice).join().expect("it reads"))
        })
        .join()
        .expect("it reads and writes");
        if shortened == usual || inherited {
            return println!("skipped: not by this kernel, or not here");
        }
        assert_eq!(shortened, SLICE_NANOS);
        assert_ne!(started, SLICE_NANOS);
    }
}
