//! `gthread::process`.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

use gthread::os::unix::process::{CommandExt, ExitStatusExt, parent_id};
use gthread::process::{self, Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use gthread::{Runtime, go};
use gthread_tests::{
    LIMIT, Way, every_way, for_each_of, is_child, os_threads, runtime, test_command, test_path,
    watchdog,
};

use crate::{alone, is_nonblocking, stdout};

every_way!(
    output_is_captured,
    both_pipes_are_read_at_once,
    a_command_is_used_again,
    streams_that_were_chosen_stay,
    a_child_is_talked_to,
    wait_closes_stdin,
    a_child_is_waited_for,
    a_child_is_killed,
    errors_are_stds,
    a_pipe_from_a_child_is_the_stdin_of_another,
    a_full_pipe_parks_its_writer,
    what_a_command_says,
    what_a_command_does_on_unix,
    conversions_keep_the_descriptor,
    a_dropped_child_is_not_waited_for,
    lesson_9_the_end_of_a_pipe_wakes_its_reader,
    lesson_13_pipes_stay_blocking,
    lesson_21_no_child_is_lost,
);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn output_is_captured(_: Way) {
    let output = shell("echo out; echo err >&2; cat; exit 3").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"out\n"[..], &b"err\n"[..])
    );
    assert!(shell("exit 0").status().unwrap().success());
    let killed = shell("kill -9 $$").stderr(Stdio::null()).status().unwrap();
    assert_eq!((killed.code(), killed.signal()), (None, Some(libc::SIGKILL)));
}

