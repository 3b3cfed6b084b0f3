//! std's locks block the OS thread. Held across a suspension point they must not stop the runtime.

use std::sync::{Arc, Condvar, Mutex, RwLock};

use gthread::{channel, go};
use gthread_tests::for_workers;

/// The child runs at once and blocks the only worker; the caller, who has the lock, must go on
/// elsewhere.
#[test]
fn a_mutex_held_across_go_does_not_deadlock() {
    for_workers(|runtime| {
        for _ in 0..10 {
            runtime.run(|| {
                let shared = Arc::new(Mutex::new(0));
                let guard = shared.lock().unwrap();
                let child = go!({
                    let shared = Arc::clone(&shared);
                    move || *shared.lock().unwrap() += 1
                });
                drop(guard);
                child.join().unwrap();
                assert_eq!(*shared.lock().unwrap(), 1);
            });
        }
    });
}

#[test]
fn a_lock_held_across_go_for_several_children() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new(RwLock::new(0));
            let guard = shared.write().unwrap();
            let children: Vec<_> = (0..5)
                .map(|n| {
                    let shared = Arc::clone(&shared);
                    go!(move || *shared.write().unwrap() += n)
                })
                .collect();
            drop(guard);
            children.into_iter().for_each(|child| child.join().unwrap());
            assert_eq!(*shared.read().unwrap(), 10);
        });
    });
}

/// The holder is parked, and another one blocks the worker that is to wake it.
#[test]
fn a_mutex_held_across_a_recv_does_not_deadlock() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new(Mutex::new(0));
            let (tx, rx) = channel::bounded(0);
            let holder = go!({
                let shared = Arc::clone(&shared);
                move || {
                    let mut guard = shared.lock().unwrap();
                    *guard = rx.recv().unwrap();
                }
            });
            let wants = go!({
                let shared = Arc::clone(&shared);
                move || *shared.lock().unwrap()
            });
            let sender = go!(move || tx.send(9).unwrap());
            sender.join().unwrap();
            holder.join().unwrap();
            let _ = wants.join().unwrap();
            assert_eq!(*shared.lock().unwrap(), 9);
        });
    });
}

#[test]
fn a_condvar_wait_does_not_stop_the_others() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new((Mutex::new(false), Condvar::new()));
            let waits = go!({
                let shared = Arc::clone(&shared);
                move || {
                    let (ready, changed) = &*shared;
                    drop(changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap());
                }
            });
            *shared.0.lock().unwrap() = true;
            shared.1.notify_all();
            waits.join().unwrap();
        });
    });
}
