//! A process that is sent SIGQUIT prints a dump and goes on, if it was told to.

use std::io::{BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use gthread::{channel, go};
use gthread_tests::{
    LIMIT, Watchdog, is_asleep, is_child, named_os_threads, os_thread_id, read_to, test_path,
    until, watchdog,
};

/// Starts the test `name` of this binary as a subprocess, and waits until it says that it is ready.
fn start(name: &str, variables: &[(&str, &str)]) -> (Child, BufReader<impl Read>) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&*test_path!(name), "--exact", "--nocapture", "--test-threads=1"]);
    command.env_remove("GTHREAD_DUMP").env("GTHREAD_TEST_CHILD", "1");
    command.envs(variables.iter().copied()).stdin(Stdio::piped());
    let not_ignored = || {
        // SAFETY: has no preconditions.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
        Ok(())
    };
    // A shell that starts something in the background has it ignore the signal, and so all that this starts.
    // SAFETY: the closure does what may be done between fork and exec.
    unsafe { command.pre_exec(not_ignored) };
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    read_to(&mut stderr, "ready");
    (child, stderr)
}

fn quit(child: &Child) {
    // SAFETY: kill has no preconditions; the child was not waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGQUIT) };
}

/// What the child does: waits for the end of its input.
fn wait_for_input() {
    gthread::blocking(|| {
        eprintln!("ready");
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    });
}

#[test]
fn each_signal_makes_a_dump_and_the_process_goes_on() {
    if is_child() {
        gthread::dump_on_sigquit().unwrap();
        gthread::dump_on_sigquit().unwrap();
        return gthread::run(|| {
            let (tx, rx) = channel::bounded::<u32>(0);
            let waits = go!(move || rx.recv());
            // Child first, but not under chaos. A dump that does not have it is not followed by another.
            let is_parked = || gthread::dump().to_string().contains("is parked in recv");
            gthread::blocking(|| until(is_parked));
            wait_for_input();
            drop(tx);
            assert!(waits.join().unwrap().is_err());
        });
    }
    watchdog(LIMIT, || {
        let (mut child, mut stderr) =
            start("each_signal_makes_a_dump_and_the_process_goes_on", &[]);
        for _ in 0..3 {
            quit(&child);
            let text = read_to(&mut stderr, "is parked in recv");
            assert!(text.contains("SIGQUIT: all green threads"), "{text}");
            assert!(text.contains("is blocking worker"), "{text}");
        }
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    });
}

/// Also when every worker is stuck.
#[test]
fn the_environment_asks_for_it() {
    if is_child() {
        static RUNS: AtomicBool = AtomicBool::new(false);
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
        let hog = runtime.spawn(|| {
            RUNS.store(true, Ordering::Relaxed);
            while !GO_ON.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        until(|| RUNS.load(Ordering::Relaxed));
        wait_for_input();
        GO_ON.store(true, Ordering::Relaxed);
        return hog.join().unwrap();
    }
    watchdog(LIMIT, || {
        let name = "the_environment_asks_for_it";
        let (mut child, mut stderr) = start(name, &[("GTHREAD_DUMP", "sigquit")]);
        quit(&child);
        let text = read_to(&mut stderr, "is running on worker");
        assert!(text.contains("worker 0 is running thread"), "{text}");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
        // Not asked for: the signal does what it always did.
        let (mut child, _stderr) = start(name, &[]);
        quit(&child);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGQUIT));
    });
}

#[test]
fn a_handler_of_the_program_is_left_alone() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: libc::c_int) {
        CALLED.store(true, Ordering::Relaxed);
    }
    if is_child() {
        // SAFETY: the handler does what a handler may.
        unsafe { libc::signal(libc::SIGQUIT, handler as *const () as usize) };
        let error = gthread::dump_on_sigquit().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        eprintln!("ready");
        until(|| CALLED.load(Ordering::Relaxed));
        return;
    }
    watchdog(LIMIT, || {
        let (mut child, _stderr) = start("a_handler_of_the_program_is_left_alone", &[]);
        quit(&child);
        assert!(child.wait().unwrap().success());
    });
}

/// The OS thread of this process with this name, once it is there and asleep.
fn asleep(name: &str) -> i64 {
    let named = || named_os_threads().find_map(|(id, its)| (its == name).then_some(id));
    until(|| named().is_some_and(is_asleep));
    named().unwrap()
}

