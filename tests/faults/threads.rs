//! OS threads, and barriers between them.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use gthread::sync::Mutex;
use gthread::{Builder, Runtime, blocking, channel, go};
use gthread_tests::{
    Drops, Flag, LIMIT, assert_passed, is_child, os_threads, rerun, runtime, stderr, until,
    watchdog,
};

use crate::alone;
use crate::filter::{Filtered, filter};
use crate::inject::{Call, refuse, refuse_after};

/// Sysmon first, then each worker.
#[test]
fn a_runtime_is_refused_its_threads() {
    alone("threads::a_runtime_is_refused_its_threads", &[], || {
        let other = runtime(1);
        let before = os_threads();
        let build = || Runtime::builder().workers(4).build();
        for passes in 0..5 {
            let refused = refuse_after(passes, Call::Thread, libc::EAGAIN);
            let error = build().unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
            let text = error.to_string();
            for part in ["cannot start the runtime's OS threads", "ulimit -u", "pids.max"] {
                assert!(text.contains(part), "no {part:?}: {text}");
            }
            assert_eq!(refused.count(), 1);
            // Those that were started have ended.
            until(|| os_threads() == before);
            assert_eq!(other.run(|| 1), 1);
        }
        // No more than five are needed.
        let runtime = build().unwrap();
        assert_eq!(runtime.run(|| go!(|| 2).join().unwrap()), 2);
    });
}

#[test]
fn the_default_runtime_is_refused_its_threads() {
    alone(
        "threads::the_default_runtime_is_refused_its_threads",
        &[("GTHREAD_WORKERS", "2")],
        || {
            let drops = Drops::new();
            for passes in 0..3 {
                let _refused = refuse_after(passes, Call::Thread, libc::EAGAIN);
                let token = drops.token();
                let error = Builder::new().spawn(move || drop(token)).unwrap_err();
                assert!(
                    error.to_string().contains("cannot start the runtime's OS threads"),
                    "{error}"
                );
                assert_eq!(drops.count(), passes + 1);
            }
            assert_eq!(go!(|| 3).join().unwrap(), 3);
        },
    );
}

/// All workers are blocked, and no other can be had: what is ready waits, is not lost, and runs as soon as
/// one can.
#[test]
fn spares_are_refused() {
    let name = "threads::spares_are_refused";
    if is_child() {
        for spare_comes in [false, true] {
            let runtime = runtime(1);
            let refused = refuse(Call::Thread, libc::EAGAIN);
            let (is_blocked, release, has_run) = (Flag::new(), Flag::new(), Flag::new());
            let (blocks, released) = (is_blocked.clone(), release.clone());
            let blocked = runtime.spawn(move || {
                blocking(|| {
                    blocks.raise();
                    until(|| released.is_up());
                });
            });
            until(|| is_blocked.is_up());
            let runs = has_run.clone();
            let ready = runtime.spawn(move || runs.raise());
            // More than once: nobody else would ask again.
            until(|| refused.count() > 2);
            assert!(!has_run.is_up());
            if spare_comes {
                drop(refused);
                ready.join().unwrap();
                assert!(!blocked.is_finished());
                release.raise();
            } else {
                // The worker is back, and takes the work.
                release.raise();
                ready.join().unwrap();
            }
            blocked.join().unwrap();
        }
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun(name, &[]);
        assert_passed(&output);
        let text = stderr(&output);
        for part in ["no spare OS thread can be started", "os error 11", "ulimit -u", "pids.max"] {
            assert!(text.contains(part), "no {part:?}: {text}");
        }
    });
}

/// A runtime that ends on one of its own threads needs another to wait for them; or leaves them.
#[test]
fn the_reaper_is_refused() {
    alone("threads::the_reaper_is_refused", &[], || {
        let before = os_threads();
        let runtime = Arc::new(runtime(2));
        let own = Arc::clone(&runtime);
        let (alone, ended) = (Flag::new(), Flag::new());
        let (is_alone, ends) = (alone.clone(), ended.clone());
        let thread = runtime.spawn(move || {
            gthread_tests::yield_until(|| is_alone.is_up());
            let refused = refuse(Call::Thread, libc::EAGAIN);
            drop(own);
            assert_eq!(refused.count(), 1);
            drop(refused);
            ends.raise();
        });
        drop(thread);
        drop(runtime);
        alone.raise();
        until(|| ended.is_up());
        // They end all the same.
        until(|| os_threads() == before);
        assert_eq!(gthread_tests::runtime(1).run(|| 1), 1);
    });
}

#[test]
fn short_slices_are_refused() {
    alone("threads::short_slices_are_refused", &[], || {
        for call in [Call::Filter, Call::ReadSlice, Call::Slice] {
            let _refused = refuse(call, libc::EPERM);
            for workers in [1, 2, 8] {
                let runtime = short_slices(workers);
                let sum: i32 =
                    runtime.run(|| (0..100).map(|n| go!(move || n).join().unwrap()).sum());
                assert_eq!(sum, 99 * 50);
            }
        }
    });
}

