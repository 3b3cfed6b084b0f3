//! Groups of threads that may fail: who is waited for, what comes of errors and panics, how many run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::channel::{Sender, bounded, select, unbounded};
use gthread::context::{Context, Error};
use gthread::{ErrGroup, scope};
use gthread_tests::{Drops, LONG, Way, every_way};

every_way!(
    all_are_waited_for,
    the_first_error_is_given_and_cancels_the_context,
    the_context_ends_with_the_group,
    a_panic_goes_on_in_wait,
    no_more_run_than_the_limit_says,
    try_go_does_not_wait,
    any_number_is_a_limit,
    members_may_start_members,
    members_may_borrow,
    what_members_own_is_dropped_before_wait_returns,
    an_error_that_nobody_wants_may_do_anything_in_its_drop,
    an_error_that_panics_in_its_drop_is_a_panic,
    wait_may_be_called_again,
);

fn all_are_waited_for(on: Way) {
    on.spawn(move || {
        let count = Arc::new(AtomicUsize::new(0));
        let group = ErrGroup::<()>::new();
        for n in 0..20 {
            let count = Arc::clone(&count);
            group.go(move || {
                on.sleep(Duration::from_micros(n * 30));
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(count.load(Ordering::SeqCst), 20);
        assert_eq!(ErrGroup::<()>::default().wait(), Ok(()));
    })
    .join();
}

fn the_first_error_is_given_and_cancels_the_context(on: Way) {
    on.spawn(|| {
        let (group, ctx) = ErrGroup::with_context(&Context::background());
        let gave_up = Arc::new(AtomicUsize::new(0));
        for _ in 0..5 {
            let (ctx, gave_up) = (ctx.clone(), Arc::clone(&gave_up));
            group.go(move || {
                select! {
                    recv(ctx.done()) -> _ => gave_up.fetch_add(1, Ordering::SeqCst),
                    default(LONG) => unreachable!("it is cancelled"),
                };
                Err(0)
            });
        }
        assert_eq!(ctx.err(), None);
        group.go(|| Err(7));
        assert_eq!(group.wait(), Err(7));
        assert_eq!(gave_up.load(Ordering::SeqCst), 5);
        assert_eq!(ctx.err(), Some(Error::Canceled));
    })
    .join();
}

fn the_context_ends_with_the_group(on: Way) {
    on.spawn(|| {
        let (top, cancel) = Context::background().with_cancel();
        let (group, ctx) = ErrGroup::<()>::with_context(&top);
        group.go(|| Ok(()));
        assert_eq!(group.wait(), Ok(()));
        assert_eq!((ctx.err(), top.err()), (Some(Error::Canceled), None));

        let (group, ctx) = ErrGroup::<()>::with_context(&top);
        drop(group);
        assert_eq!(ctx.err(), Some(Error::Canceled));

        // From above, too.
        let (group, ctx) = ErrGroup::with_context(&top);
        group.go(move || {
            ctx.done().recv().unwrap_err();
            Err(ctx.err().unwrap())
        });
        cancel.cancel();
        assert_eq!(group.wait(), Err(Error::Canceled));
    })
    .join();
}

fn a_panic_goes_on_in_wait(on: Way) {
    let peer = on.spawn(|| {
        let (group, ctx) = ErrGroup::with_context(&Context::background());
        group.go(|| -> Result<(), u32> { panic!("on purpose") });
        group.go(move || {
            ctx.done().recv().unwrap_err();
            Err(1)
        });
        group.wait()
    });
    let payload = peer.try_join().unwrap_err();
    assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
}

fn no_more_run_than_the_limit_says(on: Way) {
    on.spawn(move || {
        let running = Arc::new(AtomicUsize::new(0));
        let group = ErrGroup::<()>::new();
        group.set_limit(3);
        for _ in 0..30 {
            let running = Arc::clone(&running);
            group.go(move || {
                assert!(running.fetch_add(1, Ordering::SeqCst) < 3);
                on.yield_now();
                on.sleep(Duration::from_micros(20));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            });
        }
        assert_eq!(group.wait(), Ok(()));
    })
    .join();
}

fn try_go_does_not_wait(on: Way) {
    on.spawn(move || {
        let (tx, rx) = bounded::<()>(0);
        let group = ErrGroup::<()>::new();
        group.set_limit(2);
        for started in [true, true, false] {
            let rx = rx.clone();
            assert_eq!(group.try_go(move || rx.recv().map_err(drop)), started);
        }
        let limit = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| group.set_limit(9)));
        assert!(limit.is_err(), "two run");
        tx.send(()).unwrap();
        // Its place is free soon.
        on.until(|| group.try_go(|| Ok(())));
        tx.send(()).unwrap();
        assert_eq!(group.clone().wait(), Ok(()));

        group.set_limit(0);
        assert!(!group.try_go(|| Ok(())));
        group.set_limit(None);
        assert!((0..10).all(|_| group.try_go(|| Ok(()))));
        assert_eq!(group.wait(), Ok(()));
    })
    .join();
}

fn any_number_is_a_limit(on: Way) {
    on.spawn(|| {
        let group = ErrGroup::<()>::new();
        for limit in [1, 1 << 20, 1 << 32, usize::MAX / 8 + 1, usize::MAX / 2, usize::MAX] {
            group.set_limit(limit);
            let (tx, rx) = bounded::<()>(0);
            let last = rx.clone();
            group.go(move || rx.recv().or(Ok(())));
            assert_eq!(group.try_go(move || last.recv().or(Ok(()))), limit > 1);
            let sets = std::panic::AssertUnwindSafe(|| group.set_limit(limit));
            let payload = std::panic::catch_unwind(sets).unwrap_err();
            let message = payload.downcast_ref::<String>().unwrap();
            let active = if limit > 1 { 2 } else { 1 };
            assert!(message.contains(&format!("while {active} of its members run")), "{message}");
            drop(tx);
            assert_eq!(group.wait(), Ok(()));
        }
    })
    .join();
}

fn members_may_start_members(on: Way) {
    fn grow(group: &ErrGroup<u32>, depth: u32, leaves: &Arc<AtomicUsize>) -> Result<(), u32> {
        if depth == 0 {
            leaves.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        for _ in 0..2 {
            let (handle, leaves) = (group.clone(), Arc::clone(leaves));
            group.go(move || grow(&handle, depth - 1, &leaves));
        }
        Ok(())
    }
    on.spawn(|| {
        let leaves = Arc::new(AtomicUsize::new(0));
        let group = ErrGroup::new();
        grow(&group, 6, &leaves).unwrap();
        assert_eq!(group.wait(), Ok(()));
        assert_eq!(leaves.load(Ordering::SeqCst), 64);
    })
    .join();
}

fn members_may_borrow(on: Way) {
    on.spawn(|| {
        let numbers = [1, 2, 3, 40];
        let (tx, rx) = unbounded();
        let result = scope(|s| {
            let group = ErrGroup::new();
            for number in &numbers {
                let tx = &tx;
                group.go_scoped(s, move || {
                    tx.send(*number).unwrap();
                    if *number > 9 { Err(number) } else { Ok(()) }
                });
            }
            group.wait()
        });
        assert_eq!(result, Err(&40));
        drop(tx);
        assert_eq!(rx.iter().sum::<i32>(), 46);
    })
    .join();
}

fn what_members_own_is_dropped_before_wait_returns(on: Way) {
    on.spawn(move || {
        let drops = Drops::new();
        let group = ErrGroup::<()>::new();
        for _ in 0..10 {
            let token = drops.token();
            group.go(move || {
                on.yield_now();
                drop(token);
                Ok(())
            });
            let token = drops.token();
            group.go(move || {
                let _token = token;
                Err(())
            });
        }
        assert_eq!(group.wait(), Err(()));
        assert_eq!(drops.count(), 20);
    })
    .join();
}

/// Starts another member that fails, so many times, and waits until that one's error is dropped.
struct Chained {
    group: ErrGroup<Chained>,
    others: u32,
    dropped: Arc<AtomicUsize>,
    _alive: Option<Sender<()>>,
}

impl Drop for Chained {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        if self.others > 0 {
            let (alive, gone) = bounded(0);
            let next = Self {
                group: self.group.clone(),
                others: self.others - 1,
                dropped: Arc::clone(&self.dropped),
                _alive: Some(alive),
            };
            self.group.go(move || Err(next));
            gone.recv().unwrap_err();
        }
    }
}

fn an_error_that_nobody_wants_may_do_anything_in_its_drop(on: Way) {
    on.spawn(|| {
        let dropped = Arc::new(AtomicUsize::new(0));
        let (group, ctx) = ErrGroup::with_context(&Context::background());
        for others in [0, 5, 5] {
            let (group, dropped) = (group.clone(), Arc::clone(&dropped));
            let error = Chained { group: group.clone(), others, dropped, _alive: None };
            group.go(move || Err(error));
            // The first is kept.
            ctx.done().recv().unwrap_err();
        }
        let kept = group.wait().unwrap_err();
        assert_eq!((kept.others, dropped.load(Ordering::SeqCst)), (0, 12));
    })
    .join();
}

fn an_error_that_panics_in_its_drop_is_a_panic(on: Way) {
    struct Error(Option<&'static str>);
    impl Drop for Error {
        fn drop(&mut self) {
            if let Some(message) = self.0 {
                panic!("{message}");
            }
        }
    }
    let peer = on.spawn(|| {
        let (group, ctx) = ErrGroup::with_context(&Context::background());
        group.go(|| Err(Error(None)));
        ctx.done().recv().unwrap_err();
        group.go(|| Err(Error(Some("in its drop"))));
        group.wait().is_ok()
    });
    let payload = peer.try_join().unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().unwrap(), "in its drop");
}

fn wait_may_be_called_again(on: Way) {
    on.spawn(|| {
        let group = ErrGroup::new();
        group.go(|| Err(1));
        assert_eq!((group.wait(), group.wait()), (Err(1), Ok(())));
        group.go(|| Err(2));
        assert_eq!(group.wait(), Err(2));
    })
    .join();
}
