//! A runtime starts, and is used, wherever a program first needs one: in the initialiser of a static, in a
//! test, in the destructors of a thread's locals.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gthread::{Runtime, channel, go};
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, runtime, watchdog};

/// Something of everything: threads that wait for each other, a lock, a timeout. Gives 60.
fn work() -> u64 {
    let (tx, rx) = channel::bounded(0);
    let sum = gthread::sync::Mutex::new(0);
    gthread::scope(|scope| {
        for n in 1..=3 {
            let tx = tx.clone();
            scope.spawn(move || tx.send(n).unwrap());
        }
        for _ in 0..3 {
            let (rx, sum) = (&rx, &sum);
            scope.spawn(move || *sum.lock().unwrap() += 10 * rx.recv().unwrap());
        }
    });
    assert!(rx.recv_timeout(Duration::from_millis(1)).unwrap_err().is_timeout());
    sum.into_inner().unwrap()
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let runtime = runtime(2);
    assert_eq!(runtime.run(work), 60);
    runtime
});

/// What the default runtime gives while a static is being initialised: it may start there.
static FROM_DEFAULT: LazyLock<u64> =
    LazyLock::new(|| gthread::run(work) + go!(work).join().unwrap());

#[test]
fn in_a_statics_initialiser() {
    if is_child() {
        // The first use of any runtime in this process is in the initialiser.
        assert_eq!(*FROM_DEFAULT, 120);
        assert_eq!(RUNTIME.run(work), 60);
        assert_eq!(RUNTIME.spawn(|| *FROM_DEFAULT).join().unwrap(), 120);
        return;
    }
    watchdog(LIMIT, || assert_passed(&rerun!("in_a_statics_initialiser", &[])));
}

/// The initialiser runs on a green thread, and starts the very runtime that another thread waits for.
#[test]
fn in_a_statics_initialiser_that_many_threads_wait_for() {
    static SHARED: gthread::sync::LazyLock<Runtime> = gthread::sync::LazyLock::new(|| {
        let runtime = runtime(1);
        assert_eq!(runtime.run(work), 60);
        runtime
    });
    watchdog(LIMIT, || {
        let green: Vec<_> = (0..10).map(|_| go!(|| SHARED.run(work))).collect();
        let os: Vec<_> = (0..3).map(|_| std::thread::spawn(|| SHARED.run(work))).collect();
        assert!(green.into_iter().all(|thread| thread.join().unwrap() == 60));
        assert!(os.into_iter().all(|thread| thread.join().unwrap() == 60));
    });
}

#[test]
fn in_a_test() {
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        assert_eq!(runtime.run(work), 60);
        assert_eq!(gthread::run(work), 60);
        assert_eq!(work(), 60);
    });
}

static ENDED: AtomicU64 = AtomicU64::new(0);

/// Uses all of it when it is dropped.
struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        let own = runtime(2).run(work);
        let default = gthread::run(work) + go!(work).join().unwrap();
        // As an OS thread that waits itself; and once more, as each wait may be its first.
        let waits = work() + work();
        ENDED.fetch_add(own + default + waits, Ordering::SeqCst);
    }
}

thread_local! {
    static AT_EXIT: RefCell<Option<AtExit>> = const { RefCell::new(None) };
}

fn set() {
    AT_EXIT.with(|at_exit| *at_exit.borrow_mut() = Some(AtExit));
}

#[test]
fn in_the_destructor_of_a_thread_local() {
    gthread::green_local! {
        static COUNT: RefCell<Vec<u64>> = RefCell::default();
    }
    if is_child() {
        let expected = |threads: u64| 300 * threads;
        // gthread's own thread-locals do not exist yet, end before, and end after.
        std::thread::spawn(set).join().unwrap();
        assert_eq!(ENDED.load(Ordering::SeqCst), expected(1));
        let set_first = || {
            set();
            COUNT.with_borrow_mut(|count| count.push(work()));
        };
        std::thread::spawn(set_first).join().unwrap();
        assert_eq!(ENDED.load(Ordering::SeqCst), expected(2));
        let set_last = || {
            COUNT.with_borrow_mut(|count| count.push(work()));
            set();
        };
        std::thread::spawn(set_last).join().unwrap();
        assert_eq!(ENDED.load(Ordering::SeqCst), expected(3));
        // Many at once.
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(set_first)).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(ENDED.load(Ordering::SeqCst), expected(11));
        return;
    }
    watchdog(LIMIT, || assert_passed(&rerun!("in_the_destructor_of_a_thread_local", &[])));
}

/// The locals of a runtime's own OS threads end with them, when no green thread is there any more.
#[test]
fn in_the_destructor_of_a_workers_thread_local() {
    if is_child() {
        runtime(1).run(set);
        assert_eq!(ENDED.load(Ordering::SeqCst), 300);
        return;
    }
    watchdog(LIMIT, || {
        assert_passed(&rerun!("in_the_destructor_of_a_workers_thread_local", &[]));
    });
}
