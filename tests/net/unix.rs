//! Unix sockets: what std promises, from green and OS threads, and what is beyond std.

use std::fmt::Debug;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net as std_net;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::os::linux::net::SocketAddrExt;
use gthread::os::unix::net::{Incoming, SocketAddr, UnixDatagram, UnixListener, UnixStream};
use gthread_tests::{
    LIMIT, Way, assert_passed, cpu_time, every_way, is_child, os_threads, rerun, runtime, until,
    watchdog,
};

every_way!(
    bytes_go_both_ways,
    a_reader_waits_for_bytes_that_come_later,
    connections_by_path_and_by_name,
    vectors,
    more_buffers_than_the_kernel_takes,
    errors_are_those_of_std,
    timeouts_say_would_block_and_deadlines_timed_out,
    a_deadline_wakes_threads_that_wait,
    a_deadline_reaches_threads_about_to_wait,
    non_blocking_is_honoured_and_shared,
    a_full_backlog_is_waited_for,
    what_the_kernel_has_is_taken_over_and_given_back,
    a_listener_stays_when_its_clone_is_given_away,
    packets_are_read_one_by_one,
    descriptors_that_are_passed_hide_no_bytes,
    urgent_data_hides_no_bytes,
    many_connections,
    datagrams_have_senders,
    a_name_that_fills_its_place_does_no_harm,
    datagrams_keep_their_order_and_bounds,
    a_full_receiver_is_waited_for,
    a_full_receiver_and_time_limits,
    lesson_8_half_closed_gives_all_data_before_the_end,
    lesson_10_a_number_that_is_used_again_gets_no_stale_events,
    lesson_11_shutdown_wakes_threads_that_wait,
    lesson_12_two_readers_and_a_writer,
    lesson_13_nonblocking_never_leaks,
);

/// An address that no other test has.
fn some_addr() -> SocketAddr {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("gthread test {} {count}", std::process::id());
    SocketAddr::from_abstract_name(name).unwrap()
}

/// A directory that is removed at last.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gthread-unix-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    // SAFETY: it asks for the flags of a descriptor that is open.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

/// Makes it likely that peers wait.
fn let_them_wait(on: Way) {
    on.lull();
    on.sleep(Duration::from_millis(2));
}

/// Fills the buffer of a stream.
fn fill(stream: &UnixStream) {
    stream.set_nonblocking(true).unwrap();
    while (&mut &*stream).write(&[0; 1 << 16]).is_ok() {}
    stream.set_nonblocking(false).unwrap();
}

fn bytes_go_both_ways(on: Way) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let echo = on.spawn(move || {
        let mut all = Vec::new();
        theirs.read_to_end(&mut all).unwrap();
        theirs.write_all(&all).unwrap();
        all.len()
    });
    // More than the buffers hold.
    let data: Vec<u8> = (0..2 << 20).map(|n: u32| (n % 251) as u8).collect();
    ours.write_all(&data).unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    let mut back = Vec::new();
    ours.read_to_end(&mut back).unwrap();
    assert!(back == data);
    assert_eq!(echo.join(), data.len());
    ours.flush().unwrap();
}

fn a_reader_waits_for_bytes_that_come_later(on: Way) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let reader = on.spawn(move || {
        let mut buf = [0; 16];
        (0..4)
            .map(|_| {
                let read = theirs.read(&mut buf).unwrap();
                // Also in `read_vectored`, and after a read that took all there was.
                theirs.write_all(b"!").unwrap();
                read
            })
            .collect::<Vec<_>>()
    });
    for n in 1..=3 {
        let_them_wait(on);
        ours.write_all(&vec![7; n]).unwrap();
        ours.read_exact(&mut [0]).unwrap();
    }
    ours.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reader.join(), [1, 2, 3, 0]);
}

fn connections_by_path_and_by_name(on: Way) {
    let dir = Dir::new();
    let path = dir.path("socket");
    let addr = some_addr();
    let by_path = UnixListener::bind(&path).unwrap();
    let by_name = UnixListener::bind_addr(&addr).unwrap();
    assert_eq!(by_path.local_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!(by_name.local_addr().unwrap().as_abstract_name(), addr.as_abstract_name());
    assert!(by_path.take_error().unwrap().is_none());

    let clients = on.spawn({
        let (path, addr) = (path.clone(), addr.clone());
        move || {
            let one = UnixStream::connect(&path).unwrap();
            let two = UnixStream::connect_addr(&addr).unwrap();
            let path_addr = SocketAddr::from_pathname(&path).unwrap();
            let three = UnixStream::connect_addr(&path_addr).unwrap();
            assert_eq!(one.peer_addr().unwrap().as_pathname(), Some(&*path));
            assert_eq!(two.peer_addr().unwrap().as_abstract_name(), addr.as_abstract_name());
            assert!(three.local_addr().unwrap().is_unnamed());
            for (n, mut stream) in [one, two, three].into_iter().enumerate() {
                assert!(!is_nonblocking(&stream));
                assert!(stream.take_error().unwrap().is_none());
                stream.write_all(&[n as u8]).unwrap();
            }
        }
    });
    let (mut one, peer) = by_path.accept().unwrap();
    assert!(peer.is_unnamed());
    let mut two = by_name.incoming().next().unwrap().unwrap();
    let mut three = (&by_path).into_iter().next().unwrap().unwrap();
    assert_eq!(by_path.incoming().size_hint(), (usize::MAX, None));
    for (n, stream) in [&mut one, &mut two, &mut three].into_iter().enumerate() {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert_eq!(all, [n as u8]);
        assert!(!is_nonblocking(stream));
    }
    clients.join();
    // Without a name the kernel makes one up.
    let unnamed = SocketAddr::from_pathname("").unwrap();
    let bound = UnixListener::bind_addr(&unnamed).unwrap().local_addr().unwrap();
    assert!(bound.as_abstract_name().is_some());
    assert!(UnixStream::pair().unwrap().0.peer_addr().unwrap().is_unnamed());
}

fn vectors(on: Way) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let writer = on.spawn(move || {
        let sent = (&ours).write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")]);
        assert_eq!(sent.unwrap(), 5);
        ours
    });
    let (mut a, mut b) = ([0; 3], [0; 9]);
    let bufs = &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert_eq!((&theirs).read_vectored(bufs).unwrap(), 5);
    assert_eq!((&a, &b[..2]), (b"abc", &b"de"[..]));
    drop(writer.join());
    assert_eq!((&theirs).read_vectored(&mut [IoSliceMut::new(&mut [0])]).unwrap(), 0);
}

