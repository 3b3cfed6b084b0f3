//! What is over leaves nothing on the heap. Alone in its process: it counts what is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::Duration;

use gthread::context::Context;
use gthread_tests::{LIMIT, LONG, for_workers, until, watchdog};

struct Counting;

static LIVE: AtomicIsize = AtomicIsize::new(0);

/// The tests count one after the other.
static TURN: Mutex<()> = Mutex::new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Does something many times, and sees that nothing of it is left, at once. (The tests' own threads allocate too.)
#[track_caller]
fn leaves_nothing(what: impl Fn()) {
    const TIMES: isize = 5_000;
    (0..100).for_each(|_| what());
    let before = LIVE.load(Ordering::Relaxed);
    (0..TIMES).for_each(|_| what());
    let left = LIVE.load(Ordering::Relaxed) - before;
    assert!(left < 8 * TIMES, "{TIMES} times left {left} bytes");
}

#[test]
fn a_call_after_a_context_that_was_stopped() {
    let _turn = TURN.lock();
    let stop_it = |ctx: &Context| {
        assert!(ctx.after_func(|| ()).stop());
        let large = vec![0_u8; 200];
        assert!(ctx.after_func(move || drop(large)).stop());
    };
    let stop_many = || {
        let (ctx, _cancel) = Context::background().with_cancel();
        leaves_nothing(|| stop_it(&ctx));
        // With a deadline one thread waits for it, for all.
        let (ctx, _cancel) = ctx.with_timeout(LONG);
        leaves_nothing(|| stop_it(&ctx));
        leaves_nothing(|| stop_it(&Context::background()));
    };
    watchdog(LIMIT, stop_many);
    for_workers(|runtime| {
        runtime.run(stop_many);
        // The one that waited for the deadline ends.
        until(|| runtime.dump().threads.is_empty());
    });
}

gthread::green_local! {
    static TEXT: String = "text".repeat(10);
}

#[test]
fn an_os_thread_that_has_used_gthread() {
    let _turn = TURN.lock();
    watchdog(LIMIT, || {
        leaves_nothing(|| {
            let used = || {
                gthread::park_timeout(Duration::from_nanos(1));
                gthread::current().id()
            };
            std::thread::spawn(used).join().unwrap();
            // In whatever order they end.
            std::thread::spawn(|| TEXT.with(|text| text.len())).join().unwrap();
            std::thread::spawn(move || (TEXT.with(|text| text.len()), used())).join().unwrap();
        });
    });
}
