//! `fork()` in a process that has a runtime, as `docs/soundness.md` says: the parent is unharmed, whatever
//! it runs; a child may end itself or become another program.

use std::ffi::CString;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::{Runtime, blocking, channel};
use gthread_tests::{Flag, for_workers};

/// Forks; the child does what `act` does, which may only be what a signal handler may do, and does not come
/// back from it. Gives the child's exit status, for which it waits.
fn in_a_child(act: impl FnOnce()) -> libc::c_int {
    // SAFETY: the child calls async-signal-safe functions only.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            act();
            // SAFETY: ends the child, and runs nothing of the parent's.
            unsafe { libc::_exit(77) }
        }
        child => blocking(|| {
            let mut status = 0;
            // SAFETY: the child is ours, and waited for here alone.
            while unsafe { libc::waitpid(child, &mut status, 0) } != child {
                assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
            }
            assert!(libc::WIFEXITED(status), "the child was killed: {status:#x}");
            libc::WEXITSTATUS(status)
        }),
    }
}

/// Forks while green threads of the runtime do everything, and looks whether they went on.
fn amid_work(runtime: &Runtime, fork: impl Fn() + Sync) {
    let (over, turns) = (Flag::new(), AtomicUsize::new(0));
    let (tx, rx) = channel::bounded::<usize>(1);
    runtime.run(|| {
        gthread::scope(|scope| {
            let sender = || {
                while !over.is_up() {
                    tx.send(1).unwrap();
                }
            };
            let receiver = || {
                while !over.is_up() {
                    let _ = rx.recv_timeout(Duration::from_millis(1));
                    turns.fetch_add(1, Ordering::Relaxed);
                }
                // So that no sender waits for ever.
                while rx.recv_timeout(Duration::from_millis(20)).is_ok() {}
            };
            let spawner = || {
                while !over.is_up() {
                    assert_eq!(gthread::go!(|| 5).join().unwrap(), 5);
                    gthread::sleep(Duration::from_micros(50));
                }
            };
            scope.spawn(sender);
            scope.spawn(receiver);
            scope.spawn(spawner);
            for _ in 0..10 {
                fork();
                // The others go on after it.
                let before = turns.load(Ordering::Relaxed);
                gthread_tests::yield_until(|| turns.load(Ordering::Relaxed) > before);
            }
            over.raise();
        });
    });
}

#[test]
fn a_child_ends_itself_and_the_parent_goes_on() {
    for_workers(|runtime| {
        amid_work(runtime, || assert_eq!(in_a_child(|| ()), 77));
        // From an OS thread as well.
        assert_eq!(in_a_child(|| ()), 77);
        assert_eq!(runtime.run(|| 1), 1);
    });
}

#[test]
fn a_child_becomes_another_program() {
    let arguments = ["/bin/sh", "-c", "exit 42"].map(|text| CString::new(text).unwrap());
    for_workers(|runtime| {
        amid_work(runtime, || {
            let pointers = [
                arguments[0].as_ptr(),
                arguments[1].as_ptr(),
                arguments[2].as_ptr(),
                std::ptr::null(),
            ];
            // SAFETY: strings and array end in zero, and live on in the child's copy of the memory.
            let exec = || unsafe { _ = libc::execv(pointers[0], pointers.as_ptr()) };
            assert_eq!(in_a_child(exec), 42);
        });
    });
}

/// std's way of doing so, in green threads that wait for the children.
#[test]
fn commands_run() {
    for_workers(|runtime| {
        amid_work(runtime, || {
            let run = || Command::new("/bin/sh").args(["-c", "echo $((6 * 7))"]).output();
            let output = blocking(run).unwrap();
            assert!(output.status.success() && output.stdout == b"42\n", "{output:?}");
        });
    });
}

/// The memory of the parent's green threads is the child's own: what it does there is not seen.
#[test]
fn a_child_does_not_change_the_parents_stacks() {
    for_workers(|runtime| {
        runtime.run(|| {
            let mut here = std::hint::black_box([1_u8; 64]);
            let there = here.as_mut_ptr();
            // SAFETY: the array is there in the child too, and nobody else uses it.
            let status = in_a_child(|| unsafe {
                there.write_volatile(9);
                libc::_exit(i32::from(there.read_volatile()))
            });
            // SAFETY: as above.
            assert_eq!((status, unsafe { there.read_volatile() }), (9, 1));
        });
    });
}