fn more_buffers_than_the_kernel_takes(on: Way) {
    const BUFFERS: usize = 2500;
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let reader = on.spawn(move || {
        let mut bytes = [0u8; BUFFERS];
        let mut read = 0;
        while read < BUFFERS {
            let mut bufs: Vec<_> = bytes[read..].chunks_mut(1).map(IoSliceMut::new).collect();
            read += theirs.read_vectored(&mut bufs).unwrap();
        }
        bytes
    });
    // Waits, so that its socket is registered.
    let_them_wait(on);
    let bytes: Vec<u8> = (0..BUFFERS).map(|n| n as u8).collect();
    let mut written = 0;
    while written < BUFFERS {
        let bufs: Vec<_> = bytes[written..].chunks(1).map(IoSlice::new).collect();
        written += ours.write_vectored(&bufs).unwrap();
    }
    assert!(reader.join()[..] == bytes);
}

fn errors_are_those_of_std(_: Way) {
    let dir = Dir::new();
    let (taken, file) = (dir.path("taken"), dir.path("file"));
    let _taken = std_net::UnixListener::bind(&taken).unwrap();
    std::fs::write(&file, "").unwrap();
    let left = dir.path("left");
    drop(std_net::UnixListener::bind(&left).unwrap());
    let long = dir.path(&"x".repeat(200));
    let paths = [&taken, &file, &left, &long, &dir.path("none"), &PathBuf::from("a\0b")];
    let paths = paths.into_iter().chain([&dir.0]).cloned().chain([PathBuf::new()]);
    for path in paths {
        let std_listener = std_net::UnixListener::bind(&path).map(|_| std::fs::remove_file(&path));
        let listener = UnixListener::bind(&path).map(|_| std::fs::remove_file(&path));
        same(&path, listener, std_listener);
        same(&path, UnixStream::connect(&path), std_net::UnixStream::connect(&path));
        let std_socket = std_net::UnixDatagram::bind(&path).map(|_| std::fs::remove_file(&path));
        let socket = UnixDatagram::bind(&path).map(|_| std::fs::remove_file(&path));
        same(&path, socket, std_socket);
        let (socket, std_socket) =
            (UnixDatagram::unbound().unwrap(), std_net::UnixDatagram::unbound().unwrap());
        same(&path, socket.connect(&path), std_socket.connect(&path));
        same(&path, socket.send_to(b"x", &path), std_socket.send_to(b"x", &path));
        if let Ok(addr) = SocketAddr::from_pathname(&path) {
            let (ours, std) =
                (UnixStream::connect_addr(&addr), std_net::UnixStream::connect_addr(&addr));
            same(&path, ours, std);
            same(&path, socket.connect_addr(&addr), std_socket.connect_addr(&addr));
            same(&path, socket.send_to_addr(b"x", &addr), std_socket.send_to_addr(b"x", &addr));
        }
    }
    let (socket, std_socket) =
        (UnixDatagram::unbound().unwrap(), std_net::UnixDatagram::unbound().unwrap());
    same("no peer", socket.send(b"x"), std_socket.send(b"x"));
    same("no peer", socket.peer_addr(), std_socket.peer_addr());
    let too_much = vec![0; 4 << 20];
    let ((one, _two), (std_one, _std_two)) =
        (UnixDatagram::pair().unwrap(), std_net::UnixDatagram::pair().unwrap());
    same("too much", one.send(&too_much), std_one.send(&too_much));
    let ((one, two), (std_one, std_two)) =
        (UnixStream::pair().unwrap(), std_net::UnixStream::pair().unwrap());
    drop((two, std_two));
    same("peer gone", (&one).write(b"x"), (&std_one).write(b"x"));
    same("peer gone", (&one).read(&mut [0]), (&std_one).read(&mut [0]));
    let zero = Some(Duration::ZERO);
    same("zero", one.set_read_timeout(zero), std_one.set_read_timeout(zero));
    same("zero", socket.set_write_timeout(zero), std_socket.set_write_timeout(zero));
    let (ours, std) =
        (UnixListener::bind(dir.path("a")), std_net::UnixListener::bind(dir.path("b")));
    let (ours, std) = (OwnedFd::from(ours.unwrap()), OwnedFd::from(std.unwrap()));
    same(
        "listens",
        UnixStream::from(ours).read(&mut [0]),
        std_net::UnixStream::from(std).read(&mut [0]),
    );
}

/// Asserts that two results say the same, as far as errors go.
#[track_caller]
fn same<T, U>(what: impl Debug, ours: io::Result<T>, std: io::Result<U>) {
    let of = |error: io::Error| (error.kind(), error.raw_os_error());
    assert_eq!(ours.map(drop).map_err(of), std.map(drop).map_err(of), "{what:?}");
}

