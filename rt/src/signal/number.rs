//! `Signal`.

use std::fmt;
use std::os::raw::c_int;

/// The number of a signal.
///
/// # Examples
///
/// ```
/// use gthread::signal::Signal;
///
/// assert_eq!(Signal::HANGUP.to_string(), "SIGHUP");
/// assert_eq!(Signal::from_raw(1), Signal::HANGUP);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(c_int);

impl Signal {
    /// Returns the signal with this number. Whether there is one shows when it is used.
    #[must_use]
    pub const fn from_raw(number: c_int) -> Self {
        Self(number)
    }

    /// Returns the number of the signal.
    #[must_use]
    pub const fn as_raw(self) -> c_int {
        self.0
    }
}

/// Declares signals, one a line: the constant, the system's name, and its meaning.
macro_rules! signals {
    ($($name:ident = $system:ident: $meaning:literal),+ $(,)?) => {
        impl Signal {
            $(
                #[doc = concat!(stringify!($system), ": ", $meaning)]
                pub const $name: Self = Self(libc::$system);
            )+

            fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($system)),)+
                    _ => None,
                }
            }
        }
    };
}

signals! {
    HANGUP = SIGHUP: "the terminal is gone; for daemons, by custom: read the configuration again.",
    INTERRUPT = SIGINT: "Ctrl-C in the terminal.",
    QUIT = SIGQUIT: "Ctrl-\\\\ in the terminal.",
    ILLEGAL = SIGILL: "an instruction that does not exist. Cannot be received.",
    TRAP = SIGTRAP: "a breakpoint.",
    ABORT = SIGABRT: "`abort` was called.",
    BUS = SIGBUS: "an access to memory that is not there. Cannot be received.",
    FLOATING_POINT = SIGFPE: "an impossible calculation. Cannot be received.",
    KILL = SIGKILL: "the end, without appeal. Cannot be received.",
    USER1 = SIGUSR1: "for the program's own use.",
    SEGMENTATION = SIGSEGV: "an access to memory that is not allowed. Cannot be received.",
    USER2 = SIGUSR2: "for the program's own use.",
    PIPE = SIGPIPE: "a write to a pipe or socket that nobody reads.",
    ALARM = SIGALRM: "a timer of the process.",
    TERMINATE = SIGTERM: "a request to end, the default of `kill`.",
    CHILD = SIGCHLD: "a child has ended or stopped.",
    CONTINUE = SIGCONT: "the process goes on after a stop.",
    STOP = SIGSTOP: "a stop. Cannot be received.",
    TERMINAL_STOP = SIGTSTP: "Ctrl-Z in the terminal.",
    TERMINAL_INPUT = SIGTTIN: "a read from the terminal in the background.",
    TERMINAL_OUTPUT = SIGTTOU: "a write to the terminal in the background.",
    URGENT = SIGURG: "urgent data on a socket.",
    CPU_LIMIT = SIGXCPU: "the limit of processor time was reached.",
    FILE_SIZE_LIMIT = SIGXFSZ: "the limit of a file's size was reached.",
    VIRTUAL_ALARM = SIGVTALRM: "a timer of the process's own processor time.",
    PROFILE = SIGPROF: "a timer of the process's processor time.",
    WINDOW_CHANGE = SIGWINCH: "the terminal's window has another size.",
    IO = SIGIO: "a descriptor is ready.",
    SYSTEM_CALL = SIGSYS: "a system call that does not exist or is not allowed.",
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => f.debug_tuple("Signal").field(&self.0).finish(),
        }
    }
}
