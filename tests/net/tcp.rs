//! TCP: what std promises, from green and OS threads, and what is beyond std.

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::context::Context;
use gthread::net::{TcpListener, TcpStream};
use gthread::{channel, go};
use gthread_tests::{LIMIT, runtime, watchdog, yield_until};

/// Runs a body on an OS thread, and on green threads with one and two workers.
fn everywhere(body: impl Fn() + Send + Sync) {
    watchdog(LIMIT, || {
        body();
        for workers in [1, 2] {
            runtime(workers).run(&body);
        }
    });
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, peer) = listener.accept().unwrap();
    assert_eq!(client.local_addr().unwrap(), peer);
    (client, server)
}

#[test]
fn bytes_go_both_ways() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let echo = go!(move || {
            let mut all = Vec::new();
            server.read_to_end(&mut all).unwrap();
            server.write_all(&all).unwrap();
            all.len()
        });
        // More than the buffers of both ends hold.
        let data: Vec<u8> = (0..4 << 20).map(|n: u32| (n % 251) as u8).collect();
        client.write_all(&data).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert!(back == data);
        assert_eq!(echo.join().unwrap(), data.len());
    });
}

#[test]
fn a_reader_waits_for_bytes_that_come_later() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let (read, reads) = channel::bounded(0);
        let reader = go!(move || {
            let mut buf = [0; 16];
            while let bytes @ 1.. = server.read(&mut buf).unwrap() {
                read.send(bytes).unwrap();
            }
        });
        for n in 1..=3 {
            // Probably it waits then.
            gthread::sleep(Duration::from_millis(5));
            client.write_all(&vec![7; n]).unwrap();
            assert_eq!(reads.recv().unwrap(), n);
        }
        drop(client);
        reader.join().unwrap();
    });
}

#[test]
fn vectors_and_peeks() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let sent = client.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")]).unwrap();
        assert_eq!(sent, 5);
        let mut peeked = [0; 8];
        assert_eq!(server.peek(&mut peeked).unwrap(), 5);
        assert_eq!(server.peek(&mut peeked[..2]).unwrap(), 2);
        let (mut a, mut b) = ([0; 3], [0; 9]);
        let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
        assert_eq!(server.read_vectored(bufs).unwrap(), 5);
        assert_eq!((&a, &b[..2]), (b"abc", &b"de"[..]));
        client.write_all(b"x").unwrap();
        // Also after a read that took all there was.
        assert_eq!(server.peek(&mut peeked).unwrap(), 1);
        assert_eq!(server.read(&mut peeked).unwrap(), 1);
    });
}

#[test]
fn options_are_those_of_std() {
    everywhere(|| {
        let (client, server) = pair();
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_ttl(42).unwrap();
        assert_eq!(client.ttl().unwrap(), 42);
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        assert!(client.take_error().unwrap().is_none());
        for stream in [&client, &server] {
            assert_eq!(stream.read_timeout().unwrap(), None);
            let zero = stream.set_read_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(zero.kind(), ErrorKind::InvalidInput);
            let zero = stream.set_write_timeout(Some(Duration::ZERO)).unwrap_err();
            assert_eq!(zero.kind(), ErrorKind::InvalidInput);
            let long = Some(Duration::from_secs(15_410));
            stream.set_read_timeout(long).unwrap();
            stream.set_write_timeout(long).unwrap();
            assert_eq!(stream.try_clone().unwrap().read_timeout().unwrap(), long);
            assert_eq!(stream.write_timeout().unwrap(), long);
        }
        assert!(format!("{client:?}").starts_with("TcpStream { addr: 127.0.0.1:"), "{client:?}");
    });
}

