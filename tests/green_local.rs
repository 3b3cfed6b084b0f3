//! Variables of which every thread, green or not, has its own: std's rules for `thread_local!`, and what
//! green threads add.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use gthread::channel::{Receiver, Sender, bounded, unbounded};
use gthread::{AccessError, ThreadId, green_local};
use gthread_tests::{
    Drops, LIMIT, Token, Way, assert_passed, every_way, for_workers, is_child, os_thread_id, rerun,
    runtime, stderr, watchdog,
};

every_way!(
    each_thread_has_its_own,
    it_is_initialized_at_the_first_use_and_once,
    cells_and_ref_cells_have_shorter_ways,
    set_does_not_initialize_first,
    an_initialization_that_panics_is_tried_again,
    an_initialization_may_use_others_and_itself,
    values_are_dropped_at_the_end_the_newest_first,
    values_are_dropped_after_a_panic,
    values_are_dropped_before_join_returns,
    drops_may_use_the_others,
    a_drop_finds_itself_gone,
    a_drop_may_initialize_others,
    a_drop_may_block,
    a_detached_thread_drops_its_values,
    many_variables_in_one_thread,
    a_reference_outlasts_a_wait,
    a_drop_may_start_others,
    values_initialized_in_a_drop_come_before_older_ones,
    a_results_drop_may_use_them_again,
    a_value_need_not_be_send,
);

green_local! {
    /// Has a comment.
    static COUNT: Cell<u32> = const { Cell::new(7) };
    static NAMES: RefCell<Vec<String>> = RefCell::new(vec!["first".to_owned()]);
}

fn each_thread_has_its_own(on: Way) {
    let peers: Vec<_> = (0..10)
        .map(|n| {
            on.spawn(move || {
                for step in 0..5 {
                    assert_eq!(COUNT.get(), 7 + step * n);
                    on.yield_now();
                    COUNT.set(COUNT.get() + n);
                    on.sleep(Duration::from_micros(u64::from(n * 10)));
                }
                COUNT.get()
            })
        })
        .collect();
    let results: Vec<_> = peers.into_iter().map(|peer| peer.join()).collect();
    assert_eq!(results, (0..10).map(|n| 7 + 5 * n).collect::<Vec<_>>());
}

