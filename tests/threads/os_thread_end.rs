//! The end of an OS thread: in the destructors of its thread-locals it is still the thread that it was.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use gthread::channel::{Sender, bounded, unbounded};
use gthread::sync::{Mutex, Once};
use gthread::{ThreadId, current, go};
use gthread_tests::{LIMIT, watchdog};

/// Calls something in the destructor of a thread-local.
struct AtEnd(Option<Box<dyn FnOnce()>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}

thread_local! {
    static FIRST: Cell<Option<AtEnd>> = const { Cell::new(None) };
    static LAST: Cell<Option<AtEnd>> = const { Cell::new(None) };
}

/// Runs `body` at the end of an OS thread: in the destructor of a variable that was touched before the thread used
/// gthread, which runs later than that of one that was touched after, and in the latter too. Each is told the
/// thread's id.
fn at_the_end(body: impl Fn(ThreadId) + Send + Sync + 'static) {
    watchdog(LIMIT, || {
        let body = Arc::new(body);
        let thread = std::thread::spawn(move || {
            FIRST.set(None);
            let id = current().id();
            for variable in [&FIRST, &LAST] {
                let body = Arc::clone(&body);
                variable.set(Some(AtEnd(Some(Box::new(move || body(id))))));
            }
        });
        thread.join().unwrap();
    });
}

#[test]
fn it_keeps_its_id() {
    let (ids, seen) = unbounded();
    at_the_end(move |id| ids.send([id, current().id(), current().id()]).unwrap());
    let seen: Vec<_> = seen.iter().collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().flatten().all(|&id| id == seen[0][0]), "{seen:?}");
}

#[test]
fn it_keeps_its_token() {
    at_the_end(|_| {
        // Left before it parks, for itself to find.
        current().unpark();
        gthread::park();
        // Woken from both kinds of threads.
        let me = current();
        go!(move || me.unpark());
        gthread::park();
        let me = current();
        let waker = std::thread::spawn(move || me.unpark());
        gthread::park();
        waker.join().unwrap();
    });
}

#[test]
fn a_token_from_before_is_there_in_the_destructor() {
    watchdog(LIMIT, || {
        let thread = std::thread::spawn(|| {
            FIRST.set(None);
            current().unpark();
            FIRST.set(Some(AtEnd(Some(Box::new(gthread::park)))));
        });
        thread.join().unwrap();
    });
}

#[test]
fn a_handle_from_before_wakes_it_in_the_destructor() {
    watchdog(LIMIT, || {
        let (handles, handle) = bounded(1);
        let (parks, about_to_park) = bounded(0);
        let thread = std::thread::spawn(move || {
            FIRST.set(None);
            handles.send(current()).unwrap();
            FIRST.set(Some(AtEnd(Some(Box::new(move || {
                parks.send(()).unwrap();
                gthread::park();
            })))));
        });
        let handle = handle.recv().unwrap();
        about_to_park.recv().unwrap();
        handle.unpark();
        thread.join().unwrap();
    });
}

#[test]
fn it_waits_as_ever() {
    let mutex = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&mutex);
    at_the_end(move |_| {
        // In a channel, in both directions, with and without a deadline; for a lock; for a thread.
        let (to, from) = bounded(0);
        let (back, answer) = bounded(0);
        let green = go!(move || back.send(from.recv().unwrap() + 1).unwrap());
        to.send(1).unwrap();
        assert_eq!(answer.recv(), Ok(2));
        green.join().unwrap();
        assert!(answer.recv_timeout(Duration::from_millis(1)).is_err());

        let holder = go!({
            let (mutex, to) = (Arc::clone(&counted), to);
            move || {
                let mut count = mutex.lock().unwrap();
                drop(to);
                gthread::sleep(Duration::from_millis(1));
                *count += 1;
            }
        });
        *counted.lock().unwrap() += 1;
        holder.join().unwrap();
        assert_eq!(go!(|| 7).join().unwrap(), 7);
    });
    assert_eq!(*mutex.lock().unwrap(), 4);
}

#[test]
fn a_once_knows_that_it_waits_for_itself() {
    let (panicked, panics) = unbounded();
    at_the_end(move |_| {
        let once = Once::new();
        let again = || once.call_once(|| once.call_once(|| {}));
        panicked.send(catch_unwind(AssertUnwindSafe(again)).is_err()).unwrap();
    });
    assert_eq!(panics.iter().collect::<Vec<_>>(), [true, true]);
}

/// A destructor of a key, as a C library has them: they run after those of thread-locals.
#[test]
fn it_keeps_its_id_in_the_destructors_of_keys() {
    type Report = (Sender<ThreadId>, Cell<u32>);

    /// A key whose destructor reports, in two rounds.
    fn key() -> libc::pthread_key_t {
        let mut key = 0;
        // SAFETY: the place is ours.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(report)) }, 0);
        key
    }

    fn set(key: libc::pthread_key_t, report: Box<(libc::pthread_key_t, Report)>) {
        // SAFETY: the key was made by `key`.
        assert_eq!(unsafe { libc::pthread_setspecific(key, Box::into_raw(report).cast()) }, 0);
    }

    unsafe extern "C" fn report(value: *mut c_void) {
        // SAFETY: the value is what `set` has leaked, and was set once since.
        let report = unsafe { Box::from_raw(value.cast::<(libc::pthread_key_t, Report)>()) };
        let (ids, rounds) = &report.1;
        ids.send(current().id()).unwrap();
        if rounds.replace(rounds.get() + 1) == 0 {
            set(report.0, report);
        }
    }

    watchdog(LIMIT, || {
        // Of two keys one is older than gthread's, if no other test has used gthread yet.
        let before = key();
        let (ids, seen) = unbounded();
        let thread = std::thread::spawn(move || {
            let id = current().id();
            for key in [before, key()] {
                set(key, Box::new((key, (ids.clone(), Cell::new(0)))));
            }
            id
        });
        let id = thread.join().unwrap();
        let seen: Vec<_> = seen.iter().collect();
        assert_eq!(seen, [id; 4]);
    });
}

/// A `green_local!` that is initialized at the end is dropped while gthread, and std's `current` and `park`, still serve,
/// whether or not the thread had used gthread before.
#[test]
fn what_is_initialized_at_the_end_may_use_gthread_as_it_is_dropped() {
    thread_local! {
        static ENDED: Cell<Option<Sender<ThreadId>>> = const { Cell::new(None) };
    }
    struct Waits(Sender<ThreadId>);
    impl Drop for Waits {
        fn drop(&mut self) {
            let (tx, rx) = bounded::<u8>(0);
            assert!(rx.recv_timeout(Duration::from_millis(1)).is_err());
            let sender = go!(move || tx.send(1));
            assert_eq!(rx.recv(), Ok(1));
            sender.join().unwrap().unwrap();
            self.0.send(current().id()).unwrap();
        }
    }
    gthread::green_local! {
        static LATE: Waits = Waits(ENDED.take().expect("set before"));
        static BEFORE: Cell<u8> = const { Cell::new(0) };
    }
    watchdog(LIMIT, || {
        for used in [false, true] {
            let (ids, seen) = unbounded();
            std::thread::spawn(move || {
                FIRST.set(None);
                if used {
                    BEFORE.with(|n| n.set(1));
                }
                FIRST.set(Some(AtEnd(Some(Box::new(move || {
                    ENDED.set(Some(ids));
                    LATE.with(|_| ());
                })))));
            })
            .join()
            .unwrap();
            assert_eq!(seen.iter().count(), 1);
        }
    });
}
