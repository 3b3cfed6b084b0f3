//! While the child keeps its OS thread busy, an idle worker takes the caller's continuation.

use std::sync::{Arc, Mutex};

use gthread::go;
use gthread_tests::{
    Flag, LIMIT, for_each_of, for_workers, hog_until, os_thread_id, runtime, under_chaos, watchdog,
};

#[test]
fn the_caller_goes_on_while_the_child_spins() {
    if under_chaos("who goes on with what") {
        return;
    }
    // With one worker it is a spare OS thread that takes it. A runtime for each, since where children were seen to compute
    // while others waited, the next are queued for a while.
    for_workers(|like| {
        for _ in 0..20 {
            let runtime = runtime(like.metrics().workers);
            runtime.run(|| {
                let flag = Flag::new();
                let child = go!({
                    let flag = flag.clone();
                    move || {
                        hog_until(|| flag.is_up());
                        os_thread_id()
                    }
                });
                // Only reached while the child spins.
                let here = os_thread_id();
                flag.raise();
                assert_ne!(here, child.join().unwrap(), "two threads ran on one OS thread at once");
            });
        }
    });
}

#[test]
fn steals_are_counted() {
    if under_chaos("who goes on with what") {
        return;
    }
    for_each_of(&[2, 8], |runtime| {
        let before = runtime.metrics().steals;
        runtime.run(|| {
            let flag = Flag::new();
            let child = go!({
                let flag = flag.clone();
                move || hog_until(|| flag.is_up())
            });
            flag.raise();
            child.join().unwrap();
        });
        assert!(runtime.metrics().steals > before);
    });
}

/// Two continuations wait on one worker: the thief takes the older, which is the larger part of the
/// work.
#[test]
fn the_oldest_is_stolen_first() {
    if under_chaos("who goes on with what") {
        return;
    }
    watchdog(LIMIT, || {
        let mut alone = 0;
        while alone < 50 {
            let order = Arc::new(Mutex::new(Vec::new()));
            let runtime = gthread_tests::runtime(2);
            runtime.run(|| {
                let done = Flag::new();
                let child = go!({
                    let (order, done) = (Arc::clone(&order), done.clone());
                    move || {
                        let grandchild = go!({
                            let done = done.clone();
                            move || hog_until(|| done.is_up())
                        });
                        order.lock().unwrap().push("child");
                        grandchild.join().unwrap();
                    }
                });
                order.lock().unwrap().push("root");
                done.raise();
                child.join().unwrap();
            });
            // A stalled machine may bring in a spare, and another order.
            if runtime.metrics().spare_workers == 0 {
                assert_eq!(*order.lock().unwrap(), ["root", "child"]);
                alone += 1;
            }
        }
    });
}

#[test]
fn a_whole_tree_of_spinning_children_runs_at_once() {
    // Eight threads that wait for each other without ever suspending, on as many workers.
    for_each_of(&[8], |runtime| {
        runtime.run(|| {
            let arrived = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let children: Vec<_> = (0..8)
                .map(|_| {
                    let arrived = Arc::clone(&arrived);
                    go!(move || {
                        arrived.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        hog_until(|| arrived.load(std::sync::atomic::Ordering::SeqCst) == 8);
                    })
                })
                .collect();
            children.into_iter().for_each(|child| child.join().unwrap());
        });
    });
}
