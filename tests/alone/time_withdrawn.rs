//! A timer that is withdrawn leaves nothing: no wake, no memory. Alone in its process: it measures.

use std::time::{Duration, Instant};

use gthread::{Runtime, channel, go};
use gthread_tests::{LIMIT, resident, runtime, test_path, times_slept};

use crate::alone;

/// Waits with a timeout which all end otherwise. Gives the latest moment at which one would have ended.
fn withdraw(runtime: &Runtime, threads: u64, waits: u64) -> Instant {
    const FIRST: Duration = Duration::from_millis(200);
    const APART: Duration = Duration::from_micros(50);
    runtime.run(|| {
        let (ready, is_ready) = channel::unbounded();
        let peers: Vec<_> = (0..threads)
            .map(|n| {
                let (tx, rx) = channel::bounded::<()>(0);
                let ready = ready.clone();
                let peer = go!(move || {
                    for wait in 0..waits {
                        let deadline = Instant::now() + FIRST + APART * (n + wait) as u32;
                        ready.send(n).unwrap();
                        while rx.recv_deadline(deadline).is_err() {
                            assert!(Instant::now() < deadline + LIMIT, "the sender is gone");
                        }
                    }
                });
                (tx, peer)
            })
            .collect();
        for n in is_ready.iter().take((threads * waits) as usize) {
            peers[n as usize].0.send(()).unwrap();
        }
        peers.into_iter().for_each(|(_, peer)| peer.join().unwrap());
    });
    Instant::now() + FIRST + APART * (threads + waits) as u32
}

#[test]
fn what_is_withdrawn_wakes_nobody_and_takes_no_memory() {
    alone(&test_path!("what_is_withdrawn_wakes_nobody_and_takes_no_memory"), LIMIT, || {
        let runtime = runtime(2);
        withdraw(&runtime, 100, 10);

        // They would wake a worker some thousand times, one by one, from now on.
        let end = withdraw(&runtime, 1000, 1);
        let mut fewest = i64::MAX;
        while Instant::now() < end {
            let before = times_slept();
            std::thread::sleep(Duration::from_millis(40));
            fewest = fewest.min(times_slept() - before);
        }
        assert!(fewest <= 6, "woken {fewest} times in 40 ms");

        let (before, _) = resident();
        withdraw(&runtime, 100, 2000);
        let grown = resident().0.saturating_sub(before);
        assert!(grown < 4 << 20, "200,000 timers that were withdrawn left {grown} bytes");
    });
}
