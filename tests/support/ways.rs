//! One body, many ways to run it: on OS threads, on green threads with one worker and with two, and
//! with peers of both kinds.
//!
//! A test is a function of a [`Way`], which starts its peers; [`every_way!`](crate::every_way) makes a
//! `#[test]` of each way, named for the function and the way. What a body expects must hold in all of
//! them: they are the claim that a channel does not care who uses it.
//!
//! Here and in the tests nothing sleeps and hopes. [`Way::lull`] makes it likely that peers have got
//! as far as they can, so that the interesting case is the usual one; what is asserted holds without.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Result;
use std::time::Duration;

use crate::{LIMIT, Watchdog};

/// How a body runs, and its peers.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    kind: Kind,
    stack: Option<usize>,
    /// Peers that have not ended, where that must be awaited.
    live: Option<&'static AtomicUsize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Os,
    Green(usize),
    Mixed,
}

impl Way {
    /// On OS threads alone: the test's own, and one for each peer.
    pub const OS: Self = Self { kind: Kind::Os, stack: None, live: None };

    /// In a green thread, as are the peers; every other peer goes on to an OS thread of its own, so
    /// that both kinds meet.
    pub const MIXED: Self = Self { kind: Kind::Mixed, stack: None, live: None };

    /// In a green thread, as are the peers, with so many workers.
    pub const fn green(workers: usize) -> Self {
        Self { kind: Kind::Green(workers), stack: None, live: None }
    }

    /// The same way, with stacks of so many bytes for the peers.
    pub fn with_stack(mut self, bytes: usize) -> Self {
        self.stack = Some(bytes);
        self
    }

    /// Whether threads run at once, beside this one.
    pub fn is_parallel(self) -> bool {
        self.kind != Kind::Green(1)
    }

    /// Runs a body this way, under a watchdog.
    pub fn run(self, body: impl FnOnce(Self) + Send) {
        let _watchdog = Watchdog::new(LIMIT, format_args!("{:?}", self.kind));
        match self.kind {
            Kind::Os => body(self),
            Kind::Green(workers) => crate::runtime(workers).run(|| body(self)),
            Kind::Mixed => {
                // A detached peer on an OS thread holds a worker, and may need green ones to end: the
                // runtime goes on until all have ended.
                let live: &AtomicUsize = Box::leak(Box::default());
                crate::runtime(2).run(|| {
                    body(Self { live: Some(live), ..self });
                    self.until(|| live.load(Ordering::Acquire) == 0);
                });
            }
        }
    }

    /// Starts a peer.
    #[track_caller]
    pub fn spawn<T: Send + 'static>(self, f: impl FnOnce() -> T + Send + 'static) -> Peer<T> {
        if self.kind == Kind::Os {
            let mut builder = std::thread::Builder::new();
            if let Some(bytes) = self.stack {
                builder = builder.stack_size(bytes);
            }
            return Peer(Inner::Os(builder.spawn(f).unwrap()));
        }
        let mut builder = gthread::Builder::new();
        if let Some(bytes) = self.stack {
            builder = builder.stack_size(bytes);
        }
        let goes_on_to_os = self.takes_os_turn();
        let ended = self.live.map(Live::new);
        let f = move || {
            let _ended = ended;
            f()
        };
        let f = move || if goes_on_to_os { on_os_thread(self.stack, f) } else { f() };
        Peer(Inner::Green(builder.spawn(f).unwrap()))
    }

    /// Runs `f` with a scope whose peers may borrow, and waits for them.
    pub fn scope<'env, T>(self, f: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> T + Send) -> T {
        if self.kind == Kind::Os {
            std::thread::scope(|scope| f(Scope { way: self, inner: ScopeInner::Os(scope) }))
        } else {
            gthread::scope(|scope| f(Scope { way: self, inner: ScopeInner::Green(scope) }))
        }
    }

    /// Lets others run.
    pub fn yield_now(self) {
        if self.kind == Kind::Os {
            std::thread::yield_now();
        } else {
            gthread::yield_now();
        }
    }

    /// Does nothing for a while.
    pub fn sleep(self, duration: Duration) {
        if self.kind == Kind::Os {
            std::thread::sleep(duration);
        } else {
            gthread::sleep(duration);
        }
    }

    /// Lets others run until `event`.
    pub fn until(self, event: impl Fn() -> bool) {
        let mut tries = 0_u32;
        while !event() {
            tries += 1;
            // Others may need the processor that this would keep busy.
            if tries.is_multiple_of(256) {
                self.sleep(Duration::from_micros(50));
            } else {
                self.yield_now();
            }
        }
    }

    /// Gives peers the time to block where they will. Likely, not certain: nothing may depend on it.
    pub fn lull(self) {
        for _ in 0..20 {
            self.yield_now();
        }
        if self.is_parallel() {
            self.sleep(Duration::from_micros(300));
        }
    }

    fn takes_os_turn(self) -> bool {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        self.kind == Kind::Mixed && TURN.fetch_add(1, Ordering::Relaxed).is_multiple_of(2)
    }
}

