//! Timeouts of sends and receives: not too early, not lost, and they swallow no value.

use std::time::{Duration, Instant};

use gthread::channel::{self, Receiver, RecvTimeoutError, SendTimeoutError, Sender};
use gthread::go;
use gthread_tests::{LIMIT, for_workers, time, watchdog};

const PAUSE: Duration = Duration::from_millis(5);
const CAPACITIES: [Option<usize>; 3] = [Some(0), Some(1), None];

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(channel::unbounded, channel::bounded)
}

/// Runs `body` in a green thread of each runtime, and on an OS thread.
fn green_and_os(body: impl Fn() + Send + Sync) {
    for_workers(|runtime| runtime.run(&body));
    watchdog(LIMIT, &body);
}

/// A channel in which a send blocks.
fn full(capacity: Option<usize>) -> Option<(Sender<u32>, Receiver<u32>)> {
    let (tx, rx) = make(Some(capacity?));
    while tx.try_send(0).is_ok() {}
    Some((tx, rx))
}

#[test]
fn a_receive_times_out() {
    green_and_os(|| {
        for capacity in CAPACITIES {
            let (_tx, rx) = make::<u32>(capacity);
            let took = time(|| assert_eq!(rx.recv_timeout(PAUSE), Err(RecvTimeoutError::Timeout)));
            assert!(took >= PAUSE, "{took:?}");
            let deadline = Instant::now() + PAUSE;
            assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
            assert!(Instant::now() >= deadline);
            // At once.
            assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
            assert_eq!(rx.recv_deadline(Instant::now() - PAUSE), Err(RecvTimeoutError::Timeout));
        }
    });
}

#[test]
fn a_send_times_out() {
    green_and_os(|| {
        for (tx, _rx) in CAPACITIES.into_iter().filter_map(full) {
            let timed_out = Err(SendTimeoutError::Timeout(7));
            let took = time(|| assert_eq!(tx.send_timeout(7, PAUSE), timed_out));
            assert!(took >= PAUSE, "{took:?}");
            let deadline = Instant::now() + PAUSE;
            assert_eq!(tx.send_deadline(7, deadline), timed_out);
            assert!(Instant::now() >= deadline);
            assert_eq!(tx.send_timeout(7, Duration::ZERO), timed_out);
            assert_eq!(tx.send_deadline(7, Instant::now() - PAUSE), timed_out);
        }
    });
}

#[test]
fn what_is_there_is_taken_whatever_the_deadline() {
    green_and_os(|| {
        for capacity in [Some(2), None] {
            let (tx, rx) = make(capacity);
            tx.send_timeout(1, Duration::ZERO).unwrap();
            tx.send_deadline(2, Instant::now() - PAUSE).unwrap();
            assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
            assert_eq!(rx.recv_deadline(Instant::now() - PAUSE), Ok(2));
        }
    });
}

#[test]
fn a_partner_who_waits_is_met_whatever_the_deadline() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let receiver = go!(move || (rx.recv(), rx));
            while tx.send_timeout(3, Duration::ZERO).is_err() {
                gthread::yield_now();
            }
            let (value, rx) = receiver.join().unwrap();
            assert_eq!(value, Ok(3));
            let sender = go!(move || tx.send(4));
            while rx.recv_timeout(Duration::ZERO) != Ok(4) {
                gthread::yield_now();
            }
            sender.join().unwrap().unwrap();
        });
    });
}

#[test]
fn the_longest_timeout_is_none() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make(capacity);
            let receiver = runtime.spawn(move || rx.recv_timeout(Duration::MAX));
            tx.send_timeout(5, Duration::MAX).unwrap();
            assert_eq!(receiver.join().unwrap(), Ok(5));
            if let Some((tx, rx)) = full(capacity) {
                let sender = runtime.spawn(move || tx.send_timeout(6, Duration::MAX));
                while rx.recv_timeout(Duration::MAX) != Ok(6) {}
                sender.join().unwrap().unwrap();
            }
        }
    });
}

#[test]
fn disconnection_ends_a_wait_with_a_timeout() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make::<u32>(capacity);
            let receiver = runtime.spawn(move || rx.recv_timeout(Duration::from_secs(3600)));
            drop(tx);
            assert_eq!(receiver.join().unwrap(), Err(RecvTimeoutError::Disconnected));
            if let Some((tx, rx)) = full(capacity) {
                let sender = runtime.spawn(move || tx.send_timeout(6, Duration::from_secs(3600)));
                drop(rx);
                assert_eq!(sender.join().unwrap(), Err(SendTimeoutError::Disconnected(6)));
            }
        }
    });
}

/// One waits with a timeout, one without: the value that comes about when the first gives up must
/// reach one of them.
#[test]
fn one_who_times_out_swallows_no_value() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            runtime.run(|| {
                let (tx, rx) = make(capacity);
                for n in 0..150_u64 {
                    let timeout = Duration::from_micros(n % 50 * 3);
                    let (impatient, patient) = (rx.clone(), rx.clone());
                    let impatient = go!(move || impatient.recv_timeout(timeout).ok());
                    let patient = go!(move || patient.recv_timeout(Duration::from_secs(3600)).ok());
                    gthread::park_timeout(timeout);
                    tx.send(n).unwrap();
                    let early = impatient.join().unwrap();
                    if early.is_some() {
                        tx.send(n).unwrap();
                    }
                    assert_eq!(patient.join().unwrap(), Some(n));
                    assert!(early.is_none() || early == Some(n));
                }
            });
        }
    });
}

/// The same for the places that senders wait for.
#[test]
fn one_who_times_out_swallows_no_place() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(1);
            for n in 0..150_u64 {
                let timeout = Duration::from_micros(n % 50 * 3);
                tx.send(0).unwrap();
                let (impatient, patient) = (tx.clone(), tx.clone());
                let impatient = go!(move || impatient.send_timeout(1, timeout).is_ok());
                let patient = go!(move || patient.send(2).unwrap());
                gthread::park_timeout(timeout);
                assert_eq!(rx.recv(), Ok(0));
                let mut got = vec![rx.recv().unwrap()];
                if impatient.join().unwrap() {
                    got.push(rx.recv().unwrap());
                }
                patient.join().unwrap();
                got.sort_unstable();
                assert!(got == [2] || got == [1, 2], "{got:?}");
            }
        });
    });
}
