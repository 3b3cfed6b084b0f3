//! The child of a `fork`, where it uses gthread though it must not: nothing hangs. What starts something is an error,
//! what would wait panics, and both say why and what to do. A process whose runtimes have ended may fork as
//! it likes.
//!
//! Each in a process of its own, so that no other thread has a lock of std's when it forks.

use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};
use std::sync::{Arc, TryLockError};
use std::time::Duration;

use gthread::channel::{self, select};
use gthread::context::Context;
use gthread::sync::{Barrier, Condvar, Mutex, Once, RwLock, Semaphore, WaitGroup};
use gthread::{Builder, Runtime, blocking, go};
use gthread_tests::{
    Drops, Flag, LIMIT, assert_passed, is_child, os_thread_id, rerun, until, watchdog,
};

/// Cause and remedy.
const WHY: &str = "forked from one that had a gthread runtime, of whose OS threads it has none. \
    Call exec in the child of a fork, or fork before the first use of gthread";

/// What a child's status says.
const DONE: i32 = 77;

/// Runs a test's body in a subprocess.
fn alone(name: &str, body: impl FnOnce()) {
    if is_child() {
        return body();
    }
    watchdog(LIMIT, || assert_passed(&rerun!(name, &[])));
}

/// A child that was waited for: its status, and what it has written to stderr.
struct Child {
    status: libc::c_int,
    stderr: String,
}

impl Child {
    #[track_caller]
    fn assert_done(&self) {
        let status = self.status;
        assert!(libc::WIFEXITED(status), "{status:#x}: {}", self.stderr);
        assert_eq!(libc::WEXITSTATUS(status), DONE, "{}", self.stderr);
    }
}

/// Ends this process, and runs nothing of its parent's.
fn exit(status: i32) -> ! {
    // SAFETY: has no preconditions.
    unsafe { libc::_exit(status) }
}

/// Forks; the child does what `act` does. If it hangs it is killed.
fn fork(act: impl FnOnce()) -> Child {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = fork_here();
    if child == 0 {
        // SAFETY: numbers alone.
        unsafe { libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) };
        let result = catch_unwind(AssertUnwindSafe(act));
        exit(if result.is_ok() { DONE } else { 101 });
    }
    drop(writer);
    blocking(|| {
        let mut stderr = String::new();
        reader.read_to_string(&mut stderr).unwrap();
        Child { status: wait(child), stderr }
    })
}

/// In a child: `act` must panic, with the reason.
#[track_caller]
fn panics<T>(act: impl FnOnce() -> T) {
    let payload = catch_unwind(AssertUnwindSafe(act)).err().expect("it did not panic");
    let message = payload.downcast::<String>().unwrap();
    assert!(message.contains(WHY), "{message}");
}

/// In a child: an error, with the reason.
#[track_caller]
fn is_refused<T>(result: io::Result<T>) {
    let error = result.err().expect("it was not refused");
    assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    assert!(error.to_string().contains(WHY), "{error}");
}

/// Green threads of the parent that never get on, and what they have.
struct Held {
    lock: Arc<Mutex<u32>>,
    shared: Arc<RwLock<u32>>,
    thread: gthread::JoinHandle<u32>,
    /// Ends them.
    _go_on: channel::Sender<()>,
}

impl Held {
    fn new(runtime: &Runtime) -> Self {
        let (lock, shared) = (Arc::new(Mutex::new(1)), Arc::new(RwLock::new(1)));
        let (go_on, rx) = channel::bounded::<()>(0);
        let (ready, is_ready) = channel::bounded(0);
        let (its_lock, its_shared) = (Arc::clone(&lock), Arc::clone(&shared));
        let thread = runtime.spawn(move || {
            let _both = (its_lock.lock().unwrap(), its_shared.write().unwrap());
            ready.send(()).unwrap();
            let _ = rx.recv();
            5
        });
        is_ready.recv().unwrap();
        Self { lock, shared, thread, _go_on: go_on }
    }
}

