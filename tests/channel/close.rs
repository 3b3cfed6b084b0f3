//! `close`, of either end: an addition to crossbeam-channel's API.

use gthread_tests::channel::{
    RecvError, SendError, TryRecvError, TrySendError, after, never, select, tick,
};
use gthread_tests::{CAPACITIES, Drops, LONG, Peer, Way, every_way, full, make};

every_way!(
    what_is_inside_is_received,
    sends_fail_from_any_clone,
    the_second_to_close_is_told,
    all_who_wait_are_woken,
    selects_are_woken,
    values_are_dropped_once,
    timers_do_not_close,
    a_select_that_has_chosen_gets_its_value_back,
);

fn what_is_inside_is_received(_: Way) {
    for by_receiver in [false, true] {
        for capacity in [Some(7), None] {
            let (tx, rx) = make(capacity);
            (0..3).for_each(|n| tx.send(n).unwrap());
            assert!(if by_receiver { rx.close() } else { tx.close() });
            assert_eq!(rx.len(), 3);
            assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2]);
            assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
        }
    }
}

fn sends_fail_from_any_clone(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let other = tx.clone();
        rx.clone().close();
        assert_eq!(tx.send(1), Err(SendError(1)));
        assert_eq!(other.try_send(2), Err(TrySendError::Disconnected(2)));
        assert!(other.send_timeout(3, LONG).unwrap_err().is_disconnected());
        assert_eq!(rx.recv(), Err(RecvError));
    }
}

fn the_second_to_close_is_told(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<i32>(capacity);
        assert!(tx.close() && !tx.close() && !rx.close());
        let (tx, rx) = make::<i32>(capacity);
        drop(tx);
        assert!(!rx.close());
    }
}

fn all_who_wait_are_woken(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<i32>(capacity);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.recv())
            })
            .collect();
        on.lull();
        tx.close();
        receivers.into_iter().for_each(|peer| assert_eq!(peer.join(), Err(RecvError)));
        let Some((tx, rx)) = full(capacity, 0) else { continue };
        let senders: Vec<_> = (1..5)
            .map(|n| {
                let tx = tx.clone();
                on.spawn(move || assert_eq!(tx.send(n), Err(SendError(n))))
            })
            .collect();
        on.lull();
        rx.close();
        senders.into_iter().for_each(Peer::join);
    }
}

fn selects_are_woken(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<i32>(capacity);
        let peer = {
            let rx = rx.clone();
            on.spawn(move || {
                select! {
                    recv(never::<i32>()) -> _ => unreachable!(),
                    recv(rx) -> message => message,
                }
            })
        };
        on.lull();
        tx.close();
        assert_eq!(peer.join(), Err(RecvError));
    }
}

fn values_are_dropped_once(_: Way) {
    for capacity in [Some(7), None] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        (0..3).for_each(|_| tx.send(drops.token()).unwrap());
        tx.close();
        drop(tx.send(drops.token()));
        assert_eq!(drops.count(), 1);
        drop(rx.recv());
        assert_eq!(drops.count(), 2);
        drop(rx);
        assert_eq!(drops.count(), 4);
    }
}

fn timers_do_not_close(_: Way) {
    for rx in [after(LONG), tick(LONG), never()] {
        assert!(!rx.close());
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
}

fn a_select_that_has_chosen_gets_its_value_back(_: Way) {
    for capacity in [Some(1), None] {
        let (tx, rx) = make(capacity);
        select! {
            send(tx, { rx.close(); 5 }) -> sent => assert_eq!(sent, Err(SendError(5))),
        }
        assert_eq!(rx.recv(), Err(RecvError));
    }
}
