//! `tick`: a message each period, none before its time, and none that pile up. And `never`.

use gthread_tests::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, bounded, never, select, tick,
};
use gthread_tests::{LONG, SHORT, Way, every_way};
use std::time::{Duration, Instant};

every_way!(
    a_message_each_period,
    missed_ones_do_not_pile_up,
    a_period_of_zero,
    far_away_is_never,
    it_tells_of_itself,
    timeouts_shorter_than_the_period,
    clones_share_the_messages,
    in_a_select,
    against_a_time_limit,
    never_is_never,
    never_in_selects,
);

fn a_message_each_period(_: Way) {
    let start = Instant::now();
    let rx = tick(SHORT);
    // A busy machine may come here when the first is due already.
    let mut first = rx.try_recv().map_err(|error| assert_eq!(error, TryRecvError::Empty)).ok();
    let mut last = start;
    for n in 1..=5 {
        let due = first.take().unwrap_or_else(|| rx.recv().unwrap());
        assert!(due >= last + SHORT, "early");
        assert!(Instant::now() >= due && due >= start + SHORT * n);
        last = due;
    }
    assert_eq!(rx.iter().take(3).count(), 3);
    assert!(start.elapsed() >= 8 * SHORT);
}

/// Slept through some: one is there, and the next is a period after that was received.
fn missed_ones_do_not_pile_up(on: Way) {
    let start = Instant::now();
    let rx = tick(SHORT);
    on.sleep(5 * SHORT);
    assert_eq!(rx.len(), 1);
    let before = Instant::now();
    let first = rx.try_recv().unwrap();
    assert!(first >= start + SHORT);
    let second = rx.recv().unwrap();
    assert!(second >= start + 6 * SHORT, "counted from when it was due, not from when received");
    assert!(Instant::now() >= second && second >= before + SHORT);
    // The one that was late by so much is received as late.
    on.sleep(3 * SHORT);
    let third = rx.recv().unwrap();
    assert!(third >= second + SHORT);
}

fn a_period_of_zero(_: Way) {
    let rx = tick(Duration::ZERO);
    let mut last = None;
    for _ in 0..100 {
        let due = rx.recv().unwrap();
        assert!(last.is_none_or(|last| last <= due));
        last = Some(rx.try_recv().unwrap());
        select! { recv(rx) -> due => assert!(due.is_ok()), default => unreachable!() }
    }
    assert_eq!(rx.try_iter().take(10).count(), 10);
}

fn far_away_is_never(_: Way) {
    for rx in [tick(Duration::MAX), tick(LONG)] {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        select! { recv(rx) -> _ => unreachable!(), default(SHORT) => {} }
    }
}

fn it_tells_of_itself(on: Way) {
    let (rx, other) = (tick(SHORT), tick(LONG));
    assert_eq!(rx.capacity(), Some(1));
    assert_eq!((other.len(), other.is_empty(), other.is_full()), (0, true, false));
    on.until(|| rx.len() == 1);
    assert!(rx.is_full() && !rx.is_empty());
    let clone = rx.clone();
    assert!(clone.same_channel(&rx));
    assert!(!rx.same_channel(&other) && !rx.same_channel(&tick(SHORT)));
    assert!(!rx.same_channel(&after(SHORT)) && !rx.same_channel(&never()));
}

fn timeouts_shorter_than_the_period(_: Way) {
    let start = Instant::now();
    let rx = tick(2 * SHORT);
    let mut early = 0;
    for _ in 0..3 {
        loop {
            match rx.recv_timeout(SHORT / 2) {
                Ok(due) => break assert!(Instant::now() >= due),
                Err(error) => assert_eq!(error, RecvTimeoutError::Timeout),
            }
            early += 1;
        }
    }
    assert!(start.elapsed() >= 6 * SHORT);
    assert!(start.elapsed() >= early * (SHORT / 2));
    // One who gives up takes no message along.
    let rx = tick(SHORT);
    while rx.recv_deadline(Instant::now()).is_err() {}
}

fn clones_share_the_messages(on: Way) {
    let start = Instant::now();
    let rx = tick(SHORT);
    let counts: Vec<_> = (0..3)
        .map(|_| {
            let rx = rx.clone();
            on.spawn(move || (0..3).map(|_| rx.recv().unwrap()).collect::<Vec<_>>())
        })
        .collect();
    let mut all: Vec<_> = counts.into_iter().flat_map(|peer| peer.join()).collect();
    assert!(start.elapsed() >= 9 * SHORT);
    all.sort_unstable();
    assert!(all.is_sorted_by(|a, b| *b >= *a + SHORT), "two got one message");
}

fn in_a_select(on: Way) {
    let (rx, off) = (tick(SHORT), never::<u8>());
    let start = Instant::now();
    let mut list = Select::new();
    list.recv(&off);
    let ticks = list.recv(&rx);
    for n in 1..4 {
        let operation = list.select();
        assert_eq!(operation.index(), ticks);
        operation.recv(&rx).unwrap();
        // The first may have been under way before the clock was read.
        assert!(start.elapsed() + SHORT >= SHORT * n);
    }
    let (tx, values) = bounded(0);
    let sender = on.spawn(move || (0..3).for_each(|n| tx.send(n).unwrap()));
    let (mut ticks, mut got) = (0, 0);
    while ticks < 3 || got < 3 {
        select! {
            recv(rx) -> due => { due.unwrap(); ticks += 1; }
            recv(if got < 3 { values.clone() } else { never() }) -> value => {
                assert_eq!(value, Ok(got));
                got += 1;
            }
        }
    }
    sender.join();
}

fn against_a_time_limit(_: Way) {
    let (start, mut count) = (Instant::now(), 0);
    let (ticks, limit) = (tick(SHORT), after(6 * SHORT));
    loop {
        select! {
            recv(ticks) -> _ => count += 1,
            recv(limit) -> _ => break,
        }
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= 6 * SHORT);
    assert!(SHORT * count <= elapsed, "{count} in {elapsed:?}");
}

fn never_is_never(_: Way) {
    let rx = never::<String>();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    let deadline = Instant::now() + SHORT;
    assert_eq!(rx.recv_deadline(deadline), Err(RecvTimeoutError::Timeout));
    assert!(Instant::now() >= deadline);
    assert_eq!(rx.try_iter().next(), None);
    // It is as empty as it is full, and all of them are one.
    assert_eq!((rx.len(), rx.capacity(), rx.is_empty(), rx.is_full()), (0, Some(0), true, true));
    assert!(rx.same_channel(&never()) && rx.same_channel(&rx.clone()));
    assert!(!rx.same_channel(&bounded(0).1));
}

fn never_in_selects(on: Way) {
    let off: Receiver<u8> = never();
    let mut list = Select::new();
    let index = list.recv(&off);
    assert!(list.try_select().is_err() && list.try_ready().is_err());
    assert!(list.select_timeout(SHORT).is_err() && list.ready_timeout(SHORT).is_err());
    list.remove(index);
    let (tx, rx) = bounded(0);
    let sender = on.spawn(move || tx.send(1));
    select! {
        recv(off) -> _ => unreachable!(),
        recv(rx) -> value => assert_eq!(value, Ok(1)),
        recv(never::<()>()) -> _ => unreachable!(),
    }
    sender.join().unwrap();
    // One that may be there.
    let list: [Receiver<u8>; 0] = [];
    select! {
        recv(list.first().unwrap_or(&never())) -> _ => unreachable!(),
        default(SHORT) => {}
    }
}
