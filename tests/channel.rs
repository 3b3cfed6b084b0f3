//! Channels: order, capacity, iterators, and what they tell of themselves.

use gthread::channel::{self, Receiver, Sender, TryRecvError, TrySendError};
use gthread::go;
use gthread_tests::{Flag, LIMIT, for_workers, watchdog, yield_often};

/// Every flavour, by capacity.
const CAPACITIES: [Option<usize>; 5] = [Some(0), Some(1), Some(2), Some(100), None];

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(channel::unbounded, channel::bounded)
}

#[test]
fn values_arrive_in_order() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make(capacity);
            runtime.run(|| {
                let sender = go!(move || (0..2000).for_each(|n| tx.send(n).unwrap()));
                (0..2000).for_each(|n| assert_eq!(rx.recv(), Ok(n)));
                assert!(rx.recv().is_err());
                sender.join().unwrap();
            });
            // Between OS threads, and mixed.
            let (tx, rx) = make(capacity);
            let sender = std::thread::spawn(move || (0..300).for_each(|n| tx.send(n).unwrap()));
            assert!(rx.iter().eq(0..300));
            sender.join().unwrap();
            let (tx, rx) = make(capacity);
            let sender = runtime.spawn(move || (0..300).for_each(|n| tx.send(n).unwrap()));
            assert!(rx.iter().eq(0..300));
            sender.join().unwrap();
        }
    });
}

/// Each sender's values keep their order, whatever others send.
#[test]
fn values_of_one_sender_stay_in_order() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make(capacity);
            for sender in 0..4 {
                let tx = tx.clone();
                drop(runtime.spawn(move || (0..500).for_each(|n| tx.send((sender, n)).unwrap())));
            }
            drop(tx);
            let mut next = [0; 4];
            for (sender, n) in rx {
                assert_eq!(n, next[sender]);
                next[sender] += 1;
            }
            assert_eq!(next, [500; 4]);
        }
    });
}

#[test]
fn a_full_channel_blocks_the_sender() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded(2);
            let sent = Flag::new();
            tx.send(1).unwrap();
            tx.send(2).unwrap();
            assert_eq!(tx.try_send(3), Err(TrySendError::Full(3)));
            let sender = {
                let (tx, sent) = (tx.clone(), sent.clone());
                go!(move || {
                    tx.send(3).unwrap();
                    sent.raise();
                })
            };
            yield_often();
            assert!(!sent.is_up() && rx.len() == 2);
            assert_eq!(rx.recv(), Ok(1));
            sender.join().unwrap();
            assert_eq!((rx.recv(), rx.recv()), (Ok(2), Ok(3)));
            assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
            drop(tx);
            assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
        });
    });
}

/// One wake for each place: as many blocked senders go on as values are taken.
#[test]
fn every_blocked_sender_gets_its_place() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded(1);
        let senders: Vec<_> = (0..20)
            .map(|n| {
                let tx = tx.clone();
                runtime.spawn(move || tx.send(n).unwrap())
            })
            .collect();
        let mut values: Vec<u32> = (0..20).map(|_| rx.recv().unwrap()).collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        values.sort_unstable();
        assert!(values.into_iter().eq(0..20));
    });
}

#[test]
fn an_empty_channel_blocks_the_receiver() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            runtime.run(|| {
                let (tx, rx) = make(capacity);
                let receiver = go!(move || rx.recv());
                yield_often();
                assert!(!receiver.is_finished());
                tx.send(4).unwrap();
                assert_eq!(receiver.join().unwrap(), Ok(4));
            });
        }
    });
}

/// Receivers that wait are served in the order they came.
#[test]
fn waiting_receivers_are_served_in_turn() {
    watchdog(LIMIT, || {
        let runtime = gthread_tests::runtime(1);
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let receivers: Vec<_> = (0..10)
                .map(|_| {
                    let rx = rx.clone();
                    let parks = go!(move || rx.recv().unwrap());
                    // Child first: by now it waits, unless the machine was stalled.
                    gthread::yield_now();
                    parks
                })
                .collect();
            (0..10).for_each(|n| tx.send(n).unwrap());
            let got: Vec<_> = receivers.into_iter().map(|r| r.join().unwrap()).collect();
            let in_place = got.iter().enumerate().filter(|&(n, &got)| n == got).count();
            assert!(in_place >= 8, "{got:?}");
        });
    });
}

