//! Starts runtimes together with their diagnostics.

use std::io;
use std::sync::{Arc, OnceLock};

use crate::diagnostics::deadlock;
use crate::diagnostics::leaks::report_leaks;
use crate::diagnostics::panic_hook::name_panics;
use crate::diagnostics::sigquit::dump_on_sigquit;
use crate::diagnostics::stack_overflow::explain_overflows;
use crate::runtime::config::{Config, Wishes};
use crate::runtime::lifecycle;
use crate::runtime::shared::{Hooks, Shared};
use crate::sys::fork;

const HOOKS: Hooks = Hooks { report_leaks, watch: deadlock::watch };

/// Starts a runtime.
///
/// # Errors
///
/// If the OS refuses a thread, or the program has another handler for SIGQUIT. For the child of a
/// `fork`, see [`fork::check`].
pub(crate) fn start(config: Config) -> io::Result<Arc<Shared>> {
    fork::check()?;
    explain_overflows();
    if config.on_sigquit {
        dump_on_sigquit()?;
    }
    if config.name_panics {
        name_panics();
    }
    lifecycle::start(config, HOOKS)
}

/// Returns the runtime of green threads that are started outside any runtime. It starts at the
/// first use and never ends.
///
/// # Errors
///
/// If an environment variable has an invalid value, or the OS refuses threads.
pub(crate) fn default_runtime() -> io::Result<&'static Arc<Shared>> {
    static DEFAULT: OnceLock<Arc<Shared>> = OnceLock::new();
    static STARTING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    if let Some(shared) = DEFAULT.get() {
        return Ok(shared);
    }
    // One caller starts the runtime while others wait. If it fails, the next caller tries again.
    let _starting = STARTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match DEFAULT.get() {
        Some(shared) => Ok(shared),
        None => {
            let shared = start(Config::new(Wishes::default())?)?;
            Ok(DEFAULT.get_or_init(|| shared))
        }
    }
}
