//! Disconnection: who waits learns of it, what is inside is received first, and it is for good.

use gthread_tests::channel::{RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use gthread_tests::{CAPACITIES, LONG, SHORT, Way, every_way, full, make};
use std::time::Instant;

every_way!(
    receivers_get_what_is_inside_and_then_an_error,
    senders_get_their_value_back,
    receivers_who_wait_are_woken,
    senders_who_wait_are_woken,
    those_who_wait_with_a_timeout_too,
    only_the_last_end_disconnects,
    ends_are_counted_across_threads,
    it_is_for_good,
    a_last_value_and_the_end_arrive_together,
    a_done_channel_tells_all,
    a_pipeline_is_taken_down_from_its_end,
    a_thread_that_ends_takes_its_end_along,
);

fn receivers_get_what_is_inside_and_then_an_error(on: Way) {
    for capacity in [Some(7), None] {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..5).for_each(|n| tx.send(n).unwrap()));
        sender.join();
        assert_eq!(rx.len(), 5);
        assert_eq!((rx.recv(), rx.try_recv(), rx.recv_timeout(LONG)), (Ok(0), Ok(1), Ok(2)));
        assert_eq!((rx.iter().next(), rx.try_iter().next()), (Some(3), Some(4)));
        assert_eq!(rx.recv(), Err(RecvError));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Disconnected));
        assert_eq!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        assert_eq!(rx.recv_deadline(Instant::now()), Err(RecvTimeoutError::Disconnected));
    }
}

fn senders_get_their_value_back(_: Way) {
    for capacity in CAPACITIES {
        // Whether there is a place or not.
        for (tx, rx) in [Some(make(capacity)), full(capacity, 0)].into_iter().flatten() {
            drop(rx);
            assert_eq!(tx.send(1), Err(SendError(1)));
            assert_eq!(tx.try_send(2), Err(TrySendError::Disconnected(2)));
            assert_eq!(tx.send_timeout(3, LONG).map_err(|error| error.into_inner()), Err(3));
            assert!(tx.send_deadline(4, Instant::now()).unwrap_err().is_disconnected());
        }
    }
}

fn receivers_who_wait_are_woken(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u32>(capacity);
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || rx.recv())
            })
            .collect();
        on.lull();
        drop(tx);
        receivers.into_iter().for_each(|waiting| assert_eq!(waiting.join(), Err(RecvError)));
    }
}

fn senders_who_wait_are_woken(on: Way) {
    for (tx, rx) in CAPACITIES.into_iter().filter_map(|capacity| full(capacity, 0)) {
        let senders: Vec<_> = (1..10)
            .map(|n| {
                let tx = tx.clone();
                on.spawn(move || assert_eq!(tx.send(n), Err(SendError(n))))
            })
            .collect();
        on.lull();
        drop(rx);
        senders.into_iter().for_each(|waiting| waiting.join());
    }
}

fn those_who_wait_with_a_timeout_too(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u32>(capacity);
        let receiver = on.spawn(move || rx.recv_timeout(LONG));
        on.lull();
        drop(tx);
        assert_eq!(receiver.join(), Err(RecvTimeoutError::Disconnected));
        let Some((tx, rx)) = full(capacity, 0) else { continue };
        let sender = on.spawn(move || tx.send_deadline(6, Instant::now() + LONG));
        on.lull();
        drop(rx);
        assert!(sender.join().unwrap_err().is_disconnected());
    }
}

fn only_the_last_end_disconnects(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let (last, other) = (tx.clone(), tx.clone());
        let receiver = on.spawn(move || (rx.recv(), rx.recv()));
        drop((tx, other));
        on.lull();
        assert!(!receiver.is_finished());
        last.send(4).unwrap();
        drop(last);
        assert_eq!(receiver.join(), (Ok(4), Err(RecvError)));
        let Some((tx, rx)) = full(capacity, 0) else { continue };
        let (last, other) = (rx.clone(), rx.clone());
        let sender = on.spawn(move || (tx.send(1), tx.send_timeout(2, LONG).is_err()));
        drop((rx, other));
        on.lull();
        assert!(!sender.is_finished());
        while last.recv() != Ok(1) {}
        // There may be a place for the second.
        drop(last);
        assert_eq!(sender.join().0, Ok(()));
    }
}

