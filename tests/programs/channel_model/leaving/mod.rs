//! Many threads whose ends come and go, and which wait without a timeout.
//!
//! Such programs can block for ever by their own fault: somebody has to see that, and to close a channel.
//! [`Board::watch`] does, and only then. If all wait but one of them could go on, a wake was lost; nobody
//! helps, and the watchdog bites.

mod actor;
mod board;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use gthread::channel;
use gthread_tests::runtime;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Arm, capacity, for_programs};
use actor::{Actor, Ends, Log};
use board::{Board, Mark};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Wait {
    No,
    Soon,
    Ever,
}

/// What becomes of an operation that a select has chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Done,
    DoneLater,
    /// Where it holds a place in a buffer; else it is done later.
    GivenUp,
}

#[derive(Clone, Debug)]
enum Act {
    One(Arm, Wait),
    Select(Vec<Arm>, Wait, Then),
    Clone(Arm),
    Leave(Arm),
    Yield,
}

#[derive(Clone, Debug)]
struct Plan {
    /// The ends that it starts with, of each channel: whether it sends, whether it receives.
    ends: Vec<(bool, bool)>,
    acts: Vec<Act>,
    /// Whether it receives, at last, all that comes.
    drains: bool,
}

fn programs() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<Plan>)> {
    vec(capacity(), 1..4).prop_flat_map(|capacities| {
        let count = capacities.len();
        let arm = (0..count, any::<bool>()).prop_map(|(channel, sends)| Arm { channel, sends });
        let wait = prop_oneof![1 => Just(Wait::No), 1 => Just(Wait::Soon), 3 => Just(Wait::Ever)];
        let then = prop_oneof![2 => Just(Then::Done), 1 => Just(Then::DoneLater), 1 => Just(Then::GivenUp)];
        let select = (vec(arm.clone(), 1..5), wait.clone(), then);
        let act = prop_oneof![
            10 => (arm.clone(), wait).prop_map(|(arm, wait)| Act::One(arm, wait)),
            8 => select.prop_map(|(arms, wait, then)| Act::Select(arms, wait, then)),
            1 => arm.clone().prop_map(Act::Clone),
            1 => arm.prop_map(Act::Leave),
            2 => Just(Act::Yield),
        ];
        let plan = (vec(any::<(bool, bool)>(), count), vec(act, 0..25), any::<bool>());
        let plan = plan.prop_map(|(ends, acts, drains)| Plan { ends, acts, drains });
        (Just(capacities), vec(plan, 2..7))
    })
}

type Work = Box<dyn FnOnce() -> Log + Send>;
type Join = Box<dyn FnOnce() -> Log>;

fn check(capacities: &[Option<usize>], plans: &[Plan], spawn: impl Fn(usize, Work) -> Join) {
    let board = Arc::new(Board::new(capacities, plans.len()));
    let mut ends: Vec<Vec<Ends>> = plans.iter().map(|_| Vec::new()).collect();
    for (n, channel) in board.channels.iter().enumerate() {
        let (tx, rx) = capacities[n].map_or_else(channel::unbounded, channel::bounded);
        for (plan, ends) in plans.iter().zip(&mut ends) {
            let (sends, receives) = plan.ends[n];
            let tx = sends.then(|| channel.hold_sender(tx.clone()));
            let rx = receives.then(|| channel.hold_receiver(rx.clone()));
            ends.push((tx, rx));
        }
        // The threads have all the ends.
    }
    let joins: Vec<_> = ends
        .into_iter()
        .zip(plans)
        .enumerate()
        .map(|(me, (ends, plan))| {
            let (actor, plan) = (Actor::new(me, Arc::clone(&board), ends), plan.clone());
            spawn(me, Box::new(move || actor.run(plan)))
        })
        .collect();
    board.watch(&(capacities, plans));
    let logs: Vec<Log> = joins.into_iter().map(|join| join()).collect();
    check_logs(capacities, &logs);
    assert_eq!(board.drops.count(), board.made.load(SeqCst), "each value is dropped once");
}

fn check_logs(capacities: &[Option<usize>], logs: &[Log]) {
    for log in logs {
        let mut last = HashMap::new();
        for &(sender, count, channel) in &log.received {
            let before = last.insert((sender, channel), count);
            assert!(before < Some(count), "out of order: {:?}", log.received);
        }
    }
    for (channel, &capacity) in capacities.iter().enumerate() {
        let of_channel = |marks: fn(&Log) -> &Vec<Mark>| {
            let marks = logs.iter().flat_map(marks).copied();
            let mut marks: Vec<_> = marks.filter(|mark| mark.2 == channel).collect();
            marks.sort_unstable();
            marks
        };
        let (sent, received) = (of_channel(|log| &log.sent), of_channel(|log| &log.received));
        assert!(received.is_sorted_by(|a, b| a < b), "received twice: {received:?}");
        let was_sent = |mark| sent.binary_search(mark).is_ok();
        assert!(received.iter().all(was_sent), "received {received:?} of {sent:?}");
        // Else what is missing was inside when the last receiver went.
        if capacity == Some(0) || logs.iter().any(|log| log.ended.contains(&channel)) {
            assert_eq!(sent, received, "lost");
        }
    }
}

fn on_os_thread(work: Work) -> Join {
    let thread = std::thread::spawn(work);
    Box::new(|| thread.join().unwrap())
}

#[test]
fn os_threads_leave() {
    for_programs(programs(), |(capacities, plans)| {
        check(&capacities, &plans, |_, work| on_os_thread(work));
    });
}

fn with_workers(workers: usize) {
    let runtime = runtime(workers);
    for_programs(programs(), |(capacities, plans)| {
        check(&capacities, &plans, |n, work| {
            if n % 4 == 3 {
                return on_os_thread(work);
            }
            let thread = runtime.spawn(work);
            Box::new(|| thread.join().unwrap())
        });
    });
}

#[test]
fn they_leave_with_1_worker() {
    with_workers(1);
}

#[test]
fn they_leave_with_2_workers() {
    with_workers(2);
}

#[test]
fn they_leave_with_8_workers() {
    with_workers(8);
}
