//! Receivers as iterators: the one that waits, the one that does not, the one that owns.

use gthread_tests::channel;
use gthread_tests::{CAPACITIES, Drops, Flag, Way, every_way, make};

every_way!(
    ends_when_all_senders_are_gone,
    a_loop_left_early_goes_on_later,
    waits_for_each_value,
    trying_takes_what_is_there,
    trying_ends_and_begins_again,
    owning_ends_for_good,
    owning_keeps_the_channel_open_until_dropped,
    several_share_the_values,
    values_not_asked_for_are_dropped,
);

fn ends_when_all_senders_are_gone(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let tx = tx.clone();
                on.spawn(move || (0..50).for_each(|n| tx.send(n).unwrap()))
            })
            .collect();
        drop(tx);
        let mut sum = 0;
        for n in &rx {
            sum += n;
        }
        assert_eq!(sum, 3 * (0..50).sum::<u32>());
        assert_eq!((rx.iter().next(), rx.iter().next()), (None, None));
        senders.into_iter().for_each(|sender| sender.join());
    }
}

fn a_loop_left_early_goes_on_later(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..20).for_each(|n| tx.send(n).unwrap()));
        for n in &rx {
            if n == 4 {
                break;
            }
        }
        assert!(rx.iter().take(5).eq(5..10));
        assert!(rx.iter().eq(10..20));
        sender.join();
    }
}

fn waits_for_each_value(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let (back, answers) = channel::bounded(0);
        let receiver = on.spawn(move || rx.iter().for_each(|n: u32| back.send(n + 1).unwrap()));
        // The next is sent only after the answer: the iterator has nothing to take until then.
        for n in 0..20 {
            tx.send(n).unwrap();
            assert_eq!(answers.recv(), Ok(n + 1));
        }
        drop(tx);
        receiver.join();
        assert!(answers.recv().is_err());
    }
}

fn trying_takes_what_is_there(_: Way) {
    for capacity in [Some(7), None] {
        let (tx, rx) = make(capacity);
        assert_eq!(rx.try_iter().next(), None);
        (0..7).for_each(|n| tx.send(n).unwrap());
        assert!(rx.try_iter().take(3).eq(0..3));
        assert!(rx.try_iter().eq(3..7));
        assert_eq!(rx.try_iter().count(), 0);
    }
}

fn trying_ends_and_begins_again(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..60).for_each(|n| tx.send(n).unwrap()));
        let mut seen = Vec::new();
        while seen.len() < 60 {
            seen.extend(rx.try_iter());
            on.yield_now();
        }
        assert!(seen.into_iter().eq(0..60));
        sender.join();
        assert_eq!(rx.try_iter().next(), None);
    }
}

fn owning_ends_for_good(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..9).for_each(|n| tx.send(n).unwrap()));
        let mut values = rx.into_iter();
        assert!(values.by_ref().eq(0..9));
        assert_eq!((values.next(), values.next()), (None, None));
        sender.join();
    }
}

fn owning_keeps_the_channel_open_until_dropped(on: Way) {
    for capacity in [Some(7), None] {
        let (tx, rx) = make(capacity);
        let mut values = rx.into_iter();
        assert_eq!(tx.send(1), Ok(()));
        assert_eq!(values.next(), Some(1));
        let left = Flag::new();
        let holder = {
            let left = left.clone();
            on.spawn(move || {
                drop(values);
                left.raise();
            })
        };
        on.until(|| left.is_up());
        assert!(tx.send(2).is_err());
        holder.join();
    }
}

fn several_share_the_values(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.into_iter().collect::<Vec<u32>>())
            })
            .collect();
        (0..300).for_each(|n| tx.send(n).unwrap());
        drop((tx, rx));
        let seen: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
        assert!(seen.iter().all(|values| values.is_sorted()));
        let mut all = seen.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..300));
    }
}

fn values_not_asked_for_are_dropped(_: Way) {
    for capacity in [Some(7), None] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        (0..7).for_each(|_| tx.send(drops.token()).unwrap());
        drop(tx);
        let mut values = rx.into_iter();
        drop(values.next());
        assert_eq!(drops.count(), 1);
        drop(values);
        assert_eq!(drops.count(), 7);
    }
}
