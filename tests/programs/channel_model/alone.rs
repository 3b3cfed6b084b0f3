//! One thread: every outcome is the model's, of ours and of crossbeam-channel.

use std::time::Duration;

use gthread_tests::{Drops, Token, runtime};

use super::model::{How, Model, Op, Outcome, Program, program};
use super::{Arm, for_programs};

type Value = (usize, Token);

/// Interpreters of programs for two crates whose types have the same names.
macro_rules! interpreter {
    ($module:ident, $close:expr, $($channel:tt)+) => {
        mod $module {
            use super::*;
            use $($channel)+ as channel;
            use channel::{Receiver, RecvTimeoutError, Select, Sender, SendTimeoutError, TryRecvError, TrySendError};

            type Ends = (Vec<Sender<Value>>, Vec<Receiver<Value>>);

            /// Runs a program, and shows each outcome, with the number of values dropped so far.
            pub(super) fn run(program: &Program, mut show: impl FnMut(&Op, Outcome, usize)) {
                let drops = Drops::new();
                let mut made = 0;
                let mut channels: Vec<Ends> = program
                    .capacities
                    .iter()
                    .map(|&cap| cap.map_or_else(channel::unbounded, channel::bounded))
                    .map(|(tx, rx)| (vec![tx], vec![rx]))
                    .collect();
                for op in &program.ops {
                    let mut value = || {
                        made += 1;
                        (made - 1, drops.token())
                    };
                    let outcome = act(&mut channels, op, &mut value);
                    show(op, outcome, drops.count());
                }
                drop(channels);
                assert_eq!(drops.count(), made, "all values are dropped with the channels");
            }

            fn act(channels: &mut [Ends], op: &Op, value: &mut impl FnMut() -> Value) -> Outcome {
                match op {
                    &Op::Send { channel, timeout } => {
                        let Some(tx) = channels[channel].0.last() else { return Outcome::Skipped };
                        let value = value();
                        let number = value.0;
                        let (outcome, back) = if timeout {
                            match tx.send_timeout(value, Duration::from_micros(1)) {
                                Ok(()) => (Outcome::Sent, None),
                                Err(SendTimeoutError::Timeout(back)) => (Outcome::Blocked, Some(back)),
                                Err(SendTimeoutError::Disconnected(back)) => {
                                    (Outcome::Disconnected, Some(back))
                                }
                            }
                        } else {
                            match tx.try_send(value) {
                                Ok(()) => (Outcome::Sent, None),
                                Err(TrySendError::Full(back)) => (Outcome::Blocked, Some(back)),
                                Err(TrySendError::Disconnected(back)) => {
                                    (Outcome::Disconnected, Some(back))
                                }
                            }
                        };
                        assert!(back.is_none_or(|back| back.0 == number));
                        outcome
                    }
                    &Op::Recv { channel, timeout } => {
                        let Some(rx) = channels[channel].1.last() else { return Outcome::Skipped };
                        if timeout {
                            match rx.recv_timeout(Duration::from_micros(1)) {
                                Ok((number, _)) => Outcome::Received(vec![number]),
                                Err(RecvTimeoutError::Timeout) => Outcome::Blocked,
                                Err(RecvTimeoutError::Disconnected) => Outcome::Disconnected,
                            }
                        } else {
                            match rx.try_recv() {
                                Ok((number, _)) => Outcome::Received(vec![number]),
                                Err(TryRecvError::Empty) => Outcome::Blocked,
                                Err(TryRecvError::Disconnected) => Outcome::Disconnected,
                            }
                        }
                    }
                    &Op::CloneSender(n) => {
                        let clone = channels[n].0.last().cloned();
                        channels[n].0.extend(clone);
                        Outcome::Skipped
                    }
                    &Op::CloneReceiver(n) => {
                        let clone = channels[n].1.last().cloned();
                        channels[n].1.extend(clone);
                        Outcome::Skipped
                    }
                    &Op::DropSender(n) => {
                        channels[n].0.pop();
                        Outcome::Skipped
                    }
                    &Op::DropReceiver(n) => {
                        channels[n].1.pop();
                        Outcome::Skipped
                    }
                    Op::Select { arms, how } => select(channels, arms, *how, value),
                    &Op::Macro { channels: on, how } => select_by_macro(channels, on, how, value),
                    &Op::Close(n) => {
                        let close: fn(&Ends) -> Outcome = $close;
                        close(&channels[n])
                    }
                    Op::Ready(arms) => {
                        let mut select = Select::new_biased();
                        let ends = ends(channels, arms);
                        add(&mut select, &ends);
                        select.try_ready().map_or(Outcome::Blocked, Outcome::Ready)
                    }
                    &Op::Drain(n) => match channels[n].1.last() {
                        Some(rx) => Outcome::Received(rx.try_iter().map(|value| value.0).collect()),
                        None => Outcome::Skipped,
                    },
                    &Op::Look(n) => match channels[n].1.last() {
                        Some(rx) => {
                            let (len, full, empty) = (rx.len(), rx.is_full(), rx.is_empty());
                            Outcome::State { len, full, empty }
                        }
                        None => Outcome::Skipped,
                    },
                }
            }

            fn select_by_macro(
                channels: &[Ends],
                [a, b, c]: [usize; 3],
                how: How,
                value: &mut impl FnMut() -> Value,
            ) -> Outcome {
                let (a, b, c) = (channels[a].1.last(), channels[b].0.last(), channels[c].1.last());
                let (Some(a), Some(b), Some(c)) = (a, b, c) else { return Outcome::Skipped };
                let chosen = |index, outcome| Outcome::Selected(index, Box::new(outcome));
                let sent = |sent: bool| if sent { Outcome::Sent } else { Outcome::Disconnected };
                let received = |got: Option<Value>| {
                    got.map_or(Outcome::Disconnected, |value| Outcome::Received(vec![value.0]))
                };
                match how {
                    How::Biased => channel::select_biased! {
                        recv(a) -> got => chosen(0, received(got.ok())),
                        send(b, value()) -> result => chosen(1, sent(result.is_ok())),
                        recv(c) -> got => chosen(2, received(got.ok())),
                        default => Outcome::Blocked,
                    },
                    How::Random => channel::select! {
                        recv(a) -> got => chosen(0, received(got.ok())),
                        send(b, value()) -> result => chosen(1, sent(result.is_ok())),
                        recv(c) -> got => chosen(2, received(got.ok())),
                        default => Outcome::Blocked,
                    },
                    How::Timeout => channel::select! {
                        recv(a) -> got => chosen(0, received(got.ok())),
                        send(b, value()) -> result => chosen(1, sent(result.is_ok())),
                        recv(c) -> got => chosen(2, received(got.ok())),
                        default(Duration::from_micros(1)) => Outcome::Blocked,
                    },
                }
            }

            enum End<'a> {
                Send(&'a Sender<Value>),
                Recv(&'a Receiver<Value>),
            }

            /// The ends that the arms name, without those that are gone.
            fn ends<'a>(channels: &'a [Ends], arms: &[Arm]) -> Vec<End<'a>> {
                let end = |arm: &Arm| {
                    let (senders, receivers) = &channels[arm.channel];
                    if arm.sends {
                        senders.last().map(End::Send)
                    } else {
                        receivers.last().map(End::Recv)
                    }
                };
                arms.iter().filter_map(end).collect()
            }

            fn add<'a>(select: &mut Select<'a>, ends: &[End<'a>]) {
                for end in ends {
                    match end {
                        End::Send(tx) => select.send(tx),
                        End::Recv(rx) => select.recv(rx),
                    };
                }
            }

            fn select(
                channels: &[Ends],
                arms: &[Arm],
                how: How,
                value: &mut impl FnMut() -> Value,
            ) -> Outcome {
                let ends = ends(channels, arms);
                let mut select = if how == How::Biased { Select::new_biased() } else { Select::new() };
                add(&mut select, &ends);
                let operation = match how {
                    How::Timeout => select.select_timeout(Duration::from_micros(1)).ok(),
                    How::Biased | How::Random => select.try_select().ok(),
                };
                let Some(operation) = operation else { return Outcome::Blocked };
                let index = operation.index();
                let outcome = match ends[index] {
                    End::Send(tx) => match operation.send(tx, value()) {
                        Ok(()) => Outcome::Sent,
                        Err(_) => Outcome::Disconnected,
                    },
                    End::Recv(rx) => match operation.recv(rx) {
                        Ok((number, _)) => Outcome::Received(vec![number]),
                        Err(_) => Outcome::Disconnected,
                    },
                };
                Outcome::Selected(index, Box::new(outcome))
            }
        }
    };
}

