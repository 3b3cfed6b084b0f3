//! Files, pipes and children without the calls that serve them best: an old kernel lacks them, and a
//! container may refuse them.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use gthread::fs::{self, File};
use gthread::go;
use gthread::process::{Command, Stdio};
use gthread_tests::{Flag, LIMIT, runtime, watchdog, yield_often, yield_until};

use crate::alone;
use crate::filter::{Filtered, filter};

/// Refuses reads and writes without waiting, and pidfds.
fn refuse(error: i32) {
    for call in [libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_pidfd_open] {
        filter(call, None, libc::SECCOMP_RET_ERRNO | error as u32, Filtered::Process);
    }
}

fn a_file_is_read() {
    let path = std::env::temp_dir().join(format!("gthread-refused-{}", std::process::id()));
    fs::write(&path, vec![7; 100_000]).unwrap();
    let mut file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    while let n @ 1.. = file.read(&mut block).unwrap() {
        bytes.extend_from_slice(&block[..n]);
    }
    assert_eq!(bytes, vec![7; 100_000]);
}

/// The reader and the writer park in turn.
fn a_pipe_is_waited_for() {
    let (reader, writer) = io::pipe().unwrap();
    let [mut reader, mut writer] = [OwnedFd::from(reader), writer.into()].map(File::from);
    let read = Flag::new();
    let peer = go!({
        let read = read.clone();
        move || {
            let mut all = vec![0; 300_000];
            reader.read_exact(&mut all[..1]).unwrap();
            read.raise();
            reader.read_exact(&mut all[1..]).unwrap();
            all
        }
    });
    yield_until(|| gthread::dump().to_string().contains("is parked in read"));
    assert!(!read.is_up());
    writer.write_all(&[1]).unwrap();
    yield_until(|| read.is_up());
    writer.write_all(&vec![1; 299_999]).unwrap();
    assert_eq!(peer.join().unwrap(), vec![1; 300_000]);
}

fn children_are_waited_for() {
    let output = Command::new("sh")
        .args(["-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));
    let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let stdin = cat.stdin.take();
    let waiter = go!(move || cat.wait().unwrap());
    yield_often();
    assert!(!waiter.is_finished());
    drop(stdin);
    assert!(waiter.join().unwrap().success());
}

fn everything_works_without(error: i32) {
    watchdog(LIMIT, || {
        refuse(error);
        for workers in [1, 2] {
            runtime(workers).run(|| {
                a_file_is_read();
                a_pipe_is_waited_for();
                children_are_waited_for();
            });
        }
    });
}

#[test]
fn calls_that_the_kernel_lacks() {
    alone("files::calls_that_the_kernel_lacks", &[], || everything_works_without(libc::ENOSYS));
}

#[test]
fn calls_that_a_filter_refuses() {
    alone("files::calls_that_a_filter_refuses", &[], || everything_works_without(libc::EPERM));
}

/// As before Linux 6.4, for pipes.
#[test]
fn calls_that_a_descriptor_lacks() {
    alone("files::calls_that_a_descriptor_lacks", &[], || {
        everything_works_without(libc::EOPNOTSUPP);
    });
}
