//! Disconnection: who waits learns of it, what is inside is received or dropped, once.

use gthread::channel::{self, Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError};
use gthread::go;
use gthread_tests::{Drops, Token, for_workers, yield_often};

const CAPACITIES: [Option<usize>; 4] = [Some(0), Some(1), Some(8), None];

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(channel::unbounded, channel::bounded)
}

#[test]
fn receivers_get_what_is_inside_and_then_an_error() {
    for_workers(|runtime| {
        runtime.run(|| {
            for capacity in [Some(8), None] {
                let (tx, rx) = make(capacity);
                (0..5).for_each(|n| tx.send(n).unwrap());
                drop(tx);
                (0..5).for_each(|n| assert_eq!(rx.recv(), Ok(n)));
                assert_eq!(rx.recv(), Err(RecvError));
                assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
            }
        });
    });
}

#[test]
fn senders_get_their_value_back() {
    for_workers(|runtime| {
        runtime.run(|| {
            for capacity in CAPACITIES {
                let (tx, rx) = make(capacity);
                drop(rx);
                assert_eq!(tx.send(1), Err(SendError(1)));
                assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
            }
        });
    });
}

#[test]
fn all_who_wait_are_woken() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make::<u32>(capacity);
            let receivers: Vec<_> = (0..10)
                .map(|_| {
                    let rx = rx.clone();
                    runtime.spawn(move || rx.recv())
                })
                .collect();
            let os = std::thread::spawn(move || rx.recv());
            runtime.run(yield_often);
            drop(tx);
            for receiver in receivers {
                assert_eq!(receiver.join().unwrap(), Err(RecvError));
            }
            assert_eq!(os.join().unwrap(), Err(RecvError));

            let Some(places) = capacity else { continue };
            let (tx, rx) = make::<u32>(capacity);
            (0..places).for_each(|_| tx.send(0).unwrap());
            let senders: Vec<_> = (1..10)
                .map(|n| {
                    let tx = tx.clone();
                    runtime.spawn(move || tx.send(n))
                })
                .collect();
            let os = std::thread::spawn(move || tx.send(77));
            runtime.run(yield_often);
            drop(rx);
            for (sender, n) in senders.into_iter().zip(1..) {
                assert_eq!(sender.join().unwrap(), Err(SendError(n)));
            }
            assert_eq!(os.join().unwrap(), Err(SendError(77)));
        }
    });
}

#[test]
fn only_the_last_end_disconnects() {
    for_workers(|runtime| {
        runtime.run(|| {
            for capacity in CAPACITIES {
                let (tx, rx) = make(capacity);
                let others = [tx.clone(), tx.clone()];
                let receiver = go!(move || rx.recv());
                drop(tx);
                let [last, other] = others;
                drop(other);
                yield_often();
                assert!(!receiver.is_finished());
                last.send(4).unwrap();
                assert_eq!(receiver.join().unwrap(), Ok(4));
            }
        });
    });
}

#[test]
fn values_inside_are_dropped_once_the_ends_are() {
    for_workers(|runtime| {
        runtime.run(|| {
            for (capacity, inside) in [(Some(8), 8), (Some(8), 5), (None, 100)] {
                let drops = Drops::new();
                let (tx, rx) = make(capacity);
                (0..inside).for_each(|_| tx.send(drops.token()).unwrap());
                drop(rx.recv().unwrap());
                drop(rx.clone());
                assert_eq!(drops.count(), 1);
                drop(rx);
                // As crossbeam-channel: without a limit they go with the receivers, with one they may
                // stay as long as a sender does.
                assert!(drops.count() == inside || capacity.is_some());
                let back = tx.send(drops.token());
                assert!(back.is_err());
                drop(tx);
                assert_eq!(drops.count(), inside);
                drop(back);
                assert_eq!(drops.count(), inside + 1);
            }
        });
    });
}

#[test]
fn values_inside_are_dropped_with_the_last_end() {
    for_workers(|runtime| {
        runtime.run(|| {
            for capacity in [Some(8), None] {
                let drops = Drops::new();
                let (tx, rx) = make(capacity);
                (0..8).for_each(|_| tx.send(drops.token()).unwrap());
                drop(tx);
                assert_eq!(drops.count(), 0);
                drop(rx);
                assert_eq!(drops.count(), 8);
            }
        });
    });
}

/// Both sides vanish while values are under way: each value is dropped once, wherever it was.
#[test]
fn values_under_way_are_dropped_once() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (drops, mut made) = (Drops::new(), 0);
            let (tx, rx) = make::<Token>(capacity);
            let mut threads = Vec::new();
            for n in 0..6 {
                let (tx, tokens): (_, Vec<_>) =
                    (tx.clone(), (0..50).map(|_| drops.token()).collect());
                made += tokens.len();
                threads.push(runtime.spawn(move || {
                    for token in tokens {
                        if tx.send(token).is_err() {
                            break;
                        }
                    }
                }));
                let rx = rx.clone();
                threads.push(runtime.spawn(move || {
                    for token in rx.iter().take(20 + n) {
                        drop(token);
                        gthread::yield_now();
                    }
                }));
            }
            drop((tx, rx));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(drops.count(), made, "{capacity:?}");
        }
    });
}

/// A value whose drop uses the channel that drops it.
#[test]
fn a_value_that_holds_an_end_of_its_channel() {
    struct Loop(Option<Sender<Loop>>, Drops);
    impl Drop for Loop {
        fn drop(&mut self) {
            if let Some(tx) = self.0.take() {
                assert!(tx.try_send(Loop(None, self.1.clone())).is_err());
            }
            drop(self.1.token());
        }
    }
    for_workers(|runtime| {
        runtime.run(|| {
            let drops = Drops::new();
            let (tx, rx) = channel::unbounded();
            tx.send(Loop(Some(tx.clone()), drops.clone())).unwrap();
            drop(rx);
            assert_eq!(drops.count(), 2);
        });
    });
}
