//! Timeouts of sends and receives: not too early, not lost, and they swallow no value.

use std::time::{Duration, Instant};

use gthread_tests::channel::{self, RecvTimeoutError, SendTimeoutError};
use gthread_tests::{CAPACITIES, LONG, SHORT, Way, every_way, full, make, time};

every_way!(
    a_receive_times_out,
    a_send_times_out,
    what_is_there_is_taken_whatever_the_deadline,
    a_partner_who_waits_is_met_whatever_the_deadline,
    a_value_comes_in_time,
    a_place_comes_in_time,
    the_longest_timeout_is_none,
    one_who_times_out_swallows_no_value,
    one_who_times_out_swallows_no_place,
    values_that_race_with_timeouts,
);

fn a_receive_times_out(_: Way) {
    for capacity in CAPACITIES {
        let (_tx, rx) = make::<u32>(capacity);
        let took = time(|| assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
        assert!(took >= SHORT, "{took:?}");
        let deadline = Instant::now() + SHORT;
        assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
        assert!(Instant::now() >= deadline);
        // At once.
        assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    }
}

fn a_send_times_out(_: Way) {
    for (tx, rx) in CAPACITIES.into_iter().filter_map(|capacity| full(capacity, 0)) {
        let timed_out = Err(SendTimeoutError::Timeout(7));
        let took = time(|| assert_eq!(tx.send_timeout(7, SHORT), timed_out));
        assert!(took >= SHORT, "{took:?}");
        let deadline = Instant::now() + SHORT;
        assert_eq!(tx.send_deadline(7, deadline), timed_out);
        assert!(Instant::now() >= deadline);
        assert_eq!(tx.send_timeout(7, Duration::ZERO), timed_out);
        assert_eq!(tx.send_deadline(7, deadline), timed_out);
        assert!(rx.try_iter().all(|value| value == 0));
    }
}

fn what_is_there_is_taken_whatever_the_deadline(_: Way) {
    for capacity in [Some(2), None] {
        let (tx, rx) = make(capacity);
        let past = Instant::now();
        tx.send_timeout(1, Duration::ZERO).unwrap();
        tx.send_deadline(2, past).unwrap();
        assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
        assert_eq!(rx.recv_deadline(past), Ok(2));
    }
}

fn a_partner_who_waits_is_met_whatever_the_deadline(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let receiver = on.spawn(move || (rx.recv(), rx));
    on.until(|| tx.send_timeout(3, Duration::ZERO).is_ok());
    let (value, rx) = receiver.join();
    assert_eq!(value, Ok(3));
    let sender = on.spawn(move || tx.send(4));
    on.until(|| rx.recv_timeout(Duration::ZERO) == Ok(4));
    sender.join().unwrap();
}

fn a_value_comes_in_time(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receiver =
            on.spawn(move || (rx.recv_timeout(LONG), rx.recv_deadline(Instant::now() + LONG)));
        on.lull();
        tx.send(1).unwrap();
        on.lull();
        tx.send(2).unwrap();
        assert_eq!(receiver.join(), (Ok(1), Ok(2)));
    }
}

fn a_place_comes_in_time(on: Way) {
    for (tx, rx) in CAPACITIES.into_iter().filter_map(|capacity| full(capacity, 0)) {
        let sender = on.spawn(move || {
            tx.send_timeout(1, LONG).unwrap();
            tx.send_deadline(2, Instant::now() + LONG).unwrap();
        });
        on.lull();
        let values: Vec<_> = rx.iter().filter(|&value| value > 0).collect();
        assert_eq!(values, [1, 2]);
        sender.join();
    }
}

fn the_longest_timeout_is_none(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receiver = on.spawn(move || rx.recv_timeout(Duration::MAX));
        on.lull();
        tx.send_timeout(5, Duration::MAX).unwrap();
        assert_eq!(receiver.join(), Ok(5));
        if let Some((tx, rx)) = full(capacity, 0) {
            let sender = on.spawn(move || tx.send_timeout(6, Duration::MAX));
            while rx.recv_timeout(Duration::MAX) != Ok(6) {}
            sender.join().unwrap();
        }
    }
}

/// One waits with a timeout, one without: the value that comes about when the first gives up must
/// reach one of them.
fn one_who_times_out_swallows_no_value(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        for n in 0..60_u64 {
            let timeout = Duration::from_micros(n % 50 * 3);
            let (impatient, patient) = (rx.clone(), rx.clone());
            let impatient = on.spawn(move || impatient.recv_timeout(timeout).ok());
            let patient = on.spawn(move || patient.recv_timeout(LONG).ok());
            on.sleep(timeout);
            tx.send(n).unwrap();
            let early = impatient.join();
            if early.is_some() {
                tx.send(n).unwrap();
            }
            assert_eq!(patient.join(), Some(n));
            assert!(early.is_none() || early == Some(n));
        }
    }
}

/// The same for the places that senders wait for.
fn one_who_times_out_swallows_no_place(on: Way) {
    let (tx, rx) = channel::bounded(1);
    for n in 0..60_u64 {
        let timeout = Duration::from_micros(n % 50 * 3);
        tx.send(0).unwrap();
        let (impatient, patient) = (tx.clone(), tx.clone());
        let impatient = on.spawn(move || impatient.send_timeout(1, timeout).is_ok());
        let patient = on.spawn(move || patient.send(2).unwrap());
        on.sleep(timeout);
        assert_eq!(rx.recv(), Ok(0));
        let mut got = vec![rx.recv().unwrap()];
        if impatient.join() {
            got.push(rx.recv().unwrap());
        }
        patient.join();
        got.sort_unstable();
        assert!(got == [2] || got == [1, 2], "{got:?}");
    }
}

/// Both sides with timeouts that run out about when the other comes: both agree on whether they met.
fn values_that_race_with_timeouts(on: Way) {
    for capacity in [0, 1] {
        let (tx, rx) = channel::bounded(capacity);
        let (mut sent, mut received) = (0, 0);
        for n in 0..80_u64 {
            let (wait, rx) = (Duration::from_micros(n % 20 * 5), rx.clone());
            let receiver = on.spawn(move || rx.recv_timeout(wait).is_ok());
            on.sleep(wait / 2);
            sent += u32::from(tx.send_timeout(n, wait / 2).is_ok());
            received += u32::from(receiver.join());
        }
        assert_eq!(sent as usize, received as usize + rx.len());
    }
}