/// Counts a peer as long as it lives.
struct Live(&'static AtomicUsize);

impl Live {
    fn new(count: &'static AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Runs `f` on an OS thread of its own and waits for it, off the worker.
fn on_os_thread<T: Send>(stack: Option<usize>, f: impl FnOnce() -> T + Send) -> T {
    let mut builder = std::thread::Builder::new();
    if let Some(bytes) = stack {
        builder = builder.stack_size(bytes);
    }
    gthread::blocking(|| {
        std::thread::scope(|scope| {
            let thread = builder.spawn_scoped(scope, f).unwrap();
            thread.join().unwrap_or_else(|payload| resume_unwind(payload))
        })
    })
}

/// A peer that a [`Way`] has started.
#[derive(Debug)]
pub struct Peer<T>(Inner<T>);

#[derive(Debug)]
enum Inner<T> {
    Os(std::thread::JoinHandle<T>),
    Green(gthread::JoinHandle<T>),
}

impl<T> Peer<T> {
    /// Waits for its end, and gives its result or its panic.
    pub fn try_join(self) -> Result<T> {
        match self.0 {
            Inner::Os(handle) => handle.join(),
            Inner::Green(handle) => handle.join(),
        }
    }

    /// Waits for its result. Panics as it did.
    pub fn join(self) -> T {
        self.try_join().unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            Inner::Os(handle) => handle.is_finished(),
            Inner::Green(handle) => handle.is_finished(),
        }
    }
}

/// What starts peers that borrow. See [`Way::scope`].
#[derive(Clone, Copy, Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    way: Way,
    inner: ScopeInner<'scope, 'env>,
}

#[derive(Clone, Copy, Debug)]
enum ScopeInner<'scope, 'env: 'scope> {
    Os(&'scope std::thread::Scope<'scope, 'env>),
    Green(&'scope gthread::Scope<'scope, 'env>),
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a peer that ends before the scope does.
    #[track_caller]
    pub fn spawn<T: Send + 'scope>(
        self,
        f: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedPeer<'scope, T> {
        match self.inner {
            ScopeInner::Os(scope) => ScopedPeer(ScopedInner::Os(scope.spawn(f))),
            ScopeInner::Green(scope) => {
                let goes_on_to_os = self.way.takes_os_turn();
                let f = move || if goes_on_to_os { on_os_thread(None, f) } else { f() };
                ScopedPeer(ScopedInner::Green(scope.spawn(f)))
            }
        }
    }
}

/// A peer that a [`Scope`] has started.
#[derive(Debug)]
pub struct ScopedPeer<'scope, T>(ScopedInner<'scope, T>);

#[derive(Debug)]
enum ScopedInner<'scope, T> {
    Os(std::thread::ScopedJoinHandle<'scope, T>),
    Green(gthread::ScopedJoinHandle<'scope, T>),
}

impl<T> ScopedPeer<'_, T> {
    /// Waits for its result. Panics as it did.
    pub fn join(self) -> T {
        let result = match self.0 {
            ScopedInner::Os(handle) => handle.join(),
            ScopedInner::Green(handle) => handle.join(),
        };
        result.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            ScopedInner::Os(handle) => handle.is_finished(),
            ScopedInner::Green(handle) => handle.is_finished(),
        }
    }
}

/// Makes tests of functions of a [`Way`]: `os`, `green_1`, `green_2` and `mixed`, in a module with the
/// function's name.
///
/// # Examples
///
/// ```
/// use gthread_tests::{Way, channel, every_way};
///
/// every_way!(a_value_arrives);
///
/// fn a_value_arrives(on: Way) {
///     let (tx, rx) = channel::bounded(0);
///     let peer = on.spawn(move || tx.send(1));
///     assert_eq!(rx.recv(), Ok(1));
///     peer.join().unwrap();
/// }
/// ```
#[macro_export]
macro_rules! every_way {
    ($($body:ident),* $(,)?) => {
        $crate::every_way!(@each [os OS] [green_1 green(1)] [green_2 green(2)] [mixed MIXED]; $($body)*);
    };
    (@each $([$($way:tt)*])*; ) => {};
    (@each $([$($way:tt)*])*; $body:ident $($rest:ident)*) => {
        mod $body {
            $($crate::every_way!(@test $body $($way)*);)*
        }
        $crate::every_way!(@each $([$($way)*])*; $($rest)*);
    };
    (@test $body:ident $name:ident $($way:tt)*) => {
        #[test]
        fn $name() {
            $crate::Way::$($way)*.run(super::$body);
        }
    };
}

/// As [`every_way!`], and `green_8`: for what is about many at once.
#[macro_export]
macro_rules! every_way_crowded {
    ($($body:ident),* $(,)?) => {
        $crate::every_way!(@each
            [os OS] [green_1 green(1)] [green_2 green(2)] [green_8 green(8)] [mixed MIXED]; $($body)*);
    };
}

/// For a timeout that is not to end: the watchdog is quicker.
pub const LONG: Duration = Duration::from_secs(3600);

/// For a timeout that is to end.
pub const SHORT: Duration = Duration::from_millis(3);

/// Capacities that differ in kind: rendezvous, one place, a few, no limit.
pub const CAPACITIES: [Option<usize>; 4] = [Some(0), Some(1), Some(7), None];

/// A channel of this capacity.
pub fn make<T>(
    capacity: Option<usize>,
) -> (crate::channel::Sender<T>, crate::channel::Receiver<T>) {
    capacity.map_or_else(crate::channel::unbounded, crate::channel::bounded)
}

/// A channel of this capacity in which a send blocks; none if it has no limit.
pub fn full<T: Clone>(
    capacity: Option<usize>,
    filler: T,
) -> Option<(crate::channel::Sender<T>, crate::channel::Receiver<T>)> {
    let (tx, rx) = make(Some(capacity?));
    while tx.try_send(filler.clone()).is_ok() {}
    Some((tx, rx))
}
