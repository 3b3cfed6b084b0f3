//! Channels of capacity zero: a send meets a receive and hands the value over.

use std::sync::atomic::{AtomicUsize, Ordering};

use gthread_tests::channel::{self, RecvError, SendError, TryRecvError, TrySendError};
use gthread_tests::{Drops, Flag, LONG, SHORT, Way, every_way, under_chaos, unhelped};

every_way!(
    a_send_waits_for_its_receive,
    trying_succeeds_only_if_the_other_waits,
    trying_to_send_reaches_one_who_waits,
    both_sides_keep_step,
    a_send_returns_after_its_value_was_taken,
    a_sender_that_gives_up_takes_its_value_along,
    a_receiver_that_gave_up_is_passed_over,
    a_sender_that_gave_up_is_passed_over,
    either_side_may_leave,
    two_who_try_miss_each_other,
    many_meet_one,
    there_and_back,
);

fn a_send_waits_for_its_receive(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let sent = Flag::new();
    let sender = {
        let sent = sent.clone();
        on.spawn(move || {
            tx.send(1).unwrap();
            sent.raise();
        })
    };
    on.lull();
    assert!(!sent.is_up(), "sent with nobody there");
    assert_eq!(rx.len(), 0);
    assert_eq!(rx.recv(), Ok(1));
    sender.join();
}

fn trying_succeeds_only_if_the_other_waits(on: Way) {
    let (tx, rx) = channel::bounded(0);
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let sender = {
        let tx = tx.clone();
        on.spawn(move || tx.send(2))
    };
    on.until(|| rx.try_recv() == Ok(2));
    sender.join().unwrap();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    drop(tx);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

fn trying_to_send_reaches_one_who_waits(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let receiver = on.spawn(move || (rx.recv(), rx));
    on.until(|| tx.try_send(7).is_ok());
    let (value, rx) = receiver.join();
    assert_eq!(value, Ok(7));
    assert_eq!(tx.try_send(8), Err(TrySendError::Full(8)));
    drop(rx);
    assert_eq!(tx.try_send(8), Err(TrySendError::Disconnected(8)));
}

/// The sender is never more than one ahead: its next send returns only when that value is taken.
fn both_sides_keep_step(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (sent, received) = (AtomicUsize::new(0), AtomicUsize::new(0));
    on.scope(|scope| {
        scope.spawn(|| {
            for n in 0..500 {
                tx.send(n).unwrap();
                sent.fetch_add(1, Ordering::SeqCst);
                // The receiver counts before it receives the next.
                assert!(received.load(Ordering::SeqCst) + 1 >= n);
            }
        });
        for n in 0..500 {
            assert!(sent.load(Ordering::SeqCst) <= n, "sent before it was received");
            assert_eq!(rx.recv(), Ok(n));
            received.fetch_add(1, Ordering::SeqCst);
        }
    });
}

/// What the receiver did before it came is seen by the sender after it returns, and the other way.
fn a_send_returns_after_its_value_was_taken(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let note = AtomicUsize::new(0);
    on.scope(|scope| {
        scope.spawn(|| {
            for n in 1..200 {
                note.store(n, Ordering::Relaxed);
                assert_eq!(rx.recv(), Ok(n));
                let () = rx.recv().map(|_| ()).unwrap();
            }
        });
        for n in 1..200 {
            tx.send(n).unwrap();
            assert_eq!(note.load(Ordering::Relaxed), n);
            tx.send(0).unwrap();
        }
    });
}

fn a_sender_that_gives_up_takes_its_value_along(_: Way) {
    let drops = Drops::new();
    let (tx, rx) = channel::bounded(0);
    let error = tx.send_timeout(drops.token(), SHORT).unwrap_err();
    assert_eq!(drops.count(), 0);
    assert!(rx.try_recv().is_err());
    drop(error.into_inner());
    assert_eq!(drops.count(), 1);
    drop(tx.try_send(drops.token()).unwrap_err());
    assert_eq!(drops.count(), 2);
}

fn a_receiver_that_gave_up_is_passed_over(on: Way) {
    let (tx, rx) = channel::bounded(0);
    for n in 0..20 {
        assert!(rx.recv_timeout(SHORT / 20).is_err());
        let (waits, stays) = (rx.clone(), rx.clone());
        let gives_up = on.spawn(move || waits.recv_timeout(SHORT / 20).ok());
        let stays = on.spawn(move || stays.recv());
        assert_eq!(gives_up.join(), None);
        tx.send(n).unwrap();
        assert_eq!(stays.join(), Ok(n));
    }
}

fn a_sender_that_gave_up_is_passed_over(on: Way) {
    let (tx, rx) = channel::bounded(0);
    for n in 0..20 {
        let (waits, stays) = (tx.clone(), tx.clone());
        let gives_up = on.spawn(move || waits.send_timeout(1000, SHORT / 20));
        let stays = on.spawn(move || stays.send(n));
        assert!(gives_up.join().is_err());
        assert_eq!(rx.recv(), Ok(n));
        stays.join().unwrap();
    }
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn either_side_may_leave(on: Way) {
    let (tx, rx) = channel::bounded::<u8>(0);
    let receiver = on.spawn(move || rx.recv());
    on.lull();
    drop(tx);
    assert_eq!(receiver.join(), Err(RecvError));
    let (tx, rx) = channel::bounded(0);
    let sender = on.spawn(move || tx.send(5));
    on.lull();
    drop(rx);
    assert_eq!(sender.join(), Err(SendError(5)));
}

/// Neither waits, so neither is there for the other; nothing is lost or invented.
fn two_who_try_miss_each_other(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let sender = on.spawn(move || {
        (0..500)
            .filter(|&n| {
                on.yield_now();
                tx.try_send(n).is_ok()
            })
            .count()
    });
    let mut received = 0;
    while !sender.is_finished() {
        received += rx.try_iter().count();
        on.yield_now();
    }
    received += rx.try_iter().count();
    assert_eq!((sender.join(), received), (0, 0));
}

fn many_meet_one(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let senders: Vec<_> = (0..10)
        .map(|n| {
            let tx = tx.clone();
            on.spawn(move || (0..20).for_each(|i| tx.send(20 * n + i).unwrap()))
        })
        .collect();
    drop(tx);
    let mut values: Vec<_> = rx.iter().collect();
    values.sort_unstable();
    assert!(values.into_iter().eq(0..200));
    senders.into_iter().for_each(|sender| sender.join());
}

fn there_and_back(on: Way) {
    let (there, arrives) = channel::bounded::<u64>(0);
    let (back, returns) = channel::bounded(0);
    let other = on.spawn(move || {
        while let Ok(n) = arrives.recv_timeout(LONG) {
            back.send_timeout(n + 1, LONG).unwrap();
        }
    });
    let mut n = 0;
    while n < 500 {
        there.send(n).unwrap();
        n = returns.recv().unwrap();
    }
    drop(there);
    other.join();
    assert_eq!(returns.recv(), Err(RecvError));
}

/// Receivers that wait are served in the order they came.
#[test]
fn waiting_receivers_are_served_in_turn() {
    if under_chaos("who waits first") {
        return;
    }
    let got: Vec<_> = unhelped(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let receivers: Vec<_> = (0..10)
                .map(|_| {
                    let rx = rx.clone();
                    // Child first: it waits when this goes on.
                    gthread::spawn(move || rx.recv().unwrap())
                })
                .collect();
            (0..10).for_each(|n| tx.send(n).unwrap());
            receivers.into_iter().map(|r| r.join().unwrap()).collect()
        })
    });
    assert_eq!(got, (0..10).collect::<Vec<_>>());
}