/// In a child: everything that waits.
fn every_wait_panics(held: Held) {
    let (tx, rx) = channel::bounded::<u32>(0);
    let (full, _full) = channel::bounded(1);
    full.send(1).unwrap();
    panics(|| rx.recv());
    panics(|| rx.recv_timeout(LIMIT));
    panics(|| tx.send(1));
    panics(|| full.send(2));
    panics(|| select! { recv(rx) -> _ => {}, send(full, 3) -> _ => {} });
    panics(|| select! { recv(rx) -> _ => {}, default(LIMIT) => {} });
    panics(|| held.lock.lock());
    panics(|| held.shared.read());
    panics(|| held.shared.write());
    panics(|| held.thread.join());
    panics(|| Semaphore::new(0).acquire().forget());
    panics(|| Barrier::new(2).wait());
    panics(|| {
        let group = WaitGroup::new();
        group.add(1);
        group.wait();
    });
    panics(|| drop(Condvar::new().wait(Mutex::new(()).lock().unwrap())));
    panics(gthread::park);
    panics(|| gthread::park_timeout(LIMIT));
}

/// In a child: what does not wait does what it always does.
fn the_rest_works() {
    let (tx, rx) = channel::unbounded();
    tx.send(1).unwrap();
    assert_eq!(rx.recv(), Ok(1));
    assert!(rx.try_recv().unwrap_err().is_empty());
    assert_eq!(select! { recv(rx) -> _ => 1, default => 2 }, 2);
    drop(tx);
    assert!(rx.recv().is_err());
    *Mutex::new(1).lock().unwrap() += 1;
    Once::new().call_once(|| ());
    gthread::sleep(std::time::Duration::from_millis(1));
    assert_eq!(blocking(|| 3), 3);
    assert_eq!(gthread::join(|| 1, || 2), (1, 2));
}

fn for_1_and_2(body: impl Fn(&Runtime)) {
    gthread_tests::for_each_of(&[1, 2], body);
}

#[test]
fn an_os_thread_forks() {
    alone("an_os_thread_forks", || {
        // The default runtime as well.
        gthread::run(|| ());
        for_1_and_2(|runtime| {
            let held = Held::new(runtime);
            let child = fork(|| {
                is_refused(Builder::new().spawn(|| ()));
                is_refused(Builder::new().pinned(true).queued(true).spawn(|| ()));
                is_refused(Runtime::builder().workers(1).build());
                panics(|| go!(|| ()));
                panics(|| runtime.spawn(|| ()));
                panics(|| runtime.run(|| ()));
                panics(|| gthread::run(|| ()));
                panics(|| gthread::scope(|scope| scope.spawn(|| ()).join()));
                panics(|| gthread::join(|| 1, || 2));
                every_wait_panics(held);
                gthread::yield_now();
            });
            child.assert_done();
            assert_eq!(runtime.run(|| go!(|| 1).join().unwrap()), 1);
        });
    });
}

#[test]
fn a_green_thread_forks() {
    alone("a_green_thread_forks", || {
        for_1_and_2(|runtime| {
            for inside_blocking in [false, true] {
                let held = Held::new(runtime);
                let act = || {
                    is_refused(Builder::new().spawn(|| ()));
                    is_refused(Builder::new().queued(true).spawn(|| ()));
                    is_refused(Builder::new().pinned(true).spawn(|| ()));
                    is_refused(Runtime::builder().workers(1).build());
                    panics(|| go!(|| ()));
                    panics(|| gthread::scope(|scope| scope.spawn(|| ()).join()));
                    panics(gthread::yield_now);
                    panics(|| blocking(gthread::park));
                    // It is in one.
                    assert_eq!(runtime.run(|| 3), 3);
                    the_rest_works();
                    every_wait_panics(held);
                };
                let forks = || if inside_blocking { blocking(|| fork(act)) } else { fork(act) };
                runtime.run(forks).assert_done();
                assert_eq!(runtime.run(|| go!(|| 1).join().unwrap()), 1);
            }
        });
    });
}

/// Waits for a child: its status.
fn wait(child: libc::pid_t) -> libc::c_int {
    let mut status = 0;
    // SAFETY: the child is ours, and waited for here alone.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    status
}

/// Forks, and both processes go on from here: zero in the child.
fn fork_here() -> libc::pid_t {
    // SAFETY: what a child does is what this is about; each is killed if it does not end.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: a number.
        unsafe { libc::alarm(20) };
    }
    child
}

