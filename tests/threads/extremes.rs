//! Moments and durations that are far off, and numbers at the ends of their ranges.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::channel::{self, Select, at, bounded, select};
use gthread::context::Context;
use gthread::sync::{Barrier, Condvar, Mutex, Semaphore, WaitGroup};
use gthread_tests::{Way, every_way};

every_way!(
    far_moments_are_waited_for,
    far_durations_are_waited_for,
    a_barrier_for_nobody_holds_nobody_up,
    a_buffer_that_no_memory_holds_is_refused,
);

/// The last moments that there are, as far as the clock goes.
fn far_moments() -> [Instant; 4] {
    let mut last = Instant::now();
    for step in (0..64).rev().map(|bit| Duration::from_secs(1 << bit)) {
        last = last.checked_add(step).unwrap_or(last);
    }
    let now = Instant::now();
    let half = (last - now) / 2;
    [last, now + half, now + Duration::from_secs(1 << 34), now + Duration::from_secs(1 << 40)]
}

fn far_moments_are_waited_for(on: Way) {
    for far in far_moments() {
        let (tx, rx) = bounded(0);
        let sender = on.spawn(move || tx.send_deadline(1, far));
        assert_eq!(rx.recv_deadline(far), Ok(1));
        sender.join().unwrap();

        let (tx, rx) = bounded::<u8>(0);
        let (parked, is_parked) = bounded(1);
        let receiver = on.spawn(move || {
            parked.send(()).unwrap();
            let late = at(far);
            let first = select! {
                recv(rx) -> value => value,
                recv(late) -> _ => unreachable!(),
            };
            let mut select = Select::new();
            select.recv(&rx);
            let second = select.select_deadline(far).unwrap().recv(&rx);
            let mut ready = Select::new();
            ready.recv(&rx);
            (first, second, ready.ready_deadline(far))
        });
        is_parked.recv().unwrap();
        on.lull();
        tx.send(1).unwrap();
        tx.send(2).unwrap();
        drop(tx);
        assert_eq!(receiver.join(), (Ok(1), Ok(2), Ok(0)));

        let (ctx, cancel) = Context::background().with_deadline(far);
        let (called, call) = bounded(1);
        let _ = ctx.after_func(move || called.send(()).unwrap());
        let below = ctx.with_cancel().0;
        assert_eq!((below.deadline(), ctx.err()), (Some(far), None));
        let waits = on.spawn(move || ctx.done().recv().is_err());
        on.lull();
        cancel.cancel();
        assert!(waits.join());
        call.recv().unwrap();
    }
}

fn far_durations_are_waited_for(on: Way) {
    let mut durations = vec![Duration::MAX, Duration::from_secs(u64::MAX), Duration::MAX / 2];
    durations.extend(far_moments().map(|far| far - Instant::now()));
    for far in durations {
        let (tx, rx) = bounded(0);
        let sender = on.spawn(move || tx.send_timeout(1, far));
        assert_eq!(rx.recv_timeout(far), Ok(1));
        sender.join().unwrap();

        let shared = Arc::new((Mutex::new(false), Condvar::new(), Semaphore::new(0)));
        let (group, counted) = (WaitGroup::new(), WaitGroup::new());
        group.add(1);
        counted.add(1);
        let peer = {
            let (shared, group, counted) = (Arc::clone(&shared), group.clone(), counted.clone());
            on.spawn(move || {
                let (done, changed, semaphore) = &*shared;
                assert!(semaphore.acquire_timeout(far).is_some());
                assert!(group.wait_timeout(far));
                counted.done();
                let done = done.lock().unwrap();
                let (done, result) = changed.wait_timeout_while(done, far, |done| !*done).unwrap();
                assert!(*done && !result.timed_out());
                drop(done);
                gthread::current().unpark();
                gthread::park_timeout(far);
                let thread = gthread::go!(|| 5);
                assert_eq!(thread.join_timeout(far).unwrap().unwrap(), 5);
                let (ctx, _cancel) = Context::background().with_timeout(far);
                assert_eq!(ctx.err(), None);
            })
        };
        on.lull();
        shared.2.add_permits(1);
        on.lull();
        group.done();
        counted.wait();
        *shared.0.lock().unwrap() = true;
        shared.1.notify_all();
        peer.join();
    }
}

fn a_barrier_for_nobody_holds_nobody_up(on: Way) {
    for threads in [0, 1] {
        let barrier = Arc::new(Barrier::new(threads));
        assert!(barrier.wait().is_leader() && barrier.wait().is_leader());
        let other = Arc::clone(&barrier);
        assert!(on.spawn(move || other.wait().is_leader()).join());
    }
}

fn a_buffer_that_no_memory_holds_is_refused(_: Way) {
    for cap in [usize::MAX, usize::MAX / 2, usize::MAX / 16 + 1] {
        let make = || drop(channel::bounded::<u64>(cap));
        let payload = std::panic::catch_unwind(make).unwrap_err();
        let text = payload.downcast_ref::<String>().map(|text| &**text);
        assert!(text.or(payload.downcast_ref::<&str>().copied()).unwrap().contains("capacity"));
    }
}
