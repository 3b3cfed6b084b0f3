//! Running off the end of a green thread's stack kills the process instead of corrupting another's.

use std::os::unix::process::ExitStatusExt;

use gthread::go;
use gthread_tests::{LIMIT, is_child, rerun, use_stack, watchdog};

#[test]
fn it_kills_the_process() {
    if is_child() {
        gthread::run(|| {
            // Neighbours on both sides.
            let parked: Vec<_> = (0..10).map(|_| go!(gthread::park)).collect();
            // A little more than the default stack: without a guard it would end in a neighbour's.
            let depth = go!(|| use_stack(300 << 10)).join();
            drop(parked);
            println!("survived: {depth:?}");
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
