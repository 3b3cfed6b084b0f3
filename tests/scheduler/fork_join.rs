//! `join(a, b)`: both results, or the panic of one after both have ended.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use gthread::channel::unbounded;
use gthread::join;
use gthread_tests::{
    Drops, Flag, LIMIT, for_each_of, for_workers, hog_until, runtime, under_chaos, watchdog,
    yield_often, yield_until,
};

fn green_and_os(body: impl Fn() + Send + Sync) {
    for_workers(|runtime| runtime.run(&body));
    watchdog(LIMIT, &body);
}

#[test]
fn both_results_arrive() {
    green_and_os(|| {
        assert_eq!(join(|| 1, || "two"), (1, "two"));
        assert_eq!(join(yield_often, || 2), ((), 2));
        assert_eq!(join(|| 1, yield_often), (1, ()));
    });
}

#[test]
fn both_borrow() {
    green_and_os(|| {
        let (mut left, mut right) = (vec![3, 1, 2], vec![6, 5, 4]);
        join(|| left.sort_unstable(), || right.sort_unstable());
        assert_eq!((left, right), (vec![1, 2, 3], vec![4, 5, 6]));
    });
}

#[test]
fn they_run_at_once_if_there_are_two_workers() {
    for_each_of(&[2, 8], |runtime| {
        runtime.run(|| {
            let (a, b) = (Flag::new(), Flag::new());
            let meet = |mine: &Flag, other: &Flag| {
                mine.raise();
                hog_until(|| other.is_up());
            };
            join(|| meet(&a, &b), || meet(&b, &a));
        });
    });
}

#[test]
fn it_forks_deep_and_wide() {
    fn fib(n: u64) -> u64 {
        if n < 2 {
            return n;
        }
        let (a, b) = join(|| fib(n - 1), || fib(n - 2));
        a + b
    }
    fn quicksort(numbers: &mut [u64]) {
        let Some(&pivot) = numbers.first() else { return };
        let (mut low, mut next) = (0, 1);
        while next < numbers.len() {
            if numbers[next] < pivot {
                low += 1;
                numbers.swap(low, next);
            }
            next += 1;
        }
        numbers.swap(0, low);
        let (left, right) = numbers.split_at_mut(low);
        join(|| quicksort(left), || quicksort(&mut right[1..]));
    }
    for_workers(|runtime| {
        assert_eq!(runtime.run(|| fib(17)), 1597);
        let mut random = gthread_tests::Random::new(5);
        let mut numbers: Vec<_> = (0..3000).map(|_| random.below(1000)).collect();
        runtime.run(|| quicksort(&mut numbers));
        assert!(numbers.is_sorted());
    });
}

#[test]
fn a_panic_on_either_side_waits_for_the_other() {
    green_and_os(|| {
        let panic = |n: u32| -> u32 { resume_unwind(Box::new(n)) };
        let panic_late = |n: u32| {
            yield_often();
            panic(n)
        };
        let ended = Flag::new();
        let end = || {
            yield_often();
            ended.raise();
        };
        type Both<'a> = Box<dyn Fn() + 'a>;
        let cases: [(u32, Both<'_>); 5] = [
            (1, Box::new(|| _ = join(|| panic(1), end))),
            (2, Box::new(|| _ = join(end, || panic(2)))),
            // With both, it is a's.
            (3, Box::new(|| _ = join(|| panic(3), || panic(4)))),
            (5, Box::new(|| _ = join(|| panic_late(5), || panic(6)))),
            (7, Box::new(|| _ = join(|| panic(7), || panic_late(8)))),
        ];
        for (n, case) in cases {
            let payload = catch_unwind(AssertUnwindSafe(case)).unwrap_err();
            assert_eq!(payload.downcast_ref(), Some(&n));
            assert!(n > 2 || ended.is_up(), "did not wait for the other");
        }
    });
}

#[test]
fn closures_and_results_are_dropped_once() {
    green_and_os(|| {
        let drops = Drops::new();
        let (a, b) = (drops.token(), drops.token());
        let (a, b) = join(move || a, move || b);
        assert_eq!(drops.count(), 0);
        drop((a, b));
        assert_eq!(drops.count(), 2);
        let (kept, lost) = (drops.token(), drops.token());
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            join(
                move || kept,
                move || {
                    let _lost = lost;
                    resume_unwind(Box::new(()))
                },
            )
        }));
        drop(panicked.map(|(kept, ())| kept));
        assert_eq!(drops.count(), 4);
    });
}

