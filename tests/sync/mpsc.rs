//! `mpsc`: std's channels, on every kind of thread.

use std::sync::mpsc as std_mpsc;
use std::time::{Duration, Instant};

use gthread::sync::mpsc::{
    self, Receiver, RecvError, RecvTimeoutError, SendError, Sender, SyncSender, TryRecvError,
    TrySendError, channel, sync_channel,
};
use gthread_tests::{Drops, LONG, SHORT, Way, every_way, every_way_crowded};

every_way!(
    values_come_in_order,
    a_receiver_without_senders_gets_what_is_left,
    a_sender_without_receiver_gets_its_value_back,
    a_full_channel_makes_a_sender_wait,
    with_no_room_a_send_waits_for_its_recv,
    try_send_needs_room_or_a_receiver,
    a_waiting_sender_learns_that_the_receiver_is_gone,
    a_waiting_receiver_learns_that_the_senders_are_gone,
    recv_timeout_times_out,
    recv_timeout_far_in_the_future,
    values_are_dropped_with_the_receiver,
    iterators,
    a_receiver_moves_to_another_thread,
);
every_way_crowded!(many_senders);

fn values_come_in_order(on: Way) {
    let (tx, rx) = channel();
    let peer = on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
    assert!(rx.iter().eq(0..100));
    peer.join();
    for bound in [0, 1, 3] {
        let (tx, rx) = sync_channel(bound);
        let peer = on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
        assert!(rx.iter().eq(0..100));
        peer.join();
    }
}

fn a_receiver_without_senders_gets_what_is_left(_: Way) {
    let (tx, rx) = channel();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let other = tx.clone();
    tx.send(1).unwrap();
    drop(tx);
    other.send(2).unwrap();
    drop(other);
    assert_eq!((rx.recv(), rx.try_recv()), (Ok(1), Ok(2)));
    assert_eq!(rx.recv(), Err(RecvError));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
    assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
}

fn a_sender_without_receiver_gets_its_value_back(_: Way) {
    let (tx, rx) = channel();
    drop(rx);
    assert_eq!(tx.send("back"), Err(SendError("back")));
    for bound in [0, 1] {
        let (tx, rx) = sync_channel(bound);
        drop(rx);
        assert_eq!(tx.send("back"), Err(SendError("back")));
        assert_eq!(tx.try_send("back"), Err(TrySendError::Disconnected("back")));
    }
}

fn a_full_channel_makes_a_sender_wait(on: Way) {
    let (tx, rx) = sync_channel(2);
    tx.send(0).unwrap();
    tx.send(1).unwrap();
    let peer = on.spawn(move || tx.send(2));
    on.lull();
    assert!(!peer.is_finished());
    assert_eq!(rx.recv(), Ok(0));
    peer.join().unwrap();
    assert!(rx.iter().eq(1..3));
}

fn with_no_room_a_send_waits_for_its_recv(on: Way) {
    let (tx, rx) = sync_channel(0);
    let peer = on.spawn(move || tx.send(1));
    on.lull();
    assert!(!peer.is_finished(), "there was no recv");
    assert_eq!(rx.recv(), Ok(1));
    peer.join().unwrap();
    assert_eq!(rx.recv(), Err(RecvError));
}

fn try_send_needs_room_or_a_receiver(on: Way) {
    let (tx, rx) = sync_channel(1);
    tx.try_send(1).unwrap();
    assert_eq!(tx.try_send(2), Err(TrySendError::Full(2)));
    assert_eq!(rx.try_recv(), Ok(1));
    tx.try_send(2).unwrap();

    let (tx, rx) = sync_channel(0);
    assert_eq!(tx.try_send(1), Err(TrySendError::Full(1)));
    let peer = on.spawn(move || rx.recv());
    on.until(|| tx.try_send(2).is_ok());
    assert_eq!(peer.join(), Ok(2));
}

fn a_waiting_sender_learns_that_the_receiver_is_gone(on: Way) {
    for bound in [0, 1] {
        let (tx, rx) = sync_channel(bound);
        while bound > 0 && tx.try_send(0).is_ok() {}
        let peer = on.spawn(move || tx.send(7));
        on.lull();
        drop(rx);
        assert_eq!(peer.join(), Err(SendError(7)));
    }
}

fn a_waiting_receiver_learns_that_the_senders_are_gone(on: Way) {
    let (tx, rx) = channel::<u8>();
    let peer = on.spawn(move || (rx.recv(), rx.recv_timeout(LONG)));
    on.lull();
    drop(tx);
    assert_eq!(peer.join(), (Err(RecvError), Err(RecvTimeoutError::Disconnected)));
}

