//! The standard streams: of a process whose streams are pipes, files and terminals, with which the
//! test talks.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::ptr;

use gthread::go;
use gthread_tests::{
    Flag, LIMIT, Watchdog, for_each_of, is_child, read_to, test_command, test_path, watchdog,
    yield_until,
};

use crate::is_nonblocking;

/// Starts the test `name` of this file in a process of its own, with pipes for its streams.
fn start(name: &str, set: impl FnOnce(&mut Command)) -> Child {
    let mut command = test_command(&test_path!(name));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    set(&mut command);
    command.spawn().unwrap()
}

/// Waits for the child, and returns what was left to be read of its stdout.
#[track_caller]
fn finish(child: Child, mut stdout: BufReader<impl Read>) -> String {
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}\n{}", gthread_tests::stderr(&output));
    assert!(text.contains("1 passed"), "{text}");
    text
}

/// The child's part: with one worker and two, a green thread waits for input while another goes on.
fn read_beside_others() {
    for_each_of(&[1, 2], |runtime| {
        runtime.run(|| {
            let read = Flag::new();
            let reader = go!({
                let read = read.clone();
                move || {
                    let mut line = String::new();
                    let bytes = gthread::io::stdin().read_line(&mut line).unwrap();
                    assert_eq!(bytes, line.len());
                    read.raise();
                    line
                }
            });
            yield_until(|| gthread::dump().to_string().contains("is parked in read"));
            assert!(!read.is_up(), "there was no input");
            println!("ready");
            yield_until(|| read.is_up());
            assert_eq!(reader.join().unwrap(), "text\n");
        });
    });
}

#[test]
fn a_read_parks_the_green_thread() {
    if is_child() {
        return read_beside_others();
    }
    let _watchdog = Watchdog::new(LIMIT, "a child with a pipe");
    let (reader, mut writer) = io::pipe().unwrap();
    let same = reader.try_clone().unwrap();
    let mut child = start("a_read_parks_the_green_thread", |command| {
        command.stdin(reader);
    });
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        read_to(&mut stdout, "ready");
        // Lesson 13, Go#24942 and node#42826: our end of the pipe is the same open file.
        assert!(!is_nonblocking(&same));
        writer.write_all(b"text\n").unwrap();
    }
    finish(child, stdout);
    assert!(!is_nonblocking(&same));
}

/// The kernel has no reads without waiting for terminals.
#[test]
fn a_read_from_a_terminal_parks_the_green_thread() {
    if is_child() {
        assert!(gthread::io::stdin().is_terminal());
        return read_beside_others();
    }
    let _watchdog = Watchdog::new(LIMIT, "a child with a terminal");
    let (mut ours, theirs) = terminal();
    let same = theirs.try_clone().unwrap();
    let mut child = start("a_read_from_a_terminal_parks_the_green_thread", |command| {
        command.stdin(theirs);
    });
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    for _ in 0..2 {
        read_to(&mut stdout, "ready");
        assert!(!is_nonblocking(&same));
        ours.write_all(b"text\n").unwrap();
    }
    finish(child, stdout);
    assert!(!is_nonblocking(&same));
}

/// A new terminal: its two ends.
fn terminal() -> (File, File) {
    let (mut ours, mut theirs) = (-1, -1);
    let (name, settings, size) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
    // SAFETY: there are places for both descriptors; no name, settings or size are wanted.
    let result = unsafe { libc::openpty(&mut ours, &mut theirs, name, settings, size) };
    assert_eq!(result, 0, "{}", io::Error::last_os_error());
    // SAFETY: the call has opened them, and nothing else owns them.
    let owned = |fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    (owned(ours), owned(theirs))
}