#[test]
fn either_may_wait_for_the_other() {
    for_workers(|runtime| {
        runtime.run(|| {
            let (sender, receiver) = unbounded();
            assert_eq!(join(|| receiver.recv(), || sender.send(1)), (Ok(1), Ok(())));
            assert_eq!(join(|| sender.send(2), || receiver.recv()), (Ok(()), Ok(2)));
            // In the middle of others that wait on the same stack.
            let (a, (b, c)) = join(
                || join(|| receiver.recv(), || receiver.recv()),
                || join(yield_often, || [3, 4].map(|n| sender.send(n).is_ok())),
            );
            assert_eq!((a.0.unwrap() + a.1.unwrap(), b, c), (7, (), [true, true]));
        });
    });
}

#[test]
fn the_second_starts_while_the_first_computes() {
    // Others take it from a worker that does not come back, be it the only one (sysmon has another then), or
    // one that knows already that the first will be long.
    for_workers(|runtime| {
        runtime.run(|| {
            for _ in 0..3 {
                let started = Flag::new();
                join(|| hog_until(|| started.is_up()), || started.raise());
            }
            let deep = Flag::new();
            let nested = || join(|| hog_until(|| deep.is_up()), || ());
            join(|| join(nested, || ()), || deep.raise());
        });
    });
}

#[test]
fn the_second_starts_when_the_first_is_suspended() {
    for_workers(|runtime| {
        runtime.run(|| {
            let started = Flag::new();
            let nested = || join(|| yield_until(|| started.is_up()), || ());
            join(nested, || started.raise());
            let started = Flag::new();
            join(
                || {
                    gthread::blocking(|| {
                        while !started.is_up() {
                            thread::yield_now()
                        }
                    })
                },
                || started.raise(),
            );
        });
    });
}

#[test]
fn what_nobody_wants_runs_in_the_calling_thread() {
    if under_chaos("every half is a thread of its own") {
        return;
    }
    // One worker, so that nobody is hungry, and nothing that takes long enough for sysmon.
    let runtime = runtime(1);
    watchdog(LIMIT, || {
        runtime.run(|| {
            let caller = gthread::current().id();
            let inline = (0..1000).filter(|_| {
                let (a, b) = join(|| gthread::current().id(), || gthread::current().id());
                assert_eq!(a, caller, "the first one runs where it is called");
                b == caller
            });
            let inline = inline.count();
            assert!(inline > 900, "{inline} of 1000");
        });
    });
}

#[test]
fn twenty_thousand_nested_calls_fit_into_no_stack() {
    fn deep(levels: usize) -> usize {
        if levels == 0 {
            return 0;
        }
        let (a, b) = join(|| deep(levels - 1), || 1);
        a + b
    }
    for_workers(|runtime| {
        assert_eq!(runtime.run(|| deep(20_000)), 20_000);
    });
}

#[test]
fn many_deferred_at_once_all_run() {
    /// A chain of halves, of which the innermost waits for all others to have started.
    fn chain(levels: usize, started: &AtomicUsize, all: usize) {
        if levels == 0 {
            return yield_until(|| started.load(Ordering::Relaxed) == all);
        }
        join(|| chain(levels - 1, started, all), || _ = started.fetch_add(1, Ordering::Relaxed));
    }
    for_workers(|runtime| {
        for levels in [1, 7, 60, 500] {
            let started = Default::default();
            runtime.run(|| chain(levels, &started, levels));
        }
    });
}
