//! Of arms that are ready each gets its share; of biased ones the first gets all.

use gthread_tests::channel::{self, Select, after, bounded, select, select_biased, unbounded};
use gthread_tests::{SHORT, Way, every_way, make};
use std::time::Duration;

const ROUNDS: usize = 10_000;

every_way!(
    receives_of_the_macro,
    sends_of_the_macro,
    receives_of_a_list,
    sends_of_a_list,
    readiness,
    both_directions,
    the_same_channel_in_several_arms,
    values_and_disconnection,
    two_senders_of_one_rendezvous,
    an_endless_arm_does_not_shut_out_a_timer,
    arms_that_are_not_ready_leave_their_share_to_all,
    biased,
);

/// Each of so many arms is to have at least a few per cent of its fair share, and some.
fn assert_fair(hits: &[usize]) {
    let total: usize = hits.iter().sum();
    let least = total / hits.len() / 3;
    assert!(hits.iter().all(|&hits| hits >= least), "{hits:?}");
}

fn receives_of_the_macro(_: Way) {
    for capacity in [Some(ROUNDS), None] {
        let ends: [_; 4] = std::array::from_fn(|_| make(capacity));
        ends.iter().for_each(|(tx, _)| (0..ROUNDS).for_each(|_| tx.send(()).unwrap()));
        let mut hits = [0; 4];
        for _ in 0..ROUNDS {
            let n = select! {
                recv(ends[0].1) -> value => { value.unwrap(); 0 }
                recv(ends[1].1) -> value => { value.unwrap(); 1 }
                recv(ends[2].1) -> value => { value.unwrap(); 2 }
                recv(ends[3].1) -> value => { value.unwrap(); 3 }
            };
            hits[n] += 1;
        }
        assert_fair(&hits);
    }
}

fn sends_of_the_macro(_: Way) {
    for capacity in [Some(ROUNDS), None] {
        let ends: [_; 3] = std::array::from_fn(|_| make(capacity));
        for _ in 0..ROUNDS {
            select! {
                send(ends[0].0, ()) -> sent => sent.unwrap(),
                send(ends[1].0, ()) -> sent => sent.unwrap(),
                send(ends[2].0, ()) -> sent => sent.unwrap(),
                default => unreachable!(),
            }
        }
        assert_fair(&ends.map(|(_, rx)| rx.len()));
    }
}

fn receives_of_a_list(_: Way) {
    let ends: [_; 5] = std::array::from_fn(|_| unbounded());
    ends.iter().for_each(|(tx, _)| (0..ROUNDS).for_each(|_| tx.send(()).unwrap()));
    let mut select = Select::new();
    ends.iter().for_each(|(_, rx)| _ = select.recv(rx));
    let mut hits = [0; 5];
    for n in 0..ROUNDS {
        let operation = match n % 3 {
            0 => select.select(),
            1 => select.try_select().unwrap(),
            _ => select.select_timeout(SHORT).unwrap(),
        };
        let index = operation.index();
        operation.recv(&ends[index].1).unwrap();
        hits[index] += 1;
    }
    assert_fair(&hits);
}

fn sends_of_a_list(_: Way) {
    let ends: [_; 5] = std::array::from_fn(|_| unbounded());
    let mut select = Select::new();
    ends.iter().for_each(|(tx, _)| _ = select.send(tx));
    for _ in 0..ROUNDS {
        let operation = select.select();
        let index = operation.index();
        operation.send(&ends[index].0, ()).unwrap();
    }
    assert_fair(&ends.map(|(_, rx)| rx.len()));
}

fn readiness(_: Way) {
    let ends: [_; 5] = std::array::from_fn(|_| bounded(1));
    ends.iter().for_each(|(tx, _)| tx.send(()).unwrap());
    let mut select = Select::new();
    ends.iter().for_each(|(_, rx)| _ = select.recv(rx));
    let mut hits = [0; 5];
    for n in 0..ROUNDS {
        let index = if n % 2 == 0 { select.ready() } else { select.try_ready().unwrap() };
        hits[index] += 1;
    }
    assert_fair(&hits);
}

/// A buffer that is neither full nor empty: both ends of it are ready.
fn both_directions(_: Way) {
    let (tx, rx) = bounded(2 * ROUNDS);
    (0..ROUNDS).for_each(|_| tx.send(()).unwrap());
    let mut hits = [0; 2];
    for _ in 0..ROUNDS {
        select! {
            send(tx, ()) -> sent => { sent.unwrap(); hits[0] += 1; }
            recv(rx) -> value => { value.unwrap(); hits[1] += 1; }
        }
    }
    assert_fair(&hits);
    assert_eq!(rx.len() + hits[1], ROUNDS + hits[0]);
}

