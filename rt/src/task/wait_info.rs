//! Why a thread waits.

use std::panic::Location;
use std::time::Instant;

/// What an OS thread waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OsWait {
    pub(crate) reason: Reason,
    pub(crate) site: &'static Location<'static>,
    pub(crate) deadline: Option<Instant>,
    /// It may end with `TIMED_OUT` though there is no deadline.
    pub(crate) interruptible: bool,
}

/// One line for each reason: its name, and what a dump says the thread waits in.
macro_rules! reasons {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// Why a thread waits; for dumps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason {
            $($name,)+
        }

        impl Reason {
            /// As dumps call it.
            pub(crate) fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

impl Reason {
    /// Whether it is for a lock, which others may take while the one that it was to wake is on its way.
    pub(crate) fn is_lock(self) -> bool {
        matches!(self, Self::Lock | Self::Read | Self::Write)
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
}
