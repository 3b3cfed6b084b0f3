//! Selects at channels of capacity zero: who meets whom.

use gthread_tests::channel::{
    self, RecvError, Select, SendError, TryRecvError, TrySendError, select,
};
use gthread_tests::{SHORT, Way, every_way};
use std::time::Duration;

every_way!(
    a_select_does_not_meet_itself,
    both_arms_of_one_channel_meet_others,
    two_selects_meet,
    selects_that_can_both_send_and_receive_pair_up,
    a_plain_sender_meets_a_select,
    a_plain_receiver_meets_a_select,
    trying_finds_one_who_waits,
    two_selects_that_only_try_do_not_meet,
    a_partner_waits_for_the_value,
    a_crowd_of_pairs,
    crosswise,
    losing_arms_are_withdrawn,
);

fn a_select_does_not_meet_itself(_: Way) {
    let (tx, rx) = channel::bounded(0);
    select! {
        send(tx, 1) -> _ => unreachable!("nobody receives"),
        recv(rx) -> _ => unreachable!("nobody sends"),
        default => {}
    }
    select! {
        recv(rx) -> _ => unreachable!("nobody sends"),
        send(tx, 1) -> _ => unreachable!("nobody receives"),
        default(SHORT) => {}
    }
    let mut list = Select::new();
    list.send(&tx);
    list.recv(&rx);
    list.send(&tx);
    assert!(list.try_select().is_err());
    assert!(list.select_timeout(SHORT).is_err());
    assert!(list.try_ready().is_err());
}

fn both_arms_of_one_channel_meet_others(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let both = {
        let (tx, rx) = (tx.clone(), rx.clone());
        on.spawn(move || {
            let (mut sent, mut received) = (0, 0);
            while sent < 20 || received < 20 {
                select! {
                    send(tx, -1) -> result => { result.unwrap(); sent += 1; }
                    recv(rx) -> value => { assert_eq!(value, Ok(1)); received += 1; }
                }
            }
            (sent, received)
        })
    };
    for _ in 0..20 {
        tx.send(1).unwrap();
        assert_eq!(rx.recv(), Ok(-1));
    }
    assert_eq!(both.join(), (20, 20));
}

fn two_selects_meet(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (_quiet, silence) = channel::bounded::<u8>(0);
    let sender = on.spawn(move || {
        for n in 0..200 {
            select! {
                send(tx, n) -> sent => sent.unwrap(),
                recv(silence) -> _ => unreachable!(),
            }
        }
    });
    let (_other, other_rx) = channel::bounded::<u8>(0);
    for n in 0..200 {
        select! {
            recv(rx) -> value => assert_eq!(value, Ok(n)),
            recv(other_rx) -> _ => unreachable!(),
        }
    }
    sender.join();
}

/// Each of a crowd is ready for either part: every pair has one of each.
fn selects_that_can_both_send_and_receive_pair_up(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let threads: Vec<_> = (0..8)
        .map(|n| {
            let (tx, rx) = (tx.clone(), rx.clone());
            on.spawn(move || {
                select! {
                    send(tx, n) -> sent => { sent.unwrap(); None }
                    recv(rx) -> from => { assert_ne!(from, Ok(n)); from.ok() }
                }
            })
        })
        .collect();
    let partners: Vec<_> = threads.into_iter().filter_map(|thread| thread.join()).collect();
    assert_eq!(partners.len(), 4);
}

fn a_plain_sender_meets_a_select(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (_quiet, silence) = channel::bounded::<u8>(0);
    let sender = on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
    let mut select = Select::new();
    select.recv(&silence);
    select.recv(&rx);
    for n in 0..100 {
        let operation = select.select();
        assert_eq!(operation.index(), 1);
        assert_eq!(operation.recv(&rx), Ok(n));
    }
    assert_eq!(select.select().recv(&rx), Err(RecvError));
    sender.join();
}

fn a_plain_receiver_meets_a_select(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let receiver = on.spawn(move || (0..100).for_each(|n| assert_eq!(rx.recv(), Ok(n))));
    let (nowhere, _kept) = channel::bounded::<u8>(0);
    let mut select = Select::new();
    select.send(&nowhere);
    select.send(&tx);
    for n in 0..100 {
        let operation = select.select();
        assert_eq!(operation.index(), 1);
        assert_eq!(operation.send(&tx, n), Ok(()));
    }
    receiver.join();
    assert_eq!(select.select().send(&tx, 5), Err(SendError(5)));
}

