//! `Select` waits for the first operation that can be done, does that one, and only that one.

use gthread_tests::channel::{self, RecvError, Select, SendError, TryRecvError, never};
use gthread_tests::{CAPACITIES, Drops, Flag, LONG, SHORT, Way, every_way, full, make};
use std::time::{Duration, Instant};

every_way!(
    what_is_ready_is_chosen,
    what_becomes_ready_is_chosen,
    a_place_that_becomes_free_is_chosen,
    the_value_sent_is_decided_late,
    nothing_ready_is_an_error_when_trying,
    a_timeout_is_not_early_and_takes_nothing,
    a_value_beats_a_timeout,
    a_timeout_beyond_the_clock_is_none,
    no_operations_at_all,
    disconnection_makes_ready,
    disconnection_wakes,
    arms_not_chosen_lose_nothing,
    one_list_serves_many_times,
    parked_selects_share_values_and_an_end,
);

fn what_is_ready_is_chosen(_: Way) {
    for capacity in [Some(1), Some(7), None] {
        let ((tx, rx), (_quiet, silence)) = (make(capacity), make::<u8>(capacity));
        let mut select = Select::new();
        let (silent, receives) = (select.recv(&silence), select.recv(&rx));
        assert_eq!((silent, receives), (0, 1));
        tx.send(4).unwrap();
        let operation = select.select();
        assert_eq!(operation.index(), receives);
        assert_eq!(operation.recv(&rx), Ok(4));
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        let sends = select.send(&tx);
        let operation = select.try_select().unwrap();
        assert_eq!(operation.index(), sends);
        assert_eq!(operation.send(&tx, 5), Ok(()));
        assert_eq!(rx.try_recv(), Ok(5));
    }
}

fn what_becomes_ready_is_chosen(on: Way) {
    for capacity in CAPACITIES {
        let ((tx, rx), (_quiet, silence)) = (make(capacity), make::<u8>(capacity));
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.recv(&silence);
            let receives = select.recv(&rx);
            let operation = select.select();
            assert_eq!(operation.index(), receives);
            operation.recv(&rx)
        });
        on.lull();
        assert!(!waiting.is_finished());
        tx.send(6).unwrap();
        assert_eq!(waiting.join(), Ok(6));
    }
}

fn a_place_that_becomes_free_is_chosen(on: Way) {
    for (tx, rx) in CAPACITIES.into_iter().filter_map(|capacity| full(capacity, 0)) {
        let (other, _kept) = full(Some(1), 0).unwrap();
        let waiting = on.spawn(move || {
            let mut select = Select::new();
            select.send(&other);
            let sends = select.send(&tx);
            let operation = select.select();
            assert_eq!(operation.index(), sends);
            operation.send(&tx, 1)
        });
        on.lull();
        assert!(!waiting.is_finished());
        while rx.recv() != Ok(1) {}
        assert_eq!(waiting.join(), Ok(()));
    }
}

fn the_value_sent_is_decided_late(on: Way) {
    let (a, from_a) = channel::bounded(0);
    let (b, from_b) = channel::bounded(0);
    let choosing = on.spawn(move || {
        let mut select = Select::new();
        let to_a = select.send(&a);
        select.send(&b);
        for n in 0..50 {
            let operation = select.select();
            if operation.index() == to_a {
                operation.send(&a, (n, 'a')).unwrap();
            } else {
                operation.send(&b, (n, 'b')).unwrap();
            }
        }
    });
    for n in 0..50 {
        let (from, name) = if n % 3 == 0 { (&from_a, 'a') } else { (&from_b, 'b') };
        assert_eq!(from.recv(), Ok((n, name)));
    }
    choosing.join();
}

fn nothing_ready_is_an_error_when_trying(_: Way) {
    for capacity in CAPACITIES {
        let (_tx, rx) = make::<u8>(capacity);
        let mut select = Select::new();
        select.recv(&rx);
        assert!(select.try_select().is_err());
        assert!(select.try_ready().is_err());
        if let Some((tx, _rx)) = full(capacity, 0) {
            let mut select = Select::new();
            select.send(&tx);
            assert!(select.try_select().is_err());
            assert!(select.try_ready().is_err());
        }
    }
}

