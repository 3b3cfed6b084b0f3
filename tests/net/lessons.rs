//! What went wrong in other runtimes, each as a test named after its report.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::go;
use gthread::net::{TcpListener, TcpStream};
use gthread_tests::{LIMIT, assert_passed, for_workers, is_child, rerun, runtime, watchdog};

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

fn compute_until(over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

/// The descriptors of the process whose link is this.
fn descriptors(link: &str) -> Vec<RawFd> {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let of_link = all.filter_map(|entry| {
        let path = entry.ok()?.path();
        let is_it = std::fs::read_link(&path).ok()?.to_str() == Some(link);
        is_it.then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
    });
    of_link.collect()
}

/// Whether a descriptor is registered in the process's epoll.
fn is_registered(fd: RawFd) -> bool {
    descriptors("anon_inode:[eventpoll]").iter().any(|epoll| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
        info.lines().filter_map(|line| line.strip_prefix("tfd:")).any(|registered| {
            registered.split_whitespace().next().and_then(|fd| fd.parse().ok()) == Some(fd)
        })
    })
}

/// tokio#4730, Go PR 51651, cats-effect#4628: the worker that polled last computes, and others are
/// served all the same. A computation never ends before they are.
#[test]
fn lessons_1_2_3_the_poller_computes() {
    watchdog(LIMIT, || {
        for workers in [1, 2, 8] {
            runtime(workers).run(|| {
                let over = Arc::new(AtomicBool::new(false));
                // As many that compute, each from the moment on at which a read ends, as workers.
                let busy: Vec<_> = (0..workers)
                    .map(|_| {
                        let (client, mut server) = pair();
                        let over = Arc::clone(&over);
                        let reads = go!(move || {
                            server.read_exact(&mut [0]).unwrap();
                            compute_until(&over);
                        });
                        (client, reads)
                    })
                    .collect();
                let (client, mut server) = pair();
                let served = Arc::clone(&over);
                let waits = go!(move || {
                    server.read_exact(&mut [0]).unwrap();
                    // And a dial while all are busy.
                    let (mut a, mut b) = pair();
                    a.write_all(b"x").unwrap();
                    b.read_exact(&mut [0]).unwrap();
                    served.store(true, Ordering::Relaxed);
                });
                // From outside, so that no worker is needed for it.
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        for (client, _) in &busy {
                            (&mut &*client).write_all(b"x").unwrap();
                        }
                        std::thread::sleep(Duration::from_millis(30));
                        (&client).write_all(b"x").unwrap();
                    });
                    waits.join().unwrap();
                });
                busy.into_iter().for_each(|(_client, reads)| reads.join().unwrap());
            });
        }
    });
}

/// Go#60782: what is registered is so until it is closed, and no longer.
#[test]
fn lessons_5_26_registered_once_and_until_closed() {
    // Alone: otherwise another test's descriptor has the number afterwards.
    if !is_child() {
        let name = "lessons::lessons_5_26_registered_once_and_until_closed";
        return watchdog(LIMIT, || assert_passed(&rerun(name, &[])));
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let (mut client, mut server) = pair();
            let fd = server.as_raw_fd();
            assert!(!is_registered(fd), "registered without having waited");
            let echo = go!(move || {
                let mut buf = [0; 64];
                while let read @ 1.. = server.read(&mut buf).unwrap() {
                    server.write_all(&buf[..read]).unwrap();
                }
            });
            for _ in 0..100 {
                client.write_all(&[7; 64]).unwrap();
                client.read_exact(&mut [0; 64]).unwrap();
            }
            assert!(is_registered(fd));
            drop(client);
            echo.join().unwrap();
            assert!(!is_registered(fd));
        });
    });
}

/// Go#22606: the first waits of many threads at once.
#[test]
fn lesson_6_one_epoll() {
    watchdog(LIMIT, || {
        let name = "lessons::lesson_6_one_epoll";
        if !is_child() {
            return assert_passed(&rerun(name, &[]));
        }
        let start = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    let (mut client, mut server) = pair();
                    std::thread::scope(|scope| {
                        start.wait();
                        scope.spawn(move || server.read_exact(&mut [0]).unwrap());
                        std::thread::sleep(Duration::from_millis(5));
                        client.write_all(b"x").unwrap();
                    });
                });
            }
        });
        assert_eq!(descriptors("anon_inode:[eventpoll]").len(), 1);
    });
}

/// tokio#5866, mio#933, netty#4325: after the peer has ended its direction there is no more to wait for,
/// all that it has sent is read first, and the other direction goes on.
#[test]
fn lesson_8_half_closed() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (mut client, mut server) = pair();
            let reads = go!(move || {
                let mut all = Vec::new();
                server.read_to_end(&mut all).unwrap();
                assert_eq!(server.read(&mut [0; 8]).unwrap(), 0);
                // More than fits, so that it waits to write, while reading is at its end.
                server.write_all(&vec![1; 8 << 20]).unwrap();
                all.len()
            });
            client.write_all(&vec![2; 3 << 20]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            gthread::sleep(Duration::from_millis(20));
            let mut all = Vec::new();
            client.read_to_end(&mut all).unwrap();
            assert_eq!((all.len(), reads.join().unwrap()), (8 << 20, 3 << 20));
        });
    });
}