#[test]
fn timeouts_say_would_block_and_deadlines_timed_out() {
    everywhere(|| {
        let (mut client, mut server) = pair();
        let mut buf = [0; 4];
        server.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        let start = Instant::now();
        assert_eq!(server.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
        assert!(start.elapsed() >= Duration::from_millis(10));
        // What is there is read all the same, and the time-out does not last.
        client.write_all(b"abcd").unwrap();
        assert_eq!(server.read(&mut buf).unwrap(), 4);
        server.set_read_timeout(Some(Duration::MAX)).unwrap();
        server.set_read_deadline(Some(Instant::now() + Duration::from_millis(10))).unwrap();
        assert_eq!(server.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(server.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
        client.write_all(b"ab").unwrap();
        server.set_read_deadline(None).unwrap();
        assert_eq!(server.read(&mut buf).unwrap(), 2);
        // Writes too.
        client.set_write_timeout(Some(Duration::from_millis(10))).unwrap();
        // Until the buffers of both ends are full.
        let error = client.write_all(&vec![0; 64 << 20]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_deadline_wakes_who_waits_already() {
    everywhere(|| {
        let (_client, server) = pair();
        let clone = server.try_clone().unwrap();
        let reader = go!(move || (&server).read(&mut [0; 4]).unwrap_err().kind());
        gthread::sleep(Duration::from_millis(5));
        clone.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(reader.join().unwrap(), ErrorKind::TimedOut);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let clone = listener.try_clone().unwrap();
        let accepts = go!(move || listener.accept().unwrap_err().kind());
        gthread::sleep(Duration::from_millis(5));
        clone.set_deadline(Some(Instant::now())).unwrap();
        assert_eq!(accepts.join().unwrap(), ErrorKind::TimedOut);
    });
}

#[test]
fn non_blocking_is_honoured_and_shared() {
    everywhere(|| {
        let (mut client, server) = pair();
        let mut clone = server.try_clone().unwrap();
        server.set_nonblocking(true).unwrap();
        assert_eq!(clone.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
        client.write_all(b"abc").unwrap();
        yield_until(|| (&clone).read(&mut [0; 4]).is_ok_and(|read| read == 3));
        server.set_nonblocking(false).unwrap();
        let reader = go!(move || clone.read(&mut [0; 4]).unwrap());
        client.write_all(b"ab").unwrap();
        assert_eq!(reader.join().unwrap(), 2);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        yield_until(|| listener.accept().is_ok());
        listener.set_nonblocking(false).unwrap();
        let mut std_listener = std::net::TcpListener::from(listener);
        assert!(!is_nonblocking(&std_listener));
        std_listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from(std_listener);
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        std_listener = listener.into();
        assert!(is_nonblocking(&std_listener));
    });
}

fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: it asks for the flags of a descriptor that is open.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

#[test]
fn descriptors_block_for_the_rest_of_the_process() {
    everywhere(|| {
        let (client, server) = pair();
        client.set_read_timeout(Some(Duration::from_secs(77))).unwrap();
        // Waited for, so registered.
        let (mut writer, mut reader) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let read = go!(move || reader.read(&mut [0; 4]).unwrap());
        gthread::sleep(Duration::from_millis(2));
        writer.write_all(b"ab").unwrap();
        assert_eq!(read.join().unwrap(), 2);
        assert!(!is_nonblocking(&client) && !is_nonblocking(&server));
        let std_client = std::net::TcpStream::from(client);
        assert_eq!(std_client.read_timeout().unwrap(), Some(Duration::from_secs(77)));
        let client = TcpStream::from(std_client);
        assert_eq!(client.read_timeout().unwrap(), Some(Duration::from_secs(77)));
        let fd = server.into_raw_fd();
        // SAFETY: the descriptor was given up just now.
        let server = unsafe { TcpStream::from_raw_fd(fd) };
        assert_eq!(server.as_raw_fd(), fd);
        let mut server = TcpStream::from(OwnedFd::from(server));
        (&client).write_all(b"xyz").unwrap();
        assert_eq!(server.read(&mut [0; 4]).unwrap(), 3);
    });
}

#[test]
fn errors_of_connecting_are_those_of_std() {
    everywhere(|| {
        let free = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let refused = TcpStream::connect(free).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let refused = TcpStream::connect_timeout(&free, Duration::from_secs(5)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let zero = TcpStream::connect_timeout(&free, Duration::ZERO).unwrap_err();
        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
        let none = TcpStream::connect(&[][..] as &[std::net::SocketAddr]).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
        // The last address that is tried says what is wrong, and the first that accepts is taken.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let stream = TcpStream::connect(&[free, addr][..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        let taken = TcpListener::bind(addr).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    });
}

/// A backlog that is full answers nothing: a connection that would take long.
#[test]
fn a_connection_times_out() {
    everywhere(|| {
        let socket = socket2_listener();
        let addr = socket.local_addr().unwrap();
        let mut held = Vec::new();
        let error = loop {
            match TcpStream::connect_timeout(&addr, Duration::from_millis(50)) {
                Ok(stream) => held.push(stream),
                Err(error) => break error,
            }
            assert!(held.len() < 64, "a backlog of one takes all");
        };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

/// A listener with the smallest backlog.
fn socket2_listener() -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: it changes the backlog of a socket that is open.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    listener
}

#[test]
fn a_reset_is_an_error_of_the_reader() {
    everywhere(|| {
        let (client, mut server) = pair();
        let reader = go!(move || server.read(&mut [0; 4]));
        gthread::sleep(Duration::from_millis(2));
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        // SAFETY: the option is of this type.
        let set = unsafe {
            libc::setsockopt(
                client.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            )
        };
        assert_eq!(set, 0);
        drop(client);
        assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn many_connections_and_few_workers() {
    watchdog(LIMIT, || {
        for workers in [1, 2, 8] {
            runtime(workers).run(|| {
                let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                let addr = listener.local_addr().unwrap();
                let served = Arc::new(AtomicUsize::new(0));
                let counts = Arc::clone(&served);
                let server = go!(move || {
                    for stream in listener.incoming().take(200) {
                        let (mut stream, served) = (stream.unwrap(), Arc::clone(&counts));
                        go!(move || {
                            let mut buf = [0; 64];
                            loop {
                                match stream.read(&mut buf).unwrap() {
                                    0 => break,
                                    read => stream.write_all(&buf[..read]).unwrap(),
                                }
                            }
                            served.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
                let clients: Vec<_> = (0..200)
                    .map(|client: usize| {
                        go!(move || {
                            let mut stream = TcpStream::connect(addr).unwrap();
                            for round in 0..50 {
                                let message = [(client + round) as u8; 64];
                                stream.write_all(&message).unwrap();
                                let mut answer = [0; 64];
                                stream.read_exact(&mut answer).unwrap();
                                assert_eq!(answer, message);
                            }
                        })
                    })
                    .collect();
                clients.into_iter().for_each(|client| client.join().unwrap());
                server.join().unwrap();
                yield_until(|| served.load(Ordering::Relaxed) == 200);
            });
        }
    });
}

/// Two readers and a writer of one socket, by reference.
#[test]
fn lesson_12_two_readers_and_a_writer() {
    everywhere(|| {
        let (client, server) = pair();
        let server = Arc::new(server);
        let (seen, total) = channel::unbounded();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (server, seen) = (Arc::clone(&server), seen.clone());
                go!(move || {
                    let mut buf = [0; 3];
                    loop {
                        match (&*server).read(&mut buf).unwrap() {
                            0 => break,
                            read => seen.send(read).unwrap(),
                        }
                    }
                })
            })
            .collect();
        drop(seen);
        let writer = go!(move || {
            for _ in 0..500 {
                (&client).write_all(b"0123456789").unwrap();
                gthread::yield_now();
            }
        });
        writer.join().unwrap();
        assert_eq!(total.iter().sum::<usize>(), 5000);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

/// Go#7970, gevent#26: a shutdown wakes who waits.
#[test]
fn lesson_11_shutdown_wakes_the_reader() {
    everywhere(|| {
        let (_client, server) = pair();
        let clone = server.try_clone().unwrap();
        let reader = go!(move || (&server).read(&mut [0; 4]).unwrap());
        gthread::sleep(Duration::from_millis(2));
        clone.shutdown(Shutdown::Both).unwrap();
        assert_eq!(reader.join().unwrap(), 0);
    });
}

/// A green thread of a runtime that is dropped leaves the socket to others.
#[test]
fn a_dropped_runtime_keeps_no_edge() {
    watchdog(LIMIT, || {
        let (client, server) = pair();
        let server = Arc::new(server);
        let doomed = runtime(1);
        let reader = Arc::clone(&server);
        doomed.run(|| {
            go!(move || (&*reader).read(&mut [0; 4]));
            gthread::sleep(Duration::from_millis(5));
        });
        drop(doomed);
        runtime(1).run(|| {
            let reader = go!(move || (&*server).read(&mut [0; 4]).unwrap());
            gthread::sleep(Duration::from_millis(5));
            (&client).write_all(b"ab").unwrap();
            assert_eq!(reader.join().unwrap(), 2);
        });
    });
}

/// Sockets outlive the runtime that waited for them first.
#[test]
fn runtimes_come_and_go() {
    watchdog(LIMIT, || {
        let (client, server) = pair();
        let (client, server) = (Arc::new(client), Arc::new(server));
        for round in 0..20u8 {
            let (client, server) = (Arc::clone(&client), Arc::clone(&server));
            runtime(1 + usize::from(round % 2)).run(|| {
                let reader = go!(move || {
                    let mut buf = [0; 4];
                    (&*server).read_exact(&mut buf).unwrap();
                    buf
                });
                gthread::sleep(Duration::from_millis(1));
                (&*client).write_all(&[round; 4]).unwrap();
                assert_eq!(reader.join().unwrap(), [round; 4]);
            });
        }
    });
}

#[test]
fn a_dump_names_the_descriptor() {
    watchdog(LIMIT, || {
        runtime(1).run(|| {
            let (client, mut server) = pair();
            let ends =
                format!("{} → {}", server.local_addr().unwrap(), server.peer_addr().unwrap());
            let reading = format!("of TCP {ends}, fd {}", server.as_raw_fd());
            let reads = go!(move || server.read(&mut [0; 4]).unwrap());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let accepts = format!("of TCP {}, fd ", listener.local_addr().unwrap());
            let stop = listener.try_clone().unwrap();
            let listens = go!(move || listener.accept().unwrap_err());
            gthread::sleep(Duration::from_millis(2));
            let dump = gthread::dump().to_string();
            assert!(dump.contains("parked in read for") && dump.contains(&reading), "{dump}");
            assert!(dump.contains("parked in accept for") && dump.contains(&accepts), "{dump}");
            drop(client);
            assert_eq!(reads.join().unwrap(), 0);
            stop.set_deadline(Some(Instant::now())).unwrap();
            assert_eq!(listens.join().unwrap().kind(), ErrorKind::TimedOut);
        });
    });
}

#[test]
fn a_context_ends_a_wait() {
    everywhere(|| {
        let (_client, mut server) = pair();
        let (ctx, cancel) = Context::background().with_cancel();
        let clone = server.try_clone().unwrap();
        let _after = ctx.after_func(move || clone.set_deadline(Some(Instant::now())).unwrap());
        let reads = go!(move || server.read(&mut [0; 4]).unwrap_err().kind());
        gthread::sleep(Duration::from_millis(2));
        cancel.cancel();
        assert_eq!(reads.join().unwrap(), ErrorKind::TimedOut);
    });
}
