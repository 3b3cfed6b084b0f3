//! The wall clock jumps, by years and both ways, and no wait minds: time is the monotonic clock's.
//!
//! This program's `clock_gettime` stands before libc's, for std and for gthread: its wall clock says
//! something else each time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use gthread::{channel, sync};
use gthread_tests::{Random, for_workers};

static ASKED: AtomicU64 = AtomicU64::new(0);

/// The kernel's answer, but for the wall clock.
///
/// # Safety
///
/// As libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, to: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the caller's.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, to) };
    let wall = [libc::CLOCK_REALTIME, libc::CLOCK_REALTIME_COARSE, libc::CLOCK_TAI];
    if result == 0 && wall.contains(&clock) {
        let jumps = ASKED.fetch_add(1, Ordering::Relaxed);
        let years = Random::new(jumps).below(60) as libc::time_t;
        // SAFETY: the call has filled it in.
        unsafe { (*to).tv_sec += (years - 30) * 365 * 86_400 };
    }
    result as libc::c_int
}

/// The check on the test itself: what asks for the wall clock gets nonsense.
#[test]
fn the_clock_does_jump() {
    let times: Vec<_> = (0..50).map(|_| SystemTime::now()).collect();
    assert!(times.windows(2).any(|pair| pair[1] < pair[0]));
    let year = Duration::from_secs(365 * 86_400);
    assert!(times.windows(2).any(|pair| pair[1] > pair[0] + year));
}

#[test]
fn timeouts_are_right() {
    for_workers(|runtime| {
        let waits: [fn(Duration); 6] = [
            gthread::sleep,
            |time| gthread::sleep_until(Instant::now() + time),
            |time| {
                let (_tx, rx) = channel::bounded::<()>(0);
                assert!(rx.recv_timeout(time).unwrap_err().is_timeout());
            },
            |time| {
                let (tx, _rx) = channel::bounded(0);
                assert!(tx.send_deadline((), Instant::now() + time).unwrap_err().is_timeout());
            },
            |time| _ = channel::tick(time).recv().unwrap(),
            |time| {
                let (lock, changed) = (sync::Mutex::new(()), sync::Condvar::new());
                let wait = changed.wait_timeout_while(lock.lock().unwrap(), time, |()| true);
                assert!(wait.unwrap().1.timed_out());
            },
        ];
        let check = |wait: fn(Duration)| {
            let (time, start) = (Duration::from_millis(10), Instant::now());
            wait(time);
            let took = start.elapsed();
            assert!((time..time * 500).contains(&took), "{took:?} instead of {time:?}");
        };
        runtime.run(|| {
            gthread::scope(|scope| {
                waits.into_iter().for_each(|wait| _ = scope.spawn(move || check(wait)))
            });
        });
        std::thread::scope(|scope| {
            waits.into_iter().for_each(|wait| _ = scope.spawn(move || check(wait)))
        });
    });
}
