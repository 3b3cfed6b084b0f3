//! Variables of which every thread, green or not, has its own: when their values are dropped, and what they may do then.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use gthread::channel::{Receiver, Sender, bounded, unbounded};
use gthread::{AccessError, ThreadId, green_local};
use gthread_tests::{
    Drops, LIMIT, Token, Way, assert_passed, every_way, for_workers, is_child, rerun, runtime,
    stderr, watchdog,
};

every_way!(
    values_are_dropped_at_the_end_the_newest_first,
    values_are_dropped_after_a_panic,
    values_are_dropped_before_join_returns,
    drops_may_use_the_others,
    a_drop_finds_itself_gone,
    a_drop_may_initialize_others,
    a_drop_may_block,
    a_detached_thread_drops_its_values,
    a_drop_may_start_others,
    values_initialized_in_a_drop_come_before_older_ones,
    a_results_drop_may_use_them_again,
);

green_local! {
    static COUNT: Cell<u32> = const { Cell::new(7) };
}

/// Notes its drop.
struct Noted(u32, Sender<u32>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.send(self.0).unwrap();
    }
}

green_local! {
    static NOTED_1: RefCell<Option<Noted>> = const { RefCell::new(None) };
    static NOTED_2: RefCell<Option<Noted>> = const { RefCell::new(None) };
    static NOTED_3: RefCell<Option<Noted>> = const { RefCell::new(None) };
}

fn note_all(tx: &Sender<u32>) {
    NOTED_2.set(Some(Noted(2, tx.clone())));
    NOTED_1.set(Some(Noted(1, tx.clone())));
    NOTED_3.set(Some(Noted(3, tx.clone())));
}

fn values_are_dropped_at_the_end_the_newest_first(on: Way) {
    let (tx, rx) = unbounded();
    on.spawn(move || note_all(&tx)).join();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [3, 1, 2]);
}

fn values_are_dropped_after_a_panic(on: Way) {
    let (tx, rx) = unbounded();
    let peer = on.spawn(move || {
        note_all(&tx);
        panic!("on purpose");
    });
    peer.try_join().unwrap_err();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [3, 1, 2]);
}

fn values_are_dropped_before_join_returns(on: Way) {
    for _ in 0..20 {
        let drops = Drops::new();
        let token = drops.token();
        on.spawn(move || KEPT.set(Some(token))).join();
        assert_eq!(drops.count(), 1);
    }
}

green_local! {
    static KEPT: Cell<Option<Token>> = const { Cell::new(None) };
}

/// What a value's drop has found out.
struct Probe(Sender<Found>);

#[derive(Debug, PartialEq)]
enum Found {
    Count(u32),
    Error(AccessError),
    Other(&'static str),
}

impl Probe {
    fn found(&self, found: Found) {
        self.0.send(found).unwrap();
    }
}

fn drops_may_use_the_others(on: Way) {
    struct Uses(Probe);
    impl Drop for Uses {
        fn drop(&mut self) {
            self.0.found(Found::Count(COUNT.get()));
        }
    }
    green_local! {
        static USES: RefCell<Option<Uses>> = const { RefCell::new(None) };
    }
    let (tx, rx) = unbounded();
    on.spawn(move || {
        COUNT.set(99);
        USES.set(Some(Uses(Probe(tx))));
    })
    .join();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [Found::Count(99)]);
}

fn a_drop_finds_itself_gone(on: Way) {
    struct Looks(Probe);
    impl Drop for Looks {
        fn drop(&mut self) {
            match LOOKS.try_with(|_| ()) {
                Ok(()) => self.0.found(Found::Other("there")),
                Err(error) => self.0.found(Found::Error(error)),
            }
            let with = std::panic::catch_unwind(|| LOOKS.with(|_| ()));
            self.0.found(Found::Other(if with.is_err() { "panics" } else { "there" }));
        }
    }
    green_local! {
        static LOOKS: RefCell<Option<Looks>> = const { RefCell::new(None) };
        static NEWER: RefCell<Option<Looks>> = const { RefCell::new(None) };
    }
    let (tx, rx) = unbounded();
    on.spawn(move || {
        LOOKS.set(Some(Looks(Probe(tx.clone()))));
        // Dropped first, and finds the older still there.
        NEWER.set(Some(Looks(Probe(tx))));
    })
    .join();
    let found: Vec<_> = rx.iter().collect();
    let there = || Found::Other("there");
    let [a, b, Found::Error(error), d] = &found[..] else { panic!("{found:?}") };
    assert_eq!((a, b, d), (&there(), &there(), &Found::Other("panics")));
    assert_eq!(error.to_string(), "already destroyed");
}

