//! What a channel and its errors tell of themselves.

use std::error::Error;

use gthread_tests::channel::{
    self, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender, TryRecvError,
    TrySendError,
};
use gthread_tests::{CAPACITIES, Way, every_way, make};

every_way!(
    capacity_and_fill,
    length_stays_within_bounds_while_others_work,
    length_of_a_rendezvous_is_zero_with_partners_waiting,
    clones_tell_the_same,
);

fn capacity_and_fill(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        assert_eq!((tx.capacity(), rx.capacity()), (capacity, capacity));
        for n in 0..=capacity.unwrap_or(20) {
            assert_eq!((tx.len(), rx.len()), (n, n));
            assert_eq!((tx.is_empty(), rx.is_empty()), (n == 0, n == 0));
            let is_full = capacity == Some(n);
            assert_eq!((tx.is_full(), rx.is_full()), (is_full, is_full));
            assert_eq!(tx.try_send(n).is_ok(), !is_full);
        }
        while let Ok(n) = rx.try_recv() {
            assert!(!tx.is_full() && !rx.is_full());
            assert_eq!(rx.len(), tx.len());
            assert_eq!(rx.len(), capacity.unwrap_or(21) - 1 - n);
        }
        assert!(tx.is_empty() && rx.is_empty());
        // Neither changes when the other side leaves.
        let _ = tx.try_send(1);
        let inside = tx.len();
        drop(tx);
        assert_eq!((rx.len(), rx.capacity()), (inside, capacity));
    }
}

fn length_stays_within_bounds_while_others_work(on: Way) {
    for capacity in [Some(1), Some(7), None] {
        let (tx, rx) = make(capacity);
        let (watches_tx, watches_rx) = (tx.clone(), rx.clone());
        let sender = on.spawn(move || (0..500).for_each(|n| tx.send(n).unwrap()));
        let receiver = on.spawn(move || assert!(rx.iter().take(500).eq(0..500)));
        while !receiver.is_finished() {
            let (a, b) = (watches_tx.len(), watches_rx.len());
            assert!(a <= capacity.unwrap_or(500) && b <= capacity.unwrap_or(500), "{a} {b}");
            on.yield_now();
        }
        sender.join();
        receiver.join();
        assert_eq!((watches_tx.len(), watches_rx.len()), (0, 0));
    }
}

fn length_of_a_rendezvous_is_zero_with_partners_waiting(on: Way) {
    let (tx, rx) = make(Some(0));
    let sender = {
        let tx = tx.clone();
        on.spawn(move || tx.send(1))
    };
    on.lull();
    assert_eq!((tx.len(), rx.len(), rx.capacity()), (0, 0, Some(0)));
    assert!(tx.is_empty() && tx.is_full() && rx.is_empty() && rx.is_full());
    assert_eq!(rx.recv(), Ok(1));
    sender.join().unwrap();
    assert!(tx.is_empty() && tx.is_full() && rx.is_empty() && rx.is_full());
}

fn clones_tell_the_same(_: Way) {
    let (tx, rx) = channel::bounded(3);
    let (other_tx, other_rx) = (tx.clone(), rx.clone());
    other_tx.send(1).unwrap();
    tx.send(2).unwrap();
    assert_eq!((tx.len(), other_tx.len(), rx.len(), other_rx.len()), (2, 2, 2, 2));
    drop((tx, rx));
    assert_eq!((other_rx.recv(), other_rx.recv()), (Ok(1), Ok(2)));
    assert_eq!(other_rx.capacity(), Some(3));
}

#[test]
fn ends_know_whether_they_belong_together() {
    for a in CAPACITIES {
        let (tx, rx) = make::<u8>(a);
        assert!(tx.same_channel(&tx) && rx.same_channel(&rx));
        assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
        assert!(tx.clone().clone().same_channel(&tx.clone()));
        for b in CAPACITIES {
            let (other_tx, other_rx) = make::<u8>(b);
            assert!(!tx.same_channel(&other_tx) && !rx.same_channel(&other_rx));
            assert!(!other_tx.same_channel(&tx) && !other_rx.same_channel(&rx));
        }
        // What happens to the other side does not matter.
        let other = rx.clone();
        drop(tx);
        assert!(rx.same_channel(&other));
    }
}

