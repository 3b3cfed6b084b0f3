//! What may be sent and shared, and what may cross a `catch_unwind`. What may not is in the
//! `compile_fail` examples of this package's library.

use std::cell::RefCell;
use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use gthread::context::{CancelGuard, Context};
use gthread::sync::{
    Barrier, BarrierWaitResult, Condvar, LazyLock, Mutex, MutexGuard, Once, OnceLock, OnceState,
    RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore, SemaphorePermit, WaitGroup,
    WaitTimeoutResult,
};
use gthread::{
    Builder, ErrGroup, JoinHandle, LocalKey, Metrics, Runtime, RuntimeBuilder, Scope,
    ScopedJoinHandle, Thread, ThreadId, channel,
};

type NotSend = Rc<()>;
type NotSync = std::cell::Cell<u8>;

fn send_sync_debug<T: Send + Sync + Debug>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn clone_hash<T: Clone + Copy + Eq + std::hash::Hash>() {}
fn default_clone<T: Default + Clone>() {}

/// Checked by the compiler.
#[test]
fn types_are_send_and_sync() {
    send_sync_debug::<Runtime>();
    send_sync_debug::<RuntimeBuilder>();
    send_sync_debug::<Metrics>();
    send_sync_debug::<Builder>();
    send_sync_debug::<Thread>();
    send_sync_debug::<ThreadId>();
    send_sync_debug::<WaitGroup>();
    // As std's, whatever the result is: it was `Send` when the thread was started.
    send_sync_debug::<JoinHandle<u8>>();
    send_sync_debug::<JoinHandle<NotSync>>();
    send_sync_debug::<JoinHandle<NotSend>>();
    send_sync_debug::<ScopedJoinHandle<'_, u8>>();
    send_sync_debug::<Scope<'_, '_>>();
    // Values pass through, so they need be `Send` only.
    send_sync_debug::<channel::Sender<NotSync>>();
    send_sync_debug::<channel::Receiver<NotSync>>();
    unwind_safe::<channel::Sender<NotSync>>();
    unwind_safe::<channel::Receiver<NotSync>>();
    send_sync_debug::<channel::Select<'_>>();
    default_clone::<channel::Select<'_>>();
    clone_hash::<ThreadId>();
    default_clone::<WaitGroup>();
}

/// The errors are crossbeam-channel's own types, so they convert and print as those.
#[test]
fn errors_are_errors() {
    fn error<T: std::error::Error + Send>(error: T) -> String {
        error.to_string()
    }
    let (tx, rx) = channel::bounded::<u8>(1);
    assert!(error(rx.try_recv().unwrap_err()).contains("empty"));
    tx.send(1).unwrap();
    assert!(error(tx.try_send(2).unwrap_err()).contains("full"));
    drop(rx);
    assert!(error(tx.send(3).unwrap_err()).contains("disconnected"));
}

/// As std's types of the same names.
#[test]
fn locks_are_send_and_sync() {
    fn send<T: Send + ?Sized>() {}
    fn sync<T: Sync + ?Sized>() {}
    fn unpin<T: Unpin>() {}
    // The data need be `Send` only, where one thread has them at a time.
    send_sync_debug::<Mutex<NotSync>>();
    send::<RwLock<NotSync>>();
    send_sync_debug::<RwLock<u8>>();
    send::<OnceLock<NotSync>>();
    send_sync_debug::<OnceLock<u8>>();
    send_sync_debug::<LazyLock<u8>>();
    // A function that is called once need not be `Sync`.
    sync::<LazyLock<u8, Box<dyn FnOnce() -> u8 + Send>>>();
    send_sync_debug::<Condvar>();
    send_sync_debug::<Once>();
    send_sync_debug::<Barrier>();
    send_sync_debug::<BarrierWaitResult>();
    send_sync_debug::<WaitTimeoutResult>();
    send_sync_debug::<Semaphore>();
    // A permit is not bound to its thread.
    send_sync_debug::<SemaphorePermit<'_>>();
    send::<OnceState>();
    // Guards are, but shared they give shared data.
    sync::<MutexGuard<'_, u8>>();
    sync::<RwLockReadGuard<'_, u8>>();
    sync::<RwLockWriteGuard<'_, u8>>();
    unpin::<(Mutex<u8>, RwLock<u8>, Condvar, Once, OnceLock<u8>, LazyLock<u8>, Barrier, Semaphore)>(
    );
}

