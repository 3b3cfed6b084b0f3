//! Every value is dropped once, wherever it was when the ends went away: with every capacity, and for
//! values of every shape.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gthread_tests::channel::{self, Sender, never, select};
use gthread_tests::{CAPACITIES, Drops, SHORT, Token, Way, every_way, make};

every_way!(
    inside_when_the_senders_went_first,
    inside_when_the_receivers_went_first,
    values_of_every_shape,
    refused_values_come_back,
    under_way_when_all_leave,
    on_both_sides_of_a_panic,
    a_waiting_senders_value_comes_back,
    losing_arms_keep_their_values,
    a_value_that_holds_an_end_of_its_channel,
    a_value_whose_drop_panics,
    after_a_drop_that_panics_no_other_runs,
    values_stay_on_their_thread,
);

fn inside_when_the_senders_went_first(_: Way) {
    for capacity in [Some(1), Some(7), None] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        let inside = capacity.unwrap_or(100);
        (0..inside).for_each(|_| tx.send(drops.token()).unwrap());
        drop((tx.clone(), tx));
        assert_eq!(drops.count(), 0);
        drop(rx.recv().unwrap());
        assert_eq!(drops.count(), 1);
        drop(rx.clone());
        assert_eq!(drops.count(), 1);
        drop(rx);
        assert_eq!(drops.count(), inside);
    }
}

fn inside_when_the_receivers_went_first(_: Way) {
    for (capacity, inside) in [(Some(1), 1), (Some(7), 7), (Some(7), 5), (None, 100)] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        (0..inside).for_each(|_| tx.send(drops.token()).unwrap());
        drop(rx.recv().unwrap());
        drop(rx.clone());
        assert_eq!(drops.count(), 1);
        drop(rx);
        // As crossbeam-channel: without a limit they go with the receivers, with one they may stay as
        // long as a sender does.
        assert!(drops.count() == inside || capacity.is_some());
        let back = tx.send(drops.token());
        assert!(back.is_err());
        drop(tx);
        assert_eq!(drops.count(), inside);
        drop(back);
        assert_eq!(drops.count(), inside + 1);
    }
}

fn values_of_every_shape(on: Way) {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Nothing;
    impl Drop for Nothing {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
    #[expect(dead_code, reason = "takes space")]
    struct Huge(Token, [u8; 64 << 10]);
    #[repr(align(64))]
    #[expect(dead_code, reason = "dropped")]
    struct Aligned(Token);
    fn go<T: Send + 'static>(on: Way, drops: &Drops, shape: impl Fn(Token) -> T) {
        for capacity in CAPACITIES {
            let (before, (tx, rx)) = (drops.count(), make(capacity));
            let mut sent = 0;
            while sent < 7 && tx.try_send(shape(drops.token())).is_ok() {
                sent += 1;
            }
            // The one that was refused is gone.
            let refused = usize::from(sent < 7);
            assert_eq!(drops.count() - before, refused);
            assert_eq!(rx.try_iter().take(2).count(), sent.min(2));
            assert_eq!(drops.count() - before, refused + sent.min(2));
            drop((rx, tx));
            assert_eq!(drops.count() - before, refused + sent);
            // From one thread to another.
            let (before, (tx, rx)) = (drops.count(), make(capacity));
            let receiver = on.spawn(move || drop(rx.recv().unwrap()));
            tx.send(shape(drops.token())).unwrap();
            receiver.join();
            assert_eq!(drops.count() - before, 1);
        }
    }
    let roomy = on.with_stack(4 << 20);
    let body = move || {
        let drops = Drops::new();
        go(roomy, &drops, |token| token);
        go(roomy, &drops, Box::new);
        go(roomy, &drops, Aligned);
        go(roomy, &drops, |token| Huge(token, [1; 64 << 10]));
    };
    roomy.spawn(body).join();
    let before = DROPPED.load(Ordering::SeqCst);
    assert_eq!(size_of::<Nothing>(), 0);
    for capacity in [Some(7), None] {
        let (tx, rx) = make(capacity);
        (0..7).for_each(|_| assert!(tx.send(Nothing).is_ok()));
        drop(rx.recv().unwrap_or_else(|_| unreachable!()));
        drop((tx, rx));
    }
    let (tx, rx) = make(Some(0));
    let receiver = on.spawn(move || rx.iter().count());
    (0..5).for_each(|_| assert!(tx.send(Nothing).is_ok()));
    drop(tx);
    assert_eq!(receiver.join(), 5);
    // Other ways of this test count, too.
    assert!(DROPPED.load(Ordering::SeqCst) - before >= 19);
}

