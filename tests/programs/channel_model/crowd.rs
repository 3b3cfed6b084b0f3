//! Many threads: nothing is lost, doubled or out of order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gthread_tests::{Drops, Token, runtime};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Arm, capacity, for_programs};

/// What threads do to the channels that they share. Everything has a way out.
#[derive(Clone, Debug)]
enum Act {
    Send(usize),
    Recv(usize),
    SendSoon(usize),
    RecvSoon(usize),
    Select(Vec<Arm>),
    Yield,
}

fn crowd() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<Vec<Act>>)> {
    vec(capacity(), 1..4).prop_flat_map(|capacities| {
        let channel = 0..capacities.len();
        let arm = (channel.clone(), any::<bool>());
        let arm = arm.prop_map(|(channel, sends)| Arm { channel, sends });
        let act = prop_oneof![
            3 => channel.clone().prop_map(Act::Send),
            3 => channel.clone().prop_map(Act::Recv),
            1 => channel.clone().prop_map(Act::SendSoon),
            1 => channel.prop_map(Act::RecvSoon),
            3 => vec(arm, 1..6).prop_map(Act::Select),
            1 => Just(Act::Yield),
        ];
        (Just(capacities), vec(vec(act, 0..40), 2..7))
    })
}

/// Sender, its count on this channel, channel.
type Mark = (usize, usize, usize);

#[derive(Default)]
struct Log {
    sent: Vec<Mark>,
    received: Vec<Mark>,
}

fn check_crowd(
    capacities: &[Option<usize>],
    threads: &[Vec<Act>],
    spawn: impl Fn(usize, Box<dyn FnOnce() -> Log + Send>) -> Box<dyn FnOnce() -> Log>,
) {
    use gthread::channel::{self, Receiver, Select, Sender};
    let drops = Drops::new();
    let made = Arc::new(Mutex::new(0));
    type Channel = (Sender<(Mark, Token)>, Receiver<(Mark, Token)>);
    let channels: Vec<Channel> = capacities
        .iter()
        .map(|&cap| cap.map_or_else(channel::unbounded, channel::bounded))
        .collect();
    let run = |me: usize, acts: Vec<Act>| {
        let (channels, drops, made) = (channels.clone(), drops.clone(), Arc::clone(&made));
        move || {
            let mut log = Log::default();
            let mut counts = HashMap::<usize, usize>::new();
            let mut value = |channel: usize| {
                let count = counts.entry(channel).or_default();
                *count += 1;
                *made.lock().unwrap() += 1;
                ((me, *count, channel), drops.token())
            };
            let soon = Duration::from_micros(30);
            for act in acts {
                match act {
                    Act::Send(n) => {
                        let value = value(n);
                        let mark = value.0;
                        log.sent.extend(channels[n].0.try_send(value).is_ok().then_some(mark));
                    }
                    Act::Recv(n) => log.received.extend(channels[n].1.try_recv().map(|v| v.0)),
                    Act::SendSoon(n) => {
                        let value = value(n);
                        let mark = value.0;
                        let sent = channels[n].0.send_timeout(value, soon).is_ok();
                        log.sent.extend(sent.then_some(mark));
                    }
                    Act::RecvSoon(n) => {
                        log.received.extend(channels[n].1.recv_timeout(soon).map(|v| v.0));
                    }
                    Act::Select(arms) => {
                        let mut select = Select::new();
                        for arm in &arms {
                            let (tx, rx) = &channels[arm.channel];
                            if arm.sends {
                                select.send(tx)
                            } else {
                                select.recv(rx)
                            };
                        }
                        let Ok(operation) = select.select_timeout(soon) else { continue };
                        let Arm { channel, sends } = arms[operation.index()];
                        let (tx, rx) = &channels[channel];
                        if sends {
                            let value = value(channel);
                            let mark = value.0;
                            operation.send(tx, value).unwrap();
                            log.sent.push(mark);
                        } else {
                            log.received.push(operation.recv(rx).unwrap().0);
                        }
                    }
                    Act::Yield => gthread::yield_now(),
                }
            }
            log
        }
    };
    let handles: Vec<_> = threads
        .iter()
        .enumerate()
        .map(|(me, acts)| spawn(me, Box::new(run(me, acts.clone()))))
        .collect();
    let mut logs: Vec<Log> = handles.into_iter().map(|join| join()).collect();
    let left = channels.iter().flat_map(|(_, rx)| rx.try_iter()).map(|value| value.0).collect();
    logs.push(Log { sent: Vec::new(), received: left });

    for log in &logs {
        let mut last = HashMap::new();
        for &(sender, count, channel) in &log.received {
            let before = last.insert((sender, channel), count);
            assert!(before < Some(count), "out of order: {:?}", log.received);
        }
    }
    let mut sent: Vec<_> = logs.iter().flat_map(|log| log.sent.clone()).collect();
    let mut received: Vec<_> = logs.iter().flat_map(|log| log.received.clone()).collect();
    sent.sort_unstable();
    received.sort_unstable();
    assert_eq!(sent, received);
    drop(channels);
    assert_eq!(drops.count(), *made.lock().unwrap());
}

#[test]
fn a_crowd_of_os_threads() {
    for_programs(crowd(), |(capacities, threads)| {
        check_crowd(&capacities, &threads, |_, f| {
            let thread = std::thread::spawn(f);
            Box::new(|| thread.join().unwrap())
        });
    });
}

fn crowd_with(workers: usize) {
    let runtime = runtime(workers);
    for_programs(crowd(), |(capacities, threads)| {
        check_crowd(&capacities, &threads, |n, f| {
            if n % 4 == 3 {
                let thread = std::thread::spawn(f);
                Box::new(|| thread.join().unwrap())
            } else {
                let thread = runtime.spawn(f);
                Box::new(|| thread.join().unwrap())
            }
        });
    });
}

#[test]
fn a_crowd_with_1_worker() {
    crowd_with(1);
}

#[test]
fn a_crowd_with_2_workers() {
    crowd_with(2);
}

#[test]
fn a_crowd_with_8_workers() {
    crowd_with(8);
}
