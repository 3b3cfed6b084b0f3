//! What becomes of things of std and of the OS when the green thread that uses them moves: the claims of
//! docs/soundness.md, checked. What hangs is run in a process of its own, and reported rather than asserted:
//! it is std's to change.

use std::io::{BufReader, Error, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Once, mpsc};
use std::time::{Duration, Instant};

use gthread::{Builder, Runtime, channel, go, yield_now};
use gthread_tests::{
    Flag, LIMIT, for_workers, is_child, os_thread_id, read_to, test_path, watchdog, yield_until,
};

/// Runs `body` where a thread that yields comes back on another OS thread.
fn moving<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    let runtime = Runtime::builder().workers(2).chaos(1).build().unwrap();
    watchdog(LIMIT, || runtime.run(body))
}

/// Suspends until on another OS thread.
fn move_on() {
    let here = os_thread_id();
    yield_until(|| os_thread_id() != here);
}

/// Suspends until on the OS thread of a worker that does not end before the result is called, which has `look`
/// run there: a thread is pinned to it. Another worker may end, if a spare has come in its place.
fn move_where_one_stays<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
) -> impl FnOnce() -> T {
    let ((tell, told), (go, come)) = (channel::bounded(1), channel::bounded::<()>(1));
    let stays = Builder::new().pinned(true).spawn(move || {
        tell.send(os_thread_id()).unwrap();
        come.recv().unwrap();
        look()
    });
    let there = told.recv().unwrap();
    yield_until(|| os_thread_id() == there);
    move || {
        go.send(()).unwrap();
        stays.unwrap().join().unwrap()
    }
}

// ---- what belongs to the OS thread ------------------------------------------------------------

#[inline(never)]
fn errno() -> Option<i32> {
    Error::last_os_error().raw_os_error()
}

#[test]
fn errno_stays_behind() {
    moving(|| {
        // Another each time: a spare worker may come between, and the one before stays where it was left.
        for left in 1001..1011 {
            // SAFETY: a place of its own for each OS thread.
            unsafe { *libc::__errno_location() = left };
            let error = Error::last_os_error();
            assert_eq!(errno(), Some(left));
            move_on();
            assert_ne!(errno(), Some(left));
            assert_eq!(error.raw_os_error(), Some(left), "taken before, it is kept");
        }
    });
}

#[test]
fn the_current_os_thread_changes() {
    moving(|| {
        let here = std::thread::current().id();
        let green = gthread::current().id();
        move_on();
        assert_ne!(std::thread::current().id(), here);
        assert_eq!(gthread::current().id(), green);
    });
}

#[test]
fn the_signal_mask_stays_behind() {
    fn blocked(change: Option<libc::c_int>) -> bool {
        // SAFETY: the sets are initialised by the calls that are given them.
        unsafe {
            let (mut set, mut old) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR1);
            let set = change.map_or(std::ptr::null(), |_| &raw const set);
            assert_eq!(libc::pthread_sigmask(change.unwrap_or(libc::SIG_BLOCK), set, &mut old), 0);
            libc::sigismember(&old, libc::SIGUSR1) == 1
        }
    }
    moving(|| {
        let unblock = move_where_one_stays(|| blocked(Some(libc::SIG_UNBLOCK)));
        blocked(Some(libc::SIG_BLOCK));
        assert!(blocked(None));
        move_on();
        assert!(!blocked(None), "it moved along");
        assert!(unblock(), "it did not stay");
    });
}

/// The control word of SSE: which way to round, among others.
#[test]
#[cfg(target_arch = "x86_64")]
fn the_rounding_mode_stays_behind() {
    use std::arch::asm;
    const UP: u32 = 0x4000;
    fn mode() -> u32 {
        let mut word = 0_u32;
        // SAFETY: writes the word.
        unsafe { asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack)) };
        word & 0x6000
    }
    fn set_mode(mode: u32) {
        let mut word = 0_u32;
        // SAFETY: keeps all but the mode, which the code below does not compute with.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &mut word, options(nostack));
            word = (word & !0x6000) | mode;
            asm!("ldmxcsr [{}]", in(reg) &word, options(nostack));
        }
    }
    moving(|| {
        let reset = move_where_one_stays(|| {
            let mode = mode();
            set_mode(0);
            mode
        });
        set_mode(UP);
        move_on();
        assert_eq!(mode(), 0, "it moved along");
        assert_eq!(reset(), UP, "whoever runs here next has it");
    });
}