fn refused_values_come_back(_: Way) {
    let drops = Drops::new();
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        drop(rx);
        let before = drops.count();
        let errors = (
            tx.send(drops.token()),
            tx.try_send(drops.token()),
            tx.send_timeout(drops.token(), SHORT),
            select! { send(tx, drops.token()) -> sent => sent },
        );
        assert_eq!(drops.count(), before);
        drop(tx);
        assert_eq!(drops.count(), before);
        drop(errors);
        assert_eq!(drops.count(), before + 4);
    }
}

/// Both sides leave while values are under way.
fn under_way_when_all_leave(on: Way) {
    for capacity in CAPACITIES {
        let (drops, mut made) = (Drops::new(), 0);
        let (tx, rx) = make::<Token>(capacity);
        let mut threads = Vec::new();
        for n in 0..5 {
            let tokens: Vec<_> = (0..50).map(|_| drops.token()).collect();
            made += tokens.len();
            let tx = tx.clone();
            threads.push(on.spawn(move || {
                for token in tokens {
                    let failed = match n % 2 {
                        0 => tx.send(token).is_err(),
                        _ => select! { send(tx, token) -> sent => sent.is_err(), recv(never::<u8>()) -> _ => false },
                    };
                    if failed {
                        break;
                    }
                }
            }));
            let rx = rx.clone();
            threads.push(on.spawn(move || {
                for token in rx.iter().take(20 + n) {
                    drop(token);
                    on.yield_now();
                }
            }));
        }
        drop((tx, rx));
        threads.into_iter().for_each(|thread| thread.join());
        assert_eq!(drops.count(), made, "{capacity:?}");
    }
}

/// A thread ends by a panic with values in its hands, inside a channel, and in a body of a select.
fn on_both_sides_of_a_panic(on: Way) {
    for capacity in [Some(7), None] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        let (held, sent) = (drops.token(), drops.token());
        let broken = on.spawn(move || {
            let _held = held;
            tx.send(sent).unwrap();
            panic!("with a value inside");
        });
        assert!(broken.try_join().is_err());
        assert_eq!(drops.count(), 1);
        drop(rx.recv().unwrap());
        assert!(rx.recv().is_err());
        let (tx, rx) = make(capacity);
        (0..3).for_each(|_| tx.send(drops.token()).unwrap());
        let broken = on.spawn(move || {
            select! { recv(rx) -> _token => panic!("with a value in hand") }
        });
        assert!(broken.try_join().is_err());
        assert!(tx.send(drops.token()).is_err());
        drop(tx);
        assert_eq!(drops.count(), 6);
    }
}

fn a_waiting_senders_value_comes_back(on: Way) {
    for capacity in [Some(0), Some(1), Some(7)] {
        let drops = Drops::new();
        let (tx, rx) = make(capacity);
        let places = capacity.unwrap();
        (0..places).for_each(|_| tx.send(drops.token()).unwrap());
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (tx, token) = (tx.clone(), drops.token());
                on.spawn(move || tx.send(token).unwrap_err())
            })
            .collect();
        on.lull();
        drop(rx);
        let errors: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        assert!(drops.count() <= places);
        drop(tx);
        assert_eq!(drops.count(), places);
        drop(errors);
        assert_eq!(drops.count(), places + 4);
    }
}

fn losing_arms_keep_their_values(on: Way) {
    let drops = Drops::new();
    for capacity in [0, 1, 7] {
        let (tx, _rx) = channel::bounded(capacity);
        while tx.try_send(None).is_ok() {}
        let before = drops.count();
        let (go, goes) = channel::bounded(0);
        let (token, other) = (drops.token(), drops.token());
        let peer = on.spawn(move || {
            select! {
                send(tx, Some(token)) -> _ => unreachable!(),
                send(tx, Some(other)) -> _ => unreachable!(),
                recv(goes) -> _ => (),
            }
            (token, other)
        });
        on.lull();
        go.send(()).unwrap();
        let tokens = peer.join();
        assert_eq!(drops.count(), before);
        drop(tokens);
        assert_eq!(drops.count(), before + 2);
    }
}

/// A value whose drop uses the channel that drops it.
fn a_value_that_holds_an_end_of_its_channel(_: Way) {
    struct Loop(Option<Sender<Loop>>, Drops);
    impl Drop for Loop {
        fn drop(&mut self) {
            if let Some(tx) = self.0.take() {
                assert!(tx.try_send(Loop(None, self.1.clone())).is_err());
            }
            drop(self.1.token());
        }
    }
    let drops = Drops::new();
    let (tx, rx) = channel::unbounded();
    tx.send(Loop(Some(tx.clone()), drops.clone())).unwrap();
    drop(tx);
    drop(rx);
    assert_eq!(drops.count(), 2);
}

