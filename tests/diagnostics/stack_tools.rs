//! `with_stack`, `stack_high_water`, and the profile of stacks.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gthread::{Runtime, channel, go, stack_high_water, with_stack};
use gthread_tests::{Drops, LIMIT, for_workers, use_stack, watchdog};

const DEEP: usize = 3 << 20;

#[test]
fn a_temporary_stack_is_as_large_as_asked_for() {
    for_workers(|runtime| {
        runtime.run(|| {
            let threads: Vec<_> = (0..50)
                .map(|n| go!(move || with_stack(4 << 20, || (use_stack(DEEP) > 1000, n))))
                .collect();
            for (n, thread) in threads.into_iter().enumerate() {
                assert_eq!(thread.join().unwrap(), (true, n));
            }
        });
    });
    assert!(with_stack(4 << 20, || use_stack(DEEP)) > 1000, "on an OS thread");
    let foreign = std::thread::spawn(|| with_stack(4 << 20, || use_stack(DEEP)));
    assert!(foreign.join().unwrap() > 1000);
}

/// All that blocks works on a temporary stack, and the thread may be resumed by another worker.
#[test]
fn one_can_block_and_spawn_on_it() {
    for_workers(|runtime| {
        let total: usize = runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let threads: Vec<_> = (0..20_usize)
                .map(|n| {
                    let (tx, rx) = (tx.clone(), rx.clone());
                    go!(move || {
                        with_stack(256 << 10, || {
                            let child = go!(move || with_stack(1 << 20, || tx.send(n).unwrap()));
                            let got: usize = rx.recv().unwrap();
                            gthread::yield_now();
                            child.join().unwrap();
                            with_stack(512 << 10, || use_stack(400 << 10));
                            got
                        })
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 20 * 19 / 2);
    });
}

#[test]
fn a_panic_goes_on_in_the_caller_and_drops_what_it_should() {
    let check = || {
        let drops = Drops::new();
        let token = drops.token();
        let result = catch_unwind(AssertUnwindSafe(|| {
            with_stack(1 << 20, || {
                let _token = token;
                with_stack(1 << 20, || panic!("from below"))
            })
        }));
        assert_eq!(*result.unwrap_err().downcast::<&str>().unwrap(), "from below");
        assert_eq!(drops.count(), 1);
        assert!(!std::thread::panicking());
        with_stack(1 << 20, || 5)
    };
    assert_eq!(check(), 5);
    for_workers(|runtime| assert_eq!(runtime.run(check), 5));
}

#[test]
fn a_stack_that_cannot_be_had_is_a_panic_that_says_why() {
    let result = catch_unwind(|| with_stack((1 << 30) + 1, || 1));
    let message = *result.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("the largest is 1073741824 bytes"), "{message}");
}

#[test]
fn high_water_is_what_was_used() {
    let check = || {
        let before = stack_high_water();
        use_stack(100 << 10);
        let after = stack_high_water();
        assert!((100 << 10..200 << 10).contains(&after), "{after}");
        assert!(before < after || before >= 100 << 10, "{before} {after}");
        let inside = with_stack(8 << 20, || {
            use_stack(5 << 20);
            stack_high_water()
        });
        assert!((5 << 20..8 << 20).contains(&inside), "{inside}");
    };
    for_workers(|runtime| runtime.run(check));
    let os = std::thread::spawn(|| (stack_high_water(), use_stack(1 << 20), stack_high_water()));
    let (before, _, after) = os.join().unwrap();
    assert!(before < 1 << 20 && (1 << 20..2 << 20).contains(&after), "{before} {after}");
}

#[test]
fn a_profile_tells_who_was_deep() {
    watchdog(LIMIT, || {
        let runtime = Runtime::builder().workers(2).profile_stacks(true).build().unwrap();
        runtime.run(|| {
            for depth in [10 << 10, 150 << 10, 20 << 10] {
                go!(move || use_stack(depth)).join().unwrap();
            }
            for _ in 0..7 {
                go!(|| 1).join().unwrap();
            }
        });
        let sites = runtime.metrics().stack_sites;
        let (deep, shallow) = (&sites[0], sites.iter().find(|site| site.threads == 7).unwrap());
        assert_eq!(deep.threads, 3);
        assert!((150 << 10..200 << 10).contains(&deep.high_water), "{deep:?}");
        // What the deep ones left on the stacks does not count.
        assert!(shallow.high_water < 40 << 10, "{shallow:?}");
        assert!(deep.site.file().ends_with("stack_tools.rs"));
        assert!(Runtime::builder().build().unwrap().metrics().stack_sites.is_empty());
    });
}