interpreter!(
    ours,
    |(senders, receivers): &Ends| match (senders.last(), receivers.last()) {
        (Some(tx), _) => Outcome::Closed(tx.close()),
        (None, Some(rx)) => Outcome::Closed(rx.close()),
        (None, None) => Outcome::Skipped,
    },
    gthread::channel
);
interpreter!(crossbeam, |_: &Ends| unreachable!("it cannot close"), crossbeam_channel);

/// The runs of one program on one thread.
fn check_alone(
    program: &Program,
    dropped_right: impl Fn(usize, usize, &Op),
    run: impl FnOnce(&Program, &mut dyn FnMut(&Op, Outcome, usize)),
) {
    let mut model = Model::new(&program.capacities);
    run(program, &mut |op, outcome, dropped| {
        let expected = model.run(op, &outcome);
        assert_eq!(outcome, expected, "{op:?}");
        dropped_right(dropped, model.dropped, op);
    });
}

fn exactly(dropped: usize, expected: usize, op: &Op) {
    assert_eq!(dropped, expected, "values dropped after {op:?}");
}

/// crossbeam-channel keeps the values of a bounded channel whose receivers are gone until the senders are
/// gone too; we do not.
fn at_most(dropped: usize, expected: usize, op: &Op) {
    assert!(dropped <= expected, "values dropped after {op:?}: {dropped} of {expected}");
}

#[test]
fn the_model_is_crossbeam_channel() {
    for_programs(program(false), |program| {
        check_alone(&program, at_most, |p, show| crossbeam::run(p, show))
    });
}

#[test]
fn one_os_thread() {
    for_programs(program(true), |program| {
        check_alone(&program, exactly, |p, show| ours::run(p, show))
    });
}

#[test]
fn one_green_thread() {
    let runtime = runtime(1);
    for_programs(program(true), |program| {
        runtime.run(|| check_alone(&program, exactly, |p, show| ours::run(p, show)));
    });
}
