//! Handles to threads, and their ids.

use std::collections::HashSet;
use std::sync::Mutex;

use gthread::{Thread, ThreadId, channel, current, go};
use gthread_tests::{LIMIT, for_workers, runtime, watchdog, yield_often};

#[test]
fn ids_are_unique_and_stable() {
    for_workers(|here| {
        let other = runtime(2);
        let ids = Mutex::new(HashSet::new());
        let note = |id: ThreadId| assert!(ids.lock().unwrap().insert(id), "{id:?} was used twice");
        let run = |runtime: &gthread::Runtime| {
            runtime.run(|| {
                let threads: Vec<_> = (0..700)
                    .map(|_| {
                        go!(|| {
                            let id = current().id();
                            gthread::yield_now();
                            assert_eq!(current().id(), id);
                            id
                        })
                    })
                    .collect();
                for thread in threads {
                    let id = thread.thread().id();
                    assert_eq!(thread.join().unwrap(), id);
                    note(id);
                }
            });
        };
        std::thread::scope(|s| {
            s.spawn(|| run(here));
            s.spawn(|| run(&other));
            for _ in 0..5 {
                s.spawn(|| note(current().id()));
            }
        });
        note(current().id());
        assert_eq!(ids.into_inner().unwrap().len(), 1406);
    });
}

#[test]
fn a_thread_knows_itself() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::bounded::<Thread>(1);
            let thread = go!(move || tx.send(current()).unwrap());
            assert_eq!(rx.recv().unwrap().id(), thread.thread().id());
            assert_ne!(current().id(), thread.thread().id());
            assert_eq!(current().id(), current().clone().id());
            thread.join().unwrap();
        });
    });
}

#[test]
fn handles_outlive_their_thread() {
    for_workers(|runtime| {
        let named = |n: u32| {
            gthread::Builder::new()
                .name(format!("number {n}"))
                .spawn(move || {
                    gthread::yield_now();
                    current()
                })
                .unwrap()
        };
        let mut handles = Vec::new();
        runtime.run(|| {
            for n in 0..50 {
                let thread = named(n);
                let outside = thread.thread().clone();
                let inside = thread.join().unwrap();
                assert_eq!(outside.id(), inside.id());
                handles.push((n, outside, inside));
            }
            // Others use what memory is free.
            (0..200).for_each(|_| go!(yield_often).join().unwrap());
        });
        for (n, outside, inside) in &handles {
            assert_eq!(outside.name(), Some(format!("number {n}").as_str()));
            outside.unpark();
            inside.unpark();
            assert_eq!(inside.name(), outside.name());
        }
        runtime.run(|| handles.iter().for_each(|(_, handle, _)| handle.unpark()));
        runtime.run(|| drop(handles));
    });
}

#[test]
fn unpark_of_a_dead_thread_wakes_nobody_else() {
    for_workers(|runtime| {
        runtime.run(|| {
            let dead: Vec<_> = (0..20).map(|_| go!(current).join().unwrap()).collect();
            let alive: Vec<_> = (0..20).map(|_| go!(gthread::park)).collect();
            for _ in 0..20 {
                dead.iter().for_each(Thread::unpark);
                gthread::yield_now();
            }
            assert!(alive.iter().all(|thread| !thread.is_finished()));
            for thread in alive {
                thread.thread().unpark();
                thread.join().unwrap();
            }
        });
    });
}

#[test]
fn a_handle_to_a_dead_os_thread() {
    watchdog(LIMIT, || {
        let handle = std::thread::spawn(current).join().unwrap();
        handle.unpark();
        assert_ne!(handle.id(), current().id());
    });
}

#[test]
fn a_detached_thread_is_reached_by_its_handle() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded(1);
        let thread = runtime.spawn(move || {
            gthread::park();
            tx.send(()).unwrap();
        });
        let handle = thread.thread().clone();
        drop(thread);
        handle.unpark();
        rx.recv().unwrap();
    });
}

#[test]
fn stacks_come_back() {
    for_workers(|runtime| {
        runtime.run(|| (0..1000).for_each(|_| go!(|| {}).join().unwrap()));
        // One after the other: what is in use or cached does not grow with their number.
        let stacks = runtime.metrics().stacks;
        assert!(stacks <= 64 * 12, "{stacks} stacks");
        runtime.run(|| {
            let handles: Vec<_> = (0..1000).map(|_| go!(current).join().unwrap()).collect();
            assert!(runtime.metrics().stacks >= 1000, "a handle keeps its thread's stack");
            drop(handles);
        });
        let stacks = runtime.metrics().stacks;
        assert!(stacks <= 64 * 12, "{stacks} stacks");
    });
}
