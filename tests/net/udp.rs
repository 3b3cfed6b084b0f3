//! UDP: what std promises, from green and OS threads, and what is beyond std.

use std::fmt::Debug;
use std::io::{self, ErrorKind};
use std::net::{self as std_net, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::net::UdpSocket;
use gthread_tests::{LIMIT, Way, assert_passed, every_way, is_child, rerun, runtime, watchdog};

every_way!(
    datagrams_go_both_ways,
    addresses_of_all_kinds,
    a_connected_socket_hears_its_peer_alone,
    nobody_there,
    options_are_those_of_std,
    multicast_is_as_in_std,
    errors_are_those_of_std,
    timeouts_say_would_block_and_deadlines_timed_out,
    a_deadline_wakes_threads_that_wait,
    non_blocking_is_honoured_and_shared,
    what_the_kernel_has_is_taken_over_and_given_back,
    empty_and_long_datagrams,
    a_send_waits_for_room,
    many_clients,
    lesson_10_a_number_that_is_used_again_gets_no_stale_events,
    lesson_11_shutdown_wakes_threads_that_wait,
    lesson_12_two_readers_and_a_writer,
    lesson_13_nonblocking_never_leaks,
    lesson_27_a_peek_that_waits_loses_nothing,
);

const LOCAL: &str = "127.0.0.1:0";

fn bind() -> UdpSocket {
    UdpSocket::bind(LOCAL).unwrap()
}

/// Two that are connected to each other.
fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (bind(), bind());
    one.connect(other.local_addr().unwrap()).unwrap();
    other.connect(one.local_addr().unwrap()).unwrap();
    (one, other)
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

fn datagrams_go_both_ways(on: Way) {
    let server = bind();
    let addr = server.local_addr().unwrap();
    let echo = on.spawn(move || {
        let mut buf = [0; 2000];
        for _ in 0..100 {
            let (peeked, peeked_from) = server.peek_from(&mut buf).unwrap();
            let (len, from) = server.recv_from(&mut buf).unwrap();
            assert_eq!((peeked, peeked_from), (len, from));
            assert_eq!(server.send_to(&buf[..len], from).unwrap(), len);
        }
    });
    let client = bind();
    let mut buf = [0; 2000];
    for n in 1..=100 {
        assert_eq!(client.send_to(&vec![n as u8; n * 10], addr).unwrap(), n * 10);
        assert_eq!(client.recv_from(&mut buf).unwrap(), (n * 10, addr));
        assert!(buf[..n * 10].iter().all(|&byte| byte == n as u8));
    }
    echo.join();
}

fn addresses_of_all_kinds(on: Way) {
    let server = bind();
    let port = server.local_addr().unwrap().port();
    let addr = server.local_addr().unwrap();
    let client = bind();
    client.send_to(b"1", addr).unwrap();
    client.send_to(b"2", ("127.0.0.1", port)).unwrap();
    client.send_to(b"3", (Ipv4Addr::LOCALHOST, port)).unwrap();
    client.send_to(b"4", format!("127.0.0.1:{port}")).unwrap();
    client.send_to(b"5", &[addr, "127.0.0.1:1".parse().unwrap()][..]).unwrap();
    let by_reference = &addr;
    client.send_to(b"6", by_reference).unwrap();
    let receiver = on.spawn(move || {
        let mut all = Vec::new();
        for _ in 0..6 {
            let mut byte = [0];
            assert_eq!(server.recv(&mut byte).unwrap(), 1);
            all.push(byte[0]);
        }
        all
    });
    assert_eq!(receiver.join(), b"123456");
    // The first that can be bound, or set, is taken.
    let far: SocketAddr = "192.0.2.1:9".parse().unwrap();
    let bound = UdpSocket::bind(&[far, LOCAL.parse().unwrap()][..]).unwrap();
    assert!(bound.local_addr().unwrap().ip().is_loopback());
    let six: SocketAddr = (Ipv6Addr::LOCALHOST, 9).into();
    bound.connect(&[six, addr][..]).unwrap();
    assert_eq!(bound.peer_addr().unwrap(), addr);

    let Ok(six) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return println!("this system has no IPv6");
    };
    let addr = six.local_addr().unwrap();
    let receiver = on.spawn(move || six.recv_from(&mut [0; 4]).unwrap().1);
    let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V6(addr) = addr else { panic!("{addr}") };
    let labelled = SocketAddrV6::new(*addr.ip(), addr.port(), 7, addr.scope_id());
    client.send_to(b"x", labelled).unwrap();
    assert_eq!(receiver.join(), client.local_addr().unwrap());
}

