//! A program that is written for `std::thread` changes its `use` line, and does the same.

use gthread_tests::{LIMIT, for_workers, watchdog};

/// As it was written.
mod with_std {
    use std::thread;
    use std::thread_local;

    include!("program.rs");
}

/// Moved.
mod with_gthread {
    use gthread::green_local as thread_local;
    use gthread::thread;

    include!("program.rs");
}

#[test]
fn std_on_os_threads() {
    watchdog(LIMIT, with_std::all);
}

#[test]
fn gthread_on_os_threads() {
    watchdog(LIMIT, with_gthread::all);
}

#[test]
fn gthread_on_green_threads() {
    for_workers(|runtime| runtime.run(with_gthread::all));
}
