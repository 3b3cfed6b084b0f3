//! Look-ups of names, and dialing.
//!
//! This binary's `getaddrinfo` stands before libc's: names that begin with `slow-` take a while, names
//! that begin with `gated-` wait for a gate, and names that end with `.loopback` are addresses of this
//! machine.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::{self, ErrorKind, Read, Write};
use std::mem::transmute;
use std::net::{
    self as std_net, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use gthread::context::{self, Context};
use gthread::net::{Dialer, TcpListener, TcpStream, ToSocketAddrs, lookup_host};
use gthread::{Builder, go, testing};
use gthread_tests::{LIMIT, LONG, SHORT, os_threads, runtime, watchdog, yield_until};

// ---- a resolver -------------------------------------------------------------------------------

/// How long a slow name takes.
const SLOW: Duration = Duration::from_millis(30);

/// How many wait at the gate, and whether it is open.
static GATE: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
static MOST_IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const libc::addrinfo,
    *mut *mut libc::addrinfo,
) -> c_int;

fn libcs_getaddrinfo() -> GetAddrInfo {
    // SAFETY: the name ends with a NUL, and libc has a function of this name and type.
    unsafe {
        let found = libc::dlsym(libc::RTLD_NEXT, c"getaddrinfo".as_ptr());
        assert!(!found.is_null());
        transmute::<*mut c_void, GetAddrInfo>(found)
    }
}

/// See the head of this file.
///
/// # Safety
///
/// As for libc's.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
) -> c_int {
    // SAFETY: the caller passes a string that ends with a NUL; std never passes null.
    let name = unsafe { CStr::from_ptr(node) }.to_string_lossy().into_owned();
    if name.starts_with("slow-") {
        let now = IN_FLIGHT.fetch_add(1, Ordering::SeqCst) + 1;
        MOST_IN_FLIGHT.fetch_max(now, Ordering::SeqCst);
        std::thread::sleep(SLOW);
        IN_FLIGHT.fetch_sub(1, Ordering::SeqCst);
    }
    if name.starts_with("gated-") {
        let mut gate = GATE.0.lock().unwrap();
        gate.0 += 1;
        drop(GATE.1.wait_while(gate, |(_, is_open)| !*is_open).unwrap());
    }
    let node = if name.ends_with(".loopback") { c"127.0.0.1".as_ptr() } else { node };
    // SAFETY: by this function's contract.
    unsafe { libcs_getaddrinfo()(node, service, hints, result) }
}

// ---- conversions to addresses -----------------------------------------------------------------

fn everywhere(body: impl Fn() + Send + Sync) {
    watchdog(LIMIT, || {
        body();
        for workers in [1, 2] {
            runtime(workers).run(&body);
        }
    });
}

/// The same types convert, to the same addresses, or with the same errors.
#[test]
fn addresses_are_stds() {
    fn both<A: ToSocketAddrs + std_net::ToSocketAddrs + ?Sized>(addr: &A) {
        let ours = ToSocketAddrs::to_socket_addrs(addr);
        let stds = std_net::ToSocketAddrs::to_socket_addrs(addr);
        match (ours, stds) {
            (Ok(ours), Ok(stds)) => assert!(ours.eq(stds)),
            (Err(ours), Err(stds)) => {
                assert_eq!((ours.kind(), ours.to_string()), (stds.kind(), stds.to_string()));
            }
            (ours, stds) => panic!("{} is not {}", ours.is_ok(), stds.is_ok()),
        }
    }
    everywhere(|| {
        let (v4, v6) = (
            SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1),
            SocketAddrV6::new(Ipv6Addr::LOCALHOST, 2, 0, 0),
        );
        both(&v4);
        both(&v6);
        both(&SocketAddr::from(v4));
        both(&(IpAddr::from(*v6.ip()), 3));
        both(&(*v4.ip(), 4));
        both(&(*v6.ip(), 5));
        both(&&[SocketAddr::from(v4), SocketAddr::from(v6)][..]);
        both(&&&[SocketAddr::from(v4)][..]);
        // No names that would ask a resolver on the network.
        for host in ["127.0.0.1", "::1", "localhost", "name.loopback", "a\0b"] {
            both(&(host, 6));
            both(&(host.to_owned(), 7));
            both(&format!("{host}:8"));
        }
        for wrong in [
            "",
            ":",
            "127.0.0.1",
            "localhost",
            "localhost:",
            "localhost:x",
            "localhost:70000",
            "[::1]",
            "[::1]:1:2",
        ] {
            both(wrong);
            both(&&*wrong.to_owned());
        }
        both("[::1]:9");
        both("localhost:9");
    });
}

