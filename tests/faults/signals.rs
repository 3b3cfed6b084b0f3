//! The handler that explains overflows, and the stacks it runs on; calls that a signal interrupts.

use std::os::unix::process::ExitStatusExt;

use gthread::go;
use gthread_tests::{
    LIMIT, assert_passed, is_child, rerun, runtime, stderr, until, use_stack, watchdog,
};

use crate::inject::{Call, refuse};

/// All works without; a stack that overflows ends the process with this signal all the same, and says so.
fn overflows(name: &str, call: Call, error: i32, signal: i32, says: Option<&str>) {
    if is_child() {
        let refused = refuse(call, error);
        let runtime = runtime(2);
        runtime.run(|| {
            let threads: Vec<_> = (0..100).map(|n| go!(move || n)).collect();
            let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, 99 * 50);
        });
        // std's handler must be able to give up its place.
        drop(refused);
        println!("unharmed");
        runtime.run(|| println!("survived: {}", use_stack(1 << 30)));
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun(name, &[]);
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(stdout.contains("unharmed") && !stdout.contains("survived"), "{output:?}");
        assert_eq!(output.status.signal(), Some(signal), "{output:?}");
        if let Some(says) = says {
            assert!(stderr(&output).contains(says), "{output:?}");
        }
    });
}

/// std's stack for handlers is there, and large enough.
#[test]
fn memory_for_alternate_stacks_is_refused() {
    let name = "signals::memory_for_alternate_stacks_is_refused";
    let says = Some("has overflowed");
    overflows(name, Call::MapAlternateStack, libc::ENOMEM, libc::SIGABRT, says);
}

#[test]
fn alternate_stacks_are_refused() {
    let says = Some("has overflowed");
    let name = "signals::alternate_stacks_are_refused";
    overflows(name, Call::UseAlternateStack, libc::EPERM, libc::SIGABRT, says);
}

/// Nothing explains it then.
#[test]
fn handlers_are_refused() {
    overflows("signals::handlers_are_refused", Call::Handle, libc::EINVAL, libc::SIGSEGV, None);
}

/// What asks whether stderr takes a line is interrupted: the line comes all the same.
#[test]
fn a_line_is_not_lost_to_a_signal() {
    let name = "signals::a_line_is_not_lost_to_a_signal";
    if is_child() {
        let runtime = runtime(1);
        let interrupted = refuse(Call::Poll, libc::EINTR);
        let panics = runtime.spawn(|| panic!("the message"));
        until(|| interrupted.count() > 0);
        drop(interrupted);
        assert!(panics.join().is_err());
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun(name, &[]);
        assert_passed(&output);
        assert!(
            stderr(&output).contains(" panicked at ") && stderr(&output).contains("green thread "),
            "{output:?}"
        );
    });
}