#[test]
fn ends_and_errors_are_printed_without_their_values() {
    struct NotDebug;
    let (tx, rx) = channel::bounded::<NotDebug>(1);
    assert_eq!(format!("{tx:?} {rx:?}"), "Sender { .. } Receiver { .. }");
    assert_eq!(format!("{:?} {:?}", rx.iter(), rx.try_iter()), "Iter { .. } TryIter { .. }");
    tx.send(NotDebug).unwrap();
    assert!(format!("{:?}", tx.try_send(NotDebug)).contains("Full(..)"));
    assert_eq!(format!("{:?}", rx.into_iter()), "IntoIter { .. }");
    assert!(format!("{:?}", tx.send(NotDebug)).contains("SendError(..)"));
    assert!(format!("{:?}", tx.try_send(NotDebug)).contains("Disconnected(..)"));
}

#[test]
fn errors_give_the_value_back() {
    let (tx, rx) = channel::bounded(1);
    tx.send(Box::new(1)).unwrap();
    let error = tx.try_send(Box::new(2)).unwrap_err();
    assert!(error.is_full() && !error.is_disconnected());
    assert_eq!(*error.into_inner(), 2);
    let error = tx.send_timeout(Box::new(3), std::time::Duration::ZERO).unwrap_err();
    assert!(error.is_timeout() && !error.is_disconnected());
    assert_eq!(*error.into_inner(), 3);
    drop(rx);
    assert_eq!(*tx.send(Box::new(4)).unwrap_err().into_inner(), 4);
    let error = tx.try_send(Box::new(5)).unwrap_err();
    assert!(error.is_disconnected() && !error.is_full());
    assert_eq!(*error.into_inner(), 5);
    let error = tx.send_timeout(Box::new(6), std::time::Duration::ZERO).unwrap_err();
    assert!(error.is_disconnected() && !error.is_timeout());
    assert_eq!(*error.into_inner(), 6);
}

#[test]
fn errors_are_errors_and_convert() {
    fn say(error: impl Error + 'static) -> String {
        error.to_string()
    }
    assert_eq!(say(SendError(1)), say(TrySendError::Disconnected(1)));
    assert_eq!(say(SendError(1)), say(SendTimeoutError::Disconnected(1)));
    assert_ne!(say(TrySendError::Full(1)), say(SendTimeoutError::Timeout(1)));
    assert_ne!(say(TryRecvError::Empty), say(TryRecvError::Disconnected));
    assert_ne!(say(RecvTimeoutError::Timeout), say(RecvTimeoutError::Disconnected));
    assert_eq!(say(RecvError), say(TryRecvError::Disconnected));
    assert_eq!(TrySendError::from(SendError(1)), TrySendError::Disconnected(1));
    assert_eq!(SendTimeoutError::from(SendError(1)), SendTimeoutError::Disconnected(1));
    assert_eq!(TryRecvError::from(RecvError), TryRecvError::Disconnected);
    assert_eq!(RecvTimeoutError::from(RecvError), RecvTimeoutError::Disconnected);
    assert!(TryRecvError::Empty.is_empty() && !TryRecvError::Empty.is_disconnected());
    assert!(
        RecvTimeoutError::Timeout.is_timeout() && RecvTimeoutError::Disconnected.is_disconnected()
    );
    // The question mark takes them.
    fn receive(rx: &Receiver<u8>, tx: &Sender<u8>) -> Result<u8, Box<dyn Error>> {
        tx.try_send(1)?;
        tx.send(rx.try_recv()? + 1)?;
        Ok(rx.recv()?)
    }
    let (tx, rx) = channel::unbounded();
    assert_eq!(receive(&rx, &tx).unwrap(), 2);
    drop(rx);
    assert!(receive(&channel::bounded(1).1, &tx).unwrap_err().is::<TrySendError<u8>>());
}
