//! Somebody polls, whatever becomes of the workers and the runtimes.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gthread::go;
use gthread::net::{TcpListener, TcpStream};
use gthread::os::unix::net::UnixStream;
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, runtime, watchdog};

fn pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client.into(), server.into())
}

/// In a process without other runtimes, which would poll.
fn alone(name: &str, body: impl FnOnce()) {
    watchdog(LIMIT, || {
        if is_child() {
            return body();
        }
        assert_passed(&rerun(name, &[]));
    });
}

/// An OS thread waits, and the runtime that polled for it is dropped.
#[test]
fn an_os_thread_outlives_the_runtime_that_polls() {
    alone("poller::an_os_thread_outlives_the_runtime_that_polls", || {
        let (mut client, mut server) = pair();
        let polls = runtime(1);
        let (other, mut waits) = pair();
        drop(polls.spawn(move || waits.read(&mut [0])));
        std::thread::sleep(Duration::from_millis(20));
        let reads = std::thread::spawn(move || server.read_exact(&mut [0]).unwrap());
        std::thread::sleep(Duration::from_millis(20));
        drop(polls);
        client.write_all(b"x").unwrap();
        reads.join().unwrap();
        drop(other);
    });
}

/// A runtime whose worker polls is being dropped, which takes long, because another of its workers
/// computes.
#[test]
fn a_runtime_that_ends_does_not_keep_the_role() {
    alone("poller::a_runtime_that_ends_does_not_keep_the_role", || {
        let (mut client, mut server) = pair();
        let (other, mut waits) = pair();
        let over = Arc::new(AtomicBool::new(false));
        let (ends, stays) = (runtime(2), runtime(1));
        drop(ends.spawn(move || waits.read(&mut [0])));
        let computes = Arc::clone(&over);
        drop(ends.spawn(move || {
            while !computes.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        }));
        std::thread::sleep(Duration::from_millis(30));
        let reads = stays.spawn(move || {
            server.read_exact(&mut [0]).unwrap();
            over.store(true, Ordering::Relaxed);
        });
        std::thread::sleep(Duration::from_millis(30));
        std::thread::scope(|scope| {
            scope.spawn(|| drop(ends));
            std::thread::sleep(Duration::from_millis(30));
            client.write_all(b"x").unwrap();
            reads.join().unwrap();
        });
        drop(other);
    });
}

/// All workers and spares are blocked: sysmon polls, and does not spin.
#[test]
fn nobody_is_left_to_poll() {
    alone("poller::nobody_is_left_to_poll", || {
        let runtime = gthread::Runtime::builder().workers(1).max_spares(1).build().unwrap();
        let (_client, mut waits) = pair();
        drop(runtime.spawn(move || waits.read(&mut [0])));
        std::thread::sleep(Duration::from_millis(20));
        let pause = Duration::from_millis(600);
        let blocked: Vec<_> = (0..2)
            .map(|_| runtime.spawn(move || gthread::blocking(|| std::thread::sleep(pause))))
            .collect();
        std::thread::sleep(Duration::from_millis(50));
        let before = processor_time();
        std::thread::sleep(Duration::from_millis(400));
        let used = processor_time() - before;
        assert!(used < Duration::from_millis(100), "{used:?} of 400 ms");
        blocked.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes the struct.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Writing is shut down while a writer is about to wait for the first time.
#[test]
fn a_shutdown_is_not_lost_to_a_first_wait() {
    watchdog(LIMIT, || {
        runtime(2).run(|| {
            for round in 0..300 {
                let (stream, _peer) = UnixStream::pair().unwrap();
                stream.set_nonblocking(true).unwrap();
                while (&stream).write(&[0; 4096]).is_ok() {}
                stream.set_nonblocking(false).unwrap();
                let clone = stream.try_clone().unwrap();
                let writes = go!(move || (&clone).write(&[0; 4096]).unwrap_err().kind());
                (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
                stream.shutdown(Shutdown::Write).unwrap();
                assert_eq!(writes.join().unwrap(), ErrorKind::BrokenPipe);
            }
        });
    });
}

/// A clone of a listener becomes std's, which blocks; the other still parks, and has its deadline.
#[test]
fn a_listener_whose_clone_was_given_away() {
    watchdog(LIMIT, || {
        runtime(1).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let given: std::net::TcpListener = listener.try_clone().unwrap().into();
            let soon = Instant::now() + Duration::from_millis(20);
            listener.set_deadline(Some(soon)).unwrap();
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
            listener.set_deadline(None).unwrap();
            let addr = given.local_addr().unwrap();
            let accepts = go!(move || listener.accept().unwrap());
            let _client = TcpStream::connect(addr).unwrap();
            accepts.join().unwrap();
        });
    });
}
