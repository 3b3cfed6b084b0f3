//! What the parts cost that a runtime of this kind cannot do without, each alone on one thread: no figure of
//! a workload can be below the sum of the parts that it uses.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering, fence};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use crossbeam_deque::Worker;
use peers_kit::{Job, Report, time};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("floor-rmw", rmw),
        ("floor-fence", barrier),
        ("floor-deque", deque),
        ("floor-switch", switch),
        ("floor-fiber", fiber),
    ])
}

fn rmw(job: &Job) -> Report {
    let count = AtomicU64::new(0);
    job.repeat(|n| {
        time(|| {
            let before = count.load(Ordering::Relaxed);
            for _ in 0..n {
                black_box(&count).fetch_add(1, Ordering::AcqRel);
            }
            count.load(Ordering::Relaxed) - before
        })
    })
}

fn barrier(job: &Job) -> Report {
    let count = AtomicU64::new(0);
    job.repeat(|n| {
        time(|| {
            // With stores around it, as a fence has that is there for a reason.
            for i in 0..n {
                black_box(&count).store(i, Ordering::Relaxed);
                fence(Ordering::SeqCst);
            }
            count.load(Ordering::Relaxed) + 1
        })
    })
}

fn deque(job: &Job) -> Report {
    let deque = Worker::new_lifo();
    let round = |i: u64| {
        deque.push(i);
        deque.pop().expect("nobody steals")
    };
    job.repeat(|n| time(|| (0..n).map(round).sum()))
}

fn switch(job: &Job) -> Report {
    let mut echo = Coroutine::<u64, u64, ()>::new(|yielder, mut i| {
        loop {
            i = yielder.suspend(i);
        }
    });
    let mut round = |i| match echo.resume(i) {
        CoroutineResult::Yield(i) => i,
        CoroutineResult::Return(()) => unreachable!("it never ends"),
    };
    let report = job.repeat(|n| time(|| (0..n).map(&mut round).sum()));
    // Dropping it would unwind its stack.
    std::mem::forget(echo);
    report
}

fn fiber(job: &Job) -> Report {
    let mut pool = Some(DefaultStack::default());
    let mut life = |i: u64| {
        let stack = pool.take().expect("it is given back");
        let mut fiber = Coroutine::<u64, (), u64, _>::with_stack(stack, |_, i| i);
        let result = fiber.resume(i);
        pool = Some(fiber.into_stack());
        match result {
            CoroutineResult::Return(i) => i,
            CoroutineResult::Yield(()) => unreachable!("it does not suspend"),
        }
    };
    job.repeat(|n| time(|| (0..n).map(&mut life).sum()))
}
