//! Which channel receives which signals, and the thread that sends them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::mem;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::raw::c_int;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::channel::Sender;
use crate::diagnostics::deadlock::Ignored;
use crate::signal::Signal;
use crate::sys::signals::{self, LIMIT, bit};

/// The sending end of a channel.
pub(super) enum To {
    Signals(Sender<Signal>),
    CtrlC(Sender<()>),
}

impl To {
    fn send(&self, signal: Signal) {
        // A full channel loses the signal. A closed one is about to be taken out.
        match self {
            Self::Signals(channel) => drop(channel.try_send(signal)),
            Self::CtrlC(channel) => drop(channel.try_send(())),
        }
    }

    fn on_close(&self, hook: impl Fn() + Send + Sync + 'static) {
        match self {
            Self::Signals(channel) => channel.on_close(hook),
            Self::CtrlC(channel) => channel.on_close(hook),
        }
    }

    fn is_waited_for(&self) -> bool {
        match self {
            Self::Signals(channel) => channel.is_waited_for(),
            Self::CtrlC(channel) => channel.is_waited_for(),
        }
    }
}

struct Entry {
    /// The signals, by their bits.
    signals: u64,
    to: To,
}

struct Registry {
    /// The channels that are open, by numbers that were never used before.
    entries: BTreeMap<u64, Entry>,
    next: u64,
    /// The signals that are caught for channels, with the actions before.
    caught: BTreeMap<c_int, libc::sigaction>,
    /// The pipe to the thread that sends, and the process that the thread belongs to.
    pipe: Option<(RawFd, u32)>,
}

static REGISTRY: Mutex<Registry> =
    Mutex::new(Registry { entries: BTreeMap::new(), next: 0, caught: BTreeMap::new(), pipe: None });

/// Nothing of the user's is called with this lock, and nobody waits with it.
fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has signals sent to a channel until it is closed.
///
/// # Errors
///
/// See [`notify`](super::notify).
pub(super) fn register(signals: &[Signal], to: To) -> io::Result<()> {
    if signals.is_empty() {
        return Err(invalid("no signals to receive".into()));
    }
    signals.iter().try_for_each(|&signal| check(signal))?;
    let mut registry = registry();
    let pipe = registry.pipe()?;
    let number = registry.next;
    registry.next += 1;
    to.on_close(move || self::registry().remove(number));
    let mut entry = Entry { signals: 0, to };
    for &signal in signals {
        let signal = signal.as_raw();
        if let Err(error) = registry.catch(signal, pipe) {
            registry.release_unused();
            drop(registry);
            return Err(error);
        }
        entry.signals |= bit(signal);
    }
    registry.entries.insert(number, entry);
    Ok(())
}

/// Returns an error if a program cannot receive this signal.
fn check(signal: Signal) -> io::Result<()> {
    if !(1..LIMIT).contains(&signal.as_raw()) {
        return Err(invalid(format!("there is no {signal:?}")));
    }
    match signal {
        Signal::KILL | Signal::STOP => Err(invalid(format!("{signal} cannot be handled"))),
        Signal::SEGMENTATION | Signal::BUS | Signal::FLOATING_POINT | Signal::ILLEGAL => {
            Err(invalid(format!("after {signal} a thread cannot go on, so it cannot be received")))
        }
        _ => Ok(()),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, message)
}

impl Registry {
    /// Returns the pipe to the thread that sends, which the first call starts.
    fn pipe(&mut self) -> io::Result<RawFd> {
        let process = std::process::id();
        if let Some((pipe, _)) = self.pipe.filter(|&(_, owner)| owner == process) {
            return Ok(pipe);
        }
        // What is left in the child of a fork is the parent's. A sender that was dropped would lock
        // the registry.
        mem::forget(mem::take(&mut self.entries));
        self.caught.clear();
        let (reader, writer) = signals::pipe()?;
        thread::Builder::new().name("gthread-signal".into()).spawn(move || send_each(reader))?;
        signals::on_are_waited_for(are_waited_for);
        // Open for ever.
        let pipe = writer.into_raw_fd();
        self.pipe = Some((pipe, process));
        Ok(pipe)
    }

    fn catch(&mut self, signal: c_int, pipe: RawFd) -> io::Result<()> {
        match signals::caught_by(signal) {
            Some(other) if other == pipe => Ok(()),
            Some(_) => Err(invalid(format!("{} prints a dump", Signal::from_raw(signal)))),
            None => {
                let previous = signals::catch(signal, pipe)?;
                self.caught.insert(signal, previous);
                Ok(())
            }
        }
    }

    /// Restores the actions of signals that no channel receives any more.
    fn release_unused(&mut self) {
        let used = self.entries.values().fold(0, |used, entry| used | entry.signals);
        self.caught.retain(|&signal, previous| {
            let is_used = used & bit(signal) != 0;
            if !is_used {
                signals::release(signal, previous);
            }
            is_used
        });
    }

    fn remove(&mut self, number: u64) {
        self.entries.remove(&number);
        self.release_unused();
    }
}

fn are_waited_for() -> bool {
    registry().entries.values().any(|entry| entry.to.is_waited_for())
}

/// Sends the signals that handlers announce.
fn send_each(mut announcements: PipeReader) {
    // This thread wakes only threads that wait for signals. The detection of deadlocks knows
    // of those.
    let _ignored = Ignored::new();
    let mut bytes = [0; 64];
    loop {
        match announcements.read(&mut bytes) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            _ => return,
        }
        let registry = registry();
        let mine = registry.caught.keys().fold(0, |mine, &signal| mine | bit(signal));
        let pending = signals::take_pending(mine);
        for signal in (1..LIMIT).filter(|&signal| pending & bit(signal) != 0) {
            let wants = |entry: &&Entry| entry.signals & bit(signal) != 0;
            for entry in registry.entries.values().filter(wants) {
                entry.to.send(Signal::from_raw(signal));
            }
        }
    }
}
