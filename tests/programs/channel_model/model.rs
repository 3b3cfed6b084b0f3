//! Programs for one thread, and what they should do.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Arm, capacity};

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Send {
        channel: usize,
        timeout: bool,
    },
    Recv {
        channel: usize,
        timeout: bool,
    },
    CloneSender(usize),
    CloneReceiver(usize),
    DropSender(usize),
    DropReceiver(usize),
    Select {
        arms: Vec<Arm>,
        how: How,
    },
    /// `recv(a)`, `send(b)`, `recv(c)` of a macro.
    Macro {
        channels: [usize; 3],
        how: How,
    },
    Ready(Vec<Arm>),
    /// By a sender, or else by a receiver. Not of crossbeam-channel's.
    Close(usize),
    Drain(usize),
    Look(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum How {
    Biased,
    Random,
    Timeout,
}

/// What an operation did. Values are numbered in the order in which they were made.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Sent,
    Received(Vec<usize>),
    Blocked,
    Disconnected,
    Selected(usize, Box<Outcome>),
    Ready(usize),
    State {
        len: usize,
        full: bool,
        empty: bool,
    },
    Closed(bool),
    /// There is no end to do it with.
    Skipped,
}

#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) capacities: Vec<Option<usize>>,
    pub(crate) ops: Vec<Op>,
}

fn op(channels: usize, closes: bool) -> impl Strategy<Value = Op> {
    let channel = 0..channels;
    let arm = (0..channels, any::<bool>()).prop_map(|(channel, sends)| Arm { channel, sends });
    let how = prop_oneof![Just(How::Biased), Just(How::Random), Just(How::Timeout)];
    let three = (prop::array::uniform3(0..channels), how.clone());
    let send = |(channel, timeout)| Op::Send { channel, timeout };
    let recv = |(channel, timeout)| Op::Recv { channel, timeout };
    prop_oneof![
        8 => (channel.clone(), prop::bool::weighted(0.1)).prop_map(send),
        6 => (channel.clone(), prop::bool::weighted(0.1)).prop_map(recv),
        1 => channel.clone().prop_map(Op::CloneSender),
        1 => channel.clone().prop_map(Op::CloneReceiver),
        1 => channel.clone().prop_map(Op::DropSender),
        1 => channel.clone().prop_map(Op::DropReceiver),
        4 => (vec(arm.clone(), 1..7), how).prop_map(|(arms, how)| Op::Select { arms, how }),
        2 => three.prop_map(|(channels, how)| Op::Macro { channels, how }),
        1 => vec(arm, 1..7).prop_map(Op::Ready),
        1 => channel.clone().prop_map(Op::Drain),
        1 => channel.clone().prop_map(Op::Look),
        1 => channel.prop_map(move |n| if closes { Op::Close(n) } else { Op::Look(n) }),
    ]
}

/// With `closes`, of operations that crossbeam-channel has not.
pub(crate) fn program(closes: bool) -> impl Strategy<Value = Program> {
    vec(capacity(), 1..4).prop_flat_map(move |capacities| {
        let ops = vec(op(capacities.len(), closes), 0..60);
        (Just(capacities), ops).prop_map(|(capacities, ops)| Program { capacities, ops })
    })
}

/// What one thread does to channels that nobody else uses.
///
/// One thread, so nobody ever waits: a send without room, or to a rendezvous, is blocked.
pub(crate) struct Model {
    channels: Vec<ModelChannel>,
    made: usize,
    pub(crate) dropped: usize,
}

struct ModelChannel {
    capacity: Option<usize>,
    values: VecDeque<usize>,
    senders: usize,
    receivers: usize,
    closed: bool,
}

impl Model {
    pub(crate) fn new(capacities: &[Option<usize>]) -> Self {
        let channel = |&capacity| ModelChannel {
            capacity,
            values: VecDeque::new(),
            senders: 1,
            receivers: 1,
            closed: false,
        };
        Self { channels: capacities.iter().map(channel).collect(), made: 0, dropped: 0 }
    }

    fn has_end(&self, arm: Arm) -> bool {
        let channel = &self.channels[arm.channel];
        (if arm.sends { channel.senders } else { channel.receivers }) > 0
    }

