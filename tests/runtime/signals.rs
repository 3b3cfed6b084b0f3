//! Signals that interrupt every system call, thousands of times: nothing is lost, and no wait ends early.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gthread::{Runtime, blocking, channel};
use gthread_tests::{Flag, LIMIT, assert_passed, is_child, rerun, runtime, watchdog};

/// How often a handler ran.
static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Handles a signal without SA_RESTART: what it interrupts fails with EINTR.
fn handle(signal: libc::c_int) {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler is async-signal-safe, and has the signature of one without SA_SIGINFO.
    assert_eq!(unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) }, 0);
}

/// Sends SIGUSR1 to each OS thread of the process in turn, and SIGALRM every millisecond to whichever the
/// kernel picks, until the flag is up.
fn storm(over: &Flag) {
    let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: the struct is whole.
    let set = unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
    assert_eq!(set, 0);
    // SAFETY: asks for two numbers.
    let (process, this) = unsafe { (libc::getpid(), libc::gettid()) };
    while !over.is_up() {
        for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
            let id: libc::pid_t = task.file_name().to_str().unwrap().parse().unwrap();
            if id != this {
                // SAFETY: the signal has a handler; a thread that has ended is an error.
                unsafe { libc::syscall(libc::SYS_tgkill, process, id, libc::SIGUSR1) };
            }
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Runs a body on runtimes of 1, 2 and 8 workers in turn, in a subprocess, in a storm of thousands.
fn in_a_storm(name: &str, body: fn(&Runtime)) {
    const SIGNALS: u64 = 3000;
    if is_child() {
        handle(libc::SIGUSR1);
        handle(libc::SIGALRM);
        let over = Flag::new();
        let stormy = over.clone();
        let storm = std::thread::spawn(move || storm(&stormy));
        let runtimes = [1, 2, 8].map(runtime);
        let handled = || HANDLED.load(Ordering::Relaxed);
        for (round, runtime) in runtimes.iter().cycle().enumerate() {
            if round >= runtimes.len() && handled() >= SIGNALS {
                break;
            }
            body(runtime);
        }
        over.raise();
        storm.join().unwrap();
        println!("{} signals", handled());
        return;
    }
    watchdog(LIMIT, || assert_passed(&rerun!(name, &[])));
}

#[test]
fn no_wait_with_a_timeout_ends_early() {
    in_a_storm("no_wait_with_a_timeout_ends_early", |runtime| {
        let waits: [fn(Duration); 5] = [
            gthread::sleep,
            // Nobody unparks, so a spurious return would be the storm's.
            gthread::park_timeout,
            |time| {
                let (_tx, rx) = channel::bounded::<()>(0);
                assert!(rx.recv_timeout(time).unwrap_err().is_timeout());
            },
            |time| _ = channel::after(time).recv().unwrap(),
            |time| {
                let (lock, changed) =
                    (gthread::sync::Mutex::new(()), gthread::sync::Condvar::new());
                let wait = changed.wait_timeout_while(lock.lock().unwrap(), time, |()| true);
                assert!(wait.unwrap().1.timed_out());
            },
        ];
        let longest = AtomicUsize::new(0);
        let wait = |wait: fn(Duration), millis: u64| {
            let (time, start) = (Duration::from_millis(millis), Instant::now());
            wait(time);
            let took = start.elapsed();
            assert!(took >= time, "{took:?} instead of {time:?}");
            longest.fetch_max((took - time).as_millis() as usize, Ordering::Relaxed);
        };
        runtime.run(|| {
            gthread::scope(|scope| {
                for way in waits {
                    for millis in [1, 5, 20] {
                        scope.spawn(move || wait(way, millis));
                    }
                }
            });
        });
        // And on OS threads, but for std's own `park_timeout`, which may return at any time.
        std::thread::scope(|scope| {
            for way in waits.into_iter().skip(2) {
                scope.spawn(move || wait(way, 5));
            }
        });
        let longest = longest.into_inner();
        assert!(longest < 5000, "{longest} ms late");
    });
}

#[test]
fn nothing_is_lost() {
    in_a_storm("nothing_is_lost", |runtime| {
        const EACH: u64 = 500;
        let (tx, rx) = channel::bounded::<u64>(3);
        let received = Arc::new(Mutex::new(Vec::new()));
        let sender = |from: u64| {
            let tx = tx.clone();
            move || (from..from + EACH).for_each(|n| tx.send(n).unwrap())
        };
        let receiver = || {
            let (rx, received) = (rx.clone(), Arc::clone(&received));
            move || {
                let mine: Vec<_> = rx.iter().collect();
                received.lock().unwrap().extend(mine);
            }
        };
        // Both kinds at both ends.
        let mut green = vec![runtime.spawn(sender(0)), runtime.spawn(receiver())];
        green.extend([runtime.spawn(sender(EACH)), runtime.spawn(receiver())]);
        let os = [std::thread::spawn(sender(2 * EACH)), std::thread::spawn(receiver())];
        // Parked and unparked, each as often.
        let parked = runtime.spawn(|| {
            let turn = Arc::new(AtomicUsize::new(0));
            let to = (gthread::current(), Arc::clone(&turn));
            let other = gthread::Builder::new().queued(true).spawn(move || {
                for n in 1..=EACH as usize {
                    while to.1.load(Ordering::SeqCst) != 2 * n - 1 {
                        gthread::park();
                    }
                    to.1.store(2 * n, Ordering::SeqCst);
                    to.0.unpark();
                }
            });
            let other = other.unwrap();
            for n in 1..=EACH as usize {
                turn.store(2 * n - 1, Ordering::SeqCst);
                other.thread().unpark();
                while turn.load(Ordering::SeqCst) != 2 * n {
                    gthread::park();
                }
            }
            other.join().unwrap();
        });
        // Threads come and go.
        let sum: u64 = runtime.run(|| {
            (0..EACH).map(|n| gthread::go!(move || n)).map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, EACH * (EACH - 1) / 2);
        drop(tx);
        green.into_iter().for_each(|thread| thread.join().unwrap());
        os.into_iter().for_each(|thread| thread.join().unwrap());
        parked.join().unwrap();
        let mut received = std::mem::take(&mut *received.lock().unwrap());
        received.sort_unstable();
        assert!(received.into_iter().eq(0..3 * EACH));
    });
}

#[test]
fn blocking_calls_see_eintr_and_nothing_else() {
    in_a_storm("blocking_calls_see_eintr_and_nothing_else", |runtime| {
        let (mut from, mut to) = std::io::pipe().unwrap();
        let reader = runtime.spawn(move || {
            let (mut text, mut interrupted) = (Vec::<u8>::new(), 0);
            loop {
                let mut part = [0; 7];
                match blocking(|| from.read(&mut part)) {
                    Ok(0) => return (text, interrupted),
                    Ok(len) => text.extend(&part[..len]),
                    Err(error) => {
                        assert_eq!(error.kind(), std::io::ErrorKind::Interrupted);
                        interrupted += 1;
                    }
                }
            }
        });
        let written: Vec<u8> = (0..200_u8).collect();
        let writes = written.clone();
        let writer = runtime.spawn(move || {
            for part in writes.chunks(9) {
                gthread::sleep(Duration::from_micros(300));
                // Takes up again what is interrupted.
                blocking(|| to.write_all(part)).unwrap();
            }
        });
        writer.join().unwrap();
        let (read, interrupted) = reader.join().unwrap();
        println!("{interrupted} reads were interrupted");
        assert_eq!(read, written);
    });
}
