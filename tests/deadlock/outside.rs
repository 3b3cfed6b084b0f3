//! Programs that wait for the outside world, and for what the detection must look longer than they
//! take.

use std::time::Duration;

use gthread::process::Command;
use gthread::signal::{self, Signal};

use super::recv_for_ever;

/// Longer than the first looks, and than it takes until the warning.
const LATER: Duration = Duration::from_secs(6);

/// The kernel sends the signal.
pub(super) fn a_signal_comes() {
    let signals = signal::notify(&[Signal::ALARM]).unwrap();
    // SAFETY: has no preconditions.
    unsafe { libc::alarm(LATER.as_secs() as u32) };
    assert_eq!(gthread::run(|| signals.recv()), Ok(Signal::ALARM));
}

pub(super) fn a_child_ends() {
    let sleep = || Command::new("sleep").arg(LATER.as_secs().to_string()).status();
    assert!(gthread::run(sleep).unwrap().success());
}

/// There is a receiver, and the thread that would send to it.
pub(super) fn nobody_waits_for_signals() {
    let _signals = signal::notify(&[Signal::ALARM]).unwrap();
    recv_for_ever();
}