fn a_drop_may_initialize_others(on: Way) {
    struct Adds(Probe, u32);
    impl Drop for Adds {
        fn drop(&mut self) {
            self.0.found(Found::Count(self.1));
            if self.1 > 0 {
                LATE[self.1 as usize - 1].set(Some(Adds(Probe(self.0.0.clone()), self.1 - 1)));
            }
        }
    }
    green_local! {
        static LATE_0: RefCell<Option<Adds>> = const { RefCell::new(None) };
        static LATE_1: RefCell<Option<Adds>> = const { RefCell::new(None) };
        static LATE_2: RefCell<Option<Adds>> = const { RefCell::new(None) };
    }
    static LATE: [&gthread::LocalKey<RefCell<Option<Adds>>>; 3] = [&LATE_0, &LATE_1, &LATE_2];
    let (tx, rx) = unbounded();
    on.spawn(move || LATE_2.set(Some(Adds(Probe(tx), 2)))).join();
    let counts = [2, 1, 0].map(Found::Count);
    assert_eq!(rx.iter().collect::<Vec<_>>(), counts);
}

fn a_drop_may_block(on: Way) {
    struct Waits(Receiver<u32>, Sender<u32>);
    impl Drop for Waits {
        fn drop(&mut self) {
            gthread::sleep(Duration::from_micros(100));
            self.1.send(self.0.recv().unwrap() + 1).unwrap();
        }
    }
    green_local! {
        static WAITS: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }
    let (ask, asked) = bounded(0);
    let (answer, answered) = bounded(0);
    let peer = on.spawn(move || WAITS.set(Some(Waits(asked, answer))));
    on.lull();
    ask.send(41).unwrap();
    assert_eq!(answered.recv(), Ok(42));
    peer.join();
}

fn a_detached_thread_drops_its_values(on: Way) {
    let drops = Drops::new();
    let (kept, result) = (drops.token(), drops.token());
    drop(on.spawn(move || {
        KEPT.set(Some(kept));
        result
    }));
    on.until(|| drops.count() == 2);
}

fn a_drop_may_start_others(on: Way) {
    struct Starts(Sender<u32>);
    impl Drop for Starts {
        fn drop(&mut self) {
            let tx = self.0.clone();
            let child = gthread::go!(move || {
                assert_eq!(COUNT.replace(8), 7);
                tx.send(1).unwrap();
            });
            child.join().unwrap();
            let sum = gthread::scope(|s| s.spawn(|| COUNT.get()).join().unwrap());
            self.0.send(sum).unwrap();
        }
    }
    green_local! {
        static STARTS: RefCell<Option<Starts>> = const { RefCell::new(None) };
    }
    let (tx, rx) = unbounded();
    on.spawn(move || STARTS.set(Some(Starts(tx)))).join();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 7]);
}

fn values_initialized_in_a_drop_come_before_older_ones(on: Way) {
    struct Adds(Sender<u32>);
    impl Drop for Adds {
        fn drop(&mut self) {
            self.0.send(0).unwrap();
            NOTED_2.set(Some(Noted(2, self.0.clone())));
            NOTED_3.set(Some(Noted(3, self.0.clone())));
        }
    }
    green_local! {
        static ADDS: RefCell<Option<Adds>> = const { RefCell::new(None) };
    }
    let (tx, rx) = unbounded();
    on.spawn(move || {
        NOTED_1.set(Some(Noted(1, tx.clone())));
        ADDS.set(Some(Adds(tx)));
    })
    .join();
    assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 3, 2, 1]);
}

/// The result of a detached thread is dropped by the thread, which may begin with new values for that.
fn a_results_drop_may_use_them_again(on: Way) {
    struct Uses {
        _counted: Token,
        next: Option<Token>,
    }
    impl Drop for Uses {
        fn drop(&mut self) {
            KEPT.set(self.next.take());
        }
    }
    let drops = Drops::new();
    let (first, result, second) = (drops.token(), drops.token(), drops.token());
    let (detached, end) = bounded::<()>(0);
    drop(on.spawn(move || {
        KEPT.set(Some(first));
        end.recv().unwrap_err();
        Uses { _counted: result, next: Some(second) }
    }));
    drop(detached);
    on.until(|| drops.count() == 3);
}