fn recv_timeout_times_out(_: Way) {
    let (tx, rx) = channel();
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    tx.send(1).unwrap();
    // What is there is had without time.
    assert_eq!(rx.recv_timeout(Duration::ZERO), Ok(1));
    assert_eq!(rx.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
}

/// Beyond what timers of the system can represent, and beyond the clock.
fn recv_timeout_far_in_the_future(on: Way) {
    for timeout in [LONG * 24 * 60, Duration::from_secs(1 << 40), Duration::MAX] {
        let (tx, rx) = channel();
        let peer = on.spawn(move || rx.recv_timeout(timeout));
        on.lull();
        assert!(!peer.is_finished());
        tx.send(1).unwrap();
        assert_eq!(peer.join(), Ok(1));
    }
}

fn values_are_dropped_with_the_receiver(_: Way) {
    let drops = Drops::new();
    let (tx, rx) = channel();
    let (sync_tx, sync_rx) = sync_channel(3);
    for _ in 0..3 {
        tx.send(drops.token()).unwrap();
        sync_tx.send(drops.token()).unwrap();
    }
    drop(rx.recv());
    assert_eq!(drops.count(), 1);
    drop((rx, sync_rx));
    // Not only once the senders are gone too.
    assert_eq!(drops.count(), 6);
    drop(tx.send(drops.token()));
    assert_eq!(drops.count(), 7);
}

fn iterators(on: Way) {
    let (tx, rx) = channel();
    (0..3).for_each(|n| tx.send(n).unwrap());
    assert!(rx.try_iter().eq(0..3));
    assert_eq!(rx.try_iter().next(), None);
    let peer = on.spawn(move || (3..6).for_each(|n| tx.send(n).unwrap()));
    assert!(rx.iter().take(1).eq([3]));
    let mut seen = Vec::new();
    for n in &rx {
        seen.push(n);
        if n == 4 {
            break;
        }
    }
    seen.extend(rx);
    assert_eq!(seen, [4, 5]);
    peer.join();
}

fn a_receiver_moves_to_another_thread(on: Way) {
    let (tx, rx) = channel();
    let (back, rx_back) = sync_channel(0);
    // Through a channel, at that.
    let peer = on.spawn(move || back.send(rx));
    let rx: Receiver<u8> = rx_back.recv().unwrap();
    peer.join().unwrap();
    tx.send(9).unwrap();
    assert_eq!(on.spawn(move || rx.recv()).join(), Ok(9));
}

fn many_senders(on: Way) {
    const SENDERS: usize = 8;
    const EACH: usize = 100;
    for bound in [0, 1, 64] {
        let (tx, rx) = sync_channel(bound);
        let peers: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let tx = tx.clone();
                on.spawn(move || (0..EACH).for_each(|n| tx.send((sender, n)).unwrap()))
            })
            .collect();
        drop(tx);
        let mut next = [0; SENDERS];
        for (sender, n) in rx {
            assert_eq!(n, next[sender], "out of order");
            next[sender] += 1;
        }
        assert_eq!(next, [EACH; SENDERS]);
        peers.into_iter().for_each(|peer| peer.join());
    }
}

/// Functions may be named with std's types.
#[test]
fn signatures_are_stds() {
    type T = Box<u8>;
    let _: fn() -> (Sender<T>, Receiver<T>) = channel;
    let _: fn(usize) -> (SyncSender<T>, Receiver<T>) = sync_channel;
    let _: fn(&Sender<T>, T) -> Result<(), std_mpsc::SendError<T>> = Sender::send;
    let _: fn(&SyncSender<T>, T) -> Result<(), std_mpsc::SendError<T>> = SyncSender::send;
    let _: fn(&SyncSender<T>, T) -> Result<(), std_mpsc::TrySendError<T>> = SyncSender::try_send;
    let _: fn(&Receiver<T>) -> Result<T, std_mpsc::RecvError> = Receiver::recv;
    let _: fn(&Receiver<T>) -> Result<T, std_mpsc::TryRecvError> = Receiver::try_recv;
    let _: fn(&Receiver<T>, Duration) -> Result<T, std_mpsc::RecvTimeoutError> =
        Receiver::recv_timeout;
    let _: for<'a> fn(&'a Receiver<T>) -> mpsc::Iter<'a, T> = Receiver::iter;
    let _: for<'a> fn(&'a Receiver<T>) -> mpsc::TryIter<'a, T> = Receiver::try_iter;
    let _: fn(Receiver<T>) -> mpsc::IntoIter<T> = Receiver::into_iter;
    let _: TrySendError<u8> = SendError(1).into();
    let _: (TryRecvError, RecvTimeoutError) = (RecvError.into(), RecvError.into());
}

#[test]
fn they_print_as_stds() {
    let (ours, stds) = (channel::<u8>(), std_mpsc::channel::<u8>());
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(format!("{:?}", ours.1.iter()), format!("{:?}", stds.1.iter()));
    assert_eq!(format!("{:#?}", ours.1.try_iter()), format!("{:#?}", stds.1.try_iter()));
    assert_eq!(format!("{:?}", ours.1.into_iter()), format!("{:?}", stds.1.into_iter()));
    let (ours, stds) = (sync_channel::<u8>(1), std_mpsc::sync_channel::<u8>(1));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
}
