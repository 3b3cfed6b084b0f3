//! A server and its clients, written for std, change one word, and do the same.

use gthread_tests::{LIMIT, for_workers, watchdog};

/// As it was written.
mod with_std {
    use std as root;

    include!("program.rs");
}

/// Moved.
mod with_gthread {
    use gthread as root;

    include!("program.rs");
}

#[test]
fn std_on_os_threads() {
    watchdog(LIMIT, || with_std::serve_and_load(6, 25));
}

#[test]
fn gthread_on_os_threads() {
    watchdog(LIMIT, || with_gthread::serve_and_load(6, 25));
}

#[test]
fn gthread_on_green_threads() {
    for_workers(|runtime| runtime.run(|| with_gthread::serve_and_load(6, 25)));
}

/// As many threads as nobody starts with std.
#[test]
fn many_clients_on_green_threads() {
    for_workers(|runtime| runtime.run(|| with_gthread::serve_and_load(100, 5)));
}