/// A type of the user's own converts too.
#[test]
fn types_of_users_convert() {
    struct Pair(SocketAddr, SocketAddr);
    impl ToSocketAddrs for Pair {
        type Iter = std::array::IntoIter<SocketAddr, 2>;
        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            Ok([self.0, self.1].into_iter())
        }
    }
    everywhere(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let pair = Pair(refusing(), listener.local_addr().unwrap());
        TcpStream::connect(&pair).unwrap();
        Dialer::new().connect(&pair).unwrap();
    });
}

#[test]
fn hosts_are_looked_up() {
    everywhere(|| {
        let soon = Some(Instant::now() + LONG);
        for deadline in [None, soon] {
            assert_eq!(lookup_host("name.loopback", deadline).unwrap(), [Ipv4Addr::LOCALHOST]);
            assert_eq!(lookup_host("::1", deadline).unwrap(), [Ipv6Addr::LOCALHOST]);
            assert!(lookup_host("a\0b", deadline).is_err());
        }
    });
}

#[test]
fn a_look_up_has_a_deadline() {
    everywhere(|| {
        let past = Instant::now();
        let error = lookup_host("slow-for-a-deadline.loopback", Some(past)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let later = Some(Instant::now() + LONG);
        let addrs = lookup_host("slow-but-in-time.loopback", later).unwrap();
        assert_eq!(addrs, [Ipv4Addr::LOCALHOST]);
    });
}

/// Go#63978, libco#122: neither workers nor memory for threads are used up.
#[test]
fn lesson_20_a_thousand_slow_look_ups() {
    const LOOK_UPS: usize = 1000;
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        let before = os_threads();
        runtime.run(|| {
            let look_ups: Vec<_> = (0..LOOK_UPS)
                .map(|n| {
                    let look_up = move || (format!("slow-{n}.loopback"), 80).to_socket_addrs();
                    Builder::new().queued(true).spawn(look_up).unwrap()
                })
                .collect();
            // Others run meanwhile.
            let mut turns = 0;
            let mut most_threads = 0;
            while !look_ups.iter().all(|look_up| look_up.is_finished()) {
                gthread::sleep(Duration::from_millis(1));
                turns += 1;
                most_threads = most_threads.max(os_threads());
            }
            for look_up in look_ups {
                let addrs = look_up.join().unwrap().unwrap();
                assert!(addrs.eq([SocketAddr::from(([127, 0, 0, 1], 80))]));
            }
            let rounds = LOOK_UPS / 64 * SLOW.as_millis() as usize;
            assert!(turns > rounds / 20, "{turns} turns in {rounds} ms");
            // Other tests have threads too.
            assert!(most_threads < before + 400, "{most_threads} OS threads");
        });
        let most = MOST_IN_FLIGHT.load(Ordering::SeqCst);
        assert!(most > 1, "one after the other");
        // Of this test 64; others look up a few slow names from OS threads.
        assert!(most <= 64 + 20, "{most} look-ups at once");
    });
}