#[test]
fn it_tells_of_itself() {
    for_workers(|runtime| {
        runtime.run(|| {
            for capacity in CAPACITIES {
                let (tx, rx) = make(capacity);
                assert_eq!((tx.capacity(), rx.capacity()), (capacity, capacity));
                let zero = capacity == Some(0);
                assert!(tx.is_empty() && rx.is_empty());
                assert_eq!((tx.is_full(), rx.is_full()), (zero, zero));
                if zero {
                    continue;
                }
                tx.send(1).unwrap();
                assert_eq!((tx.len(), rx.len()), (1, 1));
                assert!(!tx.is_empty() && !rx.is_empty());
                assert_eq!(
                    (tx.is_full(), rx.is_full()),
                    (capacity == Some(1), capacity == Some(1))
                );
                rx.recv().unwrap();
                assert_eq!((tx.len(), rx.len()), (0, 0));
            }
        });
    });
}

#[test]
fn ends_know_whether_they_belong_together() {
    for a in CAPACITIES {
        let (tx, rx) = make::<u8>(a);
        assert!(tx.same_channel(&tx.clone()) && rx.same_channel(&rx.clone()));
        for b in CAPACITIES {
            let (other_tx, other_rx) = make::<u8>(b);
            assert!(!tx.same_channel(&other_tx) && !rx.same_channel(&other_rx));
        }
    }
}

#[test]
fn iterators() {
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            runtime.run(|| {
                let (tx, rx) = make(capacity);
                let send = |count: u32| {
                    let tx = tx.clone();
                    go!(move || (0..count).for_each(|n| tx.send(n).unwrap()))
                };
                let sender = send(5);
                assert!(rx.iter().take(5).eq(0..5));
                sender.join().unwrap();
                // Takes what is there and does not wait for more.
                assert_eq!(rx.try_iter().next(), None);
                let sender = send(3);
                let mut seen = Vec::new();
                while seen.len() < 3 {
                    seen.extend(rx.try_iter());
                    gthread::yield_now();
                }
                assert_eq!(seen, [0, 1, 2]);
                sender.join().unwrap();
                let sender = send(4);
                drop(tx);
                let mut sum = 0;
                for n in &rx {
                    sum += n;
                }
                assert_eq!(sum, 6);
                sender.join().unwrap();
                // Ended for good.
                let mut rest = rx.into_iter();
                assert_eq!((rest.next(), rest.next()), (None, None));
            });
        }
    });
}

#[test]
fn ends_are_printed_without_their_values() {
    struct NotDebug;
    let (tx, rx) = channel::bounded::<NotDebug>(1);
    assert_eq!(format!("{tx:?} {rx:?}"), "Sender { .. } Receiver { .. }");
}

#[test]
fn channels_go_through_channels() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, requests) = channel::bounded::<(u32, Sender<u32>)>(0);
            let server = go!(move || requests.iter().for_each(|(n, to)| to.send(n * 2).unwrap()));
            let clients: Vec<_> = (0..50)
                .map(|n| {
                    let tx = tx.clone();
                    go!(move || {
                        let (to, answer) = channel::bounded(1);
                        tx.send((n, to)).unwrap();
                        assert_eq!(answer.recv(), Ok(2 * n));
                    })
                })
                .collect();
            drop(tx);
            clients.into_iter().for_each(|client| client.join().unwrap());
            server.join().unwrap();
        });
    });
}

#[test]
fn many_producers_and_consumers() {
    const VALUES: u64 = 2_000;
    for_workers(|runtime| {
        for capacity in CAPACITIES {
            let (tx, rx) = make(capacity);
            let consumers: Vec<_> = (0..6)
                .map(|_| {
                    let rx = rx.clone();
                    runtime.spawn(move || rx.iter().fold((0, 0), |(n, sum), v| (n + 1, sum + v)))
                })
                .collect();
            for part in 0..5 {
                let tx = tx.clone();
                let produce = move || {
                    for n in 0..VALUES / 5 {
                        tx.send(5 * n + part).unwrap();
                    }
                };
                drop(runtime.spawn(produce));
            }
            drop((tx, rx));
            let total = consumers
                .into_iter()
                .map(|consumer| consumer.join().unwrap())
                .fold((0, 0), |(n, sum), (m, add)| (n + m, sum + add));
            assert_eq!(total, (VALUES, VALUES * (VALUES - 1) / 2), "{capacity:?}");
        }
    });
}

#[test]
fn a_ring_of_many() {
    for_workers(|runtime| {
        for capacity in [0, 1] {
            let passed = runtime.run(|| {
                let (first, mut previous) = channel::bounded(capacity);
                for _ in 0..100 {
                    let (tx, rx) = channel::bounded(capacity);
                    let from = std::mem::replace(&mut previous, rx);
                    drop(go!(move || from.iter().for_each(|n: u32| tx.send(n + 1).unwrap())));
                }
                let injects = go!(move || (0..20).for_each(|_| first.send(0).unwrap()));
                let passed: Vec<_> = previous.iter().collect();
                injects.join().unwrap();
                passed
            });
            assert_eq!(passed, [100; 20]);
        }
    });
}
