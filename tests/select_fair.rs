//! Which of several ready arms is chosen: any, and about as often.

use gthread_tests::channel::{Select, bounded, select, unbounded};
use gthread_tests::{Way, every_way};

every_way!(
    always_ready_receives,
    always_ready_sends,
    ready_is_fair_too,
    both_sides_of_a_pair,
    any_three_of_four,
    twenty_arms,
);

const ROUNDS: usize = 4000;

/// Each of them has its share, give or take half of it: by chance alone, never in practice.
fn assert_fair(hits: &[usize]) {
    let share = hits.iter().sum::<usize>() / hits.len();
    assert!(hits.iter().all(|&n| n > share / 2 && n < share * 3 / 2), "{hits:?}");
}

fn always_ready_receives(_: Way) {
    let ends: Vec<_> = (0..3).map(|_| unbounded()).collect();
    for _ in 0..ROUNDS {
        ends.iter().for_each(|(tx, _)| tx.send(()).unwrap());
    }
    let mut hits = [0; 3];
    for _ in 0..ROUNDS {
        select! {
            recv(ends[0].1) -> m => { m.unwrap(); hits[0] += 1 }
            recv(ends[1].1) -> m => { m.unwrap(); hits[1] += 1 }
            recv(ends[2].1) -> m => { m.unwrap(); hits[2] += 1 }
        }
    }
    assert_fair(&hits);
}

fn always_ready_sends(_: Way) {
    let ends: Vec<_> = (0..3).map(|_| bounded::<()>(ROUNDS)).collect();
    for _ in 0..ROUNDS {
        select! {
            send(ends[0].0, ()) -> r => r.unwrap(),
            send(ends[1].0, ()) -> r => r.unwrap(),
            send(ends[2].0, ()) -> r => r.unwrap(),
        }
    }
    assert_fair(&ends.iter().map(|(_, rx)| rx.len()).collect::<Vec<_>>());
}

fn ready_is_fair_too(_: Way) {
    let ends: Vec<_> = (0..4).map(|_| unbounded()).collect();
    ends.iter().for_each(|(tx, _)| tx.send(()).unwrap());
    let mut select = Select::new();
    for (_, rx) in &ends {
        select.recv(rx);
    }
    let mut hits = [0; 4];
    (0..ROUNDS).for_each(|_| hits[select.ready()] += 1);
    assert_fair(&hits);
}

fn both_sides_of_a_pair(_: Way) {
    let (tx, rx) = bounded(2);
    let mut hits = [0; 2];
    tx.send(()).unwrap();
    for _ in 0..ROUNDS {
        select! {
            send(tx, ()) -> r => { r.unwrap(); hits[0] += 1; rx.recv().unwrap() }
            recv(rx) -> m => { m.unwrap(); hits[1] += 1; tx.send(()).unwrap() }
        }
    }
    assert_fair(&hits);
}

/// Arms that are not ready must not give their share to a neighbour.
fn any_three_of_four(_: Way) {
    for silent in 0..4 {
        let ends: Vec<_> = (0..4).map(|_| unbounded()).collect();
        for (_, (tx, _)) in ends.iter().enumerate().filter(|&(n, _)| n != silent) {
            tx.send(()).unwrap();
        }
        let mut select = Select::new();
        for (_, rx) in &ends {
            select.recv(rx);
        }
        let mut hits = [0; 4];
        for _ in 0..ROUNDS {
            let operation = select.select();
            let n = operation.index();
            operation.recv(&ends[n].1).unwrap();
            hits[n] += 1;
            ends[n].0.send(()).unwrap();
        }
        assert_eq!(hits[silent], 0);
        let hits: Vec<_> = hits.into_iter().filter(|&hits| hits > 0).collect();
        assert_fair(&hits);
    }
}

fn twenty_arms(_: Way) {
    let ends: Vec<_> = (0..20).map(|_| bounded::<()>(1)).collect();
    let mut select = Select::new();
    for (tx, _) in &ends {
        select.send(tx);
    }
    let mut hits = [0; 20];
    for _ in 0..2 * ROUNDS {
        let operation = select.select();
        let n = operation.index();
        operation.send(&ends[n].0, ()).unwrap();
        hits[n] += 1;
        ends[n].1.recv().unwrap();
    }
    assert_fair(&hits);
}
