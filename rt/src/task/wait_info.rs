//! The reasons for which a thread waits.

use std::panic::Location;
use std::time::Instant;

/// A wait of an OS thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsWait {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    pub(crate) deadline: Option<Instant>,
    /// The wait may end with `TIMED_OUT` although it has no deadline.
    pub(crate) interruptible: bool,
}

/// Declares the reasons, one a line: the name, and its text in dumps.
macro_rules! reasons {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Why a thread waits. For dumps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($name,)+
        }

        impl Reason {
            /// Returns the reason's text in dumps.
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

impl Reason {
    /// Returns `true` if the wait is for a lock. Other threads may take the lock while the woken
    /// thread is on its way.
    pub(crate) fn is_lock(self) -> bool {
        matches!(self, Self::Lock | Self::Read | Self::Write)
    }
}

impl Reason {
    /// Returns `true` if the wait is for a descriptor.
    pub(crate) fn is_io(self) -> bool {
        use Reason::{Accept, Connect, IoRead, IoWrite, Ready};
        matches!(self, IoRead | IoWrite | Accept | Connect | Ready)
    }
}

reasons! {
    Park = "park",
    Sleep = "sleep",
    Join = "join",
    Run = "run",
    Scope = "scope",
    Recv = "recv",
    Send = "send",
    Select = "select",
    WaitGroup = "wait group",
    Lock = "lock",
    Read = "read lock",
    Write = "write lock",
    Condvar = "condition variable",
    Barrier = "barrier",
    Once = "once",
    Semaphore = "semaphore",
    IoRead = "read",
    IoWrite = "write",
    Accept = "accept",
    Connect = "connect",
    Ready = "ready descriptor",
    Child = "child process",
}
