//! The report on green threads that are left when their runtime is dropped.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;

use crate::diagnostics::dump::Quoted;
use crate::diagnostics::snapshot::Snapshot;
use crate::runtime::config::Leaks;
use crate::runtime::shared::Shared;

/// Reports the green threads that are left, now that nothing runs any more. Then panics if `leaks`
/// says so, unless the thread panics already.
pub(crate) fn report_leaks(shared: &Arc<Shared>, leaks: Leaks) {
    if leaks == Leaks::Ignore || shared.pool.outstanding() == 0 {
        return;
    }
    let this = std::slice::from_ref(shared);
    let snapshot = match leaks {
        Leaks::Panic => Snapshot::take(this),
        _ => Snapshot::take_briefly(this),
    };
    let mut dump = snapshot.into_dump();
    let dump = dump.runtimes.pop().expect("one runtime, one dump");
    let count = dump.threads.len();
    if count == 0 {
        return;
    }
    let what = format!(
        "runtime {} was dropped before {count} of its green threads had ended",
        Quoted(&dump.name)
    );
    // If the write fails, nothing can be done, and a drop should not panic for that.
    let _ = writeln!(io::stderr(), "\nleak: {what}\n\n{}", dump.to_string().trim_end());
    if leaks == Leaks::Panic && !thread::panicking() {
        panic!("{what} (stderr says which)");
    }
}
