//! Deadlocks that are a panic in those who wait.

use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gthread::channel::{self, Receiver, Select, select};
use gthread::sync::{Barrier, Condvar, Mutex, Semaphore, WaitGroup};
use gthread::{Builder, JoinHandle, go};
use gthread_tests::{Flag, hog_until};

use super::{REPORT, named};

/// What a thread says that was interrupted: that it was, and where it waited.
fn is_told(payload: &(dyn std::any::Any + Send), line: u32) {
    let message = payload.downcast_ref::<String>().expect("a panic of gthread's");
    assert!(message.contains(REPORT), "{message}");
    assert!(message.contains(&format!("tests/deadlock/waits.rs:{line}:")), "{message}");
}

/// A wait, and the line that it is in.
type Kind = (u32, Box<dyn FnOnce() + Send>);

#[track_caller]
fn kind(wait: impl FnOnce() + Send + 'static) -> Kind {
    (Location::caller().line(), Box::new(wait))
}

#[track_caller]
fn ready(rx: &Receiver<u32>) -> usize {
    let mut select = Select::new();
    select.recv(rx);
    select.ready()
}

/// One of each kind of wait, each on one line.
fn kinds() -> Vec<Kind> {
    let (full_tx, full_rx) = channel::bounded::<u32>(1);
    full_tx.send(1).unwrap();
    let (zero_tx, zero_rx) = channel::bounded::<u32>(0);
    let (open_tx, open_rx) = channel::unbounded::<u32>();
    let (some_tx, some_rx) = channel::bounded::<u32>(1);
    let ((a_tx, a_rx), (b_tx, b_rx)) = (channel::bounded::<u32>(0), channel::bounded::<u32>(0));
    let (iter_tx, iter_rx) = channel::unbounded::<u32>();
    let (ready_tx, ready_rx) = channel::bounded::<u32>(2);
    let pair = Arc::new((Mutex::new(()), Condvar::new()));
    let group = WaitGroup::new();
    group.add(1);
    // Both ends are kept by the waits.
    vec![
        kind(move || full_tx.send(2).unwrap_or_else(|_| drop(full_rx))),
        kind(move || zero_tx.send(2).unwrap_or_else(|_| drop(zero_rx))),
        kind(move || drop((open_rx.recv(), open_tx))),
        kind(move || drop((some_rx.recv(), some_tx))),
        kind(move || drop((a_rx.recv(), a_tx))),
        kind(move || drop((iter_rx.iter().sum::<u32>(), iter_tx))),
        kind(|| assert!(channel::never::<u32>().recv().is_err())),
        kind(move || select! { recv(b_rx) -> _ => {}, send(b_tx, 1) -> _ => drop(b_rx) }),
        kind(move || drop((ready(&ready_rx), ready_tx))),
        kind(|| gthread::park()),
        kind(|| Semaphore::new(0).acquire().forget()),
        kind(|| assert!(Barrier::new(2).wait().is_leader())),
        kind(move || group.wait()),
        kind(move || drop(pair.1.wait(pair.0.lock().unwrap()))),
    ]
}

/// On green threads, on such that block their worker, and on OS threads.
pub(super) fn all_kinds() {
    let threads = kinds().into_iter().map(|(line, wait)| (line, go!(wait)));
    // (One that parks there polls: it is not known to sleep.)
    let blocked = kinds().into_iter().take(4);
    let blocked = blocked.map(|(line, wait)| (line, go!(|| gthread::blocking(wait))));
    let green: Vec<(u32, JoinHandle<()>)> = threads.chain(blocked).collect();
    let os_threads: Vec<_> =
        kinds().into_iter().map(|(line, wait)| (line, thread::spawn(wait))).collect();
    for (line, thread) in green {
        is_told(&*thread.join().unwrap_err(), line);
    }
    for (line, thread) in os_threads {
        is_told(&*thread.join().unwrap_err(), line);
    }
}

pub(super) fn four_callers() {
    let runtime = named("shared");
    let (tx, rx) = channel::bounded::<u32>(0);
    let call = || catch_unwind(AssertUnwindSafe(|| runtime.run(|| rx.recv().is_ok()))).is_err();
    thread::scope(|s| {
        let others: Vec<_> = (0..3).map(|_| s.spawn(call)).collect();
        assert!(call());
        assert!(others.into_iter().all(|other| other.join().unwrap()));
    });
    drop(tx);
}

