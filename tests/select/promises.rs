//! Selects and those who wait for them: promises of a value, permits to send, wakes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use gthread_tests::channel::{Select, TryRecvError, TrySendError, bounded, select, unbounded};
use gthread_tests::{Drops, Flag, LONG, Token, Way, every_way};

every_way!(
    a_body_may_begin_with_a_block,
    ready_wakes_all_who_watch,
    a_woken_watcher_takes_no_ones_wake,
    a_value_that_comes_late,
    not_completing_panics,
    a_place_that_is_given_up_is_free,
    all_places_that_are_given_up_are_free,
    a_permit_is_no_value,
    a_deadline_that_passes_beside_a_permit,
    a_partner_that_gives_up_costs_no_time,
    a_value_that_is_declined,
    a_value_behind_a_place_that_is_filled_late,
    values_of_any_size,
    a_receiver_is_not_woken_in_vain_by_a_select,
);

fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

fn ready_wakes_all_who_watch(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = gthread_tests::make::<i32>(capacity);
        let watchers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || {
                    let mut select = Select::new();
                    select.recv(&rx);
                    select.ready()
                })
            })
            .collect();
        on.lull();
        let sender = on.spawn(move || tx.send(1));
        watchers.into_iter().for_each(|watcher| assert_eq!(watcher.join(), 0));
        assert_eq!(rx.recv(), Ok(1));
        sender.join().unwrap();
    }
}

/// One who watches and does nothing must not cost a receiver its wake.
fn a_woken_watcher_takes_no_ones_wake(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = gthread_tests::make::<i32>(capacity);
        let watcher = {
            let rx = rx.clone();
            on.spawn(move || {
                let mut select = Select::new();
                select.recv(&rx);
                select.ready();
            })
        };
        on.lull();
        let receiver = on.spawn(move || rx.recv());
        on.lull();
        tx.send(1).unwrap();
        assert_eq!(receiver.join(), Ok(1));
        drop(tx);
        watcher.join();
    }
}

/// The partner waits for it, whatever it does: `recv`, `try_recv`, `recv_timeout`, a select.
fn a_value_that_comes_late(on: Way) {
    for kind in 0..4 {
        let (tx, rx) = bounded::<i32>(0);
        let peer = on.spawn(move || {
            loop {
                let got = match kind {
                    0 => rx.recv().ok(),
                    1 => rx.try_recv().ok(),
                    2 => rx.recv_timeout(LONG).ok(),
                    _ => {
                        let mut select = Select::new();
                        select.recv(&rx);
                        select.select().recv(&rx).ok()
                    }
                };
                if let Some(got) = got {
                    return got;
                }
                on.yield_now();
            }
        });
        let mut select = Select::new();
        select.send(&tx);
        let operation = select.select();
        on.lull();
        assert!(!peer.is_finished());
        operation.send(&tx, 8).unwrap();
        assert_eq!(peer.join(), 8);
    }
}

fn not_completing_panics(_: Way) {
    for capacity in [Some(1), None] {
        let (tx, rx) = gthread_tests::make::<i32>(capacity);
        let message = panic_message(|| {
            let mut select = Select::new();
            select.send(&tx);
            drop(select.select());
        });
        assert!(message.contains("without completing"), "{message}");
        // The channel goes on.
        tx.try_send(1).unwrap();
        assert_eq!(rx.try_recv(), Ok(1));
    }
}

