//! Who waits for what, and which ends there are.

use std::fmt::Debug;
use std::io::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use gthread::channel::{Receiver, Sender};
use gthread_tests::{Drops, LIMIT, Token};

use crate::channel_model::Arm;

/// Sender, its count on this channel, channel.
pub(super) type Mark = (usize, usize, usize);
pub(super) type Value = (Mark, Token);

#[derive(Clone, Debug)]
pub(super) enum State {
    Runs,
    /// In an operation without a timeout: these arms.
    Waits(Vec<Arm>),
    Over,
}

/// The ends of one side. `alive` falls before an end is dropped, `left` after.
#[derive(Default)]
pub(super) struct Side {
    alive: AtomicUsize,
    left: AtomicUsize,
}

/// An end, counted.
pub(super) struct Held<E> {
    end: Option<Arc<E>>,
    side: Arc<Side>,
}

impl<E> Held<E> {
    pub(super) fn new(end: E, side: &Arc<Side>) -> Self {
        side.alive.fetch_add(1, SeqCst);
        side.left.fetch_add(1, SeqCst);
        Self { end: Some(Arc::new(end)), side: Arc::clone(side) }
    }

    pub(super) fn end(&self) -> &E {
        self.end.as_ref().unwrap()
    }
}

impl<E> Drop for Held<E> {
    fn drop(&mut self) {
        self.side.alive.fetch_sub(1, SeqCst);
        drop(self.end.take());
        self.side.left.fetch_sub(1, SeqCst);
    }
}

/// All ends of a kind that there were.
type Known<E> = Mutex<Vec<Weak<E>>>;

/// What is known of a channel without holding an end of it.
pub(super) struct Watched {
    pub(super) capacity: Option<usize>,
    pub(super) senders: Arc<Side>,
    pub(super) receivers: Arc<Side>,
    known_senders: Known<Sender<Value>>,
    known_receivers: Known<Receiver<Value>>,
    /// 1 while it is being closed, 2 when it is.
    closed: AtomicUsize,
}

impl Watched {
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self {
            capacity,
            senders: Arc::default(),
            receivers: Arc::default(),
            known_senders: Mutex::default(),
            known_receivers: Mutex::default(),
            closed: AtomicUsize::new(0),
        }
    }

    pub(super) fn hold_sender(&self, end: Sender<Value>) -> Held<Sender<Value>> {
        let held = Held::new(end, &self.senders);
        let weak = held.end.as_ref().map(Arc::downgrade);
        self.known_senders.lock().unwrap().extend(weak);
        held
    }

    pub(super) fn hold_receiver(&self, end: Receiver<Value>) -> Held<Receiver<Value>> {
        let held = Held::new(end, &self.receivers);
        let weak = held.end.as_ref().map(Arc::downgrade);
        self.known_receivers.lock().unwrap().extend(weak);
        held
    }

    /// Does the one or the other with an end, if any is left.
    fn with_end<R>(
        &self,
        sender: impl FnOnce(&Sender<Value>) -> R,
        receiver: impl FnOnce(&Receiver<Value>) -> R,
    ) -> Option<R> {
        // The ends taken here count too: they may turn out to be the last.
        self.senders.left.fetch_add(1, SeqCst);
        self.receivers.left.fetch_add(1, SeqCst);
        let tx = self.known_senders.lock().unwrap().iter().find_map(Weak::upgrade);
        let rx = self.known_receivers.lock().unwrap().iter().find_map(Weak::upgrade);
        let result = match (&tx, &rx) {
            (Some(tx), _) => Some(sender(tx)),
            (None, Some(rx)) => Some(receiver(rx)),
            (None, None) => None,
        };
        drop((tx, rx));
        self.senders.left.fetch_sub(1, SeqCst);
        self.receivers.left.fetch_sub(1, SeqCst);
        result
    }

    fn other_side(&self, arm: Arm) -> &Side {
        if arm.sends { &self.receivers } else { &self.senders }
    }

    /// Whether the channel is disconnected for certain, as this arm sees it. If it was closed a receiver
    /// may still wait, but not for long: for somebody who has a place in the buffer to give it back.
    pub(super) fn is_gone(&self, arm: Arm) -> bool {
        arm.sends && self.is_closed() || self.other_side(arm).left.load(SeqCst) == 0
    }

    fn is_closed(&self) -> bool {
        self.closed.load(SeqCst) == 2
    }

    /// Whether there is a reason for it to be.
    pub(super) fn may_be_gone(&self, arm: Arm) -> bool {
        self.closed.load(SeqCst) > 0 || self.other_side(arm).alive.load(SeqCst) == 0
    }

    fn close(&self) {
        self.closed.store(1, SeqCst);
        // Without an end there was nobody to close it for.
        if self.with_end(Sender::close, Receiver::close).is_some() {
            self.closed.store(2, SeqCst);
        }
    }
}