/// A filter may end the process for a call that it does not allow, so whoever is under one does not ask.
#[test]
fn filtered_short_slices_are_not_asked_for() {
    alone("threads::filtered_short_slices_are_not_asked_for", &[], || {
        filter(libc::SYS_sched_setattr, None, libc::SECCOMP_RET_KILL_PROCESS, Filtered::Thread);
        assert_eq!(short_slices(1).run(|| go!(|| 42).join().unwrap()), 42);
    });
}

/// A runtime that asks for short slices.
fn short_slices(workers: usize) -> gthread::Runtime {
    gthread::Runtime::builder().workers(workers).short_slices(true).build().unwrap()
}

/// Kinds of `membarrier`.
const GLOBAL: u32 = 1 << 0;
const EXPEDITED: u32 = 1 << 3;

fn has_barriers(kinds: u32) -> bool {
    // SAFETY: it asks, with numbers.
    let kinds_here = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0, 0, 0, 0) };
    u32::try_from(kinds_here).is_ok_and(|here| here & kinds == kinds)
}

/// `membarrier` is refused after it was relied on: on whichever thread that is found out, in the middle of whatever, the
/// process ends and says why. Nothing is unwound, and nobody waits for one that has.
#[test]
fn barriers_are_refused_later() {
    let name = "threads::barriers_are_refused_later";
    if !has_barriers(EXPEDITED) {
        return println!("skipped: no membarrier here");
    }
    let refuse = |filtered| {
        let answer = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        filter(libc::SYS_membarrier, None, answer, filtered);
    };
    type Run = fn(&Runtime, &dyn Fn(Filtered));
    let runs: [(&str, Run); 2] = [
        ("worker", |runtime, refuse| {
            refuse(Filtered::Process);
            // Workers fall asleep and are woken.
            runtime.run(|| {
                for _ in 0..10_000 {
                    let threads = [(); 4].map(|()| go!(gthread::yield_now));
                    gthread::sleep(Duration::from_micros(50));
                    threads.into_iter().for_each(|thread| thread.join().unwrap());
                }
            });
        }),
        ("mutex", |runtime, refuse| {
            let mutex = Arc::new(Mutex::new(0));
            let (held, own) = (Flag::new(), Arc::clone(&mutex));
            let holds = held.clone();
            let thread = runtime.spawn(move || {
                (0..100_000).for_each(|_| *own.lock().unwrap() += 1);
                let guard = own.lock().unwrap();
                holds.raise();
                gthread::sleep(Duration::from_millis(20));
                drop(guard);
            });
            until(|| held.is_up());
            refuse(Filtered::Thread);
            println!("survived: {}", mutex.lock().unwrap());
            thread.join().unwrap();
        }),
    ];
    if is_child() {
        let which = std::env::var("WHICH").unwrap();
        let (_, run) = runs.iter().find(|(name, _)| *name == which).unwrap();
        return run(&runtime(2), &refuse);
    }
    for (which, _) in runs {
        watchdog(LIMIT, || {
            let output = rerun(name, &[("WHICH", which)]);
            let text = stderr(&output);
            let survived = String::from_utf8_lossy(&output.stdout).contains("survived");
            assert!(!survived && !text.contains("panicked"), "{which}: {output:?}");
            assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{which}: {text}");
            for part in ["fatal: ", "membarrier", "os error 1)", "seccomp", "before the first use"]
            {
                assert!(text.contains(part), "{which}: no {part:?}: {text}");
            }
        });
    }
}

/// One of its kinds is, as where the kernel has no memory for it: another serves.
#[test]
fn swift_barriers_are_refused_later() {
    if !has_barriers(EXPEDITED | GLOBAL) {
        return println!("skipped: no membarrier here, or of one kind only");
    }
    alone("threads::swift_barriers_are_refused_later", &[], || {
        let answer = libc::SECCOMP_RET_ERRNO | libc::ENOMEM as u32;
        let runtime = runtime(2);
        runtime.run(|| go!(|| ()).join().unwrap());
        filter(libc::SYS_membarrier, Some(EXPEDITED), answer, Filtered::Process);
        locks_and_messages(&runtime, 10);
        locks_and_messages(&gthread_tests::runtime(2), 10);
    });
}

/// Without `membarrier` both sides take a fence.
#[test]
fn barriers_are_refused() {
    alone("threads::barriers_are_refused", &[], || {
        let _refused = refuse(Call::Barrier, libc::ENOSYS);
        gthread_tests::for_workers(|runtime| locks_and_messages(runtime, 200));
    });
}

/// What all comes to barriers.
fn locks_and_messages(runtime: &Runtime, threads: u64) {
    let (tx, rx) = channel::bounded(1);
    let turns = Arc::new(Mutex::new(0));
    let sum: u64 = runtime.run(|| {
        for n in 0..threads {
            let (tx, turns) = (tx.clone(), turns.clone());
            drop(go!(move || {
                gthread::sleep(Duration::from_micros(n % 7));
                (0..20).for_each(|_| *turns.lock().unwrap() += 1);
                let mut held = turns.lock().unwrap();
                gthread::yield_now();
                *held += 1;
                drop(held);
                tx.send(n).unwrap();
            }));
        }
        drop(tx);
        rx.iter().sum()
    });
    assert_eq!((sum, *turns.lock().unwrap()), (threads * (threads - 1) / 2, threads * 21));
}
