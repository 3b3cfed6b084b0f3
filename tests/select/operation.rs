//! A selected operation must be completed, with the end that was selected; and what becomes of the
//! other side if it is not.

use gthread_tests::channel::{self, RecvError, Select, SendError, TryRecvError};
use gthread_tests::{Drops, LONG, Way, every_way};
use std::panic::{AssertUnwindSafe, catch_unwind};

every_way!(
    dropping_one_panics,
    another_receiver_is_refused,
    another_sender_is_refused,
    a_refused_value_is_dropped_once,
    receivers_partner_of_a_given_up_send_waits_on,
    senders_partner_of_a_given_up_receive_waits_on,
    partner_of_a_given_up_operation_sees_disconnection,
    a_place_given_up_can_be_used,
    given_up_while_unwinding,
);

/// Whether `f` panics.
fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

fn dropping_one_panics(_: Way) {
    for capacity in [Some(1), None] {
        let (tx, rx) = gthread_tests::make(capacity);
        tx.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&rx);
        assert!(panics(|| drop(select.select())));
        drop(tx);
        // Also if it is only to give an error.
        assert!(panics(|| drop(select.try_select().unwrap())));
        let (tx, _) = channel::bounded::<u8>(0);
        let mut select = Select::new();
        select.send(&tx);
        assert!(panics(|| drop(select.select())));
    }
}

fn another_receiver_is_refused(_: Way) {
    let ((tx, rx), (_other_tx, other)) = (channel::unbounded(), channel::unbounded());
    tx.send(1).unwrap();
    let clone = rx.clone();
    for wrong in [&other, &clone] {
        tx.send(1).unwrap();
        let mut select = Select::new();
        select.recv(&rx);
        let operation = select.select();
        assert!(panics(|| _ = operation.recv(wrong)));
    }
}

fn another_sender_is_refused(_: Way) {
    let ((tx, _rx), (other, _other_rx)) = (channel::unbounded(), channel::unbounded());
    let clone = tx.clone();
    for wrong in [&other, &clone] {
        let mut select = Select::new();
        select.send(&tx);
        let operation = select.select();
        assert!(panics(|| _ = operation.send(wrong, 1)));
    }
}

fn a_refused_value_is_dropped_once(_: Way) {
    let drops = Drops::new();
    let (tx, rx) = channel::bounded::<gthread_tests::Token>(2);
    let (other, other_rx) = channel::bounded(2);
    let mut select = Select::new();
    select.send(&tx);
    let operation = select.select();
    assert!(panics(|| drop(operation.send(&other, drops.token()))));
    assert_eq!(drops.count(), 1);
    assert!(rx.is_empty() && other_rx.is_empty());
}

/// Beyond crossbeam-channel, where the partner hangs: here it goes on as if it had not been met.
fn receivers_partner_of_a_given_up_send_waits_on(on: Way) {
    for timeout in [None, Some(LONG)] {
        let (tx, rx) = channel::bounded(0);
        let partner = on.spawn(move || match timeout {
            None => rx.recv(),
            Some(timeout) => rx.recv_timeout(timeout).map_err(|_| RecvError),
        });
        for _ in 0..3 {
            let mut select = Select::new();
            select.send(&tx);
            assert!(panics(|| drop(select.select())));
        }
        on.lull();
        assert!(!partner.is_finished());
        tx.send(4).unwrap();
        assert_eq!(partner.join(), Ok(4));
    }
}

fn senders_partner_of_a_given_up_receive_waits_on(on: Way) {
    let drops = Drops::new();
    let (tx, rx) = channel::bounded(0);
    let token = drops.token();
    let partner = on.spawn(move || tx.send(token).is_ok());
    let mut select = Select::new();
    select.recv(&rx);
    // It may have taken the value: then that is gone, and the send done.
    assert!(panics(|| drop(select.select())));
    drop(rx.try_recv());
    drop(rx);
    partner.join();
    assert!(drops.count() <= 1);
}

fn partner_of_a_given_up_operation_sees_disconnection(on: Way) {
    let (tx, rx) = channel::bounded::<u8>(0);
    let partner = on.spawn(move || rx.recv());
    let mut select = Select::new();
    select.send(&tx);
    assert!(panics(|| drop(select.select())));
    drop(tx);
    assert_eq!(partner.join(), Err(RecvError));
    // The partner may be a select as well.
    let (tx, rx) = channel::bounded::<u8>(0);
    let partner = on.spawn(move || {
        let mut select = Select::new();
        select.recv(&rx);
        select.select().recv(&rx)
    });
    let mut select = Select::new();
    select.send(&tx);
    assert!(panics(|| drop(select.select())));
    drop(tx);
    assert_eq!(partner.join(), Err(RecvError));
}

fn a_place_given_up_can_be_used(on: Way) {
    for capacity in [1, 2] {
        let (tx, rx) = channel::bounded(capacity);
        for _ in 0..5 {
            let mut select = Select::new();
            select.send(&tx);
            assert!(panics(|| drop(select.select())));
        }
        let receiver = on.spawn(move || {
            let values: Vec<_> = (0..10).map(|_| rx.recv().unwrap()).collect();
            (values, rx.try_recv())
        });
        (0..10).for_each(|n| tx.send(n).unwrap());
        let (values, rest) = receiver.join();
        assert!(values.into_iter().eq(0..10));
        assert_eq!(rest, Err(TryRecvError::Empty));
    }
}

/// A panic between selecting and completing is that panic, not an abort.
fn given_up_while_unwinding(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let partner = on.spawn(move || rx.recv());
    let sender = tx.clone();
    let broken = on.spawn(move || {
        let mut select = Select::new();
        select.send(&sender);
        let _operation = select.select();
        panic!("before it was completed");
    });
    let payload = broken.try_join().unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"before it was completed"));
    tx.send(1).unwrap();
    assert_eq!(partner.join(), Ok(1));
    assert_eq!(tx.send(2), Err(SendError(2)));
}