/// Nor are they dropped: they clean up for the parent.
#[test]
fn calls_after_a_context_are_the_parents() {
    alone("calls_after_a_context_are_the_parents", || {
        for_1_and_2(|runtime| {
            runtime.run(|| {
                let (ctx, cancel) = Context::background().with_cancel();
                let (called, drops) = (Flag::new(), Drops::new());
                let (calls, token) = (called.clone(), drops.token());
                let after = ctx.after_func(move || {
                    let _token = token;
                    calls.raise();
                });
                let mut guard = Some(cancel);
                let child = fork(|| {
                    drop(guard.take());
                    assert!(ctx.err().is_some() && !after.stop());
                    assert!(!called.is_up() && drops.count() == 0);
                });
                child.assert_done();
                drop(guard);
                gthread_tests::yield_until(|| called.is_up() && drops.count() == 1);
            });
        });
    });
}

/// What others have borrowed goes before they have ended, because they never run.
#[test]
fn a_scope_ends_without_its_threads() {
    alone("a_scope_ends_without_its_threads", || {
        for_1_and_2(|runtime| {
            let status = runtime.run(|| {
                let (tx, rx) = channel::bounded::<()>(1);
                let (ran, mut child) = (Flag::new(), 0);
                let scope = || {
                    gthread::scope(|scope| {
                        scope.spawn(|| {
                            rx.recv().unwrap();
                            ran.raise();
                        });
                        child = fork_here();
                        tx.send(()).unwrap();
                    });
                };
                let result = catch_unwind(AssertUnwindSafe(scope));
                if child == 0 {
                    let message = result.unwrap_err().downcast::<String>().unwrap();
                    exit(if message.contains(WHY) && !ran.is_up() { DONE } else { 1 });
                }
                result.unwrap();
                assert!(ran.is_up());
                wait(child)
            });
            assert_eq!(libc::WEXITSTATUS(status), DONE, "{status:#x}");
        });
    });
}

/// The one that forked ends in the child: nothing of the parent's goes on there.
#[test]
fn a_green_thread_that_returns_in_the_child_ends_it() {
    alone("a_green_thread_that_returns_in_the_child_ends_it", || {
        for_1_and_2(|runtime| {
            let (mut reader, writer) = io::pipe().unwrap();
            let parent = std::process::id();
            let goes_on = move |child: libc::pid_t| {
                if std::process::id() != parent {
                    exit(2);
                }
                child
            };
            let child = runtime.run(move || {
                // Beside a thread that is ready to run, and its parent.
                let other = Builder::new().queued(true).spawn(move || goes_on(0)).unwrap();
                let forks = go!(move || {
                    let child = fork_here();
                    if child == 0 {
                        // SAFETY: numbers alone.
                        unsafe { libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) };
                    }
                    child
                });
                goes_on(0);
                other.join().unwrap();
                forks.join().unwrap()
            });
            let mut stderr = String::new();
            reader.read_to_string(&mut stderr).unwrap();
            let status = wait(child);
            assert!(libc::WIFEXITED(status), "{status:#x}: {stderr}");
            assert_eq!(libc::WEXITSTATUS(status), 1, "{stderr}");
            assert!(
                stderr.contains("has returned in the child") && stderr.contains(WHY),
                "{stderr}"
            );
        });
    });
}

#[test]
fn a_runtime_may_be_dropped_and_dumped() {
    alone("a_runtime_may_be_dropped_and_dumped", || {
        let runtime = gthread_tests::runtime(2);
        let held = Held::new(&runtime);
        let mut runtime = Some(runtime);
        let child = fork(|| {
            assert!(runtime.as_ref().unwrap().dump().to_string().contains("runtime"));
            assert!(gthread::dump().to_string().contains("runtime"));
            drop(runtime.take());
        });
        child.assert_done();
        assert!(!child.stderr.contains("leak"), "{}", child.stderr);
        drop(held._go_on);
        assert_eq!(held.thread.join().unwrap(), 5);
    });
}