/// One drop that panics does not keep the receiver's end from being gone.
fn a_value_whose_drop_panics(on: Way) {
    struct Bomb(Arc<AtomicUsize>);
    impl Drop for Bomb {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
            panic!("dropped");
        }
    }
    let count = Arc::new(AtomicUsize::new(0));
    let (tx, rx) = channel::unbounded();
    assert!(tx.send(Bomb(Arc::clone(&count))).is_ok());
    let receiver = on.spawn(move || drop(rx));
    assert!(receiver.try_join().is_err());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    let error = tx.try_send(Bomb(Arc::clone(&count))).unwrap_err();
    assert!(error.is_disconnected());
    std::mem::forget(error);
    drop(tx);
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

/// The first panic comes out; what is behind the value is leaked, neither dropped while that unwinds nor later.
fn after_a_drop_that_panics_no_other_runs(_: Way) {
    struct Value<'a>(Option<&'static str>, &'a AtomicUsize);
    impl Drop for Value<'_> {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
            if let Some(message) = self.0 {
                panic!("{message}");
            }
        }
    }
    let message =
        |result: std::thread::Result<()>| *result.unwrap_err().downcast::<String>().unwrap();
    let attempt =
        |f: Box<dyn FnOnce() + '_>| std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    for capacity in [Some(7), Some(4), None] {
        for order in 0..3 {
            let dropped = AtomicUsize::new(0);
            let (tx, rx) = match capacity {
                Some(capacity) => channel::bounded(capacity),
                None => channel::unbounded(),
            };
            for panics in [None, Some("first"), None, Some("second")] {
                assert!(tx.send(Value(panics, &dropped)).is_ok());
            }
            // Another lap, or block.
            drop(rx.recv());
            match order {
                0 => {
                    let result = attempt(Box::new(|| drop(rx)));
                    assert_eq!(message(result), "first");
                    drop(tx);
                }
                1 => {
                    assert!(tx.close());
                    drop(tx);
                    let result = attempt(Box::new(|| drop(rx)));
                    assert_eq!(message(result), "first");
                }
                // A select that is given up drops nothing, whichever thread that is.
                _ => {
                    let mut select = channel::Select::new();
                    select.recv(&rx);
                    let result = attempt(Box::new(|| drop(select.select())));
                    assert!(result.is_err());
                    assert_eq!(dropped.load(Ordering::SeqCst), 1);
                    // It has taken the first one with it.
                    let result = attempt(Box::new(|| drop(rx)));
                    assert_eq!(message(result), "second");
                    drop(tx);
                    assert_eq!(dropped.load(Ordering::SeqCst), 3);
                    continue;
                }
            }
            assert_eq!(dropped.load(Ordering::SeqCst), 2, "{capacity:?}, {order}");
        }
    }
}

/// A select is `Send`, whatever its channels carry: so it moves values, and never drops or uses one.
fn values_stay_on_their_thread(on: Way) {
    use std::rc::Rc;
    struct Guard(std::thread::ThreadId, #[expect(dead_code, reason = "is not Send")] Rc<()>);
    static STRAYED: AtomicUsize = AtomicUsize::new(0);
    impl Drop for Guard {
        fn drop(&mut self) {
            if std::thread::current().id() != self.0 {
                STRAYED.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    // The values are of one OS thread, so its body is not a green thread's; the select is a peer's, of any kind.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let me = std::thread::current().id();
            let rc = Rc::new(());
            let give_up = |select: channel::Select<'_>| {
                let mut select = select;
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let operation = select.select();
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(operation)))
                            .expect_err("it was not completed");
                    });
                });
            };
            for round in 0..20 {
                let (tx, rx) = channel::bounded::<Guard>(2);
                let value = || Guard(me, Rc::clone(&rc));
                // A send that is given up, beside values, with the receiver and without.
                assert!(tx.try_send(value()).is_ok());
                let mut select = channel::Select::new();
                select.send(&tx);
                give_up(select);
                let mut select = channel::Select::new();
                select.send(&tx);
                let other = select.clone();
                let operation = select.select();
                drop(rx);
                give_up(other);
                drop(operation.send(&tx, value()));
                // A receive that is given up: at a buffer, and at a rendezvous whose sender comes late.
                let (tx, rx) = channel::unbounded::<Guard>();
                assert!(tx.send(value()).is_ok());
                let mut select = channel::Select::new();
                select.recv(&rx);
                give_up(select);
                let (tx, rx) = channel::bounded::<Guard>(0);
                let mut select = channel::Select::new();
                select.recv(&rx);
                std::thread::scope(|scope| {
                    let mut select = select;
                    scope.spawn(move || {
                        let operation = select.select();
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(operation)))
                            .expect_err("it was not completed");
                    });
                    select! {
                        send(tx, { on.sleep(SHORT * (round % 2)); value() }) -> sent => assert!(sent.is_ok())
                    }
                });
            }
            assert_eq!(STRAYED.load(Ordering::SeqCst), 0);
        });
    });
}