/// Either pipe is full several times while the child writes to the other.
fn both_pipes_are_read_at_once(_: Way) {
    let script = "for i in 1 2 3; do
            head -c 300000 /dev/zero >&2; head -c 200000 /dev/zero
        done";
    for output in [
        shell(script).output().unwrap(),
        shell(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap(),
    ] {
        assert!(output.status.success());
        assert_eq!((output.stdout.len(), output.stderr.len()), (600_000, 900_000));
    }
}

fn a_command_is_used_again(_: Way) {
    let mut command = shell("echo again");
    for _ in 0..2 {
        assert_eq!(command.output().unwrap().stdout, b"again\n");
    }
    // What `output` has set is not for this one.
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    assert!(child.stdin.is_none() && child.stdout.is_none() && child.stderr.is_none());
    assert!(child.wait_with_output().unwrap().stdout.is_empty());
}

fn streams_that_were_chosen_stay(_: Way) {
    let output = shell("echo out; echo err >&2").stdout(Stdio::null()).output().unwrap();
    assert_eq!((output.stdout.len(), output.stderr.as_slice()), (0, &b"err\n"[..]));
    let file = gthread::fs::File::open("Cargo.toml").unwrap();
    let output = shell("cat").stdin(file).output().unwrap();
    assert_eq!(output.stdout, std::fs::read("Cargo.toml").unwrap());
}

fn piped(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn a_child_is_talked_to(_: Way) {
    let mut cat = piped(&mut Command::new("cat"));
    let (stdin, stdout) = (cat.stdin.as_mut().unwrap(), cat.stdout.as_mut().unwrap());
    for n in 0..50_u32 {
        stdin.write_all(&n.to_ne_bytes()).unwrap();
        let mut answer = [0; 4];
        stdout.read_exact(&mut answer).unwrap();
        assert_eq!(u32::from_ne_bytes(answer), n);
    }
    (&*stdin).flush().unwrap();
    drop(cat.stdin.take());
    let mut rest = Vec::new();
    assert_eq!(cat.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap(), 0);
    assert!(cat.wait().unwrap().success());
}

fn wait_closes_stdin(_: Way) {
    let mut cat = piped(&mut Command::new("cat"));
    assert!(cat.wait().unwrap().success());
    assert!(cat.stdin.is_none());
}

fn a_child_is_waited_for(on: Way) {
    let mut child = piped(shell("read line; exit 7").stdout(Stdio::null()));
    assert!(child.id() > 0);
    assert_eq!(child.try_wait().unwrap(), None);
    let stdin = child.stdin.take().unwrap();
    let waiter = on.spawn(move || {
        let status = child.wait().unwrap();
        // It stays what it was.
        assert_eq!(child.wait().unwrap(), status);
        assert_eq!(child.try_wait().unwrap(), Some(status));
        child.kill().unwrap();
        status
    });
    on.lull();
    assert!(!waiter.is_finished());
    (&stdin).write_all(b"\n").unwrap();
    assert_eq!(waiter.join().code(), Some(7));
}

fn a_child_is_killed(on: Way) {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    // By another, while it is waited for.
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let id = child.id();
    let waiter = on.spawn(move || child.wait().unwrap());
    on.lull();
    // SAFETY: the child was not waited for, so this is its id.
    assert_eq!(unsafe { libc::kill(id as i32, libc::SIGTERM) }, 0);
    assert_eq!(waiter.join().signal(), Some(libc::SIGTERM));
}

fn errors_are_stds(on: Way) {
    let nothing = "/nothing/of/that/name";
    for error in [
        Command::new(nothing).spawn().map(drop).unwrap_err(),
        Command::new(nothing).output().map(drop).unwrap_err(),
        Command::new(nothing).status().map(drop).unwrap_err(),
        Command::new("true").current_dir(nothing).status().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let mut child = piped(&mut Command::new("true"));
    // No SIGPIPE, which Rust programs ignore. Children of other tests may have the other end too,
    // until their programs start.
    let error = loop {
        match child.stdin.as_mut().unwrap().write_all(b"x") {
            Ok(()) => on.yield_now(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    child.wait().unwrap();
}

fn a_pipe_from_a_child_is_the_stdin_of_another(_: Way) {
    let mut echo = shell("echo text").stdout(Stdio::piped()).spawn().unwrap();
    let mut from = echo.stdout.take().unwrap();
    let mut first = [0; 1];
    from.read_exact(&mut first).unwrap();
    let output = Command::new("tr").args(["a-z", "A-Z"]).stdin(from).output().unwrap();
    assert_eq!((first, output.stdout.as_slice()), (*b"t", &b"EXT\n"[..]));
    echo.wait().unwrap();
}

fn a_full_pipe_parks_its_writer(on: Way) {
    let mut child = piped(&mut shell("read line; head -c 1000000 | wc -c"));
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    stdin.write_all(b"\n").unwrap();
    let writer = on.spawn(move || {
        let block = [b'x'; 8000];
        (0..125).for_each(|_| stdin.write_all(&block).unwrap());
    });
    assert_eq!(io::read_to_string(stdout).unwrap().trim(), "1000000");
    writer.join();
    child.wait().unwrap();
}

fn what_a_command_says(_: Way) {
    let mut command = Command::new("env");
    command.env_clear().env("A", "1").envs([("B", "2"), ("C", "3")]).env_remove("C");
    assert_eq!(command.output().unwrap().stdout, b"A=1\nB=2\n");
    command.arg("x").args(["y", "z"]).current_dir("/");
    assert_eq!(command.get_program(), "env");
    assert_eq!(command.get_args().collect::<Vec<_>>(), ["x", "y", "z"]);
    assert_eq!(command.get_current_dir(), Some("/".as_ref()));
    let set: Vec<_> = command.get_envs().filter(|(_, value)| value.is_some()).collect();
    let two =
        [("A", "1"), ("B", "2")].map(|(key, value)| (OsStr::new(key), Some(OsStr::new(value))));
    assert_eq!(set, two);
    assert!(format!("{command:?}").contains("env"));
    assert_eq!(process::id(), std::process::id());
    assert!(parent_id() > 0);
    assert_eq!(stdout(&shell("pwd").current_dir("/").output().unwrap()), "/\n");
    let std = std::process::Command::from(shell("exit 0"));
    assert_eq!(std.get_program(), "sh");
}

fn what_a_command_does_on_unix(_: Way) {
    let output = shell("echo $0").arg0("other").output().unwrap();
    assert!(!output.stdout.is_empty());
    let output = Command::new("cat").arg0("dog").arg("/proc/self/cmdline").output().unwrap();
    assert_eq!(output.stdout, b"dog\0/proc/self/cmdline\0");
    let mut child = shell("exec sleep 1000").process_group(0).spawn().unwrap();
    // SAFETY: has no preconditions.
    assert_eq!(unsafe { libc::getpgid(child.id() as i32) }, child.id() as i32);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut command = shell("umask");
    // SAFETY: the closure makes one system call.
    unsafe {
        command.pre_exec(|| {
            libc::umask(0o27);
            Ok(())
        });
    }
    assert_eq!(stdout(&command.output().unwrap()), "0027\n");
    // SAFETY: the closure does nothing.
    unsafe { command.pre_exec(|| Err(ErrorKind::Unsupported.into())) };
    assert!(command.spawn().is_err());
    // SAFETY: as the process's own, these change nothing.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    assert!(shell("exit 0").uid(uid).gid(gid).status().unwrap().success());
}

fn conversions_keep_the_descriptor(_: Way) {
    let child = shell("read line; echo \"$line\"; echo err >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let child = std::process::Child::from(child);
    assert!(child.stdin.is_some() && child.stdout.is_some() && child.stderr.is_some());
    let mut child = Child::from(child);
    let stdin = child.stdin.take().unwrap();
    let fd = stdin.as_raw_fd();
    let stdin = std::process::ChildStdin::from(stdin);
    let stdin = OwnedFd::from(ChildStdin::from(stdin));
    let mut stdin = ChildStdin::from(stdin);
    assert_eq!(stdin.as_fd().as_raw_fd(), fd);
    stdin.write_all(b"text\n").unwrap();
    let raw = stdin.into_raw_fd();
    // SAFETY: the descriptor is open, and nothing else owns it.
    assert_eq!(unsafe { libc::close(raw) }, 0);
    let out = OwnedFd::from(child.stdout.take().unwrap());
    child.stdout = Some(ChildStdout::from(out));
    let err = std::process::ChildStderr::from(child.stderr.take().unwrap());
    assert!(format!("{err:?}").contains("ChildStderr"));
    child.stderr = Some(ChildStderr::from(err));
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.stdout, output.stderr), (b"text\n".to_vec(), b"err\n".to_vec()));
}

fn child_is_zombie(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('Z')
}

fn a_dropped_child_is_not_waited_for(on: Way) {
    let child = Command::new("true").spawn().unwrap();
    let id = child.id();
    drop(child);
    on.until(|| child_is_zombie(id));
    // SAFETY: there is such a child, and no status is wanted.
    assert_eq!(unsafe { libc::waitpid(id as i32, std::ptr::null_mut(), 0) }, id as i32);
}

/// tokio-core#117: HUP comes without IN.
fn lesson_9_the_end_of_a_pipe_wakes_its_reader(on: Way) {
    let (reader, writer) = io::pipe().unwrap();
    let mut reader = ChildStdout::from(OwnedFd::from(reader));
    let peer = on.spawn(move || reader.read(&mut [0; 8]).unwrap());
    on.lull();
    assert!(!peer.is_finished());
    drop(writer);
    assert_eq!(peer.join(), 0);
}

/// Go#24942, gevent#178: nobody sees `O_NONBLOCK`, neither on our ends nor in the child, even after
/// waits.
fn lesson_13_pipes_stay_blocking(on: Way) {
    let mut child = shell("read line; grep flags: /proc/self/fdinfo/0 /proc/self/fdinfo/1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let reader = on.spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        (text, stdout)
    });
    on.lull();
    assert!(!is_nonblocking(child.stdin.as_ref().unwrap()));
    assert!(!is_nonblocking(child.stderr.as_ref().unwrap()));
    child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let (text, stdout) = reader.join();
    assert!(!is_nonblocking(&stdout));
    assert_eq!(text.lines().count(), 2, "{text}");
    for line in text.lines() {
        let flags = line.rsplit('\t').next().unwrap();
        let flags = i32::from_str_radix(flags, 8).unwrap();
        assert_eq!(flags & libc::O_NONBLOCK, 0, "{text}");
    }
    child.wait().unwrap();
}

/// tokio#6141, tokio#6953: many children that end at once are all reaped, each with its own status.
fn lesson_21_no_child_is_lost(on: Way) {
    let peers: Vec<_> = (0..40)
        .map(|code| {
            on.spawn(move || {
                let status = shell(&format!("exit {code}")).status().unwrap();
                assert_eq!(status.code(), Some(code));
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

/// Threads that wait for children, and for their pipes, are no OS threads.
#[test]
fn many_children_need_no_os_thread() {
    let path = test_path!("many_children_need_no_os_thread");
    alone(&path, &[], || {
        const CHILDREN: usize = 60;
        let runtime = runtime(1);
        let before = os_threads();
        let start = |n: usize| {
            runtime.run(|| {
                let mut child = piped(&mut Command::new("cat"));
                let stdin = child.stdin.take();
                let waiter = go!(move || {
                    if n.is_multiple_of(2) {
                        // In the pidfd; and below, in the pipe.
                        assert!(child.wait().unwrap().success());
                    }
                    child.wait_with_output().unwrap()
                });
                (stdin, waiter)
            })
        };
        let waiters: Vec<_> = (0..CHILDREN).map(start).collect();
        runtime.run(gthread::yield_now);
        // The children were started by a spare, perhaps.
        assert!(os_threads() <= before + 3, "{} OS threads", os_threads());
        for (stdin, waiter) in waiters {
            stdin.unwrap().write_all(b"x").unwrap();
            assert_eq!(waiter.join().unwrap().stdout, b"x");
        }
    });
}

#[test]
fn a_child_that_runs_stalls_no_other() {
    for_each_of(&[1, 2], |runtime: &Runtime| {
        runtime.run(|| {
            let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
            let id = child.id();
            let waiter = go!(move || child.wait().unwrap());
            let others: Vec<_> = (0..100).map(|n| go!(move || n)).collect();
            let sum: u32 = others.into_iter().map(|other| other.join().unwrap()).sum();
            assert_eq!(sum, 4950);
            assert!(!waiter.is_finished());
            // SAFETY: the child was not waited for, so this is its id.
            unsafe { libc::kill(id as i32, libc::SIGKILL) };
            assert_eq!(waiter.join().unwrap().signal(), Some(libc::SIGKILL));
        });
    });
}

/// The parent is replaced, green thread and all.
#[test]
fn exec_replaces_the_process() {
    let path = test_path!("exec_replaces_the_process");
    if is_child() {
        let error = gthread::run(|| shell("echo replaced").exec());
        panic!("{error}");
    }
    watchdog(LIMIT, || {
        let output = test_command(&path).output().unwrap();
        assert!(output.status.success());
        assert!(stdout(&output).ends_with("replaced\n"), "{}", stdout(&output));
    });
}

/// Children that are ignored are reaped by the kernel. As in std, waiting is an error then.
#[test]
fn children_that_are_ignored_leave_no_status() {
    let path = test_path!("children_that_are_ignored_leave_no_status");
    alone(&path, &[], || {
        // SAFETY: ignoring a signal has no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let error = gthread::run(|| {
            let mut child = shell("exit 0").spawn().unwrap();
            gthread::sleep(Duration::from_millis(20));
            child.wait().unwrap_err()
        });
        assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
    });
}

#[test]
fn auto_traits_are_stds() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    check::<Child>();
    check::<ChildStdin>();
    check::<ChildStdout>();
    check::<ChildStderr>();
}
