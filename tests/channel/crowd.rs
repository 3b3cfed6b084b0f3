//! Many senders, many receivers: every value arrives once, in an order that some single queue could
//! have had.

use gthread_tests::channel::{Receiver, Select, Sender, select};
use gthread_tests::{CAPACITIES, Way, every_way_crowded, make};

every_way_crowded!(
    many_to_many,
    fan_in,
    fan_out,
    an_order_that_a_queue_could_have,
    through_selects,
    through_timeouts,
    ends_cloned_and_dropped_all_the_while,
    a_crowd_at_one_place,
);

const THREADS: usize = 4;
const EACH: usize = 150;

fn send_all(tx: &Sender<(usize, usize)>, sender: usize) {
    (0..EACH).for_each(|n| tx.send((sender, n)).unwrap());
}

/// Each of so many senders' values once.
fn assert_complete(mut values: Vec<(usize, usize)>, senders: usize) {
    values.sort_unstable();
    assert!(values.into_iter().eq((0..senders).flat_map(|s| (0..EACH).map(move |n| (s, n)))));
}

fn many_to_many(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let received = on.scope(|scope| {
            let receivers: Vec<_> =
                (0..THREADS).map(|_| scope.spawn(|| rx.iter().collect::<Vec<_>>())).collect();
            for sender in 0..THREADS {
                let tx = tx.clone();
                scope.spawn(move || send_all(&tx, sender));
            }
            drop(tx);
            receivers.into_iter().flat_map(|receiver| receiver.join()).collect()
        });
        assert_complete(received, THREADS);
    }
}

fn fan_in(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let tx = tx.clone();
                on.spawn(move || send_all(&tx, sender))
            })
            .collect();
        drop(tx);
        assert_complete(rx.into_iter().collect(), 8);
        senders.into_iter().for_each(|sender| sender.join());
    }
}

fn fan_out(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receivers: Vec<_> = (0..8)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.iter().collect::<Vec<_>>())
            })
            .collect();
        drop(rx);
        send_all(&tx, 0);
        drop(tx);
        let seen: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
        assert!(seen.iter().all(|values| values.is_sorted()));
        assert_complete(seen.concat(), 1);
    }
}

/// For each pair of values of one sender: a receiver that had the later one does not find the earlier
/// one afterwards, and neither does another to which it has told so.
fn an_order_that_a_queue_could_have(on: Way) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    for capacity in CAPACITIES {
        let (tx, rx) = make::<(usize, usize)>(capacity);
        // What anybody had of each sender before this value was asked for.
        let had: [AtomicUsize; THREADS] = Default::default();
        on.scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    loop {
                        let before = had.each_ref().map(|had| had.load(Ordering::SeqCst));
                        let Ok((sender, n)) = rx.recv() else { break };
                        assert!(n + 1 > before[sender], "{n} of {sender} came late");
                        had[sender].fetch_max(n + 1, Ordering::SeqCst);
                    }
                });
            }
            for sender in 0..THREADS {
                let tx = tx.clone();
                scope.spawn(move || send_all(&tx, sender));
            }
            drop(tx);
        });
        assert!(had.iter().all(|had| had.load(Ordering::SeqCst) == EACH));
    }
}

fn through_selects(on: Way) {
    fn take(a: &Receiver<(usize, usize)>, b: &Receiver<(usize, usize)>) -> Vec<(usize, usize)> {
        let (ends, mut values) = ([a, b], Vec::new());
        let mut list = Select::new();
        ends.iter().for_each(|rx| _ = list.recv(rx));
        let mut open = 2;
        while open > 0 {
            let operation = list.select();
            let index = operation.index();
            match operation.recv(ends[index]) {
                Ok(value) => values.push(value),
                Err(_) => {
                    list.remove(index);
                    open -= 1;
                }
            }
        }
        values
    }
    for (first, second) in [(Some(0), Some(0)), (Some(0), Some(1)), (Some(7), None)] {
        let ((a, from_a), (b, from_b)) = (make(first), make(second));
        let received = on.scope(|scope| {
            let receivers: Vec<_> =
                (0..THREADS).map(|_| scope.spawn(|| take(&from_a, &from_b))).collect();
            for sender in 0..THREADS {
                let (a, b) = (a.clone(), b.clone());
                scope.spawn(move || {
                    for n in 0..EACH {
                        select! {
                            send(a, (sender, n)) -> sent => sent.unwrap(),
                            send(b, (sender, n)) -> sent => sent.unwrap(),
                        }
                    }
                });
            }
            drop((a, b));
            receivers.into_iter().flat_map(|receiver| receiver.join()).collect()
        });
        assert_complete(received, THREADS);
    }
}

/// Some give up now and then and try again: nothing is lost or doubled by that.
fn through_timeouts(on: Way) {
    use std::time::Duration;
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let received = on.scope(|scope| {
            let receive = |n: u64| {
                let mut values = Vec::new();
                loop {
                    match rx.recv_timeout(Duration::from_micros(5 * n)) {
                        Ok(value) => values.push(value),
                        Err(error) if error.is_disconnected() => return values,
                        Err(_) => on.yield_now(),
                    }
                }
            };
            let receivers: Vec<_> = (0..4).map(|n| scope.spawn(move || receive(n))).collect();
            for sender in 0..THREADS {
                let tx = tx.clone();
                scope.spawn(move || {
                    for n in 0..EACH {
                        let (mut value, mut wait) = ((sender, n), Duration::ZERO);
                        while let Err(error) = tx.send_timeout(value, wait) {
                            assert!(error.is_timeout());
                            value = error.into_inner();
                            wait += Duration::from_micros(7);
                            on.yield_now();
                        }
                    }
                });
            }
            drop(tx);
            receivers.into_iter().flat_map(|receiver| receiver.join()).collect()
        });
        assert_complete(received, THREADS);
    }
}

fn ends_cloned_and_dropped_all_the_while(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receivers: Vec<_> = (0..THREADS)
            .map(|_| {
                let mut rx = rx.clone();
                on.spawn(move || {
                    let mut values = Vec::new();
                    while let Ok(value) = rx.clone().recv() {
                        values.push(value);
                        rx = rx.clone();
                    }
                    values
                })
            })
            .collect();
        drop(rx);
        let senders: Vec<_> = (0..THREADS)
            .map(|sender| {
                let mut tx = tx.clone();
                on.spawn(move || {
                    for n in 0..EACH {
                        tx.clone().send((sender, n)).unwrap();
                        tx = tx.clone();
                    }
                })
            })
            .collect();
        drop(tx);
        senders.into_iter().for_each(|sender| sender.join());
        assert_complete(
            receivers.into_iter().flat_map(|receiver| receiver.join()).collect(),
            THREADS,
        );
    }
}

/// A hundred wait on either side of one place.
fn a_crowd_at_one_place(on: Way) {
    for capacity in [Some(0), Some(1)] {
        let (tx, rx) = make::<u32>(capacity);
        let total: u32 = on.scope(|scope| {
            let receivers: Vec<_> =
                (0..50).map(|_| scope.spawn(|| rx.recv().unwrap() + rx.recv().unwrap())).collect();
            for n in 0..50 {
                let tx = tx.clone();
                scope.spawn(move || [n, 100].map(|n| tx.send(n).unwrap()));
            }
            receivers.into_iter().map(|receiver| receiver.join()).sum()
        });
        assert_eq!(total, (0..50).sum::<u32>() + 50 * 100);
        assert!(rx.is_empty());
    }
}