/// std's thread-locals and these are dropped in some order at an OS thread's end, and may look at each other.
#[test]
fn an_os_threads_other_destructors_may_look() {
    struct Looks(Drops);
    impl Drop for Looks {
        fn drop(&mut self) {
            // There, or gone; and if it is initialized now, it is dropped.
            let token = self.0.token();
            match KEPT.try_with(|kept| kept.set(Some(token))) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.to_string(), "already destroyed"),
            }
        }
    }
    thread_local! {
        static BEFORE: RefCell<Option<Looks>> = const { RefCell::new(None) };
        static AFTER: RefCell<Option<Looks>> = const { RefCell::new(None) };
    }
    watchdog(LIMIT, || {
        for uses in [false, true] {
            let drops = Drops::new();
            let (before, kept, after) = (drops.clone(), drops.token(), drops.clone());
            let thread = std::thread::spawn(move || {
                BEFORE.set(Some(Looks(before)));
                if uses {
                    KEPT.set(Some(kept));
                }
                AFTER.set(Some(Looks(after)));
            });
            thread.join().unwrap();
            assert_eq!(drops.count(), 3);
        }
    });
}

/// As std's: what was not initialized before is so in such a destructor, and is dropped, too.
#[test]
fn an_os_threads_other_destructors_may_initialize() {
    struct Initializes(Drops);
    impl Drop for Initializes {
        fn drop(&mut self) {
            for late in [&LATE, &LATER] {
                let token = self.0.token();
                assert!(late.with(|late| late.replace(Some(token))).is_none());
                assert!(late.take().is_some());
                late.set(Some(self.0.token()));
            }
        }
    }
    thread_local! {
        static BEFORE: RefCell<Option<Initializes>> = const { RefCell::new(None) };
    }
    green_local! {
        static LATE: RefCell<Option<Token>> = const { RefCell::new(None) };
        static LATER: RefCell<Option<Token>> = const { RefCell::new(None) };
    }
    watchdog(LIMIT, || {
        for uses in [false, true] {
            let drops = Drops::new();
            let (before, kept) = (drops.clone(), drops.token());
            let thread = std::thread::spawn(move || {
                BEFORE.set(Some(Initializes(before)));
                if uses {
                    // Gone by then.
                    KEPT.set(Some(kept));
                }
            });
            thread.join().unwrap();
            assert_eq!(drops.count(), 5);
        }
    });
}

/// The green thread itself drops its values, and has not ended before. (Of an OS thread std says otherwise.)
#[test]
fn it_is_not_finished_before_its_values_are_dropped() {
    struct Held(Receiver<ThreadId>);
    impl Drop for Held {
        fn drop(&mut self) {
            let id = self.0.recv().unwrap();
            assert_eq!(id, gthread::current().id());
        }
    }
    green_local! {
        static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    }
    for_workers(|runtime| {
        let (hold, held) = bounded(0);
        let (tx, set) = bounded(1);
        let thread = runtime.spawn(move || {
            HELD.set(Some(Held(held)));
            tx.send(()).unwrap();
        });
        set.recv().unwrap();
        runtime.run(gthread_tests::yield_often);
        assert!(!thread.is_finished());
        hold.send(thread.thread().id()).unwrap();
        thread.join().unwrap();
    });
}

#[test]
fn a_panic_in_a_drop_aborts() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the drop of a value");
        }
    }
    green_local! {
        static PANICS: Panics = Panics;
    }
    if is_child() {
        let _ = runtime(1).run(|| gthread::go!(|| PANICS.with(|_| ())).join());
        unreachable!("it goes on");
    }
    let output = rerun!("a_panic_in_a_drop_aborts", &[]);
    assert!(!output.status.success());
    assert!(stderr(&output).contains("green_local panicked while it was dropped"));
}

/// Nothing is left of a hundred thousand threads' values. In a process of its own: it measures.
#[test]
fn values_leave_no_memory() {
    green_local! {
        static LARGE: RefCell<[u64; 64]> = const { RefCell::new([0; 64]) };
    }
    if !is_child() {
        return assert_passed(&rerun!("values_leave_no_memory", &[]));
    }
    let runtime = runtime(2);
    let run = |threads: u64| {
        runtime.run(|| {
            for n in 0..threads {
                let thread = gthread::go!(move || LARGE.with_borrow_mut(|large| large[3] = n));
                thread.join().unwrap();
            }
        });
    };
    run(1000);
    let (before, _) = gthread_tests::resident();
    run(100_000);
    let grown = gthread_tests::resident().0.saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes");
}
