//! What one thread does, and what it finds wrong at once.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use gthread::channel::{
    Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

use super::board::{Board, Held, Mark, State, Value};
use super::{Act, Plan, Then, Wait};
use crate::channel_model::Arm;

const SOON: Duration = Duration::from_micros(30);

#[derive(Default)]
pub(super) struct Log {
    pub(super) sent: Vec<Mark>,
    pub(super) received: Vec<Mark>,
    /// Channels that were found empty and disconnected.
    pub(super) ended: Vec<usize>,
}

pub(super) type Ends = (Option<Held<Sender<Value>>>, Option<Held<Receiver<Value>>>);

pub(super) struct Actor {
    me: usize,
    board: Arc<Board>,
    ends: Vec<Ends>,
    counts: HashMap<usize, usize>,
    log: Log,
}

/// Also when it panics, so that the others can end.
impl Drop for Actor {
    fn drop(&mut self) {
        self.ends.clear();
        self.board.set(self.me, State::Over);
    }
}

/// Why nothing was sent or received.
#[derive(Debug, PartialEq)]
enum Failure {
    Blocked,
    Disconnected,
}

impl Actor {
    pub(super) fn new(me: usize, board: Arc<Board>, ends: Vec<Ends>) -> Self {
        Self { me, board, ends, counts: HashMap::new(), log: Log::default() }
    }

    pub(super) fn run(mut self, plan: Plan) -> Log {
        for act in plan.acts {
            match act {
                Act::One(arm, wait) => _ = self.one(arm, wait),
                Act::Select(arms, wait, then) => self.select(&arms, wait, then),
                Act::Clone(arm) => self.replace(arm),
                Act::Leave(arm) if arm.sends => self.ends[arm.channel].0 = None,
                Act::Leave(arm) => self.ends[arm.channel].1 = None,
                Act::Yield => gthread::yield_now(),
            }
            for ((tx, rx), channel) in self.ends.iter().zip(&self.board.channels) {
                let fits = |len| channel.capacity.is_none_or(|cap| len <= cap);
                assert!(tx.as_ref().is_none_or(|tx| fits(tx.end().len())));
                assert!(rx.as_ref().is_none_or(|rx| fits(rx.end().len())));
            }
        }
        if plan.drains {
            self.ends.iter_mut().for_each(|(tx, _)| *tx = None);
            for channel in 0..self.ends.len() {
                while self.one(Arm { channel, sends: false }, Wait::Ever) {}
            }
        }
        std::mem::take(&mut self.log)
    }

    fn has(&self, arm: Arm) -> bool {
        let (tx, rx) = &self.ends[arm.channel];
        if arm.sends { tx.is_some() } else { rx.is_some() }
    }

    /// A clone takes the place of its original.
    fn replace(&mut self, arm: Arm) {
        let channel = &self.board.channels[arm.channel];
        let (tx, rx) = &mut self.ends[arm.channel];
        if arm.sends {
            *tx = tx.as_ref().map(|tx| channel.hold_sender(tx.end().clone()));
        } else {
            *rx = rx.as_ref().map(|rx| channel.hold_receiver(rx.end().clone()));
        }
    }

    fn value(&mut self, channel: usize) -> Value {
        let count = self.counts.entry(channel).or_default();
        *count += 1;
        self.board.made.fetch_add(1, SeqCst);
        ((self.me, *count, channel), self.board.drops.token())
    }

    fn note(&mut self, arm: Arm, was_gone: bool, outcome: Result<Mark, Failure>) {
        match outcome {
            Ok(mark) if arm.sends => {
                assert!(!was_gone, "sent to nobody: {arm:?}");
                self.log.sent.push(mark);
            }
            Ok(mark) => self.log.received.push(mark),
            Err(Failure::Blocked) => assert!(!was_gone, "waited for nobody: {arm:?}"),
            Err(Failure::Disconnected) => {
                let gone = self.board.channels[arm.channel].may_be_gone(arm);
                assert!(gone, "disconnected, but the other side lives: {arm:?}");
                self.log.ended.extend((!arm.sends).then_some(arm.channel));
            }
        }
    }

    /// Whether it was done.
    fn one(&mut self, arm: Arm, wait: Wait) -> bool {
        if !self.has(arm) {
            return false;
        }
        let was_gone = self.board.channels[arm.channel].is_gone(arm);
        let value = arm.sends.then(|| self.value(arm.channel));
        if wait == Wait::Ever {
            self.board.set(self.me, State::Waits(vec![arm]));
        }
        let outcome = match (value, &self.ends[arm.channel]) {
            (Some(value), (Some(tx), _)) => send(tx.end(), value, wait),
            (_, (_, Some(rx))) => recv(rx.end(), wait),
            _ => unreachable!("it has the end"),
        };
        if wait == Wait::Ever {
            self.board.set(self.me, State::Runs);
        }
        let done = outcome.is_ok();
        self.note(arm, was_gone, outcome);
        done
    }

