//! OS threads, and barriers between them.

use std::sync::Arc;
use std::time::Duration;

use gthread::sync::Mutex;
use gthread::{Builder, Runtime, blocking, channel, go};
use gthread_tests::{
    Drops, Flag, LIMIT, assert_passed, is_child, os_threads, rerun, runtime, stderr, until,
    watchdog,
};

use crate::alone;
use crate::inject::{Call, refuse, refuse_after};

/// The monitor first, then each worker.
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
            gthread_tests::for_workers(|runtime| {
                let sum: i32 =
                    runtime.run(|| (0..100).map(|n| go!(move || n).join().unwrap()).sum());
                assert_eq!(sum, 99 * 50);
            });
        }
    });
}

/// A filter may end the process for a call that it does not allow, so whoever is under one does not ask.
#[test]
fn filtered_short_slices_are_not_asked_for() {
    alone("threads::filtered_short_slices_are_not_asked_for", &[], || {
        kill_for(libc::SYS_sched_setattr);
        assert_eq!(gthread_tests::runtime(1).run(|| go!(|| 42).join().unwrap()), 42);
    });
}

/// From now on the kernel ends the process if the calling thread, or one that it starts, makes this system call.
fn kill_for(call: libc::c_long) {
    use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut steps = [
        // The number of the call is the first of what a filter sees.
        step(BPF_LD | BPF_W | BPF_ABS, 0, 0, 0),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, u32::try_from(call).unwrap()),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(BPF_RET | BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: numbers, and a filter that is there during the call.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter), 0);
    }
}

/// Without `membarrier` both sides take a fence.
#[test]
fn barriers_are_refused() {
    alone("threads::barriers_are_refused", &[], || {
        let _refused = refuse(Call::Barrier, libc::ENOSYS);
        gthread_tests::for_workers(|runtime| {
            let (tx, rx) = channel::bounded(1);
            let turns = Arc::new(Mutex::new(0));
            let sum: u64 = runtime.run(|| {
                for n in 0..200_u64 {
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
            assert_eq!((sum, *turns.lock().unwrap()), (199 * 100, 200 * 21));
        });
    });
}