#[test]
fn locks_are_unwind_safe() {
    unwind_safe::<Mutex<NotSync>>();
    unwind_safe::<Mutex<&mut u8>>();
    unwind_safe::<RwLock<NotSync>>();
    unwind_safe::<RwLock<&mut u8>>();
    unwind_safe::<Condvar>();
    unwind_safe::<Once>();
    unwind_safe::<OnceLock<u8>>();
    unwind_safe::<LazyLock<u8>>();
    unwind_safe::<Barrier>();
    unwind_safe::<Semaphore>();
    unwind_safe::<MutexGuard<'_, u8>>();
    unwind_safe::<RwLockReadGuard<'_, u8>>();
    unwind_safe::<RwLockWriteGuard<'_, u8>>();
}

/// The error goes from a member to who waits; a variable may hold what belongs to its thread.
#[test]
fn groups_and_variables_are_send_and_sync() {
    send_sync_debug::<ErrGroup<NotSync>>();
    unwind_safe::<ErrGroup<NotSync>>();
    send_sync_debug::<Context>();
    unwind_safe::<Context>();
    unwind_safe::<CancelGuard>();
    send_sync_debug::<LocalKey<std::rc::Rc<u8>>>();
    unwind_safe::<LocalKey<NotSync>>();
}

/// A guard for reading may stand in for one of a shorter-lived type.
#[test]
fn read_guards_are_covariant() {
    fn shorter<'a>(guard: RwLockReadGuard<'a, &'static str>) -> RwLockReadGuard<'a, &'a str> {
        guard
    }
    let lock = RwLock::new("static");
    assert_eq!(*shorter(lock.read().unwrap()), "static");
}

/// Errors of poisoning are std's, so that code which names those compiles with either.
#[test]
fn errors_of_poisoning_are_stds() {
    fn value<T>(result: std::sync::LockResult<T>) -> T {
        result.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    fn may_be_had<T>(result: std::sync::TryLockResult<T>) -> bool {
        !matches!(result, Err(gthread::sync::TryLockError::WouldBlock))
    }
    let (mutex, lock) = (Mutex::new(1), RwLock::new(2));
    assert_eq!(*value(mutex.lock()) + *value(lock.read()), 3);
    assert!(may_be_had(mutex.try_lock()) && may_be_had(lock.try_write()));
}

/// Belongs to the thread that made it, which alone may drop it.
struct Own(ThreadId);

impl Own {
    fn new() -> Rc<Self> {
        Rc::new(Self(gthread::current().id()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // A panic might be lost.
        if self.0 != gthread::current().id() {
            eprintln!("dropped by another thread: {:?}", self.0);
            std::process::abort();
        }
    }
}

gthread::green_local! {
    static KEPT: RefCell<Vec<Rc<Own>>> = const { RefCell::new(Vec::new()) };
}

/// Whatever does not ask for `Send`, on threads that move from worker to worker.
#[test]
fn what_need_not_be_send_stays_with_its_thread() {
    fn visit_all() {
        let own = Own::new();
        let copy = || {
            gthread::yield_now();
            own.clone()
        };
        let mut copies = Vec::new();
        // Calls on this very thread.
        copies.push(gthread::with_stack(100_000, copy));
        copies.push(gthread::blocking(copy));
        copies.push(gthread::no_switch(|| own.clone()));
        let (once, cell) = (Once::new(), OnceLock::new());
        once.call_once(|| copies.push(copy()));
        cell.get_or_init(copy);
        let lazy = LazyLock::new({
            let own = own.clone();
            move || (copy(), own)
        });
        copies.push(lazy.0.clone());
        // Never made.
        drop(LazyLock::new({
            let own = own.clone();
            move || own
        }));
        // Locks, and waits with them.
        let (mutex, lock, changed) = (Mutex::new(copy()), RwLock::new(copy()), Condvar::new());
        let guard = mutex.lock().unwrap();
        let timeout = Duration::from_micros(50);
        let waited = changed.wait_timeout_while(guard, timeout, |own| Rc::strong_count(own) > 1);
        copies.push(waited.unwrap().0.clone());
        copies.push(lock.read().unwrap().clone());
        *lock.write().unwrap() = copy();
        // A frame around others.
        gthread::scope(|s| {
            s.spawn(gthread::yield_now);
            copies.push(copy());
        });
        // A variable, and messages to itself.
        KEPT.with_borrow_mut(|kept| kept.push(copy()));
        let (tx, rx) = channel::bounded(2);
        tx.send(copy()).unwrap();
        tx.send(copy()).unwrap();
        copies.push(channel::select! { recv(rx) -> own => own.unwrap() });
        // One stays in the channel.
        assert_eq!(Rc::strong_count(&own), copies.len() + 8);
        drop((copies, cell, lazy, mutex, lock, tx, rx));
        // A panic takes all that is left with it.
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _own = copy();
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
        assert_eq!(Rc::strong_count(&own), 2);
    }
    gthread_tests::for_workers(|runtime| {
        let threads = (0..30).map(|_| runtime.spawn(visit_all)).collect::<Vec<_>>();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
