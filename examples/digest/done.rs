//! How everything is stopped: done channels, and a wait that heeds them.

use std::io;
use std::time::Duration;

use gthread::channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};

use crate::output;
use crate::threads::Threads;

/// How long a waiting thread may overlook that the program is to stop.
const TICK: Duration = Duration::from_millis(50);

/// Why the program stopped before its work was done.
pub(crate) enum Stopped {
    Interrupted,
    OutputClosed,
    Failed(io::Error),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Stopped::OutputClosed,
            _ => Stopped::Failed(error),
        }
    }
}

/// Go's `done <-chan struct{}`: it never carries a value, its closing is the message, and any
/// number of threads can see that.
#[derive(Clone)]
pub(crate) struct Done(Receiver<()>);

impl Done {
    pub(crate) fn is_closed(&self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Disconnected)
    }
}

/// A done channel; dropping the sender closes it.
pub(crate) fn channel() -> (Sender<()>, Done) {
    let (closer, done) = bounded(0);
    (closer, Done(done))
}

/// A done channel that Ctrl-C closes.
pub(crate) fn on_ctrl_c() -> Done {
    let (closer, done) = channel();
    let mut closer = Some(closer);
    ctrlc::set_handler(move || drop(closer.take())).expect("this is the first handler");
    done
}

/// Receives the next value, or `None` when all senders are gone; gives up as soon as the program
/// is interrupted or nobody can read its output any more.
pub(crate) fn receive<T>(from: &Receiver<T>, interrupt: &Done) -> Result<Option<T>, Stopped> {
    loop {
        if interrupt.is_closed() {
            return Err(Stopped::Interrupted);
        }
        if output::reader_is_gone() {
            return Err(Stopped::OutputClosed);
        }
        match from.recv_timeout(TICK) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Does blocking `work` on a thread of its own and waits for the result as [`receive`] does. So
/// even a write to a pipe that nobody empties cannot hold up Ctrl-C.
pub(crate) fn attended<T: Send + 'static>(
    threads: Threads,
    interrupt: &Done,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (sender, result) = bounded(1);
    threads.spawn(move || {
        // The send fails if the program stopped meanwhile, and then nobody wants the result.
        let _ = sender.send(threads.blocking(work));
    })?;
    Ok(receive(&result, interrupt)?.expect("only a panic in `work` loses its result"))
}
