//! How long the kernel lets a worker run at a time, where others want its processor.
//!
//! Whom the kernel wakes has its turn before whoever runs on that processor only if its slice would end earlier
//! (EEVDF). Who wakes a worker is often alone on a processor, and the worker last ran just there; with slices of
//! one length it is a toss-up whether it runs at once or when the other next sleeps. A worker and the monitor run for
//! microseconds when they are woken, so they ask for shorter slices than others have. It is an order of turns that
//! they ask for, not a larger share: no right is needed, and who computes all the time has what it had.

use std::mem;

/// Shorter than what Linux gives to anybody who asks for nothing: 0.7 ms with one processor, and more with each
/// doubling of them. Not much shorter, since a worker that computes beside other programs also has its turns by it.
const SLICE_NANOS: u64 = 500_000;

const USUAL: u32 = libc::SCHED_OTHER as u32;

/// A thread that this one starts is not the runtime's, nor is a process: they are to have slices as usual. The price:
/// without `CAP_SYS_NICE` nobody can give this thread another policy.
const RESET_ON_FORK: u64 = libc::SCHED_FLAG_RESET_ON_FORK as u64;

/// For the calling OS thread, if it is scheduled as usual, by a kernel that has slices to ask for (6.12 and later). One
/// that refuses leaves everything as it was.
pub(crate) fn shorten() {
    if is_filtered() {
        return;
    }
    let Some(mut attr) = read() else { return };
    // An older kernel says zero.
    if attr.sched_policy != USUAL || attr.sched_runtime <= SLICE_NANOS {
        return;
    }
    attr.sched_runtime = SLICE_NANOS;
    // It would also reset a negative nice value, which those that it starts are to inherit.
    if attr.sched_nice >= 0 {
        attr.sched_flags |= RESET_ON_FORK;
    }
    // SAFETY: the kernel reads as many bytes as `size` says, which is what the kernel has said that it wrote.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// Whether system calls are filtered, or one cannot say. A filter may end the process for this one, which services are
/// often not allowed (systemd's `@resources`).
fn is_filtered() -> bool {
    // SAFETY: it takes nothing else.
    unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_SECCOMP, 0, 0, 0, 0) != 0 }
}

fn read() -> Option<libc::sched_attr> {
    // SAFETY: numbers only.
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
