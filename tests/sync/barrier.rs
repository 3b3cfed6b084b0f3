//! `Barrier`: what std documents of its own, on every kind of thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread::sync::Barrier;
use gthread_tests::{Way, every_way, every_way_crowded};

every_way!(
    nobody_passes_before_the_last_has_come,
    one_or_none_do_not_wait,
    more_than_it_is_for,
    statics_are_shared
);
every_way_crowded!(it_is_used_again_and_has_one_leader_each_time);

fn nobody_passes_before_the_last_has_come(on: Way) {
    const PEERS: usize = 5;
    let shared = Arc::new((Barrier::new(PEERS), AtomicUsize::new(0)));
    let peers: Vec<_> = (1..PEERS)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                shared.1.fetch_add(1, Ordering::Relaxed);
                let leads = shared.0.wait().is_leader();
                (shared.1.load(Ordering::Relaxed), leads)
            })
        })
        .collect();
    on.until(|| shared.1.load(Ordering::Relaxed) == PEERS - 1);
    on.lull();
    assert!(peers.iter().all(|peer| !peer.is_finished()));
    shared.1.fetch_add(1, Ordering::Relaxed);
    // Which of them leads is not said: one that was counted may not have come yet.
    let mut leaders = usize::from(shared.0.wait().is_leader());
    for peer in peers {
        let (came, leads) = peer.join();
        assert_eq!(came, PEERS);
        leaders += usize::from(leads);
    }
    assert_eq!(leaders, 1);
}

fn one_or_none_do_not_wait(_: Way) {
    for n in [0, 1] {
        let barrier = Barrier::new(n);
        for _ in 0..3 {
            assert!(barrier.wait().is_leader());
        }
    }
}

fn it_is_used_again_and_has_one_leader_each_time(on: Way) {
    const PEERS: usize = 6;
    const ROUNDS: usize = 50;
    let shared = Arc::new((Barrier::new(PEERS), AtomicUsize::new(0), AtomicUsize::new(0)));
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let (barrier, came, leaders) = &*shared;
                for round in 1..=ROUNDS {
                    came.fetch_add(1, Ordering::Relaxed);
                    if barrier.wait().is_leader() {
                        leaders.fetch_add(1, Ordering::Relaxed);
                    }
                    // Nobody is a round ahead.
                    let came = came.load(Ordering::Relaxed);
                    assert!((round * PEERS..(round + 1) * PEERS).contains(&came));
                    barrier.wait();
                    if round % 7 == 0 {
                        on.yield_now();
                    }
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(shared.2.load(Ordering::Relaxed), ROUNDS);
}

/// Threads pass in groups, whichever they are.
fn more_than_it_is_for(on: Way) {
    let shared = Arc::new((Barrier::new(3), AtomicUsize::new(0)));
    let peers: Vec<_> = (0..12)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                if shared.0.wait().is_leader() {
                    shared.1.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
    assert_eq!(shared.1.load(Ordering::Relaxed), 4);
}

fn statics_are_shared(on: Way) {
    // For one each way, which run at once.
    static BARRIER: Barrier = Barrier::new(2);
    let peer = on.spawn(|| BARRIER.wait().is_leader());
    let _ = BARRIER.wait();
    peer.join();
}

#[test]
fn it_prints_as_stds() {
    let (ours, stds) = (Barrier::new(1), std::sync::Barrier::new(1));
    assert_eq!(format!("{ours:?}"), format!("{stds:?}"));
    assert_eq!(format!("{:?}", ours.wait()), format!("{:?}", stds.wait()));
}