// ---- what blocks ------------------------------------------------------------------------------

/// std's channels block the OS thread; the others go on, on another.
#[test]
fn channels_of_std_block_but_one() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = mpsc::sync_channel(0);
            let receives = go!(move || rx.iter().sum::<u32>());
            let sends = go!(move || (1..=20).for_each(|n| tx.send(n).unwrap()));
            sends.join().unwrap();
            assert_eq!(receives.join().unwrap(), 210);
        });
    });
}

/// Whoever comes meanwhile blocks its OS thread, perhaps the one that the initialiser ran on: it goes on
/// elsewhere.
#[test]
fn an_initialiser_may_suspend() {
    for_workers(|runtime| {
        let once = Once::new();
        let (lazy, counts) =
            (LazyLock::new(|| (0..10).for_each(|_| yield_now())), AtomicUsize::new(0));
        runtime.run(|| {
            gthread::scope(|s| {
                for _ in 0..8 {
                    s.spawn(|| {
                        LazyLock::force(&lazy);
                        once.call_once(|| {
                            (0..10).for_each(|_| go!(yield_now).join().unwrap());
                            counts.fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
        });
        assert_eq!(counts.into_inner(), 1);
    });
}

/// Its end is reported to the OS thread that began it, and there the green thread must still be.
#[test]
fn a_scope_of_std_in_which_nothing_suspends() {
    for_workers(|runtime| {
        runtime.run(|| {
            let mut sum = 0;
            std::thread::scope(|s| {
                let thread = s.spawn(|| 1);
                sum += thread.join().unwrap();
                s.spawn(|| sum += 1);
            });
            assert_eq!(sum, 2);
            go!(move || assert_eq!(sum, 2)).join().unwrap();
        });
    });
}

// ---- what hangs -------------------------------------------------------------------------------

/// Runs a test of this file as a child, for a while; says what became of it, for who reads the output.
fn observe(name: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&*test_path!(name), "--exact", "--nocapture"])
        .env("GTHREAD_TEST_CHILD", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Only then does the time begin, however slow the machine is to start it.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    read_to(&mut stderr, "as far as the hazard");
    let end = Instant::now() + Duration::from_secs(2);
    let became = loop {
        match child.try_wait().unwrap() {
            Some(status) => break format!("ended with {status}"),
            None if Instant::now() > end => break "hangs".to_owned(),
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let _ = child.kill();
    child.wait().unwrap();
    println!("{name}: {became}");
}

/// `std::thread::scope` remembers the OS thread that it was called on, and wakes that one at its end.
#[test]
fn hazard_a_scope_of_std_across_a_suspension() {
    if !is_child() {
        return watchdog(LIMIT, || observe("hazard_a_scope_of_std_across_a_suspension"));
    }
    moving(|| {
        let moved = Flag::new();
        std::thread::scope(|s| {
            s.spawn(|| {
                while !moved.is_up() {
                    std::thread::yield_now();
                }
                std::thread::sleep(Duration::from_millis(100));
            });
            move_on();
            moved.raise();
            eprintln!("as far as the hazard");
        });
    });
}

/// The lock of stdout belongs to an OS thread. Its owner that has moved is locked out by its own lock.
#[test]
fn hazard_the_lock_of_stdout_across_a_suspension() {
    if !is_child() {
        return watchdog(LIMIT, || observe("hazard_the_lock_of_stdout_across_a_suspension"));
    }
    moving(|| {
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "mine").unwrap();
        move_on();
        eprintln!("as far as the hazard");
        writeln!(std::io::stdout(), "mine as well").unwrap();
        drop(stdout);
    });
}
