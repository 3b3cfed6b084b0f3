// Uses all that is stable of `std::thread` in Rust 1.95. Included twice: `thread` and `thread_local` are std's, or ours.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::io;
use std::num::NonZero;
use std::panic::{catch_unwind, panic_any, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use thread::{
    AccessError, Builder, JoinHandle, LocalKey, Result, Scope, ScopedJoinHandle, Thread, ThreadId,
};

pub(crate) fn all() {
    names_have_their_types();
    threads_give_results();
    panics_are_results();
    builders_do_as_they_are_told();
    threads_may_borrow();
    unchecked_threads_may_borrow();
    scopes_mind_panics();
    handles_tell_who();
    a_token_is_kept();
    time_passes();
    panicking_is_seen();
    variables_are_of_their_thread();
    variables_are_gone_in_the_end();
}

#[expect(deprecated, reason = "they are there")]
#[expect(clippy::type_complexity, reason = "written out, to be seen")]
fn names_have_their_types() {
    let _: fn(Duration) = thread::sleep;
    let _: fn(u32) = thread::sleep_ms;
    let _: fn(Duration) = thread::park_timeout;
    let _: fn(u32) = thread::park_timeout_ms;
    let _: fn() = thread::park;
    let _: fn() = thread::yield_now;
    let _: fn() -> Thread = thread::current;
    let _: fn() -> bool = thread::panicking;
    let _: fn() -> io::Result<NonZero<usize>> = thread::available_parallelism;
    let _: fn(fn() -> u8) -> JoinHandle<u8> = thread::spawn::<fn() -> u8, u8>;
    let _: fn() -> Builder = Builder::new;
    let _: fn(Builder, String) -> Builder = Builder::name;
    let _: fn(Builder, usize) -> Builder = Builder::stack_size;
    let _: fn(Builder, fn() -> u8) -> io::Result<JoinHandle<u8>> = Builder::spawn::<fn() -> u8, u8>;
    let _: unsafe fn(Builder, fn() -> u8) -> io::Result<JoinHandle<u8>> =
        Builder::spawn_unchecked::<fn() -> u8, u8>;
    let _: fn(JoinHandle<u8>) -> Result<u8> = JoinHandle::join;
    let _: fn(&JoinHandle<u8>) -> bool = JoinHandle::is_finished;
    let _: fn(&JoinHandle<u8>) -> &Thread = JoinHandle::thread;
    let _: fn(ScopedJoinHandle<'static, u8>) -> Result<u8> = ScopedJoinHandle::join;
    let _: fn(&ScopedJoinHandle<'static, u8>) -> bool = ScopedJoinHandle::is_finished;
    let _: for<'a> fn(&'a ScopedJoinHandle<'static, u8>) -> &'a Thread = ScopedJoinHandle::thread;
    let _: fn(&Thread) = Thread::unpark;
    let _: fn(&Thread) -> ThreadId = Thread::id;
    let _: fn(&Thread) -> Option<&str> = Thread::name;
    let _: fn(&'static LocalKey<u8>, fn(&u8) -> u8) -> u8 = LocalKey::with;
    let _: fn(&'static LocalKey<u8>, fn(&u8) -> u8) -> std::result::Result<u8, AccessError> =
        LocalKey::try_with;

    fn spawn_in<'scope>(scope: &'scope Scope<'scope, '_>) -> ScopedJoinHandle<'scope, u8> {
        Builder::new().spawn_scoped(scope, || 1).unwrap()
    }
    assert_eq!(thread::scope(|scope| spawn_in(scope).join().unwrap()), 1);
    thread::sleep_ms(1);
    thread::park_timeout_ms(1);
    assert!(thread::available_parallelism().unwrap().get() > 0);
}

fn threads_give_results() {
    let threads: Vec<_> = (0..50).map(|n| thread::spawn(move || n * n)).collect();
    let sum: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(sum, 40_425);
    // One that is not joined goes on.
    let done = Arc::new(AtomicBool::new(false));
    drop(thread::spawn({
        let done = Arc::clone(&done);
        move || done.store(true, Ordering::Release)
    }));
    while !done.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let handle = thread::spawn(|| ());
    while !handle.is_finished() {
        thread::sleep(Duration::from_micros(10));
    }
    assert!(format!("{handle:?}").starts_with("JoinHandle"));
}

fn panics_are_results() {
    let payload = thread::spawn(|| panic_any(7_u8)).join().unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&7_u8));
    let message = thread::spawn(|| resume_unwind(Box::new("text"))).join();
    let message: Result<()> = message;
    assert_eq!(message.unwrap_err().downcast_ref(), Some(&"text"));
}

fn builders_do_as_they_are_told() {
    let named = Builder::new().name("named".to_owned()).stack_size(1 << 20);
    let handle = named.spawn(|| thread::current().name().map(str::to_owned)).unwrap();
    assert_eq!(handle.thread().name(), Some("named"));
    assert_eq!(handle.join().unwrap().as_deref(), Some("named"));
    assert!(thread::spawn(|| thread::current().name().is_none()).join().unwrap());
    let wrong = || Builder::new().name("\0".to_owned()).spawn(|| ()).is_ok();
    assert!(catch_unwind(wrong).is_err());
}

fn threads_may_borrow() {
    let (mut sum, numbers) = (0, [1, 2, 3]);
    let total = thread::scope(|scope| {
        let handles: Vec<ScopedJoinHandle<'_, i32>> =
            numbers.iter().map(|number| scope.spawn(move || *number)).collect();
        scope.spawn(|| sum += numbers.len());
        let named = Builder::new().name("in scope".to_owned());
        let named = named.spawn_scoped(scope, || {
            scope.spawn(|| ());
            thread::current().id()
        });
        let named = named.unwrap();
        assert_eq!(named.thread().name(), Some("in scope"));
        let id = named.thread().id();
        assert_eq!(named.join().unwrap(), id);
        handles.into_iter().map(|handle| handle.join().unwrap()).sum::<i32>()
    });
    assert_eq!((sum, total), (3, 6));
}

fn unchecked_threads_may_borrow() {
    let text = String::from("borrowed");
    // SAFETY: it is joined below.
    let handle = unsafe { Builder::new().spawn_unchecked(|| text.len()) }.unwrap();
    assert_eq!(handle.join().unwrap(), text.len());
}

fn scopes_mind_panics() {
    // One that was joined does not count, one that was not does.
    let joined = thread::scope(|scope| scope.spawn(|| resume_unwind(Box::new(1))).join());
    let joined: Result<()> = joined;
    assert!(joined.is_err());
    let all_ended = AtomicUsize::new(0);
    let scope = || {
        thread::scope(|scope| {
            scope.spawn(|| resume_unwind(Box::new(1)));
            scope.spawn(|| all_ended.fetch_add(1, Ordering::Relaxed));
        });
    };
    let payload = catch_unwind(std::panic::AssertUnwindSafe(scope)).unwrap_err();
    assert!(payload.is::<&str>() || payload.is::<String>());
    assert_eq!(all_ended.into_inner(), 1);
}

fn handles_tell_who() {
    let me = thread::current();
    assert_eq!(me.id(), thread::current().id());
    assert_eq!(me.clone().id(), me.id());
    let mut ids: HashSet<ThreadId> = HashSet::from([me.id()]);
    for _ in 0..20 {
        let handle = thread::spawn(|| thread::current().id());
        let id = handle.thread().id();
        assert_eq!(handle.join().unwrap(), id);
        assert!(ids.insert(id), "used again");
    }
    assert!(format!("{me:?}").contains(&format!("{:?}", me.id())));
    // May be taken across a `catch_unwind`.
    assert!(catch_unwind(move || me.unpark()).is_ok());
    thread::park();
}

fn a_token_is_kept() {
    thread::current().unpark();
    thread::current().unpark();
    thread::park();
    let start = Instant::now();
    thread::park_timeout(Duration::from_millis(2));
    // It may come back too early, and not much too late; one of many comes back in time.
    assert!(start.elapsed() < Duration::from_secs(20));
    let flag = Arc::new(AtomicBool::new(false));
    let parked = thread::spawn({
        let flag = Arc::clone(&flag);
        move || {
            while !flag.load(Ordering::Acquire) {
                thread::park();
            }
        }
    });
    flag.store(true, Ordering::Release);
    parked.thread().unpark();
    parked.join().unwrap();
}

fn time_passes() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(3));
    thread::sleep(Duration::ZERO);
    assert!(start.elapsed() >= Duration::from_millis(3));
}