fn a_connected_socket_hears_its_peer_alone(on: Way) {
    let (one, other) = pair();
    let stranger = bind();
    assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
    let receiver = on.spawn(move || {
        let mut buf = [0; 16];
        let len = other.recv(&mut buf).unwrap();
        (buf[..len].to_vec(), other.local_addr().unwrap())
    });
    let_them_wait(on);
    stranger.send_to(b"stranger", one.peer_addr().unwrap()).unwrap();
    assert_eq!(one.send(b"friend").unwrap(), 6);
    assert_eq!(receiver.join(), (b"friend".to_vec(), one.peer_addr().unwrap()));
}

/// What an earlier datagram met is the error of the next call, and wakes a receiver that waits.
fn nobody_there(on: Way) {
    let (one, other) = pair();
    let one = Arc::new(one);
    let same = Arc::clone(&one);
    let receiver = on.spawn(move || same.recv(&mut [0; 4]).unwrap_err().kind());
    let_them_wait(on);
    drop(other);
    one.send(b"x").unwrap();
    assert_eq!(receiver.join(), ErrorKind::ConnectionRefused);
    one.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    assert_eq!(one.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

fn options_are_those_of_std(_: Way) {
    let socket = bind();
    let std_socket = std_net::UdpSocket::bind(LOCAL).unwrap();
    socket.set_broadcast(true).unwrap();
    assert!(socket.broadcast().unwrap());
    socket.set_broadcast(false).unwrap();
    assert!(!socket.broadcast().unwrap());
    socket.set_ttl(42).unwrap();
    assert_eq!(socket.ttl().unwrap(), 42);
    socket.set_multicast_ttl_v4(7).unwrap();
    assert_eq!(socket.multicast_ttl_v4().unwrap(), 7);
    socket.set_multicast_loop_v4(false).unwrap();
    assert!(!socket.multicast_loop_v4().unwrap());
    same("v6", socket.multicast_loop_v6(), std_socket.multicast_loop_v6());
    same("v6", socket.set_multicast_loop_v6(true), std_socket.set_multicast_loop_v6(true));
    assert!(socket.take_error().unwrap().is_none());
    let long = Some(Duration::from_secs(15_410));
    socket.set_read_timeout(long).unwrap();
    socket.set_write_timeout(Some(Duration::MAX)).unwrap();
    assert_eq!(socket.try_clone().unwrap().read_timeout().unwrap(), long);
    assert!(socket.write_timeout().unwrap().is_some());
    let text = format!("{socket:?}");
    assert_eq!(text, format!("{:?}", std_net::UdpSocket::from(socket)));
}

fn multicast_is_as_in_std(on: Way) {
    let (socket, std_socket) = (bind(), std_net::UdpSocket::bind(LOCAL).unwrap());
    let (group, local) = (Ipv4Addr::new(224, 0, 0, 251), Ipv4Addr::LOCALHOST);
    let joined = socket.join_multicast_v4(&group, &local);
    let joins = joined.is_ok();
    same("join", joined, std_socket.join_multicast_v4(&group, &local));
    same(
        "leave",
        socket.leave_multicast_v4(&group, &local),
        std_socket.leave_multicast_v4(&group, &local),
    );
    same(
        "leave",
        socket.leave_multicast_v4(&group, &local),
        std_socket.leave_multicast_v4(&group, &local),
    );
    let group_six = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
    same(
        "six",
        socket.join_multicast_v6(&group_six, 1),
        std_socket.join_multicast_v6(&group_six, 1),
    );
    same(
        "six",
        socket.leave_multicast_v6(&group_six, 1),
        std_socket.leave_multicast_v6(&group_six, 1),
    );
    if !joins {
        return println!("this system has no multicast");
    }
    let everywhere = UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = everywhere.local_addr().unwrap().port();
    everywhere.join_multicast_v4(&group, &local).unwrap();
    let receiver = on.spawn(move || everywhere.recv_from(&mut [0; 16]).unwrap());
    let_them_wait(on);
    match socket.send_to(b"to all", (group, port)) {
        Ok(6) => assert_eq!(receiver.join(), (6, socket.local_addr().unwrap())),
        other => {
            println!("this system sends no multicasts: {other:?}");
            socket.send_to(b"to one", ("127.0.0.1", port)).unwrap();
            receiver.join();
        }
    }
}

/// Asserts that two results say the same, as far as errors go.
#[track_caller]
fn same<T, U>(what: impl Debug, ours: io::Result<T>, std: io::Result<U>) {
    let of = |error: io::Error| (error.kind(), error.raw_os_error());
    assert_eq!(ours.map(drop).map_err(of), std.map(drop).map_err(of), "{what:?}");
}

fn errors_are_those_of_std(_: Way) {
    let (socket, std_socket) = (bind(), std_net::UdpSocket::bind(LOCAL).unwrap());
    let none: &[SocketAddr] = &[];
    same("none", UdpSocket::bind(none), std_net::UdpSocket::bind(none));
    same("none", socket.connect(none), std_socket.connect(none));
    same("none", socket.send_to(b"x", none), std_socket.send_to(b"x", none));
    for text in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "256.0.0.1.:1"] {
        let of = |error: io::Error| error.kind();
        let (ours, std) = (UdpSocket::bind(text), std_net::UdpSocket::bind(text));
        assert_eq!(ours.map(drop).map_err(of), std.map(drop).map_err(of), "{text}");
    }
    let taken = socket.local_addr().unwrap();
    same("taken", UdpSocket::bind(taken), std_net::UdpSocket::bind(taken));
    let six: SocketAddr = (Ipv6Addr::LOCALHOST, 9).into();
    same("other family", socket.send_to(b"x", six), std_socket.send_to(b"x", six));
    same("other family", socket.connect(six), std_socket.connect(six));
    same(
        "broadcast",
        socket.send_to(b"x", "255.255.255.255:9"),
        std_socket.send_to(b"x", "255.255.255.255:9"),
    );
    same("port 0", socket.send_to(b"x", "127.0.0.1:0"), std_socket.send_to(b"x", "127.0.0.1:0"));
    same("no peer", socket.send(b"x"), std_socket.send(b"x"));
    same("no peer", socket.peer_addr(), std_socket.peer_addr());
    let long = vec![0; 1 << 17];
    same("long", socket.send_to(&long, taken), std_socket.send_to(&long, taken));
    let zero = Some(Duration::ZERO);
    same("zero", socket.set_read_timeout(zero), std_socket.set_read_timeout(zero));
    same("zero", socket.set_write_timeout(zero), std_socket.set_write_timeout(zero));
}

fn timeouts_say_would_block_and_deadlines_timed_out(on: Way) {
    let (one, other) = pair();
    let mut buf = [0; 4];
    let short = Duration::from_millis(5);
    other.set_read_timeout(Some(short)).unwrap();
    let start = Instant::now();
    assert_eq!(other.recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.peek(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.recv_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(other.peek_from(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(start.elapsed() >= 4 * short);
    // What is there is received all the same.
    one.send(b"ab").unwrap();
    assert_eq!(other.recv(&mut buf).unwrap(), 2);
    other.set_read_timeout(Some(Duration::from_secs(60 * 60 * 24 * 50))).unwrap();
    let sender = on.spawn(move || {
        let_them_wait(on);
        one.send(b"abc").unwrap();
        one
    });
    assert_eq!(other.recv(&mut buf).unwrap(), 3);
    let one = sender.join();
    other.set_read_deadline(Some(Instant::now() + short)).unwrap();
    assert_eq!(other.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(other.recv(&mut buf).unwrap_err().kind(), ErrorKind::TimedOut);
    other.set_deadline(None).unwrap();
    one.send(b"a").unwrap();
    assert_eq!(other.recv(&mut buf).unwrap(), 1);
    one.set_write_deadline(Some(Instant::now())).unwrap();
    assert_eq!(one.send(b"a").unwrap(), 1, "need not wait");
}

fn a_deadline_wakes_threads_that_wait(on: Way) {
    let socket = Arc::new(bind());
    let (same, clone) = (Arc::clone(&socket), socket.try_clone().unwrap());
    let peers = [
        on.spawn(move || same.recv(&mut [0; 4]).unwrap_err().kind()),
        on.spawn(move || clone.peek_from(&mut [0; 4]).unwrap_err().kind()),
    ];
    let_them_wait(on);
    socket.set_deadline(Some(Instant::now())).unwrap();
    for peer in peers {
        assert_eq!(peer.join(), ErrorKind::TimedOut);
    }
}

fn non_blocking_is_honoured_and_shared(on: Way) {
    let (one, other) = pair();
    let clone = other.try_clone().unwrap();
    other.set_nonblocking(true).unwrap();
    assert!(is_nonblocking(&clone));
    assert_eq!(clone.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert_eq!(clone.peek(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
    one.send(b"abc").unwrap();
    assert_eq!(clone.recv(&mut [0; 4]).unwrap(), 3);
    other.set_nonblocking(false).unwrap();
    let receiver = on.spawn(move || clone.recv(&mut [0; 4]).unwrap());
    let_them_wait(on);
    one.send(b"ab").unwrap();
    assert_eq!(receiver.join(), 2);
}

fn what_the_kernel_has_is_taken_over_and_given_back(on: Way) {
    let timeout = Some(Duration::from_secs(77));
    let (one, other) = pair();
    one.set_read_timeout(timeout).unwrap();
    let std_one = std_net::UdpSocket::from(one);
    assert_eq!(std_one.read_timeout().unwrap(), timeout);
    std_one.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let one = UdpSocket::from(std_one);
    assert_eq!(one.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    one.set_read_timeout(None).unwrap();
    let receiver = on.spawn(move || {
        let len = one.recv(&mut [0; 4]).unwrap();
        (one, len)
    });
    let_them_wait(on);
    other.send(b"abc").unwrap();
    let (one, len) = receiver.join();
    assert_eq!(len, 3);
    let std_one = std_net::UdpSocket::from(one);
    assert_eq!(std_one.read_timeout().unwrap(), None);
    std_one.set_nonblocking(true).unwrap();
    let one = UdpSocket::from(OwnedFd::from(std_one));
    assert_eq!(one.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    let fd = one.into_raw_fd();
    // SAFETY: the descriptor was given up just now.
    let one = unsafe { UdpSocket::from_raw_fd(fd) };
    assert_eq!((one.as_raw_fd(), one.as_fd().as_raw_fd()), (fd, fd));
    one.set_nonblocking(false).unwrap();
    let fd = OwnedFd::from(one);
    assert!(!is_nonblocking(&fd));
}

fn empty_and_long_datagrams(on: Way) {
    let (one, other) = pair();
    let receiver = on.spawn(move || {
        let mut buf = [0; 4];
        let lens = [(); 3].map(|()| other.recv(&mut buf).unwrap());
        let (len, from) = other.recv_from(&mut buf).unwrap();
        (lens, len, from)
    });
    let_them_wait(on);
    for bytes in [&b""[..], b"ab", b"abcdef", b""] {
        assert_eq!(one.send(bytes).unwrap(), bytes.len());
    }
    assert_eq!(receiver.join(), ([0, 2, 4], 0, one.local_addr().unwrap()));
}

/// Datagrams stay in the sender's buffer only until the device has sent them, so it is hard to have
/// it full. Many large ones at once are sent all the same.
fn a_send_waits_for_room(on: Way) {
    const EACH: usize = 300;
    let receiver = bind();
    let addr = receiver.local_addr().unwrap();
    let sender = Arc::new(bind());
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let sender = Arc::clone(&sender);
            on.spawn(move || {
                for _ in 0..EACH {
                    assert_eq!(sender.send_to(&[0; 40_000], addr).unwrap(), 40_000);
                }
            })
        })
        .collect();
    senders.into_iter().for_each(|sender| sender.join());
    // Most are lost.
    assert_eq!(receiver.recv(&mut [0; 50_000]).unwrap(), 40_000);
}

fn many_clients(on: Way) {
    const CLIENTS: usize = 30;
    const ROUNDS: usize = 50;
    let server = bind();
    let addr = server.local_addr().unwrap();
    let echo = on.spawn(move || {
        let mut buf = [0; 64];
        loop {
            let (len, from) = server.recv_from(&mut buf).unwrap();
            if len == 0 {
                break;
            }
            server.send_to(&buf[..len], from).unwrap();
        }
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            on.spawn(move || {
                let socket = bind();
                socket.connect(addr).unwrap();
                socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                for round in 0..ROUNDS {
                    let message = [(client + round) as u8; 8];
                    let mut answer = [0; 8];
                    loop {
                        socket.send(&message).unwrap();
                        // The kernel may lose some. Late answers come twice.
                        match socket.recv(&mut answer) {
                            Ok(8) if answer == message => break,
                            Ok(_) => {}
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                    }
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join());
    bind().send_to(b"", addr).unwrap();
    echo.join();
}

/// Go#17249: a thread that waits to receive is not disturbed by what others send at the same
/// socket.
#[test]
fn lesson_7_sending_wakes_nobody() {
    if !is_child() {
        return assert_passed(&rerun!("lesson_7_sending_wakes_nobody", &[]));
    }
    watchdog(LIMIT, || {
        const MESSAGES: u64 = 2000;
        let runtime = runtime(1);
        let socket = bind();
        let duplicate = socket.as_fd().try_clone_to_owned().unwrap();
        let sends = std_net::UdpSocket::from(duplicate);
        let takes = std_net::UdpSocket::bind(LOCAL).unwrap();
        let (addr, back) = (takes.local_addr().unwrap(), socket.local_addr().unwrap());
        let receiver = runtime.spawn(move || socket.recv(&mut [0; 4]).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        let before = runtime.metrics().sleeps;
        for _ in 0..MESSAGES {
            sends.send_to(b"x", addr).unwrap();
            takes.recv(&mut [0; 4]).unwrap();
        }
        let wakes = runtime.metrics().sleeps - before;
        assert!(wakes < MESSAGES / 10, "{wakes} wakes");
        takes.send_to(b"end", back).unwrap();
        assert_eq!(receiver.join().unwrap(), 3);
    });
}

/// mio#361, tokio-core#172.
fn lesson_10_a_number_that_is_used_again_gets_no_stale_events(on: Way) {
    let sender = bind();
    let mut kept = Vec::new();
    for round in 0..40 {
        let old = bind();
        let stale = old.local_addr().unwrap();
        old.set_read_timeout(Some(Duration::from_micros(1))).unwrap();
        assert_eq!(old.recv(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
        kept.push(old.as_fd().try_clone_to_owned().unwrap());
        drop(old);
        let new = bind();
        let fresh = new.local_addr().unwrap();
        sender.send_to(b"stale", stale).unwrap();
        let receiver = on.spawn(move || new.recv(&mut [0; 8]).unwrap());
        if round % 2 == 0 {
            let_them_wait(on);
        }
        sender.send_to(b"stale", stale).unwrap();
        sender.send_to(b"new", fresh).unwrap();
        assert_eq!(receiver.join(), 3);
        if kept.len() > 5 {
            kept.clear();
        }
    }
}

/// Go#7970, gevent#26, gevent#34: by the descriptor, as there is no other way in std either.
fn lesson_11_shutdown_wakes_threads_that_wait(on: Way) {
    let (one, _other) = pair();
    let (one, clone) = (Arc::new(one.try_clone().unwrap()), one);
    let same = Arc::clone(&one);
    let receivers = [
        on.spawn(move || same.recv(&mut [0; 4]).unwrap()),
        on.spawn(move || clone.peek(&mut [0; 4]).unwrap()),
    ];
    let_them_wait(on);
    // SAFETY: it shuts down a socket that is open.
    assert_eq!(unsafe { libc::shutdown(one.as_raw_fd(), libc::SHUT_RD) }, 0);
    receivers.into_iter().for_each(|receiver| assert_eq!(receiver.join(), 0));
    assert_eq!(one.recv(&mut [0; 4]).unwrap(), 0);
    one.set_nonblocking(true).unwrap();
    assert_eq!(one.recv(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// libmill#132: by reference and by clones.
fn lesson_12_two_readers_and_a_writer(on: Way) {
    const DATAGRAMS: usize = 400;
    let (one, other) = pair();
    let clone = other.try_clone().unwrap();
    let other = Arc::new(other);
    let received = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = [Arc::clone(&other), Arc::clone(&other), Arc::new(clone)]
        .into_iter()
        .map(|socket| {
            let received = Arc::clone(&received);
            on.spawn(move || {
                while socket.recv(&mut [0; 4]).unwrap() > 0 {
                    received.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let back = on.spawn(move || {
        for _ in 0..50 {
            other.send(b"back").unwrap();
        }
    });
    for n in 1..=DATAGRAMS {
        one.send(b"x").unwrap();
        // So few at once that none is lost.
        on.until(|| received.load(Ordering::SeqCst) + 20 > n);
    }
    back.join();
    for _ in 0..50 {
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 4);
    }
    on.until(|| received.load(Ordering::SeqCst) == DATAGRAMS);
    for _ in &readers {
        one.send(b"").unwrap();
    }
    readers.into_iter().for_each(|reader| reader.join());
}

/// Go#24942, gevent#178, node#42826.
fn lesson_13_nonblocking_never_leaks(on: Way) {
    let (one, other) = pair();
    let receiver = on.spawn(move || {
        other.recv(&mut [0; 4]).unwrap();
        other
    });
    let_them_wait(on);
    one.send(b"x").unwrap();
    let other = receiver.join();
    assert!(!is_nonblocking(&one) && !is_nonblocking(&other));
    assert!(!is_nonblocking(&OwnedFd::from(other)));
}

/// mio 1.1.0: a peek that finds nothing leaves the socket to be woken, and one that finds something
/// leaves it there.
fn lesson_27_a_peek_that_waits_loses_nothing(on: Way) {
    let (one, other) = pair();
    let peeks = on.spawn(move || {
        let mut buf = [0; 4];
        for n in 1..=3 {
            assert_eq!(other.peek(&mut buf).unwrap(), n);
            assert_eq!(other.peek_from(&mut buf).unwrap().0, n);
            other.set_nonblocking(true).unwrap();
            assert_eq!(other.peek(&mut buf).unwrap(), n);
            other.set_nonblocking(false).unwrap();
            assert_eq!(other.recv(&mut buf).unwrap(), n);
            other.set_nonblocking(true).unwrap();
            let nothing = other.peek(&mut buf).map_err(|error| error.kind());
            other.set_nonblocking(false).unwrap();
            assert_eq!(nothing, Err(ErrorKind::WouldBlock));
            other.send(b"go on").unwrap();
        }
    });
    for n in 1..=3 {
        let_them_wait(on);
        one.send(&[0; 3][..n]).unwrap();
        assert_eq!(one.recv(&mut [0; 8]).unwrap(), 5);
    }
    peeks.join();
}

/// As std's type has them.
#[test]
fn traits_are_those_of_std() {
    fn has<T>()
    where
        T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug,
        T: AsFd + AsRawFd + IntoRawFd + FromRawFd + From<OwnedFd> + Into<OwnedFd>,
        T: From<std_net::UdpSocket> + Into<std_net::UdpSocket>,
    {
    }
    has::<UdpSocket>();
}