fn a_place_that_is_given_up_is_free(on: Way) {
    let (tx, rx) = bounded(2);
    tx.send(1).unwrap();
    let give_up = || {
        panic_message(|| {
            let mut select = Select::new();
            select.send(&tx);
            drop(select.select());
        })
    };
    give_up();
    let waiting = {
        let tx = tx.clone();
        on.spawn(move || tx.send(2))
    };
    assert_eq!((rx.recv(), rx.recv()), (Ok(1), Ok(2)));
    waiting.join().unwrap();
    // With nothing before it, it is free at once, for one who waits already too.
    let mut select = Select::new();
    select.send(&tx);
    let operation = select.select();
    tx.send(3).unwrap();
    let waiting = {
        let tx = tx.clone();
        on.spawn(move || tx.send(4))
    };
    on.lull();
    panic_message(|| drop(operation));
    waiting.join().unwrap();
    assert_eq!((rx.try_recv(), rx.try_recv()), (Ok(3), Ok(4)));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

/// In any order, with values before and behind, and for all senders that wait.
fn all_places_that_are_given_up_are_free(on: Way) {
    for (before, reversed) in [(0, false), (0, true), (1, false), (1, true)] {
        let (tx, rx) = bounded(2 + before);
        (0..before).for_each(|n| tx.send(n).unwrap());
        let mut selects = [Select::new(), Select::new()];
        selects.iter_mut().for_each(|select| assert_eq!(select.send(&tx), 0));
        let mut operations = selects.each_mut().map(|select| Some(select.select()));
        assert_eq!(tx.try_send(9), Err(TrySendError::Full(9)));
        let senders = [10, 11].map(|n| {
            let tx = tx.clone();
            on.spawn(move || tx.send(n))
        });
        on.lull();
        if reversed {
            operations.reverse();
        }
        for operation in &mut operations {
            let operation = operation.take();
            panic_message(|| drop(operation));
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        let mut got: Vec<_> = rx.try_iter().skip(before).collect();
        got.sort_unstable();
        assert_eq!(got, [10, 11]);
    }
}

/// What is kept for a value that comes later is room, and no value, for whoever looks.
fn a_permit_is_no_value(_: Way) {
    let (tx, rx) = bounded(2);
    let mut sends = Select::new();
    sends.send(&tx);
    let operation = sends.select();
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let mut receives = Select::new();
    receives.recv(&rx);
    assert!(receives.try_ready().is_err());
    assert!(receives.try_select().is_err());
    assert!(receives.select_timeout(Duration::from_millis(1)).is_err());
    // A value that is sent meanwhile goes before.
    tx.try_send(2).unwrap();
    assert!(tx.try_send(3).is_err());
    assert_eq!((receives.try_ready(), rx.len()), (Ok(0), 1));
    assert_eq!(rx.try_recv(), Ok(2));
    operation.send(&tx, 1).unwrap();
    assert_eq!(rx.try_recv(), Ok(1));
}

/// A receiver whose time is over takes nobody's wake with it.
fn a_deadline_that_passes_beside_a_permit(on: Way) {
    for selects in [false, true] {
        for fills in [false, true] {
            let (tx, rx) = bounded(4);
            let at = Instant::now() + Duration::from_millis(3);
            let impatient = {
                let rx = rx.clone();
                on.spawn(move || {
                    if selects {
                        let left = at.saturating_duration_since(Instant::now());
                        select! { recv(rx) -> n => n.ok(), default(left) => None }
                    } else {
                        rx.recv_deadline(at).ok()
                    }
                })
            };
            on.lull();
            let patient = [0, 1].map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.recv())
            });
            on.lull();
            let mut select = Select::new();
            select.send(&tx);
            let operation = select.select();
            tx.send(2).unwrap();
            while Instant::now() < at + Duration::from_micros(200) {}
            if fills {
                operation.send(&tx, 1).unwrap();
            } else {
                panic_message(|| drop(operation));
                tx.send(1).unwrap();
            }
            // Enough for all, whether or not the impatient one got one.
            tx.send(3).unwrap();
            let mut got: Vec<_> = patient.into_iter().map(|peer| peer.join().unwrap()).collect();
            got.extend(impatient.join());
            got.extend(rx.try_iter());
            got.sort_unstable();
            assert_eq!(got, [1, 2, 3]);
        }
    }
}

/// A message that comes late, and then does not come.
fn late_panic(on: Way) -> i32 {
    on.lull();
    std::panic::resume_unwind(Box::new(()))
}

/// A select whose partner gives up goes on: with its other arms, and for no longer than it was to wait.
fn a_partner_that_gives_up_costs_no_time(on: Way) {
    for kind in 0..3 {
        let ((tx, rx), (other_tx, other)) = (bounded::<i32>(0), bounded::<i32>(1));
        // The peer may have left when the other channel is sent into.
        let _open = other.clone();
        let peer = on.spawn(move || match kind {
            0 => rx.recv_timeout(Duration::from_millis(20)).ok(),
            1 => select! { recv(rx) -> n => n.ok(), default(Duration::from_millis(20)) => None },
            _ => select! { recv(rx) -> n => n.ok(), recv(other) -> n => n.ok() },
        });
        on.lull();
        let begun = Instant::now();
        let gave_up = catch_unwind(AssertUnwindSafe(|| {
            select! {
                send(tx, late_panic(on)) -> _ => {},
                default(LONG) => {}
            }
        }));
        // `kind` 0 and 1 may have been late, and gone before.
        assert!(gave_up.is_err() || begun.elapsed() >= LONG || kind < 2);
        other_tx.send(7).unwrap();
        assert_eq!(peer.join(), (kind == 2).then_some(7));
        assert!(begun.elapsed() < LONG);
        drop(tx);
    }
}