fn timeouts_say_would_block_and_deadlines_timed_out(on: Way) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let (one, other) = UnixDatagram::pair().unwrap();
    let mut buf = [0; 4];
    let short = Duration::from_millis(10);
    for socket in [&one, &other] {
        assert_eq!((socket.read_timeout().unwrap(), socket.write_timeout().unwrap()), (None, None));
    }
    theirs.set_read_timeout(Some(short)).unwrap();
    other.set_read_timeout(Some(short)).unwrap();
    let start = Instant::now();
    assert_eq!(theirs.read(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= 3 * short);
    // What is there is read all the same.
    ours.write_all(b"abcd").unwrap();
    assert_eq!(theirs.read(&mut buf).unwrap(), 4);
    one.send(b"ab").unwrap();
    assert_eq!(other.recv(&mut buf).unwrap(), 2);
    // Some limits are never reached.
    theirs.set_read_timeout(Some(Duration::MAX)).unwrap();
    other.set_read_timeout(Some(Duration::from_secs(60 * 60 * 24 * 50))).unwrap();
    assert_eq!(other.read_timeout().unwrap(), Some(Duration::from_secs(60 * 60 * 24 * 50)));
    let writer = on.spawn(move || {
        let_them_wait(on);
        ours.write_all(b"x").unwrap();
        one.send(b"x").unwrap();
        (ours, one)
    });
    assert_eq!(theirs.read(&mut buf).unwrap(), 1);
    assert_eq!(other.recv(&mut buf).unwrap(), 1);
    let (mut ours, one) = writer.join();

    let soon = || Some(Instant::now() + short);
    theirs.set_read_deadline(soon()).unwrap();
    other.set_read_deadline(soon()).unwrap();
    for _ in 0..2 {
        assert_eq!(theirs.read(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(other.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    }
    theirs.set_read_deadline(None).unwrap();
    other.set_deadline(None).unwrap();
    ours.write_all(b"ab").unwrap();
    assert_eq!(theirs.read(&mut buf).unwrap(), 2);
    // Writes too.
    fill(&ours);
    ours.set_write_timeout(Some(short)).unwrap();
    one.set_write_timeout(Some(short)).unwrap();
    assert_eq!(ours.write(b"x").unwrap_err().kind(), ErrorKind::WouldBlock);
    let error = loop {
        match one.send(&[0; 1 << 12]) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    ours.set_write_timeout(None).unwrap();
    ours.set_deadline(soon()).unwrap();
    assert_eq!(ours.write(b"x").unwrap_err().kind(), ErrorKind::TimedOut);
    one.set_write_timeout(None).unwrap();
    one.set_write_deadline(soon()).unwrap();
    assert_eq!(one.send(&[0; 1 << 12]).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(ours.write_timeout().unwrap(), None);
}

/// Those that wait at clones too.
fn a_deadline_wakes_threads_that_wait(on: Way) {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let (one, _other) = UnixDatagram::pair().unwrap();
    let listener = UnixListener::bind_addr(&some_addr()).unwrap();
    fill(&ours);
    let clones = [(); 2].map(|()| ours.try_clone().unwrap());
    let others = (one.try_clone().unwrap(), listener.try_clone().unwrap());
    let ours = Arc::new(ours);
    let same = Arc::clone(&ours);
    let [writes, reads] = clones;
    let peers = [
        on.spawn(move || (&*same).write(b"x").unwrap_err().kind()),
        on.spawn(move || (&writes).write(b"x").unwrap_err().kind()),
        on.spawn(move || (&reads).read(&mut [0]).unwrap_err().kind()),
        on.spawn(move || one.recv(&mut [0; 4]).unwrap_err().kind()),
        on.spawn(move || listener.accept().unwrap_err().kind()),
    ];
    let_them_wait(on);
    ours.set_deadline(Some(Instant::now())).unwrap();
    others.0.set_read_deadline(Some(Instant::now())).unwrap();
    others.1.set_deadline(Some(Instant::now())).unwrap();
    for peer in peers {
        assert_eq!(peer.join(), ErrorKind::TimedOut);
    }
}

fn a_deadline_reaches_threads_about_to_wait(on: Way) {
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let theirs = Arc::new(theirs);
    for n in 0..200 {
        let reads = Arc::clone(&theirs);
        let reader = on.spawn(move || (&*reads).read(&mut [0; 4]).unwrap_err().kind());
        for _ in 0..n % 5 * 40 {
            std::hint::spin_loop();
        }
        if n % 3 == 0 {
            on.yield_now();
        }
        theirs.set_read_deadline(Some(Instant::now())).unwrap();
        assert_eq!(reader.join(), ErrorKind::TimedOut);
        theirs.set_read_deadline(None).unwrap();
    }
}

fn non_blocking_is_honoured_and_shared(on: Way) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let mut clone = theirs.try_clone().unwrap();
    theirs.set_nonblocking(true).unwrap();
    assert!(is_nonblocking(&clone));
    assert_eq!(clone.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ours.write_all(b"abc").unwrap();
    assert_eq!(clone.read(&mut [0; 4]).unwrap(), 3);
    theirs.set_nonblocking(false).unwrap();
    let reader = on.spawn(move || clone.read(&mut [0; 4]).unwrap());
    let_them_wait(on);
    ours.write_all(b"ab").unwrap();
    assert_eq!(reader.join(), 2);

    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    assert_eq!(one.try_clone().unwrap().recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    other.send(b"x").unwrap();
    assert_eq!(one.recv(&mut [0; 4]).unwrap(), 1);
    while one.send(&[0; 1 << 12]).is_ok() {}
    assert_eq!(one.send(&[0; 1 << 12]).unwrap_err().kind(), ErrorKind::WouldBlock);

    let addr = some_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    listener.set_nonblocking(true).unwrap();
    let clone = listener.try_clone().unwrap();
    assert_eq!(clone.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    let _client = UnixStream::connect_addr(&addr).unwrap();
    let accepted = clone.accept().unwrap().0;
    assert!(!is_nonblocking(&accepted));
    listener.set_nonblocking(false).unwrap();
    let accepts = on.spawn(move || clone.accept().map(drop).unwrap());
    let_them_wait(on);
    let _client = UnixStream::connect_addr(&addr).unwrap();
    accepts.join();
}

/// A listener with the smallest backlog.
fn narrow_listener() -> (UnixListener, SocketAddr) {
    let addr = some_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    // SAFETY: it changes the backlog of a socket that is open.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    (listener, addr)
}

fn a_full_backlog_is_waited_for(on: Way) {
    const CLIENTS: usize = 20;
    let (listener, addr) = narrow_listener();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let addr = addr.clone();
            on.spawn(move || {
                let mut stream = UnixStream::connect_addr(&addr).unwrap();
                assert!(!is_nonblocking(&stream));
                stream.write_all(&[n as u8]).unwrap();
                stream.read_exact(&mut [0]).unwrap();
            })
        })
        .collect();
    let_them_wait(on);
    let waiting = clients.iter().filter(|client| !client.is_finished()).count();
    assert_eq!(waiting, CLIENTS);
    let mut seen = [false; CLIENTS];
    for _ in 0..CLIENTS {
        let (mut stream, _) = listener.accept().unwrap();
        let mut n = [0];
        stream.read_exact(&mut n).unwrap();
        assert!(!std::mem::replace(&mut seen[usize::from(n[0])], true));
        stream.write_all(&n).unwrap();
    }
    clients.into_iter().for_each(|client| client.join());
    // Those that wait in vain find out.
    let _first = UnixStream::connect_addr(&addr).unwrap();
    let late = on.spawn(move || UnixStream::connect_addr(&addr).unwrap_err().kind());
    let_them_wait(on);
    drop(listener);
    assert_eq!(late.join(), ErrorKind::ConnectionRefused);
}

/// Threads that wait for a backlog keep no OS threads.
#[test]
fn a_full_backlog_costs_no_os_threads() {
    if !is_child() {
        return assert_passed(&rerun!("a_full_backlog_costs_no_os_threads", &[]));
    }
    watchdog(LIMIT, || {
        runtime(1).run(|| {
            let (listener, addr) = narrow_listener();
            let before = os_threads();
            let clients: Vec<_> = (0..100)
                .map(|_| {
                    let addr = addr.clone();
                    gthread::go!(move || drop(UnixStream::connect_addr(&addr).unwrap()))
                })
                .collect();
            gthread::sleep(Duration::from_millis(100));
            // Sysmon may find once that the one worker is slow.
            assert!(os_threads() <= before + 4, "{} were {before}", os_threads());
            for stream in listener.incoming().take(100) {
                drop(stream.unwrap());
            }
            clients.into_iter().for_each(|client| client.join().unwrap());
        });
    });
}

fn what_the_kernel_has_is_taken_over_and_given_back(on: Way) {
    let timeout = Some(Duration::from_secs(77));
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(timeout).unwrap();
    let std_ours = std_net::UnixStream::from(ours);
    assert_eq!(std_ours.read_timeout().unwrap(), timeout);
    assert_eq!(std_ours.write_timeout().unwrap(), None);
    std_ours.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let ours = UnixStream::from(std_ours);
    assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ours.set_read_timeout(None).unwrap();
    let reader = on.spawn(move || {
        let read = (&ours).read(&mut [0; 4]).unwrap();
        (ours, read)
    });
    let_them_wait(on);
    theirs.write_all(b"ab").unwrap();
    let (ours, read) = reader.join();
    assert_eq!(read, 2);
    // Without its time-out, which the kernel had before.
    let std_ours = std_net::UnixStream::from(ours);
    assert_eq!(std_ours.read_timeout().unwrap(), None);
    std_ours.set_nonblocking(true).unwrap();
    let ours = UnixStream::from(std_ours);
    assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    ours.set_nonblocking(false).unwrap();
    assert!(!is_nonblocking(&std_net::UnixStream::from(ours)));

    let fd = theirs.into_raw_fd();
    // SAFETY: the descriptor was given up just now.
    let theirs = unsafe { UnixStream::from_raw_fd(fd) };
    assert_eq!((theirs.as_raw_fd(), theirs.as_fd().as_raw_fd()), (fd, fd));
    let theirs = UnixStream::from(OwnedFd::from(theirs));
    assert_eq!(format!("{theirs:?}"), format!("{:?}", std_net::UnixStream::from(theirs)));

    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_write_timeout(timeout).unwrap();
    let std_one = std_net::UnixDatagram::from(one);
    assert_eq!(std_one.write_timeout().unwrap(), timeout);
    std_one.set_nonblocking(true).unwrap();
    let one = UnixDatagram::from(OwnedFd::from(std_one));
    assert_eq!(one.write_timeout().unwrap(), timeout);
    assert_eq!(one.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    // SAFETY: the descriptor is given up for it.
    let other = unsafe { UnixDatagram::from_raw_fd(other.into_raw_fd()) };
    assert_eq!(format!("{other:?}"), format!("{:?}", std_net::UnixDatagram::from(other)));

    let listener = std_net::UnixListener::bind_addr(&some_addr()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let listener = UnixListener::from(listener);
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    // SAFETY: the descriptor is given up for it.
    let listener = unsafe { UnixListener::from_raw_fd(listener.into_raw_fd()) };
    assert!(is_nonblocking(&listener));
    listener.set_nonblocking(false).unwrap();
    let listener = UnixListener::from(OwnedFd::from(listener));
    assert_eq!(format!("{listener:?}"), format!("{:?}", std_net::UnixListener::from(listener)));
}

fn a_listener_stays_when_its_clone_is_given_away(on: Way) {
    let addr = some_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    let std_listener = std_net::UnixListener::from(listener.try_clone().unwrap());
    assert!(!is_nonblocking(&std_listener));
    // What blocks its OS thread does not end before the others have run.
    listener.set_deadline(Some(Instant::now() + Duration::from_millis(10))).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    listener.set_deadline(None).unwrap();
    let listener = Arc::new(listener);
    let accepts = Arc::clone(&listener);
    let server = on.spawn(move || accepts.accept().map(drop).unwrap());
    let_them_wait(on);
    let _one = UnixStream::connect_addr(&addr).unwrap();
    server.join();
    let _two = UnixStream::connect_addr(&addr).unwrap();
    std_listener.accept().unwrap();
    listener.set_nonblocking(true).unwrap();
    assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(is_nonblocking(&std_listener));
}

fn socket_pair(kind: libc::c_int) -> (OwnedFd, OwnedFd) {
    let mut fds = [0; 2];
    // SAFETY: there is a place for both descriptors.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) }, 0);
    // SAFETY: the kernel has just made them.
    fds.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }).into()
}

/// A short read of a `SOCK_SEQPACKET` says nothing about what is left.
fn packets_are_read_one_by_one(on: Way) {
    let (ours, theirs) = socket_pair(libc::SOCK_SEQPACKET);
    let (mut ours, mut theirs) = (UnixStream::from(ours), UnixStream::from(theirs));
    let reader = on.spawn(move || {
        let read = [(); 5].map(|()| theirs.read(&mut [0; 16]).unwrap());
        (theirs, read)
    });
    let_them_wait(on);
    for len in 1..=5 {
        ours.write_all(&vec![0; len]).unwrap();
    }
    let (mut theirs, read) = reader.join();
    assert_eq!(read, [1, 2, 3, 4, 5]);
    drop(ours);
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
}

/// Sends bytes with a descriptor.
fn send_with_descriptor(socket: &UnixStream, bytes: &[u8]) {
    #[repr(align(8))]
    struct Control([u8; 64]);
    let mut control = Control([0; 64]);
    let mut iov = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeros are a message header without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut iov;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    // SAFETY: the control message fits its place, which is aligned.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<i32>().write_unaligned(socket.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &message, 0)
    };
    assert_eq!(sent, bytes.len() as isize);
}

/// A read ends with the bytes that came with a descriptor, although there may be more.
fn descriptors_that_are_passed_hide_no_bytes(on: Way) {
    let (mut ours, mut theirs) = UnixStream::pair().unwrap();
    let reader = on.spawn(move || {
        let mut all = Vec::new();
        let mut buf = [0; 16];
        while all.len() < 6 {
            let read = theirs.read(&mut buf).unwrap();
            all.extend_from_slice(&buf[..read]);
        }
        all
    });
    let_them_wait(on);
    send_with_descriptor(&ours, b"ab");
    send_with_descriptor(&ours, b"cd");
    ours.write_all(b"ef").unwrap();
    assert_eq!(reader.join(), b"abcdef");
}

/// A read ends before urgent data.
fn urgent_data_hides_no_bytes(on: Way) {
    let send = |socket: &UnixStream, bytes: &[u8], flags| {
        // SAFETY: the bytes are there.
        unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) }
    };
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    {
        let (probe, _peer) = UnixStream::pair().unwrap();
        if send(&probe, b"x", libc::MSG_OOB) < 0 {
            return println!("this kernel has no urgent data in Unix sockets");
        }
    }
    let reader = on.spawn(move || {
        let mut all = Vec::new();
        let mut buf = [0; 16];
        while !all.contains(&b'e') {
            let read = theirs.read(&mut buf).unwrap();
            all.extend_from_slice(&buf[..read]);
        }
        all
    });
    let_them_wait(on);
    send(&ours, b"ab", 0);
    send(&ours, b"!", libc::MSG_OOB);
    send(&ours, b"cde", 0);
    assert_eq!(reader.join(), b"abcde");
}

fn many_connections(on: Way) {
    const CLIENTS: usize = 50;
    let addr = some_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let addr = addr.clone();
            on.spawn(move || {
                let mut stream = UnixStream::connect_addr(&addr).unwrap();
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
    let servers: Vec<_> = listener
        .incoming()
        .take(CLIENTS)
        .map(|stream| {
            let mut stream = stream.unwrap();
            on.spawn(move || {
                let mut buf = [0; 64];
                loop {
                    match stream.read(&mut buf).unwrap() {
                        0 => break,
                        read => stream.write_all(&buf[..read]).unwrap(),
                    }
                }
            })
        })
        .collect();
    clients.into_iter().chain(servers).for_each(|peer| peer.join());
}

fn datagrams_have_senders(on: Way) {
    let dir = Dir::new();
    let (path, name) = (dir.path("one"), some_addr());
    let one = UnixDatagram::bind(&path).unwrap();
    let two = UnixDatagram::bind_addr(&name).unwrap();
    let three = UnixDatagram::unbound().unwrap();
    let receiver = on.spawn({
        let (path, name) = (path.clone(), name.clone());
        move || {
            let mut buf = [0; 16];
            let (len, from) = one.recv_from(&mut buf).unwrap();
            assert_eq!(
                (&buf[..len], from.as_abstract_name()),
                (&b"two"[..], name.as_abstract_name())
            );
            let (len, from) = one.recv_from(&mut buf).unwrap();
            assert!(from.is_unnamed());
            assert_eq!(&buf[..len], b"three");
            one.send_to_addr(b"back", &name).unwrap();
            assert_eq!(one.local_addr().unwrap().as_pathname(), Some(&*path));
            one
        }
    });
    assert_eq!(two.send_to(b"two", &path).unwrap(), 3);
    let_them_wait(on);
    three.connect(&path).unwrap();
    assert_eq!(three.peer_addr().unwrap().as_pathname(), Some(&*path));
    assert_eq!(three.send(b"three").unwrap(), 5);
    let mut buf = [0; 16];
    let (len, from) = two.recv_from(&mut buf).unwrap();
    assert_eq!((&buf[..len], from.as_pathname()), (&b"back"[..], Some(&*path)));
    drop(receiver.join());
    assert_eq!(three.send(b"x").unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert!(three.take_error().unwrap().is_none());
    three.connect_addr(&name).unwrap();
    three.send(b"x").unwrap();
    assert_eq!(two.recv(&mut buf).unwrap(), 1);
}

/// A path may have 108 bytes, and then no zero byte at its end.
fn a_name_that_fills_its_place_does_no_harm(_: Way) {
    let dir = Dir::new();
    let relative = "x".repeat(108 - dir.0.as_os_str().len() - 1);
    let path = dir.path(&relative);
    // SAFETY: zeros are an address.
    let mut addr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    addr.sun_family = libc::AF_UNIX as _;
    for (to, from) in addr.sun_path.iter_mut().zip(path.as_os_str().as_encoded_bytes()) {
        *to = *from as _;
    }
    let sender = std_net::UnixDatagram::unbound().unwrap();
    let len = size_of_val(&addr) as libc::socklen_t;
    // SAFETY: the address has this length.
    let bound = unsafe { libc::bind(sender.as_raw_fd(), (&raw const addr).cast(), len) };
    assert_eq!(bound, 0, "{}", io::Error::last_os_error());
    let name = some_addr();
    let receiver = UnixDatagram::bind_addr(&name).unwrap();
    sender.send_to_addr(b"hello", &name).unwrap();
    assert_eq!(receiver.recv_from(&mut [0; 16]).unwrap().0, 5);
}

fn datagrams_keep_their_order_and_bounds(on: Way) {
    let (one, other) = UnixDatagram::pair().unwrap();
    let receiver = on.spawn(move || {
        let mut buf = [0; 600];
        for n in 0..500 {
            assert_eq!(other.recv(&mut buf).unwrap(), n);
            assert!(buf[..n].iter().all(|&byte| byte == n as u8));
        }
        other
    });
    for n in 0..500 {
        assert_eq!(one.send(&vec![n as u8; n]).unwrap(), n);
    }
    let other = receiver.join();
    // What does not fit is lost.
    one.send(b"abc").unwrap();
    one.send(b"d").unwrap();
    let mut buf = [0; 2];
    assert_eq!(other.recv(&mut buf).unwrap(), 2);
    assert_eq!((&buf, other.recv_from(&mut [0; 4]).unwrap().0), (b"ab", 1));
}

/// The receiver's queue has few places.
fn a_full_receiver_is_waited_for(on: Way) {
    const EACH: usize = 200;
    let name = some_addr();
    let receiver = UnixDatagram::bind_addr(&name).unwrap();
    let senders: Vec<_> = (0..4)
        .map(|n| {
            let name = name.clone();
            on.spawn(move || {
                let sender = UnixDatagram::unbound().unwrap();
                if n % 2 == 0 {
                    sender.connect_addr(&name).unwrap();
                }
                for _ in 0..EACH {
                    let sent = match n % 2 {
                        0 => sender.send(&[n]),
                        _ => sender.send_to_addr(&[n], &name),
                    };
                    assert_eq!(sent.unwrap(), 1);
                }
            })
        })
        .collect();
    let_them_wait(on);
    let mut received = [0; 4];
    for _ in 0..4 * EACH {
        let mut byte = [0];
        assert_eq!(receiver.recv(&mut byte).unwrap(), 1);
        received[usize::from(byte[0])] += 1;
    }
    assert_eq!(received, [EACH; 4]);
    senders.into_iter().for_each(|sender| sender.join());
}

fn a_full_receiver_and_time_limits(on: Way) {
    let name = some_addr();
    let _receiver = UnixDatagram::bind_addr(&name).unwrap();
    let connected = UnixDatagram::unbound().unwrap();
    connected.connect_addr(&name).unwrap();
    let free = UnixDatagram::unbound().unwrap();
    let send = |socket: &UnixDatagram| match std::ptr::eq(socket, &free) {
        true => socket.send_to_addr(b"x", &name).map_err(|error| error.kind()),
        false => socket.send(b"x").map_err(|error| error.kind()),
    };
    connected.set_nonblocking(true).unwrap();
    while send(&connected).is_ok() {}
    connected.set_nonblocking(false).unwrap();
    for socket in [&free, &connected] {
        socket.set_nonblocking(true).unwrap();
        assert_eq!(send(socket), Err(ErrorKind::WouldBlock));
        socket.set_nonblocking(false).unwrap();
        let short = Duration::from_millis(30);
        socket.set_write_timeout(Some(short)).unwrap();
        let start = Instant::now();
        assert_eq!(send(socket), Err(ErrorKind::WouldBlock));
        assert!(start.elapsed() >= short);
        socket.set_write_timeout(None).unwrap();
        socket.set_write_deadline(Some(Instant::now() + short)).unwrap();
        assert_eq!(send(socket), Err(ErrorKind::TimedOut));
        assert_eq!(send(socket), Err(ErrorKind::TimedOut));
        socket.set_write_deadline(None).unwrap();
    }
    let clone = free.try_clone().unwrap();
    let sender = on.spawn(move || clone.send_to_addr(b"x", &name).unwrap_err().kind());
    let_them_wait(on);
    free.set_write_deadline(Some(Instant::now())).unwrap();
    assert_eq!(sender.join(), ErrorKind::TimedOut);
}

/// Has the runtime's worker sleep, and gives how often it woke up while `f` ran.
fn wakes_during(runtime: &gthread::Runtime, f: impl FnOnce()) -> u64 {
    std::thread::sleep(Duration::from_millis(20));
    let before = runtime.metrics().sleeps;
    f();
    runtime.metrics().sleeps - before
}

/// Go#17249: a thread that waits to read is not disturbed by what others send at the same socket.
#[test]
fn lesson_7_no_wakes_when_the_peer_takes_what_is_sent() {
    if !is_child() {
        return assert_passed(&rerun!("lesson_7_no_wakes_when_the_peer_takes_what_is_sent", &[]));
    }
    watchdog(LIMIT, || {
        const MESSAGES: u64 = 2000;
        let runtime = runtime(1);
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let sends = std_net::UnixDatagram::from(ours.as_fd().try_clone_to_owned().unwrap());
        let reader = runtime.spawn(move || ours.recv(&mut [0; 4]).unwrap());
        let takes = std_net::UnixDatagram::from(theirs);
        let wakes = wakes_during(&runtime, || {
            for _ in 0..MESSAGES {
                sends.send(b"x").unwrap();
                takes.recv(&mut [0; 4]).unwrap();
            }
        });
        assert!(wakes < MESSAGES / 10, "{wakes} wakes for datagrams");
        takes.send(b"end").unwrap();
        assert_eq!(reader.join().unwrap(), 3);

        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut sends = std_net::UnixStream::from(ours.as_fd().try_clone_to_owned().unwrap());
        let reader = runtime.spawn(move || (&ours).read(&mut [0; 4]).unwrap());
        let mut takes = std_net::UnixStream::from(theirs);
        let wakes = wakes_during(&runtime, || {
            for _ in 0..MESSAGES {
                sends.write_all(b"x").unwrap();
                takes.read_exact(&mut [0]).unwrap();
            }
        });
        assert!(wakes < MESSAGES / 10, "{wakes} wakes for bytes");
        takes.write_all(b"end").unwrap();
        assert_eq!(reader.join().unwrap(), 3);
    });
}

/// tokio#5866, mio#933: all data comes before the end, and the other direction stays.
fn lesson_8_half_closed_gives_all_data_before_the_end(on: Way) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let writer = on.spawn(move || {
        (&ours).write_all(&[1; 500_000]).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        (&ours).read_to_end(&mut back).unwrap();
        back
    });
    let mut all = Vec::new();
    (&theirs).read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), 500_000);
    for _ in 0..3 {
        assert_eq!((&theirs).read(&mut [0; 8]).unwrap(), 0);
    }
    // More than the buffer holds, while the end of the other direction is known.
    (&theirs).write_all(&[2; 1 << 20]).unwrap();
    drop(theirs);
    assert_eq!(writer.join().len(), 1 << 20);
}

/// netty#4325: a connection that is half-closed, and whose other direction waits, is no busy loop.
#[test]
fn lesson_8_half_closed_is_no_busy_loop() {
    if !is_child() {
        return assert_passed(&rerun!("lesson_8_half_closed_is_no_busy_loop", &[]));
    }
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let ours = Arc::new(ours);
        theirs.shutdown(Shutdown::Write).unwrap();
        let reads = Arc::clone(&ours);
        assert_eq!(runtime.run(move || (&*reads).read(&mut [0; 4]).unwrap()), 0);
        fill(&ours);
        let writes = Arc::clone(&ours);
        let writer = runtime.spawn(move || (&*writes).write(b"x").unwrap_err().kind());
        std::thread::sleep(Duration::from_millis(20));
        let before = cpu_time();
        std::thread::sleep(Duration::from_millis(400));
        let used = cpu_time() - before;
        assert!(used < Duration::from_millis(200), "{used:?} of 400 ms");
        drop(theirs);
        assert_eq!(writer.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

/// mio#361, tokio-core#172.
fn lesson_10_a_number_that_is_used_again_gets_no_stale_events(on: Way) {
    let mut kept = Vec::new();
    for round in 0..50 {
        let (ours, theirs) = UnixStream::pair().unwrap();
        // Registered, and kept open by a duplicate that the kernel would report.
        ours.set_read_timeout(Some(Duration::from_micros(1))).unwrap();
        assert_eq!((&ours).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        let duplicate = ours.as_fd().try_clone_to_owned().unwrap();
        drop(ours);
        let (again, mut peer) = UnixStream::pair().unwrap();
        (&theirs).write_all(b"stale").unwrap();
        let reader = on.spawn(move || {
            let mut buf = [0; 8];
            let read = (&again).read(&mut buf).unwrap();
            buf[..read].to_vec()
        });
        if round % 2 == 0 {
            let_them_wait(on);
        }
        (&theirs).write_all(b"staler").unwrap();
        peer.write_all(b"new").unwrap();
        assert_eq!(reader.join(), b"new");
        kept.push((duplicate, theirs));
        if kept.len() > 5 {
            kept.clear();
        }
    }
}

/// Go#7970, gevent#26, gevent#34.
fn lesson_11_shutdown_wakes_threads_that_wait(on: Way) {
    for how in [Shutdown::Read, Shutdown::Write, Shutdown::Both] {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        fill(&ours);
        let clone = ours.try_clone().unwrap();
        let ours = Arc::new(ours);
        let (same, same_too) = (Arc::clone(&ours), Arc::clone(&ours));
        let mut readers = Vec::new();
        let mut writers = Vec::new();
        if how != Shutdown::Write {
            let clone = clone.try_clone().unwrap();
            readers.push(on.spawn(move || (&*same).read(&mut [0; 4]).unwrap()));
            readers.push(on.spawn(move || (&clone).read(&mut [0; 4]).unwrap()));
        }
        if how != Shutdown::Read {
            writers.push(on.spawn(move || (&*same_too).write(b"x").unwrap_err().kind()));
            writers.push(on.spawn(move || (&clone).write(b"x").unwrap_err().kind()));
        }
        let_them_wait(on);
        ours.shutdown(how).unwrap();
        readers.into_iter().for_each(|reader| assert_eq!(reader.join(), 0));
        for writer in writers {
            assert_eq!(writer.join(), ErrorKind::BrokenPipe);
        }
    }
    let (one, other) = UnixDatagram::pair().unwrap();
    one.set_nonblocking(true).unwrap();
    while one.send(&[0; 1 << 12]).is_ok() {}
    one.set_nonblocking(false).unwrap();
    let (one, clone) = (Arc::new(one.try_clone().unwrap()), one);
    let same = Arc::clone(&one);
    let receiver = on.spawn(move || clone.recv(&mut [0; 4]).unwrap());
    let sender = on.spawn(move || same.send(&[0; 1 << 12]).unwrap_err().kind());
    let_them_wait(on);
    one.shutdown(Shutdown::Both).unwrap();
    assert_eq!(receiver.join(), 0);
    let (len, from) = one.recv_from(&mut [0; 4]).unwrap();
    assert!(len == 0 && from.is_unnamed());
    assert_eq!(sender.join(), ErrorKind::BrokenPipe);
    drop(other);
}

/// libmill#132: by reference and by clones.
fn lesson_12_two_readers_and_a_writer(on: Way) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let clone = theirs.try_clone().unwrap();
    let theirs = Arc::new(theirs);
    let readers: Vec<_> = [Arc::clone(&theirs), Arc::clone(&theirs), Arc::new(clone)]
        .into_iter()
        .map(|stream| {
            on.spawn(move || {
                let (mut sum, mut buf) = (0, [0; 3]);
                loop {
                    match (&*stream).read(&mut buf).unwrap() {
                        0 => break sum,
                        read => sum += read,
                    }
                }
            })
        })
        .collect();
    let back = on.spawn(move || (&*theirs).write_all(&[3; 400_000]).unwrap());
    let writer = on.spawn({
        let ours = ours.try_clone().unwrap();
        move || {
            for _ in 0..500 {
                (&ours).write_all(b"0123456789").unwrap();
                on.yield_now();
            }
            ours.shutdown(Shutdown::Write).unwrap();
        }
    });
    let mut all = vec![0; 400_000];
    (&ours).read_exact(&mut all).unwrap();
    assert!(all.iter().all(|&byte| byte == 3));
    writer.join();
    back.join();
    assert_eq!(readers.into_iter().map(|reader| reader.join()).sum::<usize>(), 5000);
}

/// Go#24942, gevent#178, node#42826: neither to raw descriptors nor to children.
fn lesson_13_nonblocking_never_leaks(on: Way) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (one, other) = UnixDatagram::pair().unwrap();
    let addr = some_addr();
    let listener = UnixListener::bind_addr(&addr).unwrap();
    // All have waited.
    let waits = on.spawn(move || {
        (&theirs).read_exact(&mut [0; 1]).unwrap();
        other.recv(&mut [0; 1]).unwrap();
        let accepted = listener.accept().unwrap().0;
        (theirs, other, listener, accepted)
    });
    let_them_wait(on);
    (&ours).write_all(b"x").unwrap();
    let_them_wait(on);
    one.send(b"x").unwrap();
    let_them_wait(on);
    let client = UnixStream::connect_addr(&addr).unwrap();
    let (theirs, other, listener, accepted) = waits.join();
    assert!(!is_nonblocking(&ours) && !is_nonblocking(&theirs) && !is_nonblocking(&client));
    assert!(!is_nonblocking(&one) && !is_nonblocking(&other) && !is_nonblocking(&accepted));
    let fd: OwnedFd = UnixListener::into(listener.try_clone().unwrap());
    assert!(!is_nonblocking(&fd));
    drop(fd);
    let of_child = |fd: OwnedFd| {
        let mut command = Command::new("cat");
        let output = command.arg("/proc/self/fdinfo/0").stdin(Stdio::from(fd)).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_NONBLOCK != 0
    };
    let fds = [theirs.into(), other.into(), listener.into(), accepted.into(), client.into()];
    assert_eq!(gthread::blocking(|| fds.map(of_child)), [false; 5]);
}

/// A thread that has gone on to another OS thread reads the error of its own call.
#[test]
fn errors_after_a_wait_that_moved() {
    watchdog(LIMIT, || {
        runtime(4).run(|| {
            let peers: Vec<_> = (0..200)
                .map(|_| {
                    gthread::go!(|| {
                        let (ours, theirs) = UnixStream::pair().unwrap();
                        let clone = ours.try_clone().unwrap();
                        fill(&ours);
                        let writer = gthread::go!(move || (&ours).write(b"x").unwrap_err());
                        gthread::yield_now();
                        drop(theirs);
                        assert_eq!(writer.join().unwrap().raw_os_error(), Some(libc::EPIPE));
                        drop(clone);
                    })
                })
                .collect();
            peers.into_iter().for_each(|peer| peer.join().unwrap());
        });
    });
}

/// A runtime that is dropped leaves the sockets to others.
#[test]
fn runtimes_come_and_go() {
    watchdog(LIMIT, || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (ours, theirs) = (Arc::new(ours), Arc::new(theirs));
        for round in 0..10u8 {
            let doomed = runtime(1);
            let reads = Arc::clone(&theirs);
            doomed.spawn(move || (&*reads).read(&mut [0; 4]));
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            drop(doomed);
            let theirs = Arc::clone(&theirs);
            let reader = runtime(1).run(|| {
                let reader = gthread::go!(move || {
                    let mut buf = [0; 4];
                    (&*theirs).read_exact(&mut buf).unwrap();
                    buf
                });
                (&*ours).write_all(&[round; 4]).unwrap();
                reader.join().unwrap()
            });
            assert_eq!(reader, [round; 4]);
        }
    });
}

#[test]
fn one_that_waits_on_an_os_thread_is_served_without_green_threads() {
    if !is_child() {
        let name = "one_that_waits_on_an_os_thread_is_served_without_green_threads";
        return assert_passed(&rerun!(name, &[]));
    }
    watchdog(LIMIT, || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let served = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&served);
        let reader = std::thread::spawn(move || {
            while (&theirs).read(&mut [0; 4]).unwrap() > 0 {
                counts.fetch_add(1, Ordering::SeqCst);
            }
        });
        for n in 1..=3 {
            std::thread::sleep(Duration::from_millis(5));
            (&ours).write_all(b"x").unwrap();
            until(|| served.load(Ordering::SeqCst) == n);
        }
        drop(ours);
        reader.join().unwrap();
    });
}

/// As std's types have them.
#[test]
fn traits_are_those_of_std() {
    fn has<T>()
    where
        T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug,
        T: AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd>,
    {
    }
    fn is_stream<T: Read + Write>() {}
    has::<UnixStream>();
    has::<UnixListener>();
    has::<UnixDatagram>();
    is_stream::<UnixStream>();
    is_stream::<&UnixStream>();
    fn iterates<T: Iterator<Item = io::Result<UnixStream>> + Debug + Send + Sync + UnwindSafe>() {}
    iterates::<Incoming<'_>>();
}