/// Those who were interrupted have left all queues, and a scope has waited for its threads.
pub(super) fn usable_afterwards() {
    let (tx, rx) = channel::bounded::<u32>(0);
    let (full_tx, full_rx) = channel::bounded::<u32>(1);
    full_tx.send(1).unwrap();
    let semaphore = Semaphore::new(0);
    let (lock, changed) = (Mutex::new(0), Condvar::new());
    let counted = gthread_tests::Drops::new();
    for _ in 0..2 {
        let failed = catch_unwind(AssertUnwindSafe(|| {
            gthread::run(|| {
                gthread::scope(|s| {
                    s.spawn(|| rx.recv());
                    s.spawn(|| full_tx.send(2));
                    s.spawn(|| drop(semaphore.acquire()));
                    s.spawn(|| {
                        let _token = counted.token();
                        drop(changed.wait(lock.lock().unwrap_or_else(|error| error.into_inner())));
                    });
                    s.spawn(|| select! { recv(rx) -> _ => {}, send(full_tx, 3) -> _ => {} });
                });
            });
        }));
        assert!(failed.is_err());
    }
    assert_eq!(counted.count(), 2);
    assert!(lock.is_poisoned());
    assert!(tx.try_send(1).is_err() && rx.try_recv().is_err());
    assert_eq!((full_rx.try_recv(), full_rx.len()), (Ok(1), 0));
    full_tx.try_send(4).unwrap();
    semaphore.add_permits(1);
    assert!(semaphore.try_acquire().is_some());
    changed.notify_all();
    gthread::run(|| {
        gthread::scope(|s| {
            s.spawn(|| tx.send(5).unwrap());
            assert_eq!(rx.recv(), Ok(5));
        });
    });
    assert_eq!(full_rx.recv(), Ok(4));
}

/// A wait in a drop while its thread unwinds does not panic, which would abort.
pub(super) fn while_unwinding() {
    struct Waits;
    impl Drop for Waits {
        fn drop(&mut self) {
            let _ = channel::never::<u32>().recv();
        }
    }
    gthread::run(|| {
        let _waits = Waits;
        panic!("on purpose");
    });
}

pub(super) fn circle_of_locks() {
    gthread::run(|| {
        let (a, b) = (Mutex::new(()), Mutex::new(()));
        let both = Barrier::new(2);
        let take = |first: &Mutex<()>, second: &Mutex<()>| {
            let _first = first.lock().unwrap();
            both.wait();
            let _second = second.lock().unwrap();
        };
        gthread::scope(|s| {
            s.spawn(|| take(&a, &b));
            s.spawn(|| take(&b, &a));
        });
    });
}

/// Of what waits in std nobody knows for whom; but it waits for another thread, and they all do.
pub(super) fn beside_std() {
    let (_tx, rx) = mpsc::channel::<()>();
    let receives = thread::spawn(move || rx.recv());
    thread::spawn(|| receives.join());
    gthread::run(|| go!(gthread::park).join().unwrap_err());
}

pub(super) fn beside_a_sleeper() {
    thread::spawn(|| thread::sleep(Duration::from_secs(3600)));
    gthread::run(|| go!(gthread::park).join().unwrap_err());
}

/// It may be about to wake somebody, as here.
pub(super) fn beside_one_that_computes() {
    let (tx, rx) = channel::bounded::<u32>(0);
    thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(3);
        hog_until(|| Instant::now() >= end);
        tx.send(1).unwrap();
    });
    assert_eq!(gthread::run(|| rx.recv()), Ok(1));
}

pub(super) fn in_check_leaks() {
    let (line, hangs) = kind(|| assert!(channel::never::<u32>().recv().is_err()));
    let failed = catch_unwind(AssertUnwindSafe(|| gthread::testing::check_leaks(hangs)));
    is_told(&*failed.unwrap_err(), line);
}

pub(super) fn with_deadlines() {
    let long = Duration::from_secs(2);
    let ended = Flag::new();
    let (tx, rx) = channel::bounded::<u32>(0);
    gthread::run(|| {
        let sleeps = go!(move || gthread::sleep(long));
        let times_out = go!(move || rx.recv_timeout(long).unwrap_err());
        let joins = Builder::new().spawn(move || sleeps.join().unwrap()).unwrap();
        joins.join().unwrap();
        times_out.join().unwrap();
        ended.raise();
    });
    assert!(ended.is_up());
    // Alone with a deadline of its own.
    let (never, wait) = channel::bounded::<u32>(0);
    go!(gthread::park);
    assert!(wait.recv_timeout(long).is_err());
    drop((never, tx));
}