/// Who waits in a select can be met by one who only tries.
fn trying_finds_one_who_waits(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (_quiet, silence) = channel::bounded::<u8>(0);
    let waiting = {
        let silence = silence.clone();
        on.spawn(move || {
            select! {
                recv(rx) -> value => (value, rx),
                recv(silence) -> _ => unreachable!(),
            }
        })
    };
    on.until(|| tx.try_send(2).is_ok());
    let (value, rx) = waiting.join();
    assert_eq!((value, tx.try_send(3)), (Ok(2), Err(TrySendError::Full(3))));
    let waiting = on.spawn(move || {
        select! {
            send(tx, 4) -> sent => sent.unwrap(),
            recv(silence) -> _ => unreachable!(),
        }
    });
    on.until(|| match rx.try_recv() {
        Ok(value) => value == 4,
        Err(error) => {
            assert_eq!(error, TryRecvError::Empty);
            false
        }
    });
    waiting.join();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
}

/// Neither waits, so neither finds the other: unlike in a rendezvous of one who waits.
fn two_selects_that_only_try_do_not_meet(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let tries = on.spawn(move || {
        (0..300).filter(|&n| select! { send(tx, n) -> _ => true, default => false }).count()
    });
    let mut met = 0;
    for _ in 0..300 {
        met += select! { recv(rx) -> value => u32::from(value.is_ok()), default => 0 };
        on.yield_now();
    }
    assert_eq!((tries.join(), met), (0, 0));
}

/// Between selecting a send and completing it the receiver already waits for that value alone.
fn a_partner_waits_for_the_value(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (other_tx, other_rx) = channel::bounded(0);
    let partner = on.spawn(move || {
        select! {
            recv(rx) -> value => value,
            recv(other_rx) -> value => value,
        }
    });
    let mut select = Select::new();
    select.send(&tx);
    let operation = select.select();
    on.lull();
    assert!(!partner.is_finished());
    // It is taken: nobody else meets it.
    assert!(other_tx.try_send(2).is_err());
    operation.send(&tx, 1).unwrap();
    assert_eq!(partner.join(), Ok(1));
}

fn a_crowd_of_pairs(on: Way) {
    let ends: Vec<_> = (0..3).map(|_| channel::bounded(0)).collect();
    let total: u32 = on.scope(|scope| {
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut sum = 0;
                    for _ in 0..60 {
                        sum += select! {
                            recv(ends[0].1) -> value => value.unwrap(),
                            recv(ends[1].1) -> value => value.unwrap(),
                            recv(ends[2].1) -> value => value.unwrap(),
                        };
                    }
                    sum
                })
            })
            .collect();
        for _ in 0..3 {
            scope.spawn(|| {
                for n in 0..80 {
                    select! {
                        send(ends[2].0, n) -> sent => sent.unwrap(),
                        send(ends[0].0, n) -> sent => sent.unwrap(),
                        send(ends[1].0, n) -> sent => sent.unwrap(),
                    }
                }
            });
        }
        receivers.into_iter().map(|receiver| receiver.join()).sum()
    });
    assert_eq!(total, 3 * (0..80).sum::<u32>());
}

/// Two threads that each want to send to the other and to receive from it, in opposite order: taking
/// the channels' locks in any fixed place of the list must not lock them up.
fn crosswise(on: Way) {
    const ROUNDS: u32 = 300;
    let (a, from_a) = channel::bounded(0);
    let (b, from_b) = channel::bounded(0);
    let side = |to: channel::Sender<u32>, from: channel::Receiver<u32>| {
        let (mut sent, mut received) = (0, 0);
        while sent < ROUNDS || received < ROUNDS {
            let to = (sent < ROUNDS).then_some(&to);
            let mut select = Select::new();
            let sends = to.map(|to| select.send(to));
            if received < ROUNDS {
                select.recv(&from);
            }
            let operation = select.select();
            if sends == Some(operation.index()) {
                operation.send(to.unwrap(), sent).unwrap();
                sent += 1;
            } else {
                assert_eq!(operation.recv(&from), Ok(received));
                received += 1;
            }
        }
    };
    let other = on.spawn(move || side(b, from_a));
    side(a, from_b);
    other.join();
}

fn losing_arms_are_withdrawn(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let (other_tx, other_rx) = channel::bounded(0);
    for n in 0..50 {
        let waiting = {
            let (rx, other_tx) = (rx.clone(), other_tx.clone());
            on.spawn(move || {
                select! {
                    recv(rx) -> value => value,
                    send(other_tx, 100) -> _ => unreachable!(),
                }
            })
        };
        tx.send(n).unwrap();
        assert_eq!(waiting.join(), Ok(n));
        assert_eq!(other_rx.try_recv(), Err(TryRecvError::Empty));
        assert!(tx.send_timeout(n, Duration::ZERO).is_err());
    }
}