fn a_timeout_is_not_early_and_takes_nothing(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        let nowhere = full(capacity, 0);
        let mut select = Select::new();
        select.recv(&rx);
        if let Some((to, _)) = &nowhere {
            select.send(to);
        }
        let start = Instant::now();
        assert!(select.select_timeout(SHORT).is_err());
        assert!(start.elapsed() >= SHORT);
        let deadline = Instant::now() + SHORT;
        assert!(select.select_deadline(deadline).is_err());
        assert!(Instant::now() >= deadline);
        // At once, the moment having passed.
        assert!(select.select_timeout(Duration::ZERO).is_err());
        assert!(select.select_deadline(deadline).is_err());
        let _ = tx.try_send(1);
        assert_eq!(rx.try_recv().is_ok(), capacity != Some(0), "a registration was left behind");
    }
}

fn a_value_beats_a_timeout(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..10).for_each(|n| tx.send(n).unwrap()));
        let mut select = Select::new();
        select.recv(&rx);
        for n in 0..10 {
            let operation = if n % 2 == 0 {
                select.select_timeout(LONG).unwrap()
            } else {
                select.select_deadline(Instant::now() + LONG).unwrap()
            };
            assert_eq!(operation.recv(&rx), Ok(n));
        }
        sender.join();
        // What is there is taken, however late it is.
        let (tx, rx) = make(Some(2));
        (0..2).for_each(|n| tx.send(n).unwrap());
        let mut select = Select::new();
        select.recv(&rx);
        assert_eq!(select.select_timeout(Duration::ZERO).unwrap().recv(&rx), Ok(0));
        let past = Instant::now();
        assert_eq!(select.select_deadline(past).unwrap().recv(&rx), Ok(1));
    }
}

fn a_timeout_beyond_the_clock_is_none(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let waiting = on.spawn(move || {
        let mut select = Select::new();
        select.recv(&rx);
        assert_eq!(select.ready_timeout(Duration::MAX), Ok(0));
        select.select_timeout(Duration::MAX).unwrap().recv(&rx)
    });
    on.lull();
    tx.send(3).unwrap();
    assert_eq!(waiting.join(), Ok(3));
}

fn no_operations_at_all(on: Way) {
    let mut select = Select::new();
    assert!(select.try_select().is_err() && select.try_ready().is_err());
    let start = Instant::now();
    assert!(select.select_timeout(SHORT).is_err());
    assert!(start.elapsed() >= SHORT);
    let deadline = Instant::now() + SHORT;
    assert!(select.ready_deadline(deadline).is_err());
    assert!(Instant::now() >= deadline);
    assert!(on.spawn(|| Select::new().ready()).try_join().is_err());
    assert!(on.spawn(|| Select::new().select().index()).try_join().is_err());
    let (_tx, rx) = channel::bounded::<u8>(1);
    let emptied = on.spawn(move || {
        let mut select = Select::new();
        let index = select.recv(&rx);
        select.remove(index);
        select.select().index()
    });
    assert!(emptied.try_join().is_err());
}

fn disconnection_makes_ready(_: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        drop(tx);
        let silence = never::<u8>();
        let mut select = Select::new();
        select.recv(&silence);
        let receives = select.recv(&rx);
        assert_eq!(select.ready(), receives);
        for _ in 0..3 {
            let operation = select.select();
            assert_eq!(operation.index(), receives);
            assert_eq!(operation.recv(&rx), Err(RecvError));
        }
        let (tx, rx) = make(capacity);
        drop(rx);
        let mut select = Select::new();
        select.send(&tx);
        assert_eq!(select.try_ready(), Ok(0));
        assert_eq!(select.try_select().unwrap().send(&tx, 9), Err(SendError(9)));
        assert_eq!(select.select_timeout(SHORT).unwrap().send(&tx, 9), Err(SendError(9)));
    }
}

