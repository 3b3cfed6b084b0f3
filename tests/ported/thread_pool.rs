//! The same program on the original and on the port: a pool whose workers select between a queue, a
//! rendezvous and the wake-ups of futures, with a timeout.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gthread_tests::{for_workers, watchdog, LIMIT};

#[test]
fn only_lines_that_use_the_crate_are_changed() {
    let lines: Vec<_> = gthread_ported::CHANGED.lines().collect();
    assert!(!lines.is_empty());
    for line in lines {
        println!("{line}");
        assert!(line.contains(": use crossbeam_channel::"), "not a `use` line: {}", line);
    }
}

/// A future that is ready the second time, and has itself woken from another OS thread in between.
struct Later(bool);

impl Future for Later {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        std::thread::spawn(move || waker.wake());
        Poll::Pending
    }
}

/// What the pool does; a macro, because the two pools are different types of the same name.
macro_rules! transcript {
    ($program:ident) => {{
        let mut transcript = Vec::new();
        let mut note = |what: &str, number: usize| transcript.push(format!("{what}: {number}"));
        let pool = $program::builder().size(1..4).keep_alive(Duration::from_millis(20)).build();

        let tasks: Vec<_> = (0..200_usize).map(|n| pool.execute(move || n * n)).collect();
        note("sum of squares", tasks.into_iter().map(|task| task.join()).sum());

        let tasks: Vec<_> = (0..50_usize)
            .map(|n| {
                pool.execute_future(async move {
                    Later(false).await;
                    n
                })
            })
            .collect();
        note("sum of futures", tasks.into_iter().map(|task| task.join()).sum());

        let panicked = pool.execute(|| std::panic::resume_unwind(Box::new("on purpose")));
        let joined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| panicked.join()));
        note("a task panicked", usize::from(joined.is_err()));

        // A full pool refuses.
        let small = $program::builder().size(1).queue_limit(0).build();
        let release = Arc::new(AtomicUsize::new(0));
        let held = {
            let release = Arc::clone(&release);
            small.execute(move || {
                while release.load(Ordering::Acquire) == 0 {
                    std::thread::yield_now();
                }
            })
        };
        note("refused", usize::from(small.try_execute(|| ()).is_err()));
        release.store(1, Ordering::Release);
        held.join();
        small.join();

        let (done, count) = (Arc::new(AtomicUsize::new(0)), 100);
        for _ in 0..count {
            let done = Arc::clone(&done);
            pool.execute(move || {
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        // Shuts down; what is queued is done before.
        pool.join();
        note("done at the end", done.load(Ordering::Relaxed));
        transcript
    }};
}

#[test]
fn the_port_does_what_the_original_does() {
    let (original, ported) =
        watchdog(LIMIT, || (transcript!(threadfin), transcript!(gthread_ported)));
    assert_eq!(ported, original);
}

/// Green threads hand tasks to the pool, whose workers are OS threads: both kinds at the same channels.
#[test]
fn green_threads_use_the_pool() {
    for_workers(|runtime| {
        let pool = Arc::new(gthread_ported::builder().size(2).build());
        let clients: Vec<_> = (0..20_usize)
            .map(|n| {
                let pool = Arc::clone(&pool);
                let (answer, answered) = gthread::channel::bounded(0);
                runtime.spawn(move || {
                    for m in 0..20 {
                        let answer = answer.clone();
                        pool.execute(move || answer.send(n * m).unwrap());
                        assert_eq!(answered.recv(), Ok(n * m));
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}