/// In green threads, and on the OS thread.
fn read_all_ways() {
    let read = || {
        let stdin = gthread::io::stdin();
        assert!(!stdin.is_terminal());
        assert_eq!(stdin.as_raw_fd(), 0);
        let mut first = [0; 3];
        (&stdin).read_exact(&mut first).unwrap();
        assert_eq!(&first, b"ab\n");
        let mut lock = stdin.lock();
        let mut until = Vec::new();
        assert_eq!(lock.read_until(b';', &mut until).unwrap(), 3);
        assert_eq!(lock.fill_buf().unwrap().first(), Some(&b'\n'));
        lock.consume(1);
        drop(lock);
        let lines: Vec<_> = gthread::io::stdin().lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["one", "two", "the end"]);
        assert_eq!(stdin.read_line(&mut String::new()).unwrap(), 0);
        assert!(format!("{stdin:?}").starts_with("Stdin"));
    };
    if std::env::var_os("ON_OS").is_some() { read() } else { gthread::run(read) }
}

#[test]
fn what_is_read_is_what_was_written() {
    if is_child() {
        return watchdog(LIMIT, read_all_ways);
    }
    let dir = crate::Dir::new();
    let path = dir.path("input");
    std::fs::write(&path, "ab\ncd;\none\ntwo\nthe end").unwrap();
    watchdog(LIMIT, || {
        for on_os in [false, true] {
            for from_file in [false, true] {
                let mut child = start("what_is_read_is_what_was_written", |command| {
                    if on_os {
                        command.env("ON_OS", "1");
                    }
                    if from_file {
                        command.stdin(File::open(&path).unwrap());
                    }
                });
                if let Some(mut stdin) = child.stdin.take() {
                    for byte in std::fs::read(&path).unwrap() {
                        stdin.write_all(&[byte]).unwrap();
                    }
                }
                let stdout = BufReader::new(child.stdout.take().unwrap());
                finish(child, stdout);
            }
        }
    });
}

#[test]
fn a_closed_stdin_is_empty() {
    if is_child() {
        // SAFETY: std copes with that, and nothing is opened meanwhile that would take its place.
        assert_eq!(unsafe { libc::close(0) }, 0);
        return watchdog(LIMIT, || {
            let read = || gthread::io::stdin().read(&mut [0; 8]).unwrap();
            assert_eq!(gthread::run(read), 0);
            assert_eq!(read(), 0);
        });
    }
    let mut child = start("a_closed_stdin_is_empty", |_| {});
    let stdout = BufReader::new(child.stdout.take().unwrap());
    finish(child, stdout);
}

/// A descriptor that takes stdin's place while nobody reads is waited for like any other.
#[test]
fn stdin_may_be_replaced() {
    if is_child() {
        return watchdog(LIMIT, || {
            gthread::run(|| {
                for byte in 0..3 {
                    let (reader, mut writer) = io::pipe().unwrap();
                    // SAFETY: std treats the descriptor as open in any case.
                    assert_eq!(unsafe { libc::dup2(reader.as_raw_fd(), 0) }, 0);
                    let waiter = go!(|| {
                        let mut read = [9; 1];
                        gthread::io::stdin().read_exact(&mut read).unwrap();
                        read
                    });
                    (0..100).for_each(|_| gthread::yield_now());
                    writer.write_all(&[byte]).unwrap();
                    assert_eq!(waiter.join().unwrap(), [byte]);
                }
            });
        });
    }
    let mut child = start("stdin_may_be_replaced", |_| {});
    let stdout = BufReader::new(child.stdout.take().unwrap());
    finish(child, stdout);
}

/// gthread's streams and std's macros write to one buffer, and the end of the process writes what is
/// in it.
#[test]
fn output_is_one_stream_with_stds() {
    if is_child() {
        return gthread::run(|| {
            let mut stdout = gthread::io::stdout();
            print!("\none ");
            write!(stdout, "two {}", 3).unwrap();
            print!(" four ");
            stdout.write_all(b"five\nsix ").unwrap();
            write!(stdout.lock(), "seven\n{stdout:?}\n").unwrap();
            stdout.flush().unwrap();
            let mut stderr = gthread::io::stderr();
            writeln!(stderr, "to stderr").unwrap();
            stderr.lock().write_all(b"again\n").unwrap();
            assert!(!stdout.is_terminal() && !stderr.is_terminal());
            assert_eq!((stdout.as_raw_fd(), stderr.as_raw_fd()), (1, 2));
            let status = gthread::process::Command::new("echo")
                .arg("from a child")
                .stdout(gthread::io::stdout())
                .status();
            assert!(status.unwrap().success());
        });
    }
    watchdog(LIMIT, || {
        let output = start("output_is_one_stream_with_stds", |_| {}).wait_with_output().unwrap();
        let text = crate::stdout(&output);
        let expected = "\none two 3 four five\nsix seven\nStdout { .. }\nfrom a child\n";
        assert!(text.contains(expected), "{text}");
        assert!(gthread_tests::stderr(&output).contains("to stderr\nagain\n"));
    });
}