pub(super) struct Board {
    /// How often they changed, and each thread's.
    states: Mutex<(usize, Vec<State>)>,
    pub(super) channels: Vec<Watched>,
    pub(super) made: AtomicUsize,
    pub(super) drops: Drops,
    /// Channels closed because all were stuck.
    pub(super) helped: AtomicUsize,
}

impl Board {
    pub(super) fn new(capacities: &[Option<usize>], threads: usize) -> Self {
        Self {
            states: Mutex::new((0, vec![State::Runs; threads])),
            channels: capacities.iter().copied().map(Watched::new).collect(),
            made: AtomicUsize::new(0),
            drops: Drops::new(),
            helped: AtomicUsize::new(0),
        }
    }

    pub(super) fn set(&self, me: usize, state: State) {
        let mut states = self.states.lock().unwrap();
        states.0 += 1;
        states.1[me] = state;
    }

    fn can_go_on(&self, states: &[State], me: usize, arm: Arm) -> bool {
        let channel = &self.channels[arm.channel];
        if channel.is_closed() || channel.is_gone(arm) {
            return true;
        }
        if channel.capacity == Some(0) {
            let partner = Arm { channel: arm.channel, sends: !arm.sends };
            let offers =
                |state: &State| matches!(state, State::Waits(arms) if arms.contains(&partner));
            return (0..states.len()).any(|n| n != me && offers(&states[n]));
        }
        let len = channel.with_end(Sender::len, Receiver::len).unwrap_or(0);
        if arm.sends { channel.capacity.is_none_or(|cap| len < cap) } else { len > 0 }
    }

    /// A channel that somebody waits for, if all wait and nobody could go on.
    fn stuck(&self, states: &[State]) -> Option<usize> {
        let mut first = None;
        for (n, state) in states.iter().enumerate() {
            match state {
                State::Runs => return None,
                State::Waits(arms) if arms.iter().any(|&arm| self.can_go_on(states, n, arm)) => {
                    return None;
                }
                State::Waits(arms) => first = first.or(Some(arms[0].channel)),
                State::Over => {}
            }
        }
        first
    }

    /// Until all threads are over, closes a channel whenever nothing else can help.
    pub(super) fn watch(&self, program: &impl Debug) {
        let start = Instant::now();
        let (mut before, mut reported) = (None, false);
        loop {
            let (changes, states) = self.states.lock().unwrap().clone();
            if states.iter().all(|state| matches!(state, State::Over)) {
                break;
            }
            let stuck = self.stuck(&states).map(|channel| (changes, channel));
            // Twice the same, lest somebody has merely not yet said that it goes on.
            if let Some((_, channel)) = stuck.filter(|_| stuck == before) {
                self.helped.fetch_add(1, SeqCst);
                self.channels[channel].close();
            }
            before = stuck;
            if start.elapsed() > LIMIT / 2 && !std::mem::replace(&mut reported, true) {
                let report = format!("\nnot over: {states:?}\nof {program:?}\n");
                // Past libtest's capture: the watchdog is about to abort.
                let _ = std::io::stderr().write_all(report.as_bytes());
            }
            std::thread::sleep(Duration::from_micros(20));
        }
    }
}