fn the_same_channel_in_several_arms(_: Way) {
    let (tx, rx) = unbounded();
    let mut hits = [0; 3];
    for n in 0..ROUNDS {
        tx.send(n).unwrap();
        let arm = select! {
            recv(rx) -> value => { assert_eq!(value, Ok(n)); 0 }
            recv(rx) -> value => { assert_eq!(value, Ok(n)); 1 }
            recv(rx) -> value => { assert_eq!(value, Ok(n)); 2 }
        };
        hits[arm] += 1;
    }
    assert_fair(&hits);
}

/// An arm that is ready with an error counts like one with a value.
fn values_and_disconnection(_: Way) {
    let ((tx, rx), (gone, nobody)) = (unbounded(), (bounded::<u8>(0).0, bounded::<u8>(0).1));
    (0..ROUNDS).for_each(|n| tx.send(n).unwrap());
    let (mut hits, mut next) = ([0; 3], 0);
    for _ in 0..ROUNDS {
        select! {
            recv(rx) -> value => { assert_eq!(value, Ok(next)); next += 1; hits[0] += 1; }
            recv(nobody) -> value => { assert!(value.is_err()); hits[1] += 1; }
            send(gone, 1) -> sent => { assert!(sent.is_err()); hits[2] += 1; }
        }
    }
    assert_fair(&hits);
}

/// Two send without end; both are heard. Neither gets anywhere without the other's being received
/// now and then, because each sends at most so far ahead.
fn two_senders_of_one_rendezvous(on: Way) {
    let (a, from_a) = bounded(0);
    let (b, from_b) = bounded(0);
    let senders = [a, b].map(|tx| on.spawn(move || while tx.send(()).is_ok() {}));
    let (mut hits, mut rounds) = ([0_u32; 2], 0_u32);
    // However the machine is loaded, it comes to this.
    while hits.iter().any(|&hits| hits < 200) {
        select! {
            recv(from_a) -> value => { value.unwrap(); hits[0] += 1; }
            recv(from_b) -> value => { value.unwrap(); hits[1] += 1; }
        }
        rounds += 1;
    }
    assert_eq!(rounds, hits[0] + hits[1]);
    drop((from_a, from_b));
    senders.into_iter().for_each(|sender| sender.join());
}

/// One arm is always ready; the other, a timer, is chosen all the same once it is due.
fn an_endless_arm_does_not_shut_out_a_timer(on: Way) {
    let (done, is_done) = bounded::<()>(0);
    let (tx, rx) = bounded(2);
    let sender = on.spawn(move || {
        loop {
            select! {
                send(tx, ()) -> sent => sent.unwrap(),
                recv(is_done) -> _ => break,
            }
        }
    });
    let timer = after(Duration::from_millis(2));
    loop {
        select! {
            recv(rx) -> value => value.unwrap(),
            recv(timer) -> _ => break,
        }
    }
    drop(done);
    sender.join();
}

fn biased(_: Way) {
    let ends: [_; 3] = std::array::from_fn(|_| channel::bounded(100));
    for n in 0..300 {
        select_biased! {
            send(ends[0].0, n) -> sent => sent.unwrap(),
            send(ends[1].0, n) -> sent => sent.unwrap(),
            send(ends[2].0, n) -> sent => sent.unwrap(),
        }
    }
    for n in 0..300 {
        let value = select_biased! {
            recv(ends[0].1) -> value => value,
            recv(ends[1].1) -> value => value,
            recv(ends[2].1) -> value => value,
        };
        assert_eq!(value, Ok(n));
    }
}

/// Not to the next arm in line, as a scan from a random start would.
fn arms_that_are_not_ready_leave_their_share_to_all(_: Way) {
    for silent in 0..4 {
        let ends: [_; 4] = std::array::from_fn(|_| unbounded());
        for (_, (tx, _)) in ends.iter().enumerate().filter(|&(n, _)| n != silent) {
            tx.send(()).unwrap();
        }
        let mut select = Select::new();
        for (_, rx) in &ends {
            select.recv(rx);
        }
        let mut hits = [0; 4];
        for _ in 0..ROUNDS {
            let operation = select.select();
            let n = operation.index();
            operation.recv(&ends[n].1).unwrap();
            hits[n] += 1;
            ends[n].0.send(()).unwrap();
        }
        assert_eq!(hits[silent], 0);
        // A third each; with a scan one would have half.
        assert!(hits.iter().all(|&hits| hits < ROUNDS * 4 / 10), "{hits:?}");
    }
}
