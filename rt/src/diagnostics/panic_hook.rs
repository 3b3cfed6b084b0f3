//! Panic messages that name the green thread.
//!
//! std's hook prints the name of the OS thread, which does not identify the green thread. So the
//! first runtime wraps the hook that it finds: the new hook prints a line that names the green
//! thread, then calls the old one. If the program later sets its own hook, that replaces both, and
//! is not wrapped again.

use std::panic::{Location, PanicHookInfo, set_hook, take_hook};
use std::sync::Once;
use std::{fmt, thread};

use crate::diagnostics::dump::Quoted;
use crate::runtime::context;
use crate::sys::stderr;
use crate::task::header::TaskRef;

/// Makes the panic messages of green threads name them from now on. May be called by any thread,
/// any number of times.
pub(crate) fn name_panics() {
    static ONCE: Once = Once::new();
    // A thread that unwinds cannot change the hook. The next runtime tries again.
    if !thread::panicking() {
        ONCE.call_once(wrap_hook);
    }
}

fn wrap_hook() {
    let previous = take_hook();
    set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        if let Some(task) = context::running() {
            stderr::line(format_args!("\n{}", Panicked { task, location: info.location() }));
        }
        previous(info);
    }));
}

/// The line about a green thread that panics.
struct Panicked<'a> {
    task: TaskRef,
    location: Option<&'a Location<'a>>,
}

impl fmt::Display for Panicked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "green thread {}", self.task.id)?;
        if let Some(name) = &self.task.name {
            write!(f, " {}", Quoted(name))?;
        }
        write!(f, " (spawned at {}) panicked", self.task.site)?;
        if let Some(location) = self.location {
            write!(f, " at {location}")?;
        }
        write!(f, ", on OS thread {}:", Quoted(thread::current().name().unwrap_or("?")))
    }
}
