//! Clients that connect, talk, half-close, reset and time out, by chance, for a while:
//! `GTHREAD_STRESS_SECS`. Every byte is accounted for, and all sockets are closed in the end.
//! `GTHREAD_STRESS_CLIENTS` says how many clients a round has.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use gthread::go;
use gthread::net::{TcpListener, TcpStream};
use gthread::sync::Semaphore;
use gthread_tests::{Random, stress};

/// What the server has seen.
#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    ended: AtomicUsize,
}

fn sockets() -> usize {
    let all = std::fs::read_dir("/proc/self/fd").unwrap();
    let links = all.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links.filter(|link| link.to_str().is_some_and(|link| link.starts_with("socket:"))).count()
}

/// Echoes until the client is done, or gone.
fn echo(mut stream: TcpStream, buffer: usize) {
    let mut buf = vec![0; buffer];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return,
            Ok(read) => {
                if stream.write_all(&buf[..read]).is_err() {
                    return;
                }
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return;
            }
        }
    }
}

fn serve(listener: &TcpListener, counts: &Arc<Counts>, random: &mut Random) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                counts.accepted.fetch_add(1, Relaxed);
                let (counts, buffer) = (Arc::clone(counts), 1 + random.below(8192) as usize);
                go!(move || {
                    echo(stream, buffer);
                    counts.ended.fetch_add(1, Relaxed);
                });
            }
            Err(error) if error.kind() == ErrorKind::TimedOut => return,
            Err(error) => panic!("{error}"),
        }
    }
}

fn pattern(at: usize) -> u8 {
    (at % 251) as u8
}

fn client(addr: SocketAddr, random: &mut Random) {
    let mut stream = TcpStream::connect(addr).unwrap();
    let total = random.below(40_000) as usize;
    match random.below(7) {
        // Questions and answers.
        0 | 1 => {
            let mut at = 0;
            for _ in 0..1 + random.below(20) {
                let len = 1 + random.below(3000) as usize;
                let sent: Vec<u8> = (at..at + len).map(pattern).collect();
                stream.write_all(&sent).unwrap();
                let mut back = vec![0; len];
                stream.read_exact(&mut back).unwrap();
                assert!(back == sent);
                at += len;
                if random.one_in(4) {
                    gthread::sleep(random.micros(200));
                }
            }
            stream.shutdown(Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        }
        // All at once, by two threads, to the end.
        2 => {
            let mut writer = stream.try_clone().unwrap();
            let writes = go!(move || {
                let all: Vec<u8> = (0..total).map(pattern).collect();
                writer.write_all(&all).unwrap();
                writer.shutdown(Shutdown::Write).unwrap();
            });
            let mut back = Vec::new();
            stream.read_to_end(&mut back).unwrap();
            assert_eq!(back.len(), total);
            assert!(back.iter().enumerate().all(|(at, &byte)| byte == pattern(at)));
            writes.join().unwrap();
        }
        // Gone in the midst of it, in good order or not.
        3 => {
            let _ = stream.write(&vec![1; total]);
            if random.one_in(2) {
                let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                // SAFETY: the option is of this type.
                let set = unsafe {
                    libc::setsockopt(
                        stream.as_raw_fd(),
                        libc::SOL_SOCKET,
                        libc::SO_LINGER,
                        (&raw const linger).cast(),
                        size_of_val(&linger) as libc::socklen_t,
                    )
                };
                assert_eq!(set, 0);
            }
        }
        // Time-outs, and what comes after them is all there.
        4 => {
            stream.set_read_timeout(Some(Duration::from_nanos(1) + random.micros(500))).unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            stream.set_read_timeout(None).unwrap();
            stream.write_all(b"abc").unwrap();
            let mut back = [0; 3];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"abc");
        }
        // A deadline that another thread sets while this one waits.
        5 => {
            let (clone, pause) = (stream.try_clone().unwrap(), random.micros(300));
            let sets = go!(move || {
                gthread::sleep(pause);
                clone.set_deadline(Some(Instant::now())).unwrap();
            });
            assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
            sets.join().unwrap();
        }
        // Nothing.
        _ => {}
    }
}

#[test]
fn clients_of_all_kinds() {
    let clients = std::env::var("GTHREAD_STRESS_CLIENTS");
    let clients = clients.map_or(100, |clients| clients.parse().expect("a number of clients"));
    stress(|runtime, random| {
        runtime.run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            let stop = listener.try_clone().unwrap();
            let counts = Arc::new(Counts::default());
            let server = {
                let (counts, mut random) = (Arc::clone(&counts), random.fork());
                go!(move || serve(&listener, &counts, &mut random))
            };
            // No more at once than the backlog has room for: the kernel resets others, sometimes.
            let room = Arc::new(Semaphore::new(100));
            let threads: Vec<_> = (0..clients)
                .map(|_| {
                    let (mut random, room) = (random.fork(), Arc::clone(&room));
                    go!(move || {
                        let _room = room.acquire();
                        client(addr, &mut random);
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            gthread_tests::yield_until(|| counts.accepted.load(Relaxed) == clients);
            stop.set_deadline(Some(Instant::now())).unwrap();
            server.join().unwrap();
            gthread_tests::yield_until(|| counts.ended.load(Relaxed) == clients);
        });
        // Closed a moment after the threads have said so.
        gthread_tests::until(|| sockets() == 0);
    });
}
