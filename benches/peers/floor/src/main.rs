//! What the parts cost that a runtime of this kind cannot do without, each alone on one thread: no figure of
//! a workload can be below the sum of the parts that it uses.

use std::hint::black_box;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use crossbeam_deque::Worker;
use memmap2::{Advice, MmapOptions};
use peers_kit::{Job, Report, Timed, Waits, time};

fn main() -> ExitCode {
    peers_kit::main(&[
        ("floor-rmw", rmw),
        ("floor-fence", barrier),
        ("floor-deque", deque),
        ("floor-switch", switch),
        ("floor-fiber", fiber),
        ("floor-page", page),
        ("floor-wake", wake),
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

/// What a stack takes at least that was not used before: the kernel backs a page of it.
fn page(job: &Job) -> Report {
    const PAGE: usize = 4 << 10;
    /// The distance of gthread's stacks.
    const STACK: usize = (256 << 10) + PAGE;
    let options = MmapOptions::new().len(job.size * STACK).no_reserve_swap().map_anon();
    let map = options.expect("there is address space for it");
    let back = |stack| {
        map.advise_range(Advice::PopulateWrite, stack * STACK, PAGE).expect("there is memory");
        1
    };
    let Timed { taken, checksum } = time(|| (0..job.size).map(back).sum());
    Report::new(1, checksum).with("ns", taken.as_nanos() as f64 / job.size as f64)
}

/// An OS thread that sleeps is woken by another: the median.
fn wake(job: &Job) -> Report {
    const PAUSE: Duration = Duration::from_micros(300);
    let (start, sent, ended) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    let shared = Arc::new((sent, ended));
    let sleeper = thread::spawn({
        let shared = Arc::clone(&shared);
        move || {
            let (sent, ended) = &*shared;
            let mut waits = Waits::default();
            while !ended.load(Ordering::Acquire) {
                thread::park();
                match sent.swap(0, Ordering::Acquire) {
                    0 => {}
                    sent => waits.add(start.elapsed() - Duration::from_nanos(sent)),
                }
            }
            waits
        }
    });
    let (sent, ended) = &*shared;
    for _ in 0..job.size {
        thread::sleep(PAUSE);
        while sent.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        sent.store(start.elapsed().as_nanos() as u64, Ordering::Release);
        sleeper.thread().unpark();
    }
    while sent.load(Ordering::Relaxed) > 0 {
        thread::yield_now();
    }
    ended.store(true, Ordering::Release);
    sleeper.thread().unpark();
    let waits = sleeper.join().unwrap();
    Report::new(1, waits.count()).with("ns", waits.percentile(0.5) as f64)
}