/// Sends a signal to one OS thread of this process.
fn signal(thread: i64, signal: libc::c_int) {
    // SAFETY: the signal has a handler, and the thread lives.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal) };
    assert_eq!(sent, 0);
}

/// A handler of the program's interrupts the call that the thread which dumps sleeps in.
#[test]
fn another_signal_does_not_end_it() {
    static CALLED: AtomicI64 = AtomicI64::new(0);
    extern "C" fn handler(_: libc::c_int) {
        CALLED.fetch_add(1, Ordering::Relaxed);
    }
    if is_child() {
        // SAFETY: all fields are integers, for which zero is a value: no flags, so no SA_RESTART.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as *const () as usize;
        // SAFETY: the handler does what a handler may.
        let set = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        gthread::dump_on_sigquit().unwrap();
        let _watchdog = Watchdog::new(LIMIT, "the child");
        for n in 1..=20 {
            signal(asleep("gthread-dump"), libc::SIGUSR1);
            until(|| CALLED.load(Ordering::Relaxed) == n);
        }
        return wait_for_input();
    }
    watchdog(LIMIT, || {
        let (mut child, mut stderr) = start("another_signal_does_not_end_it", &[]);
        quit(&child);
        read_to(&mut stderr, "SIGQUIT: all green threads");
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    });
}

/// What the program's threads block in goes on: a green one's, and an OS thread's.
#[test]
fn it_interrupts_no_call() {
    /// Reads one byte, by the system call itself, which std would take up again.
    fn read(pipe: &impl std::os::fd::AsRawFd, reader: &AtomicI64) {
        let mut byte = [0_u8];
        reader.store(os_thread_id(), Ordering::Relaxed);
        // SAFETY: the byte is ours.
        let count = unsafe { libc::read(pipe.as_raw_fd(), byte.as_mut_ptr().cast(), 1) };
        assert_eq!((count, byte), (1, *b"x"), "{}", std::io::Error::last_os_error());
    }
    if is_child() {
        static READERS: [AtomicI64; 2] = [const { AtomicI64::new(0) }; 2];
        let _watchdog = Watchdog::new(LIMIT, "the child");
        gthread::dump_on_sigquit().unwrap();
        let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
        let [(green_end, mut to_green), (os_end, mut to_os)] =
            [(); 2].map(|()| std::io::pipe().unwrap());
        eprintln!("ready");
        let green = runtime.spawn(move || gthread::blocking(|| read(&green_end, &READERS[0])));
        let os = std::thread::spawn(move || read(&os_end, &READERS[1]));
        for reader in READERS.iter().cycle().take(20) {
            let id = || reader.load(Ordering::Relaxed);
            until(|| id() != 0 && is_asleep(id()) || green.is_finished() || os.is_finished());
            if green.is_finished() || os.is_finished() {
                break;
            }
            signal(id(), libc::SIGQUIT);
        }
        for pipe in [&mut to_green, &mut to_os] {
            let _ = std::io::Write::write_all(pipe, b"x");
        }
        green.join().unwrap();
        os.join().unwrap();
        return;
    }
    watchdog(LIMIT, || {
        let (mut child, mut stderr) = start("it_interrupts_no_call", &[]);
        // To its end, so that it never waits for us.
        stderr.read_to_end(&mut Vec::new()).unwrap();
        assert!(child.wait().unwrap().success());
    });
}

/// The handler finds no room for its byte, because nobody reads the dumps: errno is what it was, and the
/// program goes on.
#[test]
fn it_leaves_errno_alone() {
    if is_child() {
        const ODD: i32 = 12_345;
        gthread::dump_on_sigquit().unwrap();
        eprintln!("ready");
        // SAFETY: this thread's errno.
        let errno = || unsafe { libc::__errno_location() };
        for _ in 0..200_000 {
            // SAFETY: as above; the signal has a handler.
            let after = unsafe {
                *errno() = ODD;
                libc::raise(libc::SIGQUIT);
                *errno()
            };
            // Nobody reads what a panic would say, or libtest: they would wait for that.
            if after != ODD {
                std::process::exit(1);
            }
        }
        std::process::exit(0);
    }
    watchdog(LIMIT, || {
        let (mut child, _unread) = start("it_leaves_errno_alone", &[]);
        assert!(child.wait().unwrap().success());
    });
}
