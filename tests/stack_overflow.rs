//! Running off the end of a green thread's stack kills the process instead of corrupting another's.

use std::os::unix::process::ExitStatusExt;

use gthread::go;
use gthread_tests::{LIMIT, is_child, rerun, watchdog};

#[inline(never)]
fn descend(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    if frame[1] == u64::MAX {
        return 0;
    }
    descend(depth + 1) + frame[2]
}

#[test]
fn it_kills_the_process() {
    if is_child() {
        gthread::run(|| {
            // Neighbours on both sides.
            let parked: Vec<_> = (0..10).map(|_| go!(gthread::park)).collect();
            let sum = go!(|| descend(0)).join();
            drop(parked);
            println!("survived: {sum:?}");
        });
        return;
    }
    watchdog(LIMIT, || {
        for guard in ["auto", "mprotect"] {
            let output = rerun("it_kills_the_process", &[("GTHREAD_GUARD", guard)]);
            let signal = output.status.signal();
            assert!(matches!(signal, Some(libc::SIGSEGV | libc::SIGABRT)), "{guard}: {output:?}");
        }
    });
}