/// One that selected a receive and does not complete it has the value, whether it was there already or comes later:
/// the sender is told that it was sent.
fn a_value_that_is_declined(on: Way) {
    for late in [false, true] {
        let (tx, rx) = bounded::<Token>(0);
        let drops = Drops::new();
        let (token, gate) = (drops.token(), Flag::new());
        let opened = gate.clone();
        let sender = on.spawn(move || {
            select! {
                send(tx, { on.until(|| !late || opened.is_up()); token }) -> sent => sent.is_ok()
            }
        });
        let mut select = Select::new();
        select.recv(&rx);
        let operation = select.select();
        if !late {
            assert!(sender.join());
            panic_message(|| drop(operation));
            // Received and lost: dropped nowhere, since this may be a thread that must not.
            assert_eq!(drops.count(), 0);
        } else {
            panic_message(|| drop(operation));
            gate.raise();
            assert!(sender.join());
            assert_eq!(drops.count(), 1);
        }
    }
}

/// Several receivers wait while a place is reserved and values are behind it; all of them arrive.
fn a_value_behind_a_place_that_is_filled_late(on: Way) {
    for fills in [true, false] {
        let (tx, rx) = bounded(4);
        let mut select = Select::new();
        select.send(&tx);
        let operation = select.select();
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.recv())
            })
            .collect();
        on.lull();
        (2..=3).for_each(|n| tx.send(n).unwrap());
        on.lull();
        if fills {
            operation.send(&tx, 1).unwrap();
        } else {
            panic_message(|| drop(operation));
            tx.send(1).unwrap();
        }
        let mut got: Vec<_> = receivers.into_iter().map(|peer| peer.join().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
    }
}

fn values_of_any_size(on: Way) {
    #[derive(Clone, Copy, PartialEq, Debug)]
    #[repr(align(64))]
    struct Aligned(u8);
    fn pass<T: Clone + PartialEq + std::fmt::Debug + Send + 'static>(on: Way, value: &T) {
        for capacity in [Some(0), Some(1), None] {
            let (tx, rx) = gthread_tests::make::<T>(capacity);
            let peer = {
                let value = Box::new(value.clone());
                on.spawn(move || {
                    for _ in 0..3 {
                        let mut select = Select::new();
                        select.send(&tx);
                        select.select().send(&tx, (*value).clone()).unwrap();
                        tx.send((*value).clone()).unwrap();
                    }
                })
            };
            for _ in 0..3 {
                let mut select = Select::new();
                select.recv(&rx);
                assert_eq!(select.select().recv(&rx).as_ref(), Ok(value));
                assert_eq!(rx.recv().as_ref(), Ok(value));
            }
            peer.join();
        }
    }
    pass(on, &());
    pass(on, &Aligned(3));
    pass(on, &[7_u64; 5]);
    pass(on, &vec![String::from("x"); 3]);
    let on = on.with_stack(4 << 20);
    on.spawn(move || pass(on, &[9_u8; 64 << 10])).join();
}

/// A select that is woken by one channel and finds another ready as well takes what it was woken for: the
/// other channel's value is for the other receiver.
fn a_receiver_is_not_woken_in_vain_by_a_select(on: Way) {
    for _ in 0..20 {
        let (a_tx, a_rx) = unbounded();
        let (b_tx, b_rx) = unbounded();
        let selecting = {
            let (a_rx, b_rx) = (a_rx.clone(), b_rx.clone());
            on.spawn(move || {
                let mut select = Select::new();
                select.recv(&a_rx);
                select.recv(&b_rx);
                let operation = select.select();
                if operation.index() == 0 { operation.recv(&a_rx) } else { operation.recv(&b_rx) }
            })
        };
        on.lull();
        // If the select is late it may end with the second value, the other with the first, before the third
        // is sent: that must have somewhere to go.
        let _open = a_rx.clone();
        let plain = on.spawn(move || a_rx.recv());
        on.lull();
        // One for the select, which waits first; another channel's for itself.
        a_tx.send(1).unwrap();
        b_tx.send(2).unwrap();
        a_tx.send(3).unwrap();
        let got = selecting.join().unwrap();
        let plain = plain.join().unwrap();
        assert!(got != plain);
    }
}

fn a_body_may_begin_with_a_block(_: Way) {
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    let got = gthread_tests::channel::select! {
        recv(rx) -> n => { n.unwrap() }.max(5),
        send(tx, 2) -> _ => { 5 }
        default => { 5_i32 }.abs()
    };
    assert_eq!(got, 5);
}