fn disconnection_wakes(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make::<u8>(capacity);
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let rx = rx.clone();
                on.spawn(move || {
                    let mut select = Select::new();
                    select.recv(&rx);
                    select.select().recv(&rx)
                })
            })
            .collect();
        on.lull();
        drop(tx);
        receivers.into_iter().for_each(|waiting| assert_eq!(waiting.join(), Err(RecvError)));
        let Some((tx, rx)) = full(capacity, 0) else { continue };
        let senders: Vec<_> = (1..5)
            .map(|n| {
                let tx = tx.clone();
                on.spawn(move || {
                    let mut select = Select::new();
                    select.send(&tx);
                    assert_eq!(select.select().send(&tx, n), Err(SendError(n)));
                })
            })
            .collect();
        on.lull();
        drop(rx);
        senders.into_iter().for_each(|waiting| waiting.join());
    }
}

fn arms_not_chosen_lose_nothing(on: Way) {
    for capacity in CAPACITIES {
        let drops = Drops::new();
        let ((a, from_a), (b, from_b)) = (make(capacity), make(capacity));
        let send_all = |to: channel::Sender<_>| {
            let tokens: Vec<_> = (0..40).map(|_| drops.token()).collect();
            on.spawn(move || tokens.into_iter().for_each(|token| to.send(token).unwrap()))
        };
        let senders = [send_all(a), send_all(b)];
        let mut received = Vec::new();
        let mut select = Select::new();
        let mut open = vec![(select.recv(&from_a), &from_a), (select.recv(&from_b), &from_b)];
        while !open.is_empty() {
            let operation = select.select();
            let index = operation.index();
            let (_, from) = *open.iter().find(|(i, _)| *i == index).unwrap();
            match operation.recv(from) {
                Ok(token) => received.push(token),
                Err(RecvError) => {
                    select.remove(index);
                    open.retain(|(i, _)| *i != index);
                }
            }
        }
        assert_eq!((received.len(), drops.count()), (80, 0));
        drop(received);
        assert_eq!(drops.count(), 80);
        senders.into_iter().for_each(|sender| sender.join());
    }
}

fn one_list_serves_many_times(on: Way) {
    let (request, requests) = channel::bounded(0);
    let (answer, answers) = channel::unbounded();
    let server = on.spawn(move || {
        let mut select = Select::new();
        select.recv(&requests);
        while let Ok(n) = select.select().recv(&requests) {
            answer.send(n * n).unwrap();
        }
    });
    for n in 0..300_u32 {
        request.send(n).unwrap();
        assert_eq!(answers.recv(), Ok(n * n));
    }
    drop(request);
    server.join();
}

/// A crowd of selects over the same two channels: each value goes to one of them, and the end to all.
fn parked_selects_share_values_and_an_end(on: Way) {
    for capacity in CAPACITIES {
        let ((a, from_a), (b, from_b)) = (make(capacity), make(capacity));
        let told = Flag::new();
        let sum: u32 = on.scope(|scope| {
            let peers: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut select, mut sum, mut ended) = (Select::new(), 0, 0);
                        select.recv(&from_a);
                        select.recv(&from_b);
                        while ended < 2 {
                            let operation = select.select();
                            let index = operation.index();
                            match operation.recv([&from_a, &from_b][index]) {
                                Ok(n) => sum += n,
                                Err(RecvError) => {
                                    assert!(told.is_up());
                                    select.remove(index);
                                    ended += 1;
                                }
                            }
                        }
                        sum
                    })
                })
                .collect();
            on.lull();
            (0..50).for_each(|n| if n % 2 == 0 { a.send(n) } else { b.send(n) }.unwrap());
            told.raise();
            drop((a, b));
            peers.into_iter().map(|peer| peer.join()).sum()
        });
        assert_eq!(sum, (0..50).sum());
    }
}
