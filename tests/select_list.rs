//! `Select`: a list of operations, selecting and completing them, and what is wrong use of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use gthread_tests::channel::{
    ReadyTimeoutError, RecvError, Select, SelectTimeoutError, TryReadyError, TryRecvError,
    TrySelectError, bounded, unbounded,
};
use gthread_tests::{Drops, Flag, LONG, SHORT, Way, every_way};

every_way!(
    indices_are_those_of_adding,
    removed_operations_are_not_selected,
    an_empty_list,
    nothing_ready,
    ready_does_nothing,
    ready_wakes_all_who_watch,
    a_woken_watcher_takes_no_ones_wake,
    one_end_in_two_arms,
    all_disconnected,
    disconnection_while_waiting,
    a_value_while_waiting,
    room_while_waiting,
    a_select_does_not_meet_itself,
    selects_meet_each_other,
    a_value_that_comes_late,
    completing_with_another_end_panics,
    not_completing_panics,
    the_partner_of_who_gives_up_waits_on,
    a_place_that_is_given_up_is_free,
    a_value_behind_a_place_that_is_filled_late,
    clones_go_their_own_way,
    losing_arms_lose_nothing,
    values_of_any_size,
    a_receiver_is_not_woken_in_vain_by_a_select,
);

fn panic_message(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
}

fn indices_are_those_of_adding(_: Way) {
    let (tx, rx) = bounded::<i32>(1);
    let mut select = Select::new();
    assert_eq!([select.recv(&rx), select.send(&tx), select.recv(&rx)], [0, 1, 2]);
    let operation = select.select();
    assert_eq!(operation.index(), 1);
    operation.send(&tx, 5).unwrap();
    let operation = select.select();
    assert!(operation.index() == 0 || operation.index() == 2);
    assert_eq!(operation.recv(&rx), Ok(5));
    assert_eq!(format!("{select:?}"), "Select { .. }");
}

fn removed_operations_are_not_selected(_: Way) {
    let (tx, rx) = unbounded();
    let (_other, quiet) = unbounded::<i32>();
    tx.send(1).unwrap();
    for mut select in [Select::new(), Select::new_biased(), Select::default()] {
        let gone = select.recv(&rx);
        let kept = select.recv(&quiet);
        select.remove(gone);
        assert!(select.try_select().is_err());
        assert!(panic_message(|| select.remove(gone)).contains("no operation with this index"));
        assert!(panic_message(|| select.remove(7)).contains("index out of bounds"));
        assert_eq!(select.recv(&rx), kept + 1);
        let operation = select.try_select().unwrap();
        assert_eq!(operation.index(), kept + 1);
        operation.recv(&rx).unwrap();
        tx.send(1).unwrap();
    }
}

fn an_empty_list(_: Way) {
    let mut select = Select::new();
    assert_eq!(select.try_select().map(drop), Err(TrySelectError));
    assert_eq!(select.try_ready(), Err(TryReadyError));
    let start = Instant::now();
    assert_eq!(select.select_timeout(SHORT).map(drop), Err(SelectTimeoutError));
    assert_eq!(select.ready_timeout(SHORT), Err(ReadyTimeoutError));
    assert!(start.elapsed() >= 2 * SHORT);
    assert_eq!(select.select_deadline(start).map(drop), Err(SelectTimeoutError));
    assert_eq!(select.ready_deadline(start), Err(ReadyTimeoutError));
    let message = panic_message(|| drop(select.select()));
    assert!(message.contains("no operations"), "{message}");
    let message = panic_message(|| {
        select.ready();
    });
    assert!(message.contains("no operations"), "{message}");
}

fn nothing_ready(_: Way) {
    let (zero_tx, zero_rx) = bounded::<i32>(0);
    let (full_tx, _full_rx) = bounded(1);
    full_tx.send(1).unwrap();
    let (_empty_tx, empty_rx) = unbounded::<i32>();
    let mut select = Select::new();
    select.recv(&zero_rx);
    select.send(&zero_tx);
    select.send(&full_tx);
    select.recv(&empty_rx);
    assert!(select.try_select().is_err() && select.try_ready().is_err());
    let start = Instant::now();
    assert!(select.select_timeout(SHORT).is_err() && select.ready_timeout(SHORT).is_err());
    assert!(start.elapsed() >= 2 * SHORT);
}