fn panicking_is_seen() {
    /// Notes what it sees in its drop: here, in another thread, and again after that.
    struct Looks(Arc<[AtomicBool; 3]>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.0[0].store(thread::panicking(), Ordering::Relaxed);
            let other = thread::spawn(thread::panicking).join().unwrap();
            self.0[1].store(other, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
            self.0[2].store(thread::panicking(), Ordering::Relaxed);
        }
    }
    let look = |panics: bool| {
        let seen = Arc::new([const { AtomicBool::new(false) }; 3]);
        let looks = Looks(Arc::clone(&seen));
        let handle = thread::spawn(move || {
            let _looks = looks;
            if panics {
                resume_unwind(Box::new(()));
            }
        });
        // While it unwinds it is alone in that.
        assert!(!thread::panicking());
        while !handle.is_finished() {
            assert!(!thread::panicking());
            thread::yield_now();
        }
        assert_eq!(handle.join().is_err(), panics);
        assert!(!thread::panicking());
        seen.each_ref().map(|seen| seen.load(Ordering::Relaxed))
    };
    assert_eq!(look(false), [false; 3]);
    assert_eq!(look(true), [true, false, true]);
    let caught = || {
        let _ = catch_unwind(|| resume_unwind(Box::new(())));
        thread::panicking()
    };
    assert!(!thread::spawn(caught).join().unwrap());
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(1) };
    /// Made when it is first asked for.
    pub static LIST: RefCell<Vec<u32>> = RefCell::new(vec![COUNT.get()]);
}

