//! Who waits, and for how long: a sender for a place, a receiver for a value, each for one of its own.

use std::sync::atomic::{AtomicUsize, Ordering};

use gthread_tests::channel::{self, RecvError, TryRecvError, TrySendError};
use gthread_tests::{CAPACITIES, Flag, Way, every_way, full, make};

every_way!(
    a_full_channel_blocks_the_sender,
    an_empty_channel_blocks_the_receiver,
    every_blocked_sender_gets_its_place,
    every_blocked_receiver_gets_its_value,
    one_value_releases_one_receiver,
    one_place_releases_one_sender,
    no_limit_means_no_waiting,
    trying_never_waits,
    a_chain_of_places,
    a_thread_that_is_its_own_partner,
);

fn a_full_channel_blocks_the_sender(on: Way) {
    let (tx, rx) = channel::bounded(2);
    let sent = Flag::new();
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
    let sender = {
        let (tx, sent) = (tx.clone(), sent.clone());
        on.spawn(move || {
            tx.send(3).unwrap();
            sent.raise();
        })
    };
    on.lull();
    assert!(!sent.is_up() && rx.len() == 2);
    assert_eq!(rx.recv(), Ok(1));
    sender.join();
    assert_eq!((rx.recv(), rx.recv()), (Ok(2), Ok(3)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

fn an_empty_channel_blocks_the_receiver(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receiver = on.spawn(move || rx.recv());
        on.lull();
        assert!(!receiver.is_finished());
        tx.send(4).unwrap();
        assert_eq!(receiver.join(), Ok(4));
    }
}

fn every_blocked_sender_gets_its_place(on: Way) {
    for capacity in [0, 1, 3] {
        let (tx, rx) = channel::bounded(capacity);
        let senders: Vec<_> = (0..12)
            .map(|n| {
                let tx = tx.clone();
                on.spawn(move || tx.send(n).unwrap())
            })
            .collect();
        on.lull();
        let mut values: Vec<u32> = (0..12).map(|_| rx.recv().unwrap()).collect();
        senders.into_iter().for_each(|sender| sender.join());
        values.sort_unstable();
        assert!(values.into_iter().eq(0..12));
    }
}

fn every_blocked_receiver_gets_its_value(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receivers: Vec<_> = (0..12)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.recv().unwrap())
            })
            .collect();
        on.lull();
        (0..12).for_each(|n| tx.send(n).unwrap());
        let mut values: Vec<u32> = receivers.into_iter().map(|r| r.join()).collect();
        values.sort_unstable();
        assert!(values.into_iter().eq(0..12));
    }
}

/// A crowd waits; one value comes. One of them has it and the others wait on, until told that no more
/// will come.
fn one_value_releases_one_receiver(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let returned = AtomicUsize::new(0);
        let results: Vec<_> = on.scope(|scope| {
            let receive = || {
                let result = rx.recv();
                returned.fetch_add(1, Ordering::SeqCst);
                result
            };
            let receivers: Vec<_> = (0..8).map(|_| scope.spawn(receive)).collect();
            on.lull();
            tx.send(1).unwrap();
            on.until(|| returned.load(Ordering::SeqCst) == 1);
            on.lull();
            assert_eq!(returned.load(Ordering::SeqCst), 1);
            tx.send(1).unwrap();
            on.until(|| returned.load(Ordering::SeqCst) == 2);
            on.lull();
            assert_eq!(returned.load(Ordering::SeqCst), 2);
            drop(tx);
            receivers.into_iter().map(|receiver| receiver.join()).collect()
        });
        assert_eq!(results.iter().filter(|&&result| result == Ok(1)).count(), 2);
        assert_eq!(results.iter().filter(|&&result| result == Err(RecvError)).count(), 6);
    }
}

fn one_place_releases_one_sender(on: Way) {
    for (tx, rx) in CAPACITIES.into_iter().filter_map(|capacity| full(capacity, 0)) {
        let returned = AtomicUsize::new(0);
        let results: Vec<_> = on.scope(|scope| {
            let send = || {
                let result = tx.send(1);
                returned.fetch_add(1, Ordering::SeqCst);
                result.is_ok()
            };
            let senders: Vec<_> = (0..8).map(|_| scope.spawn(send)).collect();
            on.lull();
            for released in 1..=2 {
                rx.recv().unwrap();
                on.until(|| returned.load(Ordering::SeqCst) == released);
                on.lull();
                assert_eq!(returned.load(Ordering::SeqCst), released);
            }
            drop(rx);
            senders.into_iter().map(|sender| sender.join()).collect()
        });
        assert_eq!(results.into_iter().filter(|&sent| sent).count(), 2);
    }
}

/// Nobody receives, and the sender comes to its end all the same.
fn no_limit_means_no_waiting(on: Way) {
    let (tx, rx) = channel::unbounded();
    let sender = {
        let tx = tx.clone();
        on.spawn(move || (0..10_000).for_each(|n| tx.send(n).unwrap()))
    };
    sender.join();
    assert!(!tx.is_full());
    assert_eq!(rx.len(), 10_000);
    assert!(rx.try_iter().eq(0..10_000));
}

fn trying_never_waits(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        for n in 0..capacity.unwrap_or(100) {
            assert_eq!(tx.try_send(n), Ok(()));
        }
        if capacity.is_some() {
            assert_eq!(tx.try_send(555), Err(TrySendError::Full(555)));
        }
        assert!(rx.try_iter().eq(0..capacity.unwrap_or(100)));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
}

/// Each passes on what it gets, one place at a time, so that a stop at the end holds up all.
fn a_chain_of_places(on: Way) {
    let (first, mut last) = channel::bounded(1);
    let mut links = Vec::new();
    for _ in 0..10 {
        let (tx, rx) = channel::bounded(1);
        let from = std::mem::replace(&mut last, rx);
        links.push(on.spawn(move || from.iter().for_each(|n: u32| tx.send(n).unwrap())));
    }
    // As many as there are places, and those in the links' hands: no more is taken.
    let mut sent = 0;
    for _ in 0..100 {
        on.lull();
        sent += u32::from(first.try_send(sent).is_ok());
    }
    assert!(sent <= 21, "{sent}");
    drop(first);
    assert!(last.iter().eq(0..sent));
    links.into_iter().for_each(|link| link.join());
}

fn a_thread_that_is_its_own_partner(_: Way) {
    for capacity in [Some(1), Some(7), None] {
        let (tx, rx) = make(capacity);
        for n in 0..1000 {
            tx.send(n).unwrap();
            assert_eq!(rx.recv(), Ok(n));
        }
    }
}