fn ready_does_nothing(_: Way) {
    let (tx, rx) = bounded(1);
    let mut select = Select::new_biased();
    select.recv(&rx);
    select.send(&tx);
    assert_eq!((select.ready(), tx.len()), (1, 0));
    tx.send(1).unwrap();
    assert_eq!((select.ready(), select.try_ready(), tx.len()), (0, Ok(0), 1));
    assert_eq!(select.ready_timeout(LONG), Ok(0));
    assert_eq!(rx.try_recv(), Ok(1));
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

fn one_end_in_two_arms(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = gthread_tests::make(capacity);
        let peer = on.spawn(move || (0..20).for_each(|n| tx.send(n).unwrap()));
        for n in 0..20 {
            let mut select = Select::new();
            let indices = [select.recv(&rx), select.recv(&rx)];
            let operation = select.select();
            assert!(indices.contains(&operation.index()));
            assert_eq!(operation.recv(&rx), Ok(n));
        }
        peer.join();
    }
}

fn all_disconnected(_: Way) {
    let (tx, rx) = bounded::<i32>(0);
    drop(tx);
    let (other, other_rx) = unbounded();
    drop(other_rx);
    let mut select = Select::new();
    let receive = select.recv(&rx);
    select.send(&other);
    for _ in 0..50 {
        let operation = select.select();
        if operation.index() == receive {
            assert_eq!(operation.recv(&rx), Err(RecvError));
        } else {
            assert_eq!(operation.send(&other, 9).unwrap_err().into_inner(), 9);
        }
        select.ready();
    }
}

fn disconnection_while_waiting(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = gthread_tests::make::<i32>(capacity);
        let (_quiet, quiet_rx) = unbounded::<i32>();
        let peer = on.spawn(move || {
            let mut select = Select::new();
            select.recv(&quiet_rx);
            let index = select.recv(&rx);
            let operation = select.select();
            assert_eq!(operation.index(), index);
            assert_eq!(operation.recv(&rx), Err(RecvError));
        });
        on.lull();
        drop(tx);
        peer.join();
        let Some((tx, rx)) = gthread_tests::full(capacity, 0) else { continue };
        let peer = on.spawn(move || {
            let mut select = Select::new();
            select.send(&tx);
            assert!(select.select().send(&tx, 1).is_err());
        });
        on.lull();
        drop(rx);
        peer.join();
    }
}

fn a_value_while_waiting(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = gthread_tests::make(capacity);
        let (_quiet, quiet_rx) = bounded::<i32>(0);
        let peer = on.spawn(move || {
            for n in 0..10 {
                on.lull();
                tx.send(n).unwrap();
            }
        });
        let mut select = Select::new();
        select.recv(&quiet_rx);
        let index = select.recv(&rx);
        for n in 0..10 {
            let operation = select.select_timeout(LONG).unwrap();
            assert_eq!(operation.index(), index);
            assert_eq!(operation.recv(&rx), Ok(n));
        }
        peer.join();
    }
}

fn room_while_waiting(on: Way) {
    for capacity in [0, 1, 3] {
        let (tx, rx) = gthread_tests::full(Some(capacity), 0).unwrap();
        let peer = on.spawn(move || {
            on.lull();
            (0..capacity + 5).map(|_| rx.recv().unwrap()).collect::<Vec<_>>()
        });
        let mut select = Select::new();
        select.send(&tx);
        for n in 1..=5 {
            select.select().send(&tx, n).unwrap();
        }
        let mut expected = vec![0; capacity];
        expected.extend(1..=5);
        assert_eq!(peer.join(), expected);
    }
}

fn a_select_does_not_meet_itself(on: Way) {
    let (tx, rx) = bounded::<i32>(0);
    let mut select = Select::new();
    let receive = select.recv(&rx);
    let send = select.send(&tx);
    assert!(select.try_select().is_err());
    assert!(select.select_timeout(SHORT).is_err());
    let peer = {
        let (tx, rx) = (tx.clone(), rx.clone());
        on.spawn(move || {
            on.lull();
            tx.send(1).unwrap();
            rx.recv().unwrap()
        })
    };
    let operation = select.select();
    assert_eq!(operation.index(), receive);
    assert_eq!(operation.recv(&rx), Ok(1));
    let operation = select.select();
    assert_eq!(operation.index(), send);
    operation.send(&tx, 2).unwrap();
    assert_eq!(peer.join(), 2);
}

