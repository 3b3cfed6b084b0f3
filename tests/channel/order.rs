//! What goes in first comes out first: per channel, per sender, and as each receiver sees it.

use gthread_tests::{CAPACITIES, Way, every_way, make};

every_way!(
    one_sender_and_one_receiver,
    what_is_buffered_comes_out_in_order,
    order_lasts_through_many_fillings,
    each_senders_values_stay_in_order,
    each_receiver_sees_each_sender_in_order,
    senders_that_take_turns,
    a_sender_that_moves_between_threads,
);

fn one_sender_and_one_receiver(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..800).for_each(|n| tx.send(n).unwrap()));
        (0..800).for_each(|n| assert_eq!(rx.recv(), Ok(n)));
        assert!(rx.recv().is_err());
        sender.join();
    }
}

fn what_is_buffered_comes_out_in_order(_: Way) {
    for (capacity, count) in [(Some(1), 1), (Some(7), 7), (Some(100), 77), (None, 1000)] {
        let (tx, rx) = make(capacity);
        (0..count).for_each(|n| tx.try_send(n).unwrap());
        (0..count).for_each(|n| assert_eq!(rx.try_recv(), Ok(n)));
        assert!(rx.try_recv().is_err());
    }
}

/// The buffer's ends meet at every place of it, and an unlimited one goes through many blocks.
fn order_lasts_through_many_fillings(_: Way) {
    for capacity in [Some(1), Some(2), Some(7), None] {
        let (tx, rx) = make(capacity);
        let (mut sent, mut received) = (0, 0);
        for burst in (1..=7).cycle().take(300) {
            for _ in 0..burst {
                if tx.try_send(sent).is_ok() {
                    sent += 1;
                }
            }
            for _ in 0..burst - burst / 3 {
                if let Ok(value) = rx.try_recv() {
                    assert_eq!(value, received);
                    received += 1;
                }
            }
        }
        assert!(rx.try_iter().eq(received..sent));
    }
}

fn each_senders_values_stay_in_order(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                let tx = tx.clone();
                on.spawn(move || (0..200).for_each(|n| tx.send((sender, n)).unwrap()))
            })
            .collect();
        drop(tx);
        let mut next = [0; 4];
        for (sender, n) in rx {
            assert_eq!(n, next[sender]);
            next[sender] += 1;
        }
        assert_eq!(next, [200; 4]);
        senders.into_iter().for_each(|sender| sender.join());
    }
}

/// Several receivers share the values; none of them sees two of one sender the wrong way around, and
/// together they have each once.
fn each_receiver_sees_each_sender_in_order(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let seen: Vec<Vec<(usize, u32)>> = on.scope(|scope| {
            let receivers: Vec<_> =
                (0..3).map(|_| scope.spawn(|| rx.iter().collect::<Vec<_>>())).collect();
            for sender in 0..3 {
                let tx = tx.clone();
                scope.spawn(move || (0..200).for_each(|n| tx.send((sender, n)).unwrap()));
            }
            drop(tx);
            receivers.into_iter().map(|receiver| receiver.join()).collect()
        });
        for values in &seen {
            for sender in 0..3 {
                assert!(values.iter().filter(|value| value.0 == sender).is_sorted());
            }
        }
        let mut all = seen.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq((0..3).flat_map(|sender| (0..200).map(move |n| (sender, n)))));
    }
}

/// Two threads that send in turn, by way of two other channels: what happens before comes out before.
fn senders_that_take_turns(on: Way) {
    for capacity in [Some(7), None] {
        let (tx, rx) = make(capacity);
        let (pass_a, turn_b) = make(Some(0));
        let (pass_b, turn_a) = make(Some(0));
        let a = {
            let tx = tx.clone();
            on.spawn(move || {
                for n in 0..100 {
                    tx.send(2 * n).unwrap();
                    pass_a.send(()).unwrap();
                    turn_a.recv().unwrap();
                }
            })
        };
        let b = on.spawn(move || {
            for n in 0..100 {
                turn_b.recv().unwrap();
                tx.send(2 * n + 1).unwrap();
                pass_b.send(()).unwrap();
            }
        });
        assert!(rx.iter().eq(0..200));
        a.join();
        b.join();
    }
}

fn a_sender_that_moves_between_threads(on: Way) {
    for capacity in CAPACITIES {
        let (mut tx, rx) = make(capacity);
        let receiver = on.spawn(move || rx.iter().collect::<Vec<u32>>());
        for n in 0..20 {
            tx = on
                .spawn(move || {
                    tx.send(n).unwrap();
                    tx
                })
                .join();
        }
        drop(tx);
        assert!(receiver.join().into_iter().eq(0..20));
    }
}