#[test]
fn what_is_buffered_is_written_at_the_end() {
    if is_child() {
        gthread::run(|| write!(gthread::io::stdout(), "unfinished line")).unwrap();
        std::process::exit(0);
    }
    watchdog(LIMIT, || {
        let output = start("what_is_buffered_is_written_at_the_end", |_| {}).wait_with_output();
        assert!(crate::stdout(&output.unwrap()).ends_with("unfinished line"));
    });
}

/// A lock belongs to the green thread, on whichever worker that goes on.
#[test]
fn a_lock_excludes_other_threads() {
    if is_child() {
        return for_each_of(&[1, 2], |runtime| {
            runtime.run(|| {
                let writers: Vec<_> = (0..8)
                    .map(|n| {
                        go!(move || {
                            let mut lock = gthread::io::stdout().lock();
                            for part in ["<", "part", ">\n"] {
                                write!(lock, "{n}{part}").unwrap();
                                gthread::yield_now();
                            }
                        })
                    })
                    .collect();
                writers.into_iter().for_each(|writer| writer.join().unwrap());
            });
        });
    }
    watchdog(LIMIT, || {
        let mut child = start("a_lock_excludes_other_threads", |_| {});
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let text = finish(child, stdout);
        for n in 0..8 {
            assert_eq!(text.matches(&format!("{n}<{n}part{n}>\n")).count(), 2, "{text}");
        }
    });
}

/// A write that nobody reads blocks one OS thread, and no green thread.
#[test]
fn a_full_stdout_stalls_no_other() {
    if is_child() {
        return for_each_of(&[1, 2], |runtime| {
            runtime.run(|| {
                let writers = [(); 3].map(|()| {
                    go!(|| {
                        // More than a pipe holds.
                        let mut lock = gthread::io::stdout().lock();
                        lock.write_all(&[b'x'; 200_000]).unwrap();
                        lock.write_all(b"\n").unwrap();
                    })
                });
                let others: Vec<_> = (0..100).map(|n| go!(move || n)).collect();
                let sum: u32 = others.into_iter().map(|other| other.join().unwrap()).sum();
                assert_eq!(sum, 4950);
                // Only now the test reads.
                writeln!(gthread::io::stderr(), "others went on").unwrap();
                writers.into_iter().for_each(|writer| writer.join().unwrap());
            });
        });
    }
    watchdog(LIMIT, || {
        let mut child = start("a_full_stdout_stalls_no_other", |_| {});
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        for _ in 0..2 {
            read_to(&mut stderr, "others went on");
            let mut lines = 0;
            let mut line = String::new();
            while lines < 3 {
                line.clear();
                assert_ne!(stdout.read_line(&mut line).unwrap(), 0);
                lines += usize::from(line.ends_with("xxx\n"));
            }
        }
        finish(child, stdout);
    });
}

#[test]
fn auto_traits_are_stds() {
    use gthread::io::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock};
    use std::panic::{RefUnwindSafe, UnwindSafe};
    fn check<T: Send + Sync + UnwindSafe + RefUnwindSafe>() {}
    fn check_lock<T: Sync + UnwindSafe + RefUnwindSafe>() {}
    check::<Stdin>();
    check::<Stdout>();
    check::<Stderr>();
    check_lock::<StdinLock<'static>>();
    check_lock::<StdoutLock<'static>>();
    check_lock::<StderrLock<'static>>();
}