/// netpoll#230: without descriptors an accept loop does not spin, and goes on when there are some.
#[test]
fn lesson_19_accept_without_descriptors() {
    watchdog(LIMIT, || {
        let name = "lessons::lesson_19_accept_without_descriptors";
        if !is_child() {
            return assert_passed(&rerun(name, &[]));
        }
        runtime(1).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let errors = Arc::new(AtomicUsize::new(0));
            let counts = Arc::clone(&errors);
            let (accepted, first) = gthread::channel::bounded(1);
            // Waits once, so that what waiting needs is there.
            let accepts = go!(move || {
                accepted.send(listener.accept().unwrap()).unwrap();
                loop {
                    match listener.accept() {
                        Ok(next) => return next,
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{error}");
                            counts.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
            gthread::sleep(Duration::from_millis(5));
            let _client = TcpStream::connect(addr).unwrap();
            let _first = first.recv().unwrap();
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: it sets a limit of this process, which is only for this test.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let mut all: Vec<_> =
                std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
            drop(all.pop());
            // Takes the last one.
            let _second = std::net::TcpStream::connect(addr).unwrap();
            gthread::sleep(Duration::from_millis(200));
            // One every 10 ms.
            let errors = errors.load(Ordering::Relaxed);
            assert!((1..100).contains(&errors), "{errors} errors in 200 ms");
            drop(all);
            accepts.join().unwrap();
        });
    });
}

/// libgo#256: `errno` is that of the OS thread on which a thread goes on.
#[test]
fn lesson_23_errno_after_a_wait() {
    for_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    go!(|| {
                        let (mut client, mut server) = pair();
                        for _ in 0..50 {
                            let echo = go!(move || {
                                server.read_exact(&mut [0]).unwrap();
                                server
                            });
                            gthread::yield_now();
                            client.write_all(b"x").unwrap();
                            server = echo.join().unwrap();
                            // SAFETY: it fails.
                            assert_eq!(unsafe { libc::close(-1) }, -1);
                            let error = std::io::Error::last_os_error();
                            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

/// swoole#6114: a filter of system calls that does not know `epoll_pwait2`.
#[test]
fn lesson_24_without_epoll_pwait2() {
    watchdog(LIMIT, || {
        let name = "lessons::lesson_24_without_epoll_pwait2";
        if !is_child() {
            return assert_passed(&rerun(name, &[]));
        }
        for error in [libc::ENOSYS, libc::EPERM] {
            refuse(libc::SYS_epoll_pwait2, error);
            runtime(1).run(|| {
                let (mut client, mut server) = pair();
                server.set_read_timeout(Some(Duration::from_micros(1500))).unwrap();
                for _ in 0..3 {
                    let start = Instant::now();
                    let error = server.read(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    assert!(start.elapsed() >= Duration::from_micros(1500));
                }
                client.write_all(b"x").unwrap();
                server.read_exact(&mut [0]).unwrap();
            });
        }
    });
}

/// Has the kernel refuse a system call of all threads of this process with this error.
fn refuse(call: libc::c_long, error: i32) {
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | error as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the filter is alive during the calls, and only refuses one system call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let set = libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        );
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }
}

/// tokio PR 8450: one epoll under many workers.
#[test]
fn lesson_30_many_workers() {
    watchdog(LIMIT, || {
        runtime(64).run(|| {
            let threads: Vec<_> = (0..64u8)
                .map(|n| {
                    go!(move || {
                        let (mut client, mut server) = pair();
                        let echo = go!(move || {
                            let mut buf = [0; 8];
                            while let read @ 1.. = server.read(&mut buf).unwrap() {
                                server.write_all(&buf[..read]).unwrap();
                            }
                        });
                        for round in 0..20u8 {
                            client.write_all(&[n, round]).unwrap();
                            let mut answer = [0; 2];
                            client.read_exact(&mut answer).unwrap();
                            assert_eq!(answer, [n, round]);
                        }
                        drop(client);
                        echo.join().unwrap();
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

/// ureq: a connection of a pool is probed with a read that must not wait.
#[test]
fn lesson_29_a_probe_of_a_pooled_connection() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (client, server) = pair();
            for _ in 0..3 {
                client.set_nonblocking(true).unwrap();
                let alive = client.peek(&mut [0]).unwrap_err();
                assert_eq!(alive.kind(), ErrorKind::WouldBlock);
                client.set_nonblocking(false).unwrap();
                let reads = go!({
                    let mut client = client.try_clone().unwrap();
                    move || client.read_exact(&mut [0]).unwrap()
                });
                gthread::sleep(Duration::from_millis(1));
                (&server).write_all(b"x").unwrap();
                reads.join().unwrap();
            }
            drop(server);
            client.set_nonblocking(true).unwrap();
            gthread_tests::yield_until(|| client.peek(&mut [0]).is_ok_and(|read| read == 0));
        });
    });
}