fn it_is_initialized_at_the_first_use_and_once(on: Way) {
    static MADE: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());
    green_local! {
        static ID: ThreadId = {
            let id = gthread::current().id();
            MADE.lock().unwrap().push(id);
            id
        }
    }
    let made = |id| MADE.lock().unwrap().iter().filter(|made| **made == id).count();
    let peers: Vec<_> = (0..4)
        .map(|_| {
            on.spawn(move || {
                let id = gthread::current().id();
                assert_eq!(made(id), 0);
                for _ in 0..3 {
                    assert_eq!(ID.with(|id| *id), id);
                    on.yield_now();
                }
                assert_eq!(made(id), 1);
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

fn cells_and_ref_cells_have_shorter_ways(on: Way) {
    green_local! {
        static CELL: Cell<Option<u8>> = Cell::new(Some(1));
        static REF_CELL: RefCell<Option<u8>> = RefCell::new(Some(1))
    }
    on.spawn(|| {
        assert_eq!((CELL.get(), CELL.replace(Some(2)), CELL.take()), (Some(1), Some(1), Some(2)));
        CELL.set(Some(3));
        assert_eq!((CELL.get(), CELL.with(Cell::get)), (Some(3), Some(3)));

        assert_eq!((REF_CELL.replace(Some(2)), REF_CELL.take()), (Some(1), Some(2)));
        REF_CELL.set(Some(3));
        REF_CELL.with_borrow_mut(|value| *value = value.map(|n| n + 1));
        assert_eq!(REF_CELL.with_borrow(|value| *value), Some(4));
        assert_eq!(REF_CELL.try_with(|cell| cell.borrow().is_some()), Ok(true));
    })
    .join();
}

fn set_does_not_initialize_first(on: Way) {
    green_local! {
        static CELL: Cell<u8> = panic!("initialized");
        static REF_CELL: RefCell<u8> = panic!("initialized");
    }
    on.spawn(|| {
        CELL.set(1);
        REF_CELL.set(2);
        assert_eq!((CELL.get(), REF_CELL.with_borrow(|n| *n)), (1, 2));
    })
    .join();
}

fn an_initialization_that_panics_is_tried_again(on: Way) {
    green_local! {
        static TRIES: Cell<u32> = const { Cell::new(0) };
        static SHY: u32 = {
            TRIES.set(TRIES.get() + 1);
            assert!(TRIES.get() > 1, "not yet");
            TRIES.get()
        };
    }
    on.spawn(|| {
        assert!(std::panic::catch_unwind(|| SHY.with(|n| *n)).is_err());
        assert_eq!(SHY.with(|n| *n), 2);
        assert_eq!(SHY.with(|n| *n), 2);
    })
    .join();
}

fn an_initialization_may_use_others_and_itself(on: Way) {
    green_local! {
        static INNER: u32 = 20;
        static OUTER: u32 = INNER.with(|n| n + 1);
        static DEPTH: Cell<u32> = const { Cell::new(0) };
        /// The innermost is it.
        static SELF: u32 = {
            DEPTH.set(DEPTH.get() + 1);
            let depth = DEPTH.get();
            if depth < 3 { SELF.with(|n| *n) + 10 } else { depth }
        };
    }
    on.spawn(|| {
        assert_eq!(OUTER.with(|n| *n), 21);
        assert_eq!(SELF.with(|n| *n), 3);
        assert_eq!(SELF.with(|n| *n), 3);
    })
    .join();
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

fn many_variables_in_one_thread(on: Way) {
    macro_rules! variables {
        ($($name:ident)*) => {
            green_local! { $(static $name: Cell<usize> = const { Cell::new(0) };)* }
            static ALL: &[&gthread::LocalKey<Cell<usize>>] = &[$(&$name),*];
        };
    }
    variables! {
        A0 A1 A2 A3 A4 A5 A6 A7 A8 A9 B0 B1 B2 B3 B4 B5 B6 B7 B8 B9 C0 C1 C2 C3 C4 C5 C6 C7 C8 C9
    }
    on.spawn(move || {
        for round in 0..3 {
            for (n, variable) in ALL.iter().enumerate() {
                assert_eq!(variable.replace(n * (round + 1)), n * round);
                on.yield_now();
            }
        }
    })
    .join();
}

fn a_reference_outlasts_a_wait(on: Way) {
    let peers: Vec<_> = (0..8_u32)
        .map(|n| {
            on.spawn(move || {
                NAMES.with_borrow_mut(|names| {
                    for step in 0..20 {
                        names.push(format!("{n} {step}"));
                        if step % 5 == 0 {
                            on.sleep(Duration::from_micros(50));
                        } else {
                            on.yield_now();
                        }
                    }
                });
                NAMES.take()
            })
        })
        .collect();
    for (n, peer) in peers.into_iter().enumerate() {
        let names = peer.join();
        assert_eq!(names[0], "first");
        assert!(names[1..].iter().enumerate().all(|(step, name)| *name == format!("{n} {step}")));
        assert_eq!(names.len(), 21);
    }
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

fn a_value_need_not_be_send(on: Way) {
    green_local! {
        static SHARED: Rc<Cell<u64>> = Rc::default();
    }
    let peers: Vec<_> = (0..8)
        .map(|_| {
            on.spawn(move || {
                let mut held = Vec::new();
                for step in 1..=50 {
                    let mine = SHARED.with(Rc::clone);
                    mine.set(mine.get() + 1);
                    held.push(mine);
                    if step % 10 == 0 {
                        on.sleep(Duration::from_micros(20))
                    } else {
                        on.yield_now()
                    }
                }
                SHARED.with(|shared| (Rc::strong_count(shared), shared.get()))
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| assert_eq!(peer.join(), (51, 50)));
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

/// The value goes with the green thread, and not with the OS thread.
#[test]
fn it_follows_its_thread_to_other_os_threads() {
    for_workers(|runtime| {
        let moved = runtime.run(|| {
            let threads: Vec<_> = (0..50_u32)
                .map(|n| {
                    gthread::go!(move || {
                        COUNT.set(n);
                        let mut moved = 0;
                        let mut here = os_thread_id();
                        for _ in 0..100 {
                            gthread::sleep(Duration::from_micros(10));
                            assert_eq!(COUNT.get(), n);
                            moved +=
                                u32::from(std::mem::replace(&mut here, os_thread_id()) != here);
                        }
                        moved
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u32>()
        });
        println!("moved {moved} times");
    });
}

/// A worker's OS thread is a thread of its own; and so is a green thread inside `blocking`, on a temporary
/// stack, pinned.
#[test]
fn wherever_a_green_thread_runs_it_is_its_own() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        COUNT.set(1);
        runtime.run(|| {
            assert_eq!(COUNT.get(), 7);
            COUNT.set(2);
            gthread::blocking(|| assert_eq!(COUNT.replace(3), 2));
            gthread::with_stack(1 << 20, || assert_eq!(COUNT.replace(4), 3));
            let child = gthread::Builder::new().pinned(true).spawn(|| COUNT.get()).unwrap();
            assert_eq!((child.join().unwrap(), COUNT.get()), (7, 4));
        });
        assert_eq!(COUNT.get(), 1);
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
    let output = rerun("a_panic_in_a_drop_aborts", &[]);
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
        return assert_passed(&rerun("values_leave_no_memory", &[]));
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