/// All of it, in the child of a process whose runtimes have ended; also of one that dumps on SIGQUIT.
#[test]
fn what_has_ended_is_not_missed() {
    alone("what_has_ended_is_not_missed", || {
        gthread::dump_on_sigquit().unwrap();
        for workers in [1, 2] {
            gthread_tests::runtime(workers).run(|| go!(|| 1).join().unwrap());
            let generations = || {
                fork(|| {
                    let use_it = || {
                        let runtime = gthread_tests::runtime(workers);
                        assert_eq!(runtime.run(|| go!(|| 2).join().unwrap()), 2);
                    };
                    use_it();
                    // So does its own child.
                    fork(use_it).assert_done();
                    gthread::dump_on_sigquit().unwrap();
                })
            };
            generations().assert_done();
        }
    });
}

/// SIGQUIT: the thread that dumps is the parent's.
#[test]
fn a_signal_to_the_child_is_the_childs() {
    alone("a_signal_to_the_child_is_the_childs", || {
        gthread::dump_on_sigquit().unwrap();
        let runtime = gthread_tests::runtime(1);
        let child = runtime.run(|| {
            fork(|| {
                // SAFETY: the signal is handled, or ends the process.
                unsafe { libc::raise(libc::SIGQUIT) };
            })
        });
        assert!(libc::WIFSIGNALED(child.status), "{:#x}", child.status);
        assert_eq!(libc::WTERMSIG(child.status), libc::SIGQUIT);
    });
}

/// A thread whose wait for a condition is over finds that one which it lacks has the mutex: it panics, and the mutex is
/// still that one's.
#[test]
fn a_condition_is_waited_for_in_the_child() {
    static CHILD: AtomicI32 = AtomicI32::new(-1);

    extern "C" fn fork_in_handler(_: libc::c_int) {
        // SAFETY: the child goes on in this test, which says what it does; it is killed if it does not end.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::alarm(20);
            }
            CHILD.store(child, Ordering::SeqCst);
        }
    }

    alone("a_condition_is_waited_for_in_the_child", || {
        const TIMEOUT: Duration = Duration::from_millis(300);
        let _runtime = gthread_tests::runtime(1);
        let handler: extern "C" fn(libc::c_int) = fork_in_handler;
        // SAFETY: it forks, and stores an atomic.
        assert_ne!(unsafe { libc::signal(libc::SIGUSR1, handler as usize) }, libc::SIG_ERR);
        let (mutex, condvar) = (&Mutex::new(0), &Condvar::new());
        let id = &AtomicI64::new(0);
        let (mut reader, writer) = io::pipe().unwrap();
        std::thread::scope(|scope| {
            let waiter = scope.spawn({
                move || {
                    let guard = mutex.lock().unwrap();
                    id.store(os_thread_id(), Ordering::SeqCst);
                    let result =
                        catch_unwind(AssertUnwindSafe(|| condvar.wait_timeout(guard, TIMEOUT)));
                    if CHILD.load(Ordering::SeqCst) != 0 {
                        let (guard, result) = result.unwrap().unwrap();
                        assert!(result.timed_out() && *guard == 1);
                        return;
                    }
                    // SAFETY: numbers alone.
                    unsafe { libc::dup2(writer.as_raw_fd(), libc::STDERR_FILENO) };
                    let checked = catch_unwind(AssertUnwindSafe(|| {
                        panics(|| result.unwrap_or_else(|panic| resume_unwind(panic)));
                        assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
                    }));
                    exit(if checked.is_ok() { DONE } else { 101 });
                }
            });
            until(|| id.load(Ordering::SeqCst) != 0);
            // It has unlocked, and so it waits.
            let mut held = mutex.lock().unwrap();
            let (process, thread) = (std::process::id() as i32, id.load(Ordering::SeqCst) as i32);
            // SAFETY: numbers; and the thread is ours.
            assert_eq!(unsafe { libc::tgkill(process, thread, libc::SIGUSR1) }, 0);
            until(|| CHILD.load(Ordering::SeqCst) > 0);
            let status = wait(CHILD.load(Ordering::SeqCst));
            *held = 1;
            drop(held);
            waiter.join().unwrap();
            let mut stderr = String::new();
            reader.read_to_string(&mut stderr).unwrap();
            Child { status, stderr }.assert_done();
        });
    });
}