fn variables_are_of_their_thread() {
    COUNT.set(10);
    LIST.with_borrow_mut(|list| list.push(2));
    let other = || {
        assert_eq!(COUNT.get(), 1);
        COUNT.set(5);
        assert_eq!((COUNT.replace(6), COUNT.take(), COUNT.get()), (5, 6, 0));
        assert_eq!(LIST.take(), [0]);
        LIST.set(vec![7, 8]);
        assert_eq!(LIST.replace(vec![9]), [7, 8]);
        LIST.with_borrow(Vec::len) + LIST.with(|list| list.borrow().len())
    };
    assert_eq!(thread::spawn(other).join().unwrap(), 2);
    assert_eq!(COUNT.get(), 10);
    assert_eq!(LIST.with_borrow(Vec::len), 2);
    assert_eq!(LIST.try_with(|list| list.borrow()[1]), Ok(2));
    // For whom runs next here.
    COUNT.set(1);
    LIST.set(vec![1]);
}

fn variables_are_gone_in_the_end() {
    /// In its drop it asks for itself.
    struct AtEnd(Arc<AtomicUsize>);
    impl Drop for AtEnd {
        fn drop(&mut self) {
            let error: AccessError = AT_END.try_with(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), "already destroyed");
            self.0.fetch_add(1, Ordering::Release);
        }
    }
    thread_local! {
        static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let at_end = AtEnd(Arc::clone(&drops));
    thread::spawn(move || AT_END.set(Some(at_end))).join().unwrap();
    while drops.load(Ordering::Acquire) == 0 {
        thread::yield_now();
    }
}
