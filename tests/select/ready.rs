//! `ready` and its kin tell which operation is worth trying, and do none.

use gthread_tests::channel::{self, Select, TryRecvError, after, never, tick};
use gthread_tests::{CAPACITIES, Flag, LONG, SHORT, Way, every_way, full, make};
use std::time::{Duration, Instant};

every_way!(
    tells_without_taking,
    waits_for_a_value,
    waits_for_a_place,
    waits_for_a_partner,
    disconnection_is_ready,
    times_out,
    a_value_beats_the_timeout,
    trying_after_ready_gets_everything,
    several_who_are_told_of_one_value,
    timers_are_ready_when_due,
    nothing_is_ready_only_if_there_was_such_a_moment,
);

fn tells_without_taking(_: Way) {
    let ((tx, rx), (_quiet, silence)) = (channel::bounded(1), channel::bounded::<u8>(1));
    let mut select = Select::new();
    select.recv(&silence);
    let (sends, receives) = (select.send(&tx), select.recv(&rx));
    for _ in 0..10 {
        assert_eq!(select.ready(), sends);
        assert_eq!(select.try_ready(), Ok(sends));
        assert!(tx.is_empty());
    }
    tx.send(1).unwrap();
    for _ in 0..10 {
        assert_eq!(select.ready_timeout(LONG), Ok(receives));
        assert_eq!(select.ready_deadline(Instant::now()), Ok(receives));
        assert_eq!(rx.len(), 1);
    }
    // The list can be used for the other way to proceed too.
    assert_eq!(select.select().recv(&rx), Ok(1));
}

fn waits_for_a_value(on: Way) {
    for capacity in [Some(1), Some(7), None] {
        let ((tx, rx), off) = (make(capacity), never::<u8>());
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.recv(&off);
            let receives = select.recv(&rx);
            assert_eq!(select.ready(), receives);
            rx.try_recv()
        });
        on.lull();
        assert!(!waiting.is_finished());
        tx.send(3).unwrap();
        assert_eq!(waiting.join(), Ok(3));
    }
}

fn waits_for_a_place(on: Way) {
    for capacity in [1, 7] {
        let (tx, rx) = full(Some(capacity), 0).unwrap();
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.send(&tx);
            assert_eq!(select.ready(), 0);
            tx.try_send(1)
        });
        on.lull();
        assert!(!waiting.is_finished());
        rx.recv().unwrap();
        assert_eq!(waiting.join(), Ok(()));
        assert!(rx.iter().any(|value| value == 1));
    }
}

fn waits_for_a_partner(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let receiver = {
        let rx = rx.clone();
        on.spawn(move || {
            let mut select = Select::new();
            select.recv(&rx);
            loop {
                assert_eq!(select.ready(), 0);
                // The sender may have given up, or not be there yet.
                match rx.try_recv() {
                    Err(TryRecvError::Empty) => on.yield_now(),
                    value => break value,
                }
            }
        })
    };
    tx.send(5).unwrap();
    assert_eq!(receiver.join(), Ok(5));
    let sender = on.spawn(move || {
        let mut select = Select::new();
        select.send(&tx);
        loop {
            assert_eq!(select.ready(), 0);
            if tx.try_send(6).is_ok() {
                break;
            }
            on.yield_now();
        }
    });
    assert_eq!(rx.recv(), Ok(6));
    sender.join();
}

fn disconnection_is_ready(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.recv(&rx);
            (select.ready(), select.try_ready(), rx.try_recv())
        });
        on.lull();
        drop(tx);
        assert_eq!(waiting.join(), (0, Ok(0), Err(TryRecvError::Disconnected)));
        let Some((tx, rx)) = full(capacity, 0) else { continue };
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.send(&tx);
            (select.ready(), tx.try_send(1).is_err_and(|error| error.is_disconnected()))
        });
        on.lull();
        drop(rx);
        assert_eq!(waiting.join(), (0, true));
    }
}

fn times_out(_: Way) {
    for capacity in CAPACITIES {
        let (_tx, rx) = make::<u8>(capacity);
        let nowhere = full(capacity, 0);
        let mut select = Select::new();
        select.recv(&rx);
        if let Some((tx, _)) = &nowhere {
            select.send(tx);
        }
        let start = Instant::now();
        assert!(select.ready_timeout(SHORT).is_err());
        assert!(start.elapsed() >= SHORT);
        let deadline = Instant::now() + SHORT;
        assert!(select.ready_deadline(deadline).is_err());
        assert!(Instant::now() >= deadline);
        assert!(select.ready_timeout(Duration::ZERO).is_err());
    }
}

fn a_value_beats_the_timeout(on: Way) {
    for capacity in [Some(1), None] {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..20).for_each(|n| tx.send(n).unwrap()));
        let mut select = Select::new();
        select.recv(&rx);
        for n in 0..20 {
            assert_eq!(select.ready_timeout(LONG), Ok(0));
            assert_eq!(rx.try_recv(), Ok(n));
        }
        sender.join();
    }
}