fn selects_meet_each_other(on: Way) {
    let (tx, rx) = bounded(0);
    let (_quiet, quiet_rx) = bounded::<usize>(0);
    let peers: Vec<_> = (0..2)
        .map(|_| {
            let (tx, quiet_rx) = (tx.clone(), quiet_rx.clone());
            on.spawn(move || {
                for n in 0..50 {
                    let mut select = Select::new();
                    select.recv(&quiet_rx);
                    select.send(&tx);
                    select.select().send(&tx, n).unwrap();
                }
            })
        })
        .collect();
    let mut sum = 0;
    for _ in 0..100 {
        let mut select = Select::new();
        select.recv(&rx);
        select.recv(&quiet_rx);
        sum += select.select().recv(&rx).unwrap();
    }
    peers.into_iter().for_each(gthread_tests::Peer::join);
    assert_eq!(sum, 2 * (0..50).sum::<usize>());
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

fn completing_with_another_end_panics(_: Way) {
    let (tx, rx) = unbounded::<i32>();
    let (other_tx, other_rx) = unbounded::<i32>();
    tx.send(1).unwrap();
    let message = panic_message(|| {
        let mut select = Select::new();
        select.recv(&rx);
        let _ = select.select().recv(&other_rx);
    });
    assert!(message.contains("receiver that wasn't selected"), "{message}");
    let message = panic_message(|| {
        let mut select = Select::new();
        select.send(&tx);
        let _ = select.select().send(&other_tx, 1);
    });
    assert!(message.contains("sender that wasn't selected"), "{message}");
    // A clone is another end.
    let message = panic_message(|| {
        let mut select = Select::new();
        select.send(&tx);
        let _ = select.select().send(&tx.clone(), 1);
    });
    assert!(message.contains("sender that wasn't selected"), "{message}");
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

fn the_partner_of_who_gives_up_waits_on(on: Way) {
    let (tx, rx) = bounded(0);
    let partner = {
        let rx = rx.clone();
        on.spawn(move || rx.recv())
    };
    let mut select = Select::new();
    select.send(&tx);
    let message = panic_message(|| drop(select.select()));
    assert!(message.contains("without completing"), "{message}");
    on.lull();
    assert!(!partner.is_finished());
    tx.send(4).unwrap();
    assert_eq!(partner.join(), Ok(4));
    // The same the other way: a sender whose receiver gives up has sent.
    let receiver = on.spawn(move || {
        let mut select = Select::new();
        select.recv(&rx);
        panic_message(|| drop(select.select()))
    });
    tx.send(5).unwrap();
    assert!(receiver.join().contains("without completing"));
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

fn clones_go_their_own_way(_: Way) {
    let (tx, rx) = unbounded::<i32>();
    let mut select = Select::new();
    select.recv(&rx);
    let mut clone = select.clone();
    clone.send(&tx);
    assert!(select.try_select().is_err());
    clone.try_select().unwrap().send(&tx, 1).unwrap();
    assert_eq!(select.try_select().unwrap().recv(&rx), Ok(1));
}

fn losing_arms_lose_nothing(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let drops = Drops::new();
        let ends: Vec<_> = (0..3).map(|_| gthread_tests::make(capacity)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let peers: Vec<_> = senders
            .into_iter()
            .map(|tx| {
                let drops = drops.clone();
                on.spawn(move || (0..30).for_each(|_| tx.send(drops.token()).unwrap()))
            })
            .collect();
        // While no sender is through, each select takes one value and nothing else.
        for n in 0..30 {
            assert_eq!(drops.count(), n);
            let mut select = Select::new();
            for rx in &receivers {
                select.recv(rx);
            }
            let operation = select.select();
            let index = operation.index();
            drop(operation.recv(&receivers[index]).unwrap());
        }
        receivers.iter().for_each(|rx| rx.iter().for_each(drop));
        peers.into_iter().for_each(gthread_tests::Peer::join);
        assert_eq!(drops.count(), 90);
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
        let over = Flag::new();
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
        let plain = on.spawn(move || a_rx.recv());
        on.lull();
        // One for the select, which waits first; another channel's for itself.
        a_tx.send(1).unwrap();
        b_tx.send(2).unwrap();
        a_tx.send(3).unwrap();
        let got = selecting.join().unwrap();
        let plain = plain.join().unwrap();
        assert!(got != plain);
        over.raise();
    }
}
