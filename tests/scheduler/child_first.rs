//! `go!` runs the child at once; the caller goes on when it parks or ends.

use std::sync::{Arc, Mutex};

use gthread::go;
use gthread_tests::{under_chaos, unhelped};

/// One worker, so that nobody steals the caller. But should the machine stall the child for some 10 ms,
/// the runtime lets another OS thread go on with the caller, and queues the next children: then all is
/// done again.
fn mostly(rounds: u32, expected: &[&str], round: impl Fn(Log) + Send + Sync) {
    let (as_expected, other) = unhelped(|runtime| {
        let mut as_expected = 0;
        let mut other = Vec::new();
        for _ in 0..rounds {
            let log = Log::default();
            runtime.run(|| round(log.clone()));
            let log = log.0.lock().unwrap().clone();
            if log == expected {
                as_expected += 1;
            } else {
                other = log;
            }
        }
        (as_expected, other)
    });
    assert!(as_expected >= rounds * 9 / 10, "only {as_expected} of {rounds}; else {other:?}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }
}

#[test]
fn the_child_runs_before_the_caller_goes_on() {
    if under_chaos("the order of parent and child") {
        return;
    }
    mostly(100, &["before", "child", "after"], |log| {
        log.note("before");
        let child = go!({
            let log = log.clone();
            move || log.note("child")
        });
        log.note("after");
        child.join().unwrap();
    });
}

#[test]
fn the_caller_goes_on_when_the_child_parks() {
    if under_chaos("the order of parent and child") {
        return;
    }
    mostly(100, &["child", "caller", "child again"], |log| {
        let child = go!({
            let log = log.clone();
            move || {
                log.note("child");
                gthread::park();
                log.note("child again");
            }
        });
        log.note("caller");
        child.thread().unpark();
        child.join().unwrap();
    });
}

#[test]
fn children_of_children_come_first_too() {
    if under_chaos("the order of parent and child") {
        return;
    }
    mostly(100, &["child", "grandchild", "child again", "caller"], |log| {
        let child = go!({
            let log = log.clone();
            move || {
                log.note("child");
                let grandchild = go!({
                    let log = log.clone();
                    move || log.note("grandchild")
                });
                log.note("child again");
                grandchild.join().unwrap();
            }
        });
        log.note("caller");
        child.join().unwrap();
    });
}

#[test]
fn a_queued_child_runs_after_the_caller() {
    mostly(100, &["caller", "child"], |log| {
        let child = gthread::Builder::new().queued(true).spawn({
            let log = log.clone();
            move || log.note("child")
        });
        log.note("caller");
        child.unwrap().join().unwrap();
    });
}

#[test]
fn queued_children_run_in_order() {
    if under_chaos("the order of parent and child") {
        return;
    }
    mostly(100, &["one", "two", "three"], |log| {
        let children = ["one", "two", "three"].map(|name| {
            let log = log.clone();
            gthread::Builder::new().queued(true).spawn(move || log.note(name)).unwrap()
        });
        children.into_iter().for_each(|child| child.join().unwrap());
    });
}