    fn select(&mut self, arms: &[Arm], wait: Wait, then: Then) {
        let arms: Vec<_> = arms.iter().copied().filter(|&arm| self.has(arm)).collect();
        if arms.is_empty() {
            return;
        }
        let is_gone = |&arm: &Arm| self.board.channels[arm.channel].is_gone(arm);
        let mut gone: Vec<_> = arms.iter().map(is_gone).collect();
        // The select borrows the ends, and the rest of us is needed meanwhile.
        let ends = std::mem::take(&mut self.ends);
        let mut select = Select::new();
        for arm in &arms {
            match (&ends[arm.channel], arm.sends) {
                ((Some(tx), _), true) => select.send(tx.end()),
                ((_, Some(rx)), false) => select.recv(rx.end()),
                _ => unreachable!("it has the end"),
            };
        }
        let operation = match wait {
            Wait::No => select.try_select().ok(),
            Wait::Soon => select.select_timeout(SOON).ok(),
            Wait::Ever => {
                self.board.set(self.me, State::Waits(arms.clone()));
                Some(select.select())
            }
        };
        if wait == Wait::Ever {
            self.board.set(self.me, State::Runs);
        }
        if then != Then::Done {
            gthread::yield_now();
        }
        let in_vain = operation.is_none() && gone.contains(&true);
        assert!(!in_vain, "waited for nobody: {arms:?}");
        let chosen = operation.and_then(|operation| {
            let index = operation.index();
            let capacity = self.board.channels[arms[index].channel].capacity;
            let is_reserved = arms[index].sends && capacity.is_some_and(|cap| cap > 0);
            if is_reserved && then == Then::GivenUp {
                let unwound = catch_unwind(AssertUnwindSafe(|| {
                    let _given_up = operation;
                    resume_unwind(Box::new(()));
                }));
                assert!(unwound.is_err());
                return None;
            }
            if is_reserved {
                // It was chosen, but it is not sent yet.
                gone[index] = self.board.channels[arms[index].channel].is_gone(arms[index]);
            }
            let outcome = match (&ends[arms[index].channel], arms[index].sends) {
                ((Some(tx), _), true) => {
                    let value = self.value(arms[index].channel);
                    let mark = value.0;
                    operation.send(tx.end(), value).map(|()| mark).ok()
                }
                ((_, Some(rx)), false) => operation.recv(rx.end()).map(|value| value.0).ok(),
                _ => unreachable!("it has the end"),
            };
            Some((index, outcome.ok_or(Failure::Disconnected)))
        });
        if let Some((index, outcome)) = chosen {
            self.note(arms[index], gone[index], outcome);
        }
        self.ends = ends;
    }
}

fn send(tx: &Sender<Value>, value: Value, wait: Wait) -> Result<Mark, Failure> {
    let mark = value.0;
    let failure = match wait {
        Wait::Ever => tx.send(value).err().map(|error| (Failure::Disconnected, error.0)),
        Wait::Soon => tx.send_timeout(value, SOON).err().map(|error| match error {
            SendTimeoutError::Timeout(back) => (Failure::Blocked, back),
            SendTimeoutError::Disconnected(back) => (Failure::Disconnected, back),
        }),
        Wait::No => tx.try_send(value).err().map(|error| match error {
            TrySendError::Full(back) => (Failure::Blocked, back),
            TrySendError::Disconnected(back) => (Failure::Disconnected, back),
        }),
    };
    let Some((failure, back)) = failure else { return Ok(mark) };
    assert_eq!(back.0, mark, "another value came back");
    Err(failure)
}

fn recv(rx: &Receiver<Value>, wait: Wait) -> Result<Mark, Failure> {
    let value = match wait {
        Wait::Ever => rx.recv().map_err(|_| Failure::Disconnected),
        Wait::Soon => rx.recv_timeout(SOON).map_err(|error| match error {
            RecvTimeoutError::Timeout => Failure::Blocked,
            RecvTimeoutError::Disconnected => Failure::Disconnected,
        }),
        Wait::No => rx.try_recv().map_err(|error| match error {
            TryRecvError::Empty => Failure::Blocked,
            TryRecvError::Disconnected => Failure::Disconnected,
        }),
    };
    value.map(|value| value.0)
}