fn trying_after_ready_gets_everything(on: Way) {
    for capacity in CAPACITIES {
        let ((a, from_a), (b, from_b)) = (make(capacity), make(capacity));
        let senders = [a, b].map(|tx| on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap())));
        let receivers = [&from_a, &from_b];
        let mut select = Select::new();
        for rx in receivers {
            select.recv(rx);
        }
        let (mut next, mut ended) = ([0, 0], 0);
        while ended < 2 {
            let index = select.ready();
            match receivers[index].try_recv() {
                Ok(n) => {
                    assert_eq!(n, next[index]);
                    next[index] += 1;
                }
                Err(TryRecvError::Empty) => on.yield_now(),
                Err(TryRecvError::Disconnected) => {
                    select.remove(index);
                    ended += 1;
                }
            }
        }
        assert_eq!(next, [100, 100]);
        senders.into_iter().for_each(|sender| sender.join());
    }
}

/// All may be told, one gets it, and the others find nothing: none is stuck on it.
fn several_who_are_told_of_one_value(on: Way) {
    for capacity in [Some(1), Some(7), None] {
        let (tx, rx) = make(capacity);
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || {
                    let mut select = Select::new();
                    select.recv(&rx);
                    loop {
                        select.ready();
                        match rx.try_recv() {
                            Err(TryRecvError::Empty) => on.yield_now(),
                            value => return value,
                        }
                    }
                })
            })
            .collect();
        on.lull();
        tx.send(1).unwrap();
        on.until(|| tx.is_empty());
        drop(tx);
        let got: Vec<_> = waiting.into_iter().map(|waiting| waiting.join()).collect();
        assert_eq!(got.iter().filter(|&&value| value == Ok(1)).count(), 1);
    }
}

fn timers_are_ready_when_due(_: Way) {
    let start = Instant::now();
    let (soon, later) = (after(SHORT), after(LONG));
    let mut select = Select::new();
    select.recv(&later);
    let soon_index = select.recv(&soon);
    assert_eq!(select.ready(), soon_index);
    assert!(start.elapsed() >= SHORT);
    soon.try_recv().unwrap();
    assert!(select.try_ready().is_err());
    let ticks = tick(SHORT);
    let ticks_index = select.recv(&ticks);
    for n in 1..4 {
        assert_eq!(select.ready(), ticks_index);
        ticks.try_recv().unwrap();
        assert!(start.elapsed() >= SHORT * n);
    }
}

/// A value is sent to one channel before it is taken from the other: at any time one of them has one. So is a place made
/// in one before it goes in the other, and a partner comes to one before the other's leaves. Whoever looks at both, without
/// waiting or with a time that is over, finds something.
fn nothing_is_ready_only_if_there_was_such_a_moment(on: Way) {
    const ROUNDS: usize = if cfg!(debug_assertions) { 300 } else { 3_000 };
    if !on.is_parallel() {
        return;
    }
    for capacity in [Some(1), Some(3), None] {
        for kind in 0..4 {
            let ((a_tx, a_rx), (b_tx, b_rx)) = (make::<u8>(capacity), make::<u8>(capacity));
            if kind == 3 {
                // Full, but for what the mover takes out.
                let Some(capacity) = capacity else { continue };
                (1..capacity).for_each(|_| a_tx.send(0).unwrap());
                (0..capacity).for_each(|_| b_tx.send(0).unwrap());
            } else {
                a_tx.send(0).unwrap();
            }
            let over = Flag::new();
            let mover = {
                let (a, b) = ((a_tx.clone(), a_rx.clone()), (b_tx.clone(), b_rx.clone()));
                let over = over.clone();
                on.spawn(move || {
                    let mut pair = [a, b];
                    while !over.is_up() {
                        // Into the second, out of the first; with places, out of the second, into the first.
                        if kind == 3 {
                            pair[1].1.try_recv().unwrap();
                            pair[0].0.try_send(0).unwrap();
                        } else {
                            pair[1].0.try_send(0).unwrap();
                            pair[0].1.try_recv().unwrap();
                        }
                        pair.reverse();
                    }
                })
            };
            for _ in 0..ROUNDS {
                let mut select = Select::new();
                if kind == 3 {
                    select.send(&a_tx);
                    select.send(&b_tx);
                } else {
                    select.recv(&a_rx);
                    select.recv(&b_rx);
                }
                let found = match kind {
                    // To look and not to take: else there would be nothing.
                    1 => select.ready_timeout(Duration::ZERO).is_ok(),
                    2 => select.ready_deadline(Instant::now()).is_ok(),
                    _ => select.try_ready().is_ok(),
                };
                assert!(found, "{capacity:?}, {kind}");
            }
            over.raise();
            mover.join();
        }
    }
}