    fn is_ready(&self, arm: Arm) -> bool {
        let channel = &self.channels[arm.channel];
        if arm.sends {
            channel.closed
                || channel.receivers == 0
                || channel.capacity.is_none_or(|cap| channel.values.len() < cap)
        } else {
            channel.closed || channel.senders == 0 || !channel.values.is_empty()
        }
    }

    fn act(&mut self, arm: Arm) -> Outcome {
        if !self.has_end(arm) {
            return Outcome::Skipped;
        }
        let ready = self.is_ready(arm);
        let channel = &mut self.channels[arm.channel];
        if arm.sends {
            let value = self.made;
            self.made += 1;
            if ready && channel.receivers > 0 && !channel.closed {
                channel.values.push_back(value);
                return Outcome::Sent;
            }
            self.dropped += 1;
            if ready { Outcome::Disconnected } else { Outcome::Blocked }
        } else if let Some(value) = channel.values.pop_front() {
            self.dropped += 1;
            Outcome::Received(vec![value])
        } else if ready {
            Outcome::Disconnected
        } else {
            Outcome::Blocked
        }
    }

    /// The outcome, if a select that may choose chooses as in `seen`.
    pub(crate) fn run(&mut self, op: &Op, seen: &Outcome) -> Outcome {
        match op {
            &Op::Send { channel, .. } => self.act(Arm { channel, sends: true }),
            &Op::Recv { channel, .. } => self.act(Arm { channel, sends: false }),
            &Op::CloneSender(n) => {
                let channel = &mut self.channels[n];
                channel.senders += usize::from(channel.senders > 0);
                Outcome::Skipped
            }
            &Op::CloneReceiver(n) => {
                let channel = &mut self.channels[n];
                channel.receivers += usize::from(channel.receivers > 0);
                Outcome::Skipped
            }
            &Op::DropSender(n) => {
                let channel = &mut self.channels[n];
                channel.senders = channel.senders.saturating_sub(1);
                Outcome::Skipped
            }
            &Op::DropReceiver(n) => {
                let channel = &mut self.channels[n];
                channel.receivers = channel.receivers.saturating_sub(1);
                if channel.receivers == 0 {
                    // Nobody can receive them any more.
                    self.dropped += channel.values.len();
                    channel.values.clear();
                }
                Outcome::Skipped
            }
            Op::Select { arms, how } => {
                let arms: Vec<_> = arms.iter().copied().filter(|&arm| self.has_end(arm)).collect();
                let first = arms.iter().position(|&arm| self.is_ready(arm));
                let chosen = match (how, seen) {
                    (How::Random | How::Timeout, &Outcome::Selected(chosen, _)) => Some(chosen),
                    _ => first,
                };
                match chosen.filter(|&chosen| self.is_ready(arms[chosen])) {
                    Some(chosen) => Outcome::Selected(chosen, Box::new(self.act(arms[chosen]))),
                    None => Outcome::Blocked,
                }
            }
            &Op::Macro { channels: [a, b, c], how } => {
                let arms = [(a, false), (b, true), (c, false)];
                let arms = arms.map(|(channel, sends)| Arm { channel, sends });
                if !arms.iter().all(|&arm| self.has_end(arm)) {
                    return Outcome::Skipped;
                }
                self.run(&Op::Select { arms: arms.to_vec(), how }, seen)
            }
            &Op::Close(n) => {
                let channel = &mut self.channels[n];
                if channel.senders == 0 && channel.receivers == 0 {
                    return Outcome::Skipped;
                }
                let open = !channel.closed && channel.senders > 0 && channel.receivers > 0;
                channel.closed = true;
                Outcome::Closed(open)
            }
            Op::Ready(arms) => {
                let arms: Vec<_> = arms.iter().copied().filter(|&arm| self.has_end(arm)).collect();
                let ready = arms.iter().position(|&arm| self.is_ready(arm));
                ready.map_or(Outcome::Blocked, Outcome::Ready)
            }
            &Op::Drain(n) if self.channels[n].receivers > 0 => {
                let values: Vec<_> = self.channels[n].values.drain(..).collect();
                self.dropped += values.len();
                Outcome::Received(values)
            }
            &Op::Look(n) if self.channels[n].receivers > 0 => {
                let channel = &self.channels[n];
                let len = channel.values.len();
                Outcome::State { len, full: channel.capacity == Some(len), empty: len == 0 }
            }
            Op::Drain(_) | Op::Look(_) => Outcome::Skipped,
        }
    }
}