/// Addresses do not go where names are looked up: they do not wait although all places are taken.
#[test]
fn what_needs_no_look_up_stays_on_the_worker() {
    const PLACES: usize = 64;
    watchdog(LIMIT, || {
        runtime(1).run(|| {
            let look_up = |n: usize| move || (format!("gated-{n}.loopback"), 80).to_socket_addrs();
            let queued = || Builder::new().queued(true);
            let look_ups: Vec<_> =
                (0..PLACES + 10).map(|n| queued().spawn(look_up(n)).unwrap()).collect();
            let waiting = || GATE.0.lock().unwrap().0;
            yield_until(|| waiting() >= PLACES);
            for _ in 0..100 {
                let addr = SocketAddr::from(([127, 0, 0, 1], 80));
                assert!(addr.to_socket_addrs().unwrap().eq([addr]));
                assert!("127.0.0.1:80".to_socket_addrs().unwrap().eq([addr]));
                assert!("127.0.0.1:80".to_owned().to_socket_addrs().unwrap().eq([addr]));
                assert!(("127.0.0.1", 80).to_socket_addrs().unwrap().eq([addr]));
                assert!(("127.0.0.1".to_owned(), 80).to_socket_addrs().unwrap().eq([addr]));
                assert_eq!(lookup_host("127.0.0.1", None).unwrap(), [addr.ip()]);
            }
            gthread::sleep(SHORT);
            assert_eq!(waiting(), PLACES, "more than there are places");
            // One that gives up while it waits for its place is not in the way of others.
            let soon = Instant::now() + SHORT;
            let error = lookup_host("gated-too-late.loopback", Some(soon)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            GATE.0.lock().unwrap().1 = true;
            GATE.1.notify_all();
            for look_up in look_ups {
                assert!(look_up.join().unwrap().unwrap().all(|addr| addr.ip().is_loopback()));
            }
            lookup_host("gated-afterwards.loopback", None).unwrap();
            assert_eq!(waiting(), PLACES + 11, "it asked although nobody waits");
        });
    });
}

// ---- dialing ----------------------------------------------------------------------------------

/// An address at which nobody listens, nor will soon.
fn refusing() -> SocketAddr {
    std_net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address that does not answer: the queue of its listener is full, so the kernel drops what comes.
struct BlackHole {
    addr: SocketAddr,
    listener: std_net::TcpListener,
    queued: Vec<std_net::TcpStream>,
}

impl BlackHole {
    fn new(ip: IpAddr) -> io::Result<Self> {
        let listener = std_net::TcpListener::bind((ip, 0))?;
        // SAFETY: the socket is open, and listens: this makes its queue as short as can be.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let addr = listener.local_addr()?;
        let mut queued = Vec::new();
        loop {
            match std_net::TcpStream::connect_timeout(&addr, Duration::from_millis(100)) {
                Ok(stream) => queued.push(stream),
                Err(error) if error.kind() == ErrorKind::TimedOut => break,
                Err(error) => return Err(error),
            }
            assert!(queued.len() < 100, "the queue has no end");
        }
        Ok(Self { addr, listener, queued })
    }

    fn v4() -> Self {
        Self::new(Ipv4Addr::LOCALHOST.into()).unwrap()
    }
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn a_dialer_connects() {
    everywhere(|| {
        let (listener, addr) = listen();
        let (ctx, _cancel) = Context::background().with_timeout(LONG);
        let dialers = [
            Dialer::new(),
            Dialer::new().timeout(LONG).deadline(Instant::now() + LONG),
            Dialer::new().timeout(Duration::MAX),
            Dialer::new().context(&ctx),
        ];
        for dialer in &dialers {
            let addrs = [refusing(), addr, refusing()];
            let streams = [
                dialer.connect(addr).unwrap(),
                dialer.connect(&addrs[..]).unwrap(),
                dialer.connect(("name.loopback", addr.port())).unwrap(),
            ];
            for mut stream in streams {
                let (mut peer, _) = listener.accept().unwrap();
                assert_eq!(stream.peer_addr().unwrap(), addr);
                stream.write_all(b"?").unwrap();
                let mut buf = [0];
                // It blocks, like any other.
                let answer = go!(move || {
                    peer.read_exact(&mut [0]).unwrap();
                    peer.write_all(b"!").unwrap();
                });
                stream.read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"!");
                answer.join().unwrap();
                // SAFETY: F_GETFL only reads, of a descriptor that is open.
                let flags = unsafe { libc::fcntl(stream.as_raw_fd(), libc::F_GETFL) };
                assert_eq!(flags & libc::O_NONBLOCK, 0);
            }
        }
    });
}

#[test]
fn options_are_set() {
    everywhere(|| {
        let (listener, addr) = listen();
        let plain = Dialer::new().connect(addr).unwrap();
        assert!(!plain.nodelay().unwrap());
        assert_eq!(option(&plain, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 0);

        // Its port is the system's choice.
        let local = SocketAddr::from(([127, 0, 0, 2], 0));
        let dialer =
            Dialer::new().nodelay(true).keepalive(Duration::from_secs(77)).local_addr(local);
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, addr.port()));
        let stream = dialer.connect(&[v6, addr][..]).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(option(&stream, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        assert_eq!(option(&stream, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 77);
        assert_eq!(option(&stream, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 77);
        assert_eq!(stream.local_addr().unwrap().ip(), local.ip());
        drop(listener.accept().unwrap());
        assert_eq!(listener.accept().unwrap().1.ip(), local.ip());
        assert_eq!(kind(dialer.connect(v6)), ErrorKind::InvalidInput);
    });
}

fn option(stream: &TcpStream, level: c_int, name: c_int) -> c_int {
    let mut value: c_int = -1;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which the value has.
    let result = unsafe {
        libc::getsockopt(stream.as_raw_fd(), level, name, (&raw mut value).cast(), &mut len)
    };
    assert_eq!(result, 0);
    value
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("an error").kind()
}

#[test]
fn errors_of_dialing() {
    everywhere(|| {
        let (ctx, _cancel) = Context::background().with_cancel();
        for dialer in [Dialer::new(), Dialer::new().timeout(LONG), Dialer::new().context(&ctx)] {
            assert_eq!(kind(dialer.connect(refusing())), ErrorKind::ConnectionRefused);
            let both = [refusing(), refusing()];
            assert_eq!(kind(dialer.connect(&both[..])), ErrorKind::ConnectionRefused);
            assert_eq!(kind(dialer.connect(&[][..])), ErrorKind::InvalidInput);
            assert_eq!(kind(dialer.connect("no port")), ErrorKind::InvalidInput);
            assert_eq!(kind(dialer.connect("a\0b:1")), ErrorKind::InvalidInput);
        }
        let zero = Dialer::new().timeout(Duration::ZERO);
        assert_eq!(kind(zero.connect(refusing())), ErrorKind::InvalidInput);
        let past = Dialer::new().deadline(Instant::now());
        assert_eq!(kind(past.connect(refusing())), ErrorKind::TimedOut);
    });
}

#[test]
fn dialing_times_out() {
    let holes = [BlackHole::v4(), BlackHole::v4()];
    let addrs = [holes[0].addr, holes[1].addr];
    everywhere(|| {
        let start = Instant::now();
        let timeout = Duration::from_millis(20);
        let (ctx, _cancel) = Context::background().with_cancel();
        let short = Dialer::new().timeout(timeout);
        for dialer in [short.clone(), short.context(&ctx), Dialer::new().deadline(start + timeout)]
        {
            assert_eq!(kind(dialer.connect(addrs[0])), ErrorKind::TimedOut);
            assert_eq!(kind(dialer.connect(&addrs[..])), ErrorKind::TimedOut);
        }
        assert!(start.elapsed() >= timeout);
        let slow = Dialer::new().timeout(SHORT);
        assert_eq!(kind(slow.connect("slow-to-dial.loopback:1")), ErrorKind::TimedOut);
    });
}

#[test]
fn dialing_is_cancelled() {
    let holes = [BlackHole::v4(), BlackHole::v4()];
    let addrs = [holes[0].addr, holes[1].addr];
    everywhere(|| {
        let (ctx, cancel) = Context::background().with_cancel();
        let dials = [
            go!({
                let dialer = Dialer::new().context(&ctx);
                move || dialer.connect(addrs[0]).unwrap_err()
            }),
            go!({
                let dialer = Dialer::new().context(&ctx).timeout(LONG);
                move || dialer.connect(&addrs[..]).unwrap_err()
            }),
            go!({
                let dialer = Dialer::new().context(&ctx);
                move || dialer.connect("slow-to-cancel.loopback:1").unwrap_err()
            }),
        ];
        gthread::sleep(SHORT);
        assert!(!dials[0].is_finished() && !dials[1].is_finished());
        cancel.cancel();
        for dial in dials {
            assert_ends(&dial.join().unwrap(), ErrorKind::Other, context::Error::Canceled);
        }
        let late = Dialer::new().context(&ctx).connect(addrs[0]).unwrap_err();
        assert_ends(&late, ErrorKind::Other, context::Error::Canceled);

        let (ctx, _cancel) = Context::background().with_timeout(SHORT);
        let late = Dialer::new().context(&ctx).connect(&addrs[..]).unwrap_err();
        assert_ends(&late, ErrorKind::TimedOut, context::Error::DeadlineExceeded);
    });
}

fn assert_ends(error: &io::Error, kind: ErrorKind, why: context::Error) {
    assert_eq!(error.kind(), kind);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<context::Error>());
    assert_eq!(inner, Some(&why), "{error}");
}

/// Whether it succeeds, fails or is given up, a dial leaves no thread that still waits.
#[test]
fn dialing_leaves_nothing_behind() {
    let (hole, (_listener, addr)) = (BlackHole::v4(), listen());
    watchdog(LIMIT, || {
        testing::check_leaks(|| {
            let addrs = [hole.addr, addr];
            Dialer::new().connect(&addrs[..]).unwrap();
            let short = Dialer::new().timeout(Duration::from_millis(20));
            assert_eq!(kind(short.connect(&[hole.addr, hole.addr][..])), ErrorKind::TimedOut);
            let (ctx, cancel) = Context::background().with_cancel();
            let dial = go!({
                let dialer = Dialer::new().context(&ctx);
                let hole = hole.addr;
                move || kind(dialer.connect(hole))
            });
            cancel.cancel();
            assert_eq!(dial.join().unwrap(), ErrorKind::Other);
        });
    });
}

/// fluux#532, hyper#1316: an IPv6 network that leads nowhere.
#[test]
fn lesson_22_the_second_address_is_tried_while_the_first_does_not_answer() {
    let hole = BlackHole::new(Ipv6Addr::LOCALHOST.into());
    // Where there is no IPv6, another IPv4 address will do.
    let hole = hole.or_else(|_| BlackHole::new(Ipv4Addr::new(127, 0, 0, 2).into())).unwrap();
    let (_listener, addr) = listen();
    everywhere(|| {
        let start = Instant::now();
        let stream = Dialer::new().connect(&[hole.addr, addr][..]).unwrap();
        let took = start.elapsed();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        assert!(took >= Duration::from_millis(250), "the first was not waited for: {took:?}");
        // Without, it takes the system more than two minutes.
        assert!(took < Duration::from_secs(10), "{took:?}");
        // One that fails is not waited for, nor one that comes after.
        let start = Instant::now();
        for addrs in [&[refusing(), refusing(), addr][..], &[addr, hole.addr]] {
            Dialer::new().timeout(LONG).connect(addrs).unwrap();
        }
        assert!(start.elapsed() < Duration::from_millis(250));
    });
}

/// The second address to be tried is of the other family, where it stands in the list.
#[test]
fn families_are_tried_in_turn() {
    let holes: Vec<_> = (0..6).map(|_| BlackHole::v4()).collect();
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return println!("no IPv6 here");
    };
    let last = listener.local_addr().unwrap();
    let addrs: Vec<_> = holes.iter().map(|hole| hole.addr).chain([last]).collect();
    everywhere(|| {
        let start = Instant::now();
        let stream = Dialer::new().connect(&addrs[..]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), last);
        let took = start.elapsed();
        assert!(took < Duration::from_millis(1500), "{took:?}: not the second");
    });
}

/// An address that answers late is still taken, if it is the first that does.
#[test]
fn the_first_may_win_after_all() {
    let hole = BlackHole::v4();
    watchdog(LIMIT, || {
        runtime(2).run(|| {
            let addr = hole.addr;
            let dial = go!(move || Dialer::new().timeout(LONG).connect(&[addr, addr][..]).unwrap());
            gthread::sleep(Duration::from_millis(400));
            assert!(!dial.is_finished());
            // Takes from its queue, so that the kernel hears the next attempt, within seconds.
            for _ in 0..hole.queued.len() {
                drop(hole.listener.accept().unwrap());
            }
            assert_eq!(dial.join().unwrap().peer_addr().unwrap(), addr);
        });
    });
}
