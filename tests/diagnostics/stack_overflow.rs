//! Running off the end of a stack ends the process instead of corrupting another's, and is explained.

use std::os::unix::process::ExitStatusExt;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use gthread::{Builder, go};
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, stderr, use_stack, watchdog};

/// More than any stack here.
const TOO_DEEP: usize = 1 << 30;

/// Runs the test `name` in a subprocess with each kind of guard, which must end by an explained overflow.
fn assert_explained(name: &str, parts: &[&str]) {
    watchdog(LIMIT, || {
        for guard in ["auto", "mprotect"] {
            let output = rerun!(name, &[("GTHREAD_GUARD", guard)]);
            assert_aborted(&output);
            let text = stderr(&output);
            for part in ["has overflowed", "remedy: ", "stack overflow, aborting"] {
                assert!(text.contains(part), "{guard}: no {part:?}: {text}");
            }
            for part in parts {
                assert!(text.contains(part), "{guard}: no {part:?}: {text}");
            }
        }
    });
}

fn assert_aborted(output: &Output) {
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("survived"), "{output:?}");
}

#[test]
fn it_names_the_thread() {
    if is_child() {
        gthread::run(|| {
            // Neighbours on both sides.
            let parked: Vec<_> = (0..10).map(|_| go!(gthread::park)).collect();
            // A little more than the default stack: without a guard it would end in a neighbour's.
            let thread = Builder::new().name("tall".into()).spawn(|| use_stack(300 << 10)).unwrap();
            println!("survived: {:?}", thread.join());
            drop(parked);
        });
        return;
    }
    let remedies = ["Builder::stack_size", "GTHREAD_STACK_SIZE=", "with_stack", "addr2line"];
    assert_explained("it_names_the_thread", &["green thread", "'tall'", "stack_overflow.rs:"]);
    assert_explained("it_names_the_thread", &remedies);
}

#[test]
fn a_frame_larger_than_the_guard_is_caught() {
    #[inline(never)]
    fn large_frame() -> u8 {
        std::hint::black_box([1_u8; 1 << 20])[77]
    }
    if is_child() {
        println!("survived: {:?}", go!(large_frame).join());
        return;
    }
    assert_explained("a_frame_larger_than_the_guard_is_caught", &["green thread"]);
}

#[test]
fn in_a_pinned_thread() {
    if is_child() {
        let thread = Builder::new().pinned(true).spawn(|| use_stack(TOO_DEEP)).unwrap();
        println!("survived: {:?}", thread.join());
        return;
    }
    assert_explained("in_a_pinned_thread", &["green thread"]);
}

#[test]
fn in_a_temporary_stack_of_a_green_thread() {
    if is_child() {
        let deep = || {
            gthread::with_stack(1 << 20, || {
                gthread::yield_now();
                gthread::with_stack(2 << 20, gthread::yield_now);
                use_stack(TOO_DEEP)
            })
        };
        println!("survived: {:?}", go!(deep).join());
        return;
    }
    let parts = ["green thread", "with_stack gave it", "larger size for gthread::with_stack"];
    assert_explained("in_a_temporary_stack_of_a_green_thread", &parts);
}

#[test]
fn after_a_temporary_stack() {
    if is_child() {
        let deep = || gthread::with_stack(1 << 20, || use_stack(1 << 19)) + use_stack(TOO_DEEP);
        println!("survived: {:?}", go!(deep).join());
        return;
    }
    assert_explained("after_a_temporary_stack", &["has overflowed its stack"]);
}

#[test]
fn in_a_temporary_stack_of_an_os_thread() {
    if is_child() {
        println!("survived: {}", gthread::with_stack(1 << 20, || use_stack(TOO_DEEP)));
        return;
    }
    assert_explained("in_a_temporary_stack_of_an_os_thread", &["an OS thread", "with_stack"]);
}

/// What is not ours is std's.
#[test]
fn an_os_thread_is_still_explained_by_std() {
    if is_child() {
        assert_eq!(go!(|| 1).join().unwrap(), 1);
        println!("survived: {:?}", std::thread::spawn(|| use_stack(TOO_DEEP)).join());
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("an_os_thread_is_still_explained_by_std", &[]);
        assert_aborted(&output);
        let text = stderr(&output);
        assert!(text.contains("has overflowed its stack"), "{text}");
        assert!(!text.contains("remedy"), "std has no remedies: {text}");
    });
}

fn write_to_a_wild_pointer() {
    // SAFETY: there is none: that is what is tested. Nothing is mapped at this address.
    unsafe { std::ptr::with_exposed_provenance_mut::<u8>(64).write_volatile(1) }
}

/// A wild pointer in a green thread is no overflow.
#[test]
fn another_fault_is_not_mistaken() {
    if is_child() {
        println!("survived: {:?}", go!(write_to_a_wild_pointer).join());
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("another_fault_is_not_mistaken", &[]);
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{output:?}");
        assert!(!stderr(&output).contains("overflowed"), "{output:?}");
    });
}

/// A handler that the program installed before the runtime gets the faults that are not overflows.
#[test]
fn an_earlier_handler_is_called() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler(_: libc::c_int) {
        CALLED.store(true, Ordering::Relaxed);
        // SAFETY: ends the process at once; async-signal-safe.
        unsafe { libc::_exit(42) }
    }
    if is_child() {
        // SAFETY: the handler is async-signal-safe.
        unsafe { libc::signal(libc::SIGSEGV, handler as *const () as usize) };
        println!("survived: {:?}", go!(write_to_a_wild_pointer).join());
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("an_earlier_handler_is_called", &[]);
        assert_eq!(output.status.code(), Some(42), "{output:?}");
    });
}

/// A larger guard catches what steps over a small one: code without stack probes.
#[test]
fn a_larger_guard_catches_larger_steps() {
    const GUARD: usize = 1 << 20;
    if is_child() {
        let step_over = || {
            let here = 0_u8;
            let below = std::ptr::from_ref(std::hint::black_box(&here)).addr() - GUARD;
            // SAFETY: there is none: it stands for a frame of foreign code. In the guard.
            unsafe { std::ptr::with_exposed_provenance_mut::<u8>(below).write_volatile(1) }
        };
        let runtime = gthread::Runtime::builder().guard_size(GUARD).stack_size(64 << 10).build();
        println!("survived: {:?}", runtime.unwrap().spawn(step_over).join());
        return;
    }
    assert_explained("a_larger_guard_catches_larger_steps", &["and 1048576 of guard"]);
}

#[test]
fn nonsense_guard_sizes_are_refused() {
    if is_child() {
        assert!(gthread::Runtime::builder().build().is_err());
        assert!(gthread::Runtime::builder().guard_size(usize::MAX).build().is_err());
        return;
    }
    watchdog(LIMIT, || {
        for size in ["many", "0", "99999999999999"] {
            let variables = [("GTHREAD_GUARD_SIZE", size)];
            assert_passed(&rerun!("nonsense_guard_sizes_are_refused", &variables));
        }
    });
}
