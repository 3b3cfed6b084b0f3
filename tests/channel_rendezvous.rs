//! Channels of capacity zero: a send meets a receive and hands the value over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::channel::{self, TryRecvError, TrySendError};
use gthread::go;
use gthread_tests::{Drops, Flag, LIMIT, for_workers, watchdog, yield_often};

#[test]
fn a_send_waits_for_its_receive() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let sent = Flag::new();
            let sender = {
                let sent = sent.clone();
                go!(move || {
                    tx.send(1).unwrap();
                    sent.raise();
                })
            };
            yield_often();
            assert!(!sent.is_up(), "sent with nobody there");
            assert_eq!(rx.len(), 0);
            assert_eq!(rx.recv(), Ok(1));
            sender.join().unwrap();
        });
    });
}

#[test]
fn trying_succeeds_only_if_the_other_waits() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            let receiver = {
                let rx = rx.clone();
                go!(move || rx.recv())
            };
            while tx.try_send(2).is_err() {
                gthread::yield_now();
            }
            assert_eq!(receiver.join().unwrap(), Ok(2));
            let sender = {
                let tx = tx.clone();
                go!(move || tx.send(3))
            };
            let value = loop {
                match rx.try_recv() {
                    Ok(value) => break value,
                    Err(error) => assert_eq!(error, TryRecvError::Empty),
                }
                gthread::yield_now();
            };
            assert_eq!(value, 3);
            sender.join().unwrap().unwrap();
        });
    });
}

/// At no time is a value neither the sender's nor the receiver's.
#[test]
fn nothing_is_held_in_between() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let (sent, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let sender = {
                let (sent, received) = (Arc::clone(&sent), Arc::clone(&received));
                go!(move || {
                    for n in 0..1000 {
                        tx.send(n).unwrap();
                        sent.fetch_add(1, Ordering::SeqCst);
                        // The receiver counts before it receives the next.
                        assert!(received.load(Ordering::SeqCst) + 1 >= n);
                    }
                })
            };
            for n in 0..1000 {
                assert!(sent.load(Ordering::SeqCst) <= n, "sent before it was received");
                assert_eq!(rx.recv(), Ok(n));
                received.fetch_add(1, Ordering::SeqCst);
            }
            sender.join().unwrap();
        });
    });
}

#[test]
fn a_sender_that_gives_up_takes_its_value_along() {
    for_workers(|runtime| {
        let body = || {
            let drops = Drops::new();
            let (tx, rx) = channel::bounded(0);
            let error = tx.send_timeout(drops.token(), Duration::from_millis(2)).unwrap_err();
            assert_eq!(drops.count(), 0);
            assert!(rx.try_recv().is_err());
            drop(error.into_inner());
            assert_eq!(drops.count(), 1);
            let error = tx.try_send(drops.token()).unwrap_err();
            drop(error);
            assert_eq!(drops.count(), 2);
        };
        runtime.run(body);
        body();
    });
}

#[test]
fn a_receiver_that_gave_up_is_passed_over() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            for n in 0..20 {
                assert!(rx.recv_timeout(Duration::from_micros(100)).is_err());
                let (waits, stays) = (rx.clone(), rx.clone());
                let gives_up = go!(move || waits.recv_timeout(Duration::from_micros(200)).ok());
                let stays = go!(move || stays.recv());
                let leaves = gives_up.join().unwrap();
                assert_eq!(leaves, None);
                tx.send(n).unwrap();
                assert_eq!(stays.join().unwrap(), Ok(n));
            }
        });
    });
}

#[test]
fn os_threads_meet_too() {
    watchdog(LIMIT, || {
        let (tx, rx) = channel::bounded(0);
        let sender = std::thread::spawn(move || (0..2000).for_each(|n| tx.send(n).unwrap()));
        assert!(rx.iter().eq(0..2000));
        sender.join().unwrap();
    });
}

#[test]
fn values_of_every_shape_are_handed_over() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(128))]
    struct Aligned(u8);
    fn pass<T: Send + Clone + PartialEq + std::fmt::Debug + 'static>(value: T) {
        let (tx, rx) = channel::bounded(0);
        let copy = value.clone();
        let sender = gthread::Builder::new().stack_size(1 << 20).spawn(move || {
            // Once the receiver waits for the sender, once the other way around.
            tx.send(copy.clone()).unwrap();
            gthread::yield_now();
            tx.send(copy).unwrap();
        });
        assert_eq!(rx.recv().unwrap(), value);
        yield_often();
        assert_eq!(rx.recv().unwrap(), value);
        sender.unwrap().join().unwrap();
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let roomy = gthread::Builder::new().stack_size(1 << 20).spawn(|| {
                pass(());
                pass(Aligned(3));
                pass([7_u8; 10_000]);
                pass(String::from("on the heap"));
                pass(Some(Box::new(5)));
            });
            roomy.unwrap().join().unwrap();
        });
    });
}