fn ends_are_counted_across_threads(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        let holders: Vec<_> = (0..20)
            .map(|n| {
                let (tx, rx) = (tx.clone(), rx.clone());
                on.spawn(move || {
                    (0..n).for_each(|_| drop((tx.clone(), rx.clone())));
                    on.yield_now();
                    assert_ne!(rx.try_recv(), Err(TryRecvError::Disconnected));
                })
            })
            .collect();
        drop(tx);
        assert_eq!(rx.recv(), Err(RecvError));
        holders.into_iter().for_each(|holder| holder.join());
    }
}

fn it_is_for_good(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        drop(tx);
        let clone = rx.clone();
        drop(rx);
        assert_eq!(clone.recv(), Err(RecvError));
        assert_eq!(clone.clone().try_recv(), Err(TryRecvError::Disconnected));
        let (tx, rx) = make(capacity);
        drop(rx);
        assert_eq!(tx.clone().send(1), Err(SendError(1)));
        assert!(tx.is_empty());
    }
}

/// A value is sent and the end dropped at once: who waits has the value, and all the others the end.
fn a_last_value_and_the_end_arrive_together(on: Way) {
    for capacity in CAPACITIES {
        for _ in 0..20 {
            let (tx, rx) = make(capacity);
            let receivers: Vec<_> = (0..3)
                .map(|_| {
                    let rx = rx.clone();
                    on.spawn(move || rx.recv().is_ok())
                })
                .collect();
            tx.send(1).unwrap();
            drop(tx);
            let got: Vec<_> = receivers.into_iter().map(|receiver| receiver.join()).collect();
            assert_eq!(got.into_iter().filter(|&got| got).count(), 1);
        }
    }
}

/// Go's `close(done)`.
fn a_done_channel_tells_all(on: Way) {
    let (done, is_done) = make::<std::convert::Infallible>(Some(0));
    let workers: Vec<_> = (0..6)
        .map(|_| {
            let is_done = is_done.clone();
            on.spawn(move || {
                let mut rounds = 0;
                while is_done.try_recv() == Err(TryRecvError::Empty) {
                    rounds += 1;
                    if is_done.recv_timeout(SHORT) == Err(RecvTimeoutError::Disconnected) {
                        break;
                    }
                }
                rounds
            })
        })
        .collect();
    on.lull();
    drop(done);
    workers.into_iter().for_each(|worker| _ = worker.join());
    assert_eq!(is_done.recv(), Err(RecvError));
}

fn a_pipeline_is_taken_down_from_its_end(on: Way) {
    for capacity in CAPACITIES {
        let (first, mut last) = make(capacity);
        let source = on.spawn(move || (0_u32..).take_while(|&n| first.send(n).is_ok()).count());
        let stages: Vec<_> = (0..5)
            .map(|_| {
                let (tx, rx) = make(capacity);
                let from = std::mem::replace(&mut last, rx);
                on.spawn(move || {
                    for n in from {
                        if tx.send(n).is_err() {
                            return;
                        }
                        on.yield_now();
                    }
                })
            })
            .collect();
        assert!(last.iter().take(10).eq(0..10));
        drop(last);
        assert!(source.join() >= 10);
        stages.into_iter().for_each(|stage| stage.join());
    }
}

fn a_thread_that_ends_takes_its_end_along(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        let broken = on.spawn(move || {
            let _tx = tx;
            on.lull();
            panic!("without sending");
        });
        assert_eq!(rx.recv(), Err(RecvError));
        assert!(broken.try_join().is_err());
    }
}
