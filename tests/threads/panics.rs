//! A panic ends its green thread and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gthread::sync::WaitGroup;
use gthread::{channel, go};
use gthread_tests::{
    Drops, Flag, LIMIT, for_workers, is_child, rerun, stderr, watchdog, yield_often,
};

/// A panic without the message on stderr.
fn quiet_panic() -> ! {
    resume_unwind(Box::new("quiet"))
}

#[test]
fn the_payload_arrives_at_join() {
    for_workers(|runtime| {
        let payloads = runtime.run(|| {
            let literal = go!(|| panic!("literal")).join().unwrap_err();
            let formatted = go!(|| panic!("{}", 1 + 1)).join().unwrap_err();
            let any = go!(|| panic_any(42_u64)).join().unwrap_err();
            (literal, formatted, any)
        });
        assert_eq!(payloads.0.downcast_ref(), Some(&"literal"));
        assert_eq!(payloads.1.downcast_ref(), Some(&"2".to_owned()));
        assert_eq!(payloads.2.downcast_ref(), Some(&42_u64));
        let outside = runtime.spawn(|| panic_any(43_u64)).join().unwrap_err();
        assert_eq!(outside.downcast_ref(), Some(&43_u64));
    });
}

#[test]
fn the_others_go_on() {
    for_workers(|runtime| {
        let sum: u32 = runtime.run(|| {
            let threads: Vec<_> = (0..100)
                .map(|n| {
                    go!(move || {
                        gthread::yield_now();
                        if n % 3 == 0 {
                            quiet_panic();
                        }
                        gthread::yield_now();
                        n
                    })
                })
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
        });
        assert_eq!(sum, (0..100).filter(|n| n % 3 != 0).sum());
    });
}

#[test]
fn a_detached_panic_is_nobodys() {
    for_workers(|runtime| {
        let drops = Drops::new();
        runtime.run(|| {
            for _ in 0..10 {
                let token = drops.token();
                drop(go!(move || {
                    let _token = token;
                    gthread::yield_now();
                    quiet_panic()
                }));
            }
            gthread_tests::yield_until(|| drops.count() == 10);
        });
    });
}

#[test]
fn frames_are_unwound_and_the_payload_is_dropped_once() {
    for_workers(|runtime| {
        let (frames, payloads) = (Drops::new(), Drops::new());
        let panicking = |detach: bool| {
            let (token, payload) = (frames.token(), payloads.token());
            let thread = go!(move || {
                let _token = token;
                resume_unwind(Box::new(payload))
            });
            if !detach {
                let _: Result<(), _> = thread.join();
            }
        };
        runtime.run(|| {
            panicking(false);
            panicking(true);
            gthread_tests::yield_until(|| payloads.count() == 2);
        });
        assert_eq!((frames.count(), payloads.count()), (2, 2));
    });
}

