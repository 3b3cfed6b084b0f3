//! Under a filter of system calls, as old kernels and containers have them: `preadv2`, `pwritev2` and
//! `pidfd_open` are refused. What does not need them works; slower, perhaps.

use std::io::{Read, Write};
use std::process::Stdio;

use gthread::fs::{self, File, OpenOptions};
use gthread::go;
use gthread::process::Command;
use gthread_tests::{Flag, runtime, test_path, yield_until};

use crate::{Dir, alone};

/// Refuses the calls, for this process from now on, with this error.
fn refuse(error: i32) {
    const CALLS: [libc::c_long; 3] = [libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_pidfd_open];
    let statement = |code: u32, jump_true: u8, value: u32| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: 0,
        k: value,
    };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (n, call) in CALLS.into_iter().enumerate() {
        // To the last statement but one.
        let distance = (CALLS.len() - n) as u8;
        let compare = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        program.push(statement(compare, distance, call as u32));
    }
    let end = libc::BPF_RET | libc::BPF_K;
    program.push(statement(end, 0, libc::SECCOMP_RET_ALLOW));
    program.push(statement(end, 0, libc::SECCOMP_RET_ERRNO | error as u32));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the calls read their arguments, and `filter` with its program are alive.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // For all threads of the process: libtest's main thread too.
        let flags = libc::SECCOMP_FILTER_FLAG_TSYNC;
        assert_eq!(libc::syscall(libc::SYS_seccomp, mode, flags, &raw const filter), 0);
    }
}

fn everything_works() {
    let dir = Dir::new();
    for workers in [1, 2] {
        let runtime = runtime(workers);
        runtime.run(|| {
            let path = dir.path("file");
            fs::write(&path, vec![7; 100_000]).unwrap();
            let mut bytes = Vec::new();
            let mut block = [0; 4096];
            let mut file = File::open(&path).unwrap();
            while let n @ 1.. = file.read(&mut block).unwrap() {
                bytes.extend_from_slice(&block[..n]);
            }
            assert_eq!(bytes, vec![7; 100_000]);

            // A reader and a writer of a pipe park, in turn.
            let fifo = dir.fifo(&workers.to_string());
            let both = |path| OpenOptions::new().read(true).write(true).open(path).unwrap();
            let (mut reader, mut writer) = (both(&fifo), both(&fifo));
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
            (0..100).for_each(|_| gthread::yield_now());
            assert!(!read.is_up());
            writer.write_all(&[1]).unwrap();
            yield_until(|| read.is_up());
            writer.write_all(&vec![1; 299_999]).unwrap();
            assert_eq!(peer.join().unwrap(), vec![1; 300_000]);

            let output = Command::new("sh")
                .args(["-c", "head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero; exit 3"])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(3));
            assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 300_000));

            let mut cat = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let stdin = cat.stdin.take();
            let waiter = go!(move || cat.wait().unwrap());
            (0..100).for_each(|_| gthread::yield_now());
            assert!(!waiter.is_finished());
            drop(stdin);
            assert!(waiter.join().unwrap().success());
        });
    }
}

#[test]
fn with_enosys() {
    alone(&test_path!("with_enosys"), &[], || {
        refuse(libc::ENOSYS);
        everything_works();
    });
}

#[test]
fn with_eperm() {
    alone(&test_path!("with_eperm"), &[], || {
        refuse(libc::EPERM);
        everything_works();
    });
}

#[test]
fn with_eopnotsupp() {
    alone(&test_path!("with_eopnotsupp"), &[], || {
        refuse(libc::EOPNOTSUPP);
        everything_works();
    });
}
