//! Green threads, OS threads and threads of other runtimes wait for one thing together.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gthread::channel;
use gthread::sync::{Mutex, RwLock, WaitGroup};
use gthread_tests::{Flag, for_workers, is_asleep, os_thread_id, runtime, until, yield_until};

const EACH: u64 = 500;

#[test]
fn one_channel() {
    for capacity in [Some(0), Some(1), Some(3), None] {
        for_workers(|here| {
            let other = runtime(1);
            let (tx, rx) = match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            let sum = Arc::new(AtomicU64::new(0));
            let receive = || {
                let (rx, sum) = (rx.clone(), Arc::clone(&sum));
                move || {
                    rx.iter().for_each(|n| {
                        sum.fetch_add(n, Ordering::Relaxed);
                    });
                }
            };
            let send = || {
                let tx = tx.clone();
                move || (1..=EACH).for_each(|n| tx.send(n).unwrap())
            };
            let green = [here.spawn(receive()), other.spawn(receive())];
            let green = green.into_iter().chain([here.spawn(send()), other.spawn(send())]);
            let green: Vec<_> = green.collect();
            let os = [std::thread::spawn(receive()), std::thread::spawn(send())];
            drop((tx, rx));
            green.into_iter().for_each(|thread| thread.join().unwrap());
            os.into_iter().for_each(|thread| thread.join().unwrap());
            assert_eq!(sum.load(Ordering::Relaxed), 3 * EACH * (EACH + 1) / 2);
        });
    }
}

#[test]
fn one_wait_group() {
    for_workers(|here| {
        for _ in 0..30 {
            let other = runtime(1);
            let (group, done) = (WaitGroup::new(), Arc::new(AtomicUsize::new(0)));
            group.add(3);
            let work = || {
                let (group, done) = (group.clone(), Arc::clone(&done));
                move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    group.done();
                }
            };
            let wait = || {
                let (group, done) = (group.clone(), Arc::clone(&done));
                move || {
                    group.wait();
                    assert_eq!(done.load(Ordering::Relaxed), 3);
                }
            };
            let green = [here.spawn(wait()), here.spawn(wait()), other.spawn(wait())];
            let os = std::thread::spawn(wait());
            let workers = [here.spawn(work()), other.spawn(work())];
            let os_worker = std::thread::spawn(work());
            wait()();
            green.into_iter().chain(workers).for_each(|thread| thread.join().unwrap());
            os.join().unwrap();
            os_worker.join().unwrap();
        }
    });
}

/// A `JoinHandle` has one joiner, of any kind; whoever polls `is_finished` may be many.
#[test]
fn one_join_handle() {
    for_workers(|here| {
        let other = runtime(1);
        for kind in 0..4 {
            let go_on = Flag::new();
            let thread = here.spawn({
                let go_on = go_on.clone();
                move || {
                    gthread_tests::yield_until(|| go_on.is_up());
                    kind
                }
            });
            let handle = thread.thread().clone();
            let thread = Arc::new(thread);
            let polls = std::thread::spawn({
                let thread = Arc::clone(&thread);
                move || gthread_tests::until(|| thread.is_finished())
            });
            let polls_too = here.spawn({
                let thread = Arc::clone(&thread);
                move || gthread_tests::yield_until(|| thread.is_finished())
            });
            if kind == 3 {
                go_on.raise();
                polls.join().unwrap();
                polls_too.join().unwrap();
            } else {
                // They hold it too: only once they are gone may it be joined.
                let thread = thread;
                go_on.raise();
                polls.join().unwrap();
                polls_too.join().unwrap();
                let thread = Arc::into_inner(thread).unwrap();
                let join = move || thread.join().unwrap();
                let result = match kind {
                    0 => join(),
                    1 => here.run(join),
                    _ => other.run(join),
                };
                assert_eq!(result, kind);
            }
            handle.unpark();
        }
    });
}

#[test]
fn joiners_of_every_kind_wait_for_one_that_runs() {
    for_workers(|here| {
        let other = runtime(1);
        let go_on = Flag::new();
        let threads: Vec<_> = (0..9)
            .map(|n| {
                let go_on = go_on.clone();
                here.spawn(move || {
                    gthread_tests::yield_until(|| go_on.is_up());
                    n
                })
            })
            .collect();
        let begun = Arc::new(AtomicUsize::new(0));
        let mut sums = Vec::new();
        let mut os = Vec::new();
        for (n, thread) in threads.into_iter().enumerate() {
            let begun = Arc::clone(&begun);
            let join = move || {
                begun.fetch_add(1, Ordering::SeqCst);
                thread.join().unwrap()
            };
            match n % 3 {
                0 => sums.push(here.spawn(join)),
                1 => sums.push(other.spawn(join)),
                _ => os.push(std::thread::spawn(join)),
            }
        }
        gthread_tests::until(|| begun.load(Ordering::SeqCst) == 9);
        go_on.raise();
        let green: u32 = sums.into_iter().map(|thread| thread.join().unwrap()).sum();
        let os: u32 = os.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(green + os, 36);
    });
}

thread_local! {
    /// How often the OS thread has given its processor to others.
    static YIELDS: Cell<usize> = const { Cell::new(0) };
}

/// Stands before libc's, which is what std calls.
#[cfg(target_os = "linux")]
#[unsafe(no_mangle)]
extern "C" fn sched_yield() -> libc::c_int {
    let _ = YIELDS.try_with(|yields| yields.set(yields.get() + 1));
    // SAFETY: has no preconditions.
    unsafe { libc::syscall(libc::SYS_sched_yield) as libc::c_int }
}

/// An OS thread that waits for a lock sleeps, so that it is woken where a processor is free. Were it to yield its own to
/// workers that have much to do, each of which comes for the lock again and again, it would have it back when the lock is
/// another's: every write among readers took milliseconds then.
#[cfg(target_os = "linux")]
#[test]
fn an_os_thread_that_waits_for_a_lock_does_not_yield() {
    type Locks = (Mutex<()>, RwLock<()>);
    /// What holds a lock for as long as a call takes, and what waits for that lock.
    type Case = (fn(&Locks, &dyn Fn()), fn(&Locks));
    let cases: [Case; 4] = [
        (|locks, hold| (locks.0.lock().unwrap(), hold()).1, |locks| drop(locks.0.lock().unwrap())),
        (|locks, hold| (locks.1.read().unwrap(), hold()).1, |locks| drop(locks.1.write().unwrap())),
        (
            |locks, hold| (locks.1.write().unwrap(), hold()).1,
            |locks| drop(locks.1.write().unwrap()),
        ),
        (|locks, hold| (locks.1.write().unwrap(), hold()).1, |locks| drop(locks.1.read().unwrap())),
    ];
    for_workers(|runtime| {
        let locks = Arc::new((Mutex::new(()), RwLock::new(())));
        for (number, (hold, wait)) in cases.into_iter().enumerate() {
            let id = os_thread_id();
            let yields = || {
                let (held, waits) = (Flag::new(), Flag::new());
                let (is_held, is_waited_for, its) =
                    (held.clone(), waits.clone(), Arc::clone(&locks));
                let thread = runtime.spawn(move || {
                    hold(&its, &|| {
                        is_held.raise();
                        yield_until(|| is_waited_for.is_up() && is_asleep(id));
                    });
                });
                until(|| held.is_up());
                let before = YIELDS.get();
                waits.raise();
                wait(&locks);
                let yields = YIELDS.get() - before;
                thread.join().unwrap();
                yields
            };
            // It may find the queue taken by one that the kernel has stopped: not each time.
            assert!((0..100).any(|_| yields() == 0), "case {number}");
        }
    });
}