#[test]
fn a_panic_is_caught_across_suspensions() {
    for_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..50)
                .map(|_| {
                    go!(|| {
                        let caught = catch_unwind(|| {
                            gthread::yield_now();
                            quiet_panic()
                        });
                        assert!(caught.is_err());
                        yield_often();
                        assert!(!std::thread::panicking());
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    });
}

/// Blocks in its drop in every way there is.
struct BlocksInDrop {
    values: channel::Receiver<u32>,
    answers: channel::Sender<u32>,
    rendezvous: channel::Receiver<u32>,
    group: WaitGroup,
    done: Flag,
}

impl Drop for BlocksInDrop {
    fn drop(&mut self) {
        assert!(std::thread::panicking());
        assert_eq!(self.values.recv(), Ok(1));
        self.answers.send(2).unwrap();
        assert_eq!(self.rendezvous.recv(), Ok(3));
        self.group.wait();
        gthread::sleep(Duration::from_millis(1));
        gthread::yield_now();
        gthread::park_timeout(Duration::from_millis(1));
        gthread::current().unpark();
        gthread::park();
        assert_eq!(go!(|| 4).join().unwrap(), 4);
        assert_eq!(gthread::join(|| 5, || 6), (5, 6));
        assert_eq!(gthread::blocking(|| 7), 7);
        gthread::scope(|s| {
            s.spawn(yield_often);
        });
        let none = self.values.recv_timeout(Duration::from_millis(1));
        assert_eq!(none, Err(channel::RecvTimeoutError::Timeout));
        assert!(std::thread::panicking());
        self.done.raise();
    }
}

/// The count of panics is a thread-local: a thread that suspends while it unwinds would leave it to
/// others. So it must block its OS thread, and the runtime must go on without that one.
#[test]
fn blocking_while_unwinding_works_and_corrupts_nothing() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, values) = channel::unbounded();
            let (answers, rx) = channel::bounded(1);
            let (meet, rendezvous) = channel::bounded(0);
            let (group, done) = (WaitGroup::new(), Flag::new());
            group.add(1);
            let blocks = BlocksInDrop {
                values,
                answers,
                rendezvous,
                group: group.clone(),
                done: done.clone(),
            };
            let unwinding = go!(move || {
                let _blocks = blocks;
                quiet_panic()
            });
            // The unwinding thread blocks, and these go on, none of them in a panic.
            for _ in 0..20 {
                go!(|| assert!(!std::thread::panicking())).join().unwrap();
                gthread::yield_now();
                assert!(!std::thread::panicking());
            }
            let mutex = Mutex::new(());
            tx.send(1).unwrap();
            drop(mutex.lock().unwrap());
            assert!(!mutex.is_poisoned(), "a panic elsewhere poisoned it");
            assert_eq!(rx.recv(), Ok(2));
            meet.send(3).unwrap();
            assert!(!done.is_up());
            group.done();
            assert_eq!(unwinding.join().unwrap_err().downcast_ref(), Some(&"quiet"));
            assert!(done.is_up());
            assert!(!std::thread::panicking());
        });
        // Whatever worker they run on, panics are over.
        let threads: Vec<_> = (0..20).map(|_| runtime.spawn(std::thread::panicking)).collect();
        assert!(threads.into_iter().all(|thread| !thread.join().unwrap()));
    });
}

#[test]
fn many_threads_block_while_unwinding() {
    struct Meets(channel::Receiver<u32>, Arc<Mutex<u32>>);
    impl Drop for Meets {
        fn drop(&mut self) {
            *self.1.lock().unwrap_or_else(|e| e.into_inner()) += self.0.recv().unwrap();
        }
    }
    for_workers(|runtime| {
        let sum = Arc::new(Mutex::new(0));
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let threads: Vec<_> = (0..12)
                .map(|_| {
                    let meets = Meets(rx.clone(), Arc::clone(&sum));
                    go!(move || {
                        let _meets = meets;
                        quiet_panic()
                    })
                })
                .collect();
            (0..12).for_each(|n| tx.send(n).unwrap());
            threads.into_iter().for_each(|thread| {
                let result: Result<(), _> = thread.join();
                assert!(result.is_err());
            });
        });
        assert_eq!(*sum.lock().unwrap_or_else(|e| e.into_inner()), 66);
    });
}

#[test]
fn a_panic_in_a_green_thread_does_not_reach_an_os_thread_that_waits() {
    for_workers(|runtime| {
        let (tx, rx) = channel::unbounded::<()>();
        let thread = runtime.spawn(move || {
            let _tx = tx;
            quiet_panic()
        });
        // Disconnected by the unwinding.
        assert!(rx.recv().is_err());
        let _: Result<(), _> = thread.join();
        assert!(catch_unwind(AssertUnwindSafe(|| runtime.run(|| quiet_panic()))).is_err());
        assert_eq!(runtime.run(|| 1), 1);
    });
}

struct PanicsInDrop;

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        panic!("in the result's drop");
    }
}

/// As std: nobody is there to report it to.
#[test]
fn a_result_that_panics_in_its_drop_aborts() {
    if is_child() {
        gthread::run(|| {
            let thread = go!(|| PanicsInDrop);
            gthread_tests::yield_until(|| thread.is_finished());
            drop(thread);
        });
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("a_result_that_panics_in_its_drop_aborts", &[]);
        let stderr = stderr(&output);
        assert!(!output.status.success(), "survived: {stderr}");
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&output.status),
            Some(libc::SIGABRT)
        );
        assert!(stderr.contains("result panicked"), "{stderr}");
    });
}
