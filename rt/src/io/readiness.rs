//! The readiness of a descriptor in one direction, and the threads that wait for it.
//!
//! A thread tries its system call, and waits only if that would block. The kernel reports edges: once
//! when there is something to read, and not again before a `read` has found nothing. So the word
//! remembers an edge until a thread has found that nothing is left. It holds
//! - `READY`: there was an edge, and no thread has found since that nothing is left;
//! - `CLOSED`: no more edges will come, so "fewer bytes than asked for" does not mean that nothing is
//!   left;
//! - a *tick*, which counts edges.
//!
//! # Why no edge is lost
//!
//! ```text
//!     thread                                   poller
//!     T1  load the word: READY, tick t         P1  take the edge from the kernel
//!     T2  system call: would block             P2  set READY, tick t + 1
//!     T3  clear READY if the tick is still t   P3  wake a waiting thread, if there is one
//!     T4  enter the list, and sleep
//!         unless the word is READY
//! ```
//!
//! If the data came before T2, the call found it. If it came after T2, there is an edge after T2, and
//! P2 comes after T1. If P2 comes before T3, T3 fails and the thread tries again. Otherwise P2 sets
//! READY after T3; then T4 sees it, or P3 sees the thread in the list (`wait/list.rs`). The same holds
//! for a call that returns fewer bytes than it was asked for, where that means that nothing was left.
//!
//! # The baton
//!
//! An edge wakes one of the waiting threads, since one may be all that can use it. That thread has the
//! *baton*: if it leaves something behind, it wakes the next. So every thread that has waited calls
//! [`Direction::pass_on`] when it ends its operation, with whatever outcome: it wakes the next thread
//! if the word is still READY. A thread that gives up waiting while it is woken has been woken: it
//! tries once more, and passes on.

use std::panic::Location;
use std::time::Instant;

use crate::loom::{AtomicUsize, Ordering};
use crate::runtime::handle;
use crate::task::header::Wake;
use crate::task::wait_info::Reason;
use crate::wait::list::WaitList;
use crate::wait::queue::WOKEN;

const READY: usize = 1;
const CLOSED: usize = 2;
const TICK: usize = 4;

/// A word that was read before a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(usize);

impl Seen {
    pub(crate) fn is_ready(self) -> bool {
        self.0 & READY != 0
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Direction {
    word: AtomicUsize,
    waiting: WaitList,
}

impl Direction {
    pub(crate) fn new() -> Self {
        Self { word: AtomicUsize::new(0), waiting: WaitList::new() }
    }

    /// Forgets everything, for another descriptor. No thread waits.
    pub(crate) fn reset(&self) {
        self.word.store(0, Ordering::Relaxed);
    }

    pub(crate) fn see(&self) -> Seen {
        Seen(self.word.load(Ordering::SeqCst))
    }

    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.is_waited_for()
    }

    /// Notes that a system call after `seen` would have blocked.
    pub(crate) fn clear(&self, seen: Seen) {
        let Seen(word) = seen;
        let (ordering, failure) = (Ordering::SeqCst, Ordering::Relaxed);
        // If it fails, there was another edge.
        let _ = self.word.compare_exchange(word, word & !READY, ordering, failure);
    }

    /// Notes that a system call after `seen` has left nothing, although it did not block.
    pub(crate) fn drain(&self, seen: Seen) {
        if seen.0 & CLOSED == 0 {
            self.clear(seen);
        }
    }

    /// Notes an edge, and wakes a thread; all threads if it was the last edge.
    pub(crate) fn set(&self, closed: bool, wake: &mut dyn FnMut(Wake)) {
        let flags = if closed { READY | CLOSED } else { READY };
        let set = |word: usize| Some((word | flags).wrapping_add(TICK));
        let _ = self.word.fetch_update(Ordering::SeqCst, Ordering::Relaxed, set);
        if closed {
            self.waiting.take_all(WOKEN, wake);
        } else {
            self.waiting.take_one(wake);
        }
    }

    /// Wakes all waiting threads: they are to look again at what they wait for, and until when.
    pub(crate) fn rouse(&self) {
        self.waiting.notify_all(WOKEN);
    }

    /// Wakes all waiting threads: they are to try again, although there may have been no edge.
    pub(crate) fn retry(&self) {
        self.set(true, &mut handle::wake);
    }

    /// Waits for an edge, or until `deadline`; returns at once if there was one, or if `changed`
    /// returns `true`. May return early. A thread that makes `changed` return `true` then
    /// [rouses](Self::rouse) those that wait.
    pub(crate) fn wait(
        &self,
        changed: impl FnOnce() -> bool,
        reason: Reason,
        deadline: Option<Instant>,
        site: &'static Location<'static>,
    ) {
        self.waiting.wait(|| self.see().is_ready() || changed(), reason, deadline, site);
    }

    /// Passes the baton, at the end of an operation that has waited.
    pub(crate) fn pass_on(&self) {
        if self.see().is_ready() {
            self.waiting.notify_one();
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::loom::Mutex;
    use loom::sync::Arc;
    use loom::thread;

    /// A pipe as the kernel has it: an edge is owed for each write that a read has not seen.
    struct Pipe {
        kernel: Mutex<Kernel>,
        readable: Direction,
    }

    #[derive(Default)]
    struct Kernel {
        bytes: usize,
        edge: bool,
    }

    impl Pipe {
        fn new() -> Arc<Self> {
            Arc::new(Self { kernel: Mutex::default(), readable: Direction::new() })
        }

        fn write(&self, bytes: usize) {
            let mut kernel = self.kernel.lock().unwrap();
            kernel.bytes += bytes;
            kernel.edge = true;
        }

        /// Takes an edge, if there is one.
        fn poll(&self) {
            if std::mem::take(&mut self.kernel.lock().unwrap().edge) {
                self.readable.set(false, &mut handle::wake);
            }
        }

        fn try_read(&self) -> bool {
            let mut kernel = self.kernel.lock().unwrap();
            let ready = kernel.bytes > 0;
            kernel.bytes -= usize::from(ready);
            ready
        }

        /// Reads one byte. With a deadline that is over, returns `false` if there is none.
        fn read(&self, deadline: Option<Instant>) -> bool {
            let mut waited = false;
            let mut over = false;
            let read = loop {
                let seen = self.readable.see();
                if seen.is_ready() || over {
                    if self.try_read() {
                        break true;
                    }
                    self.readable.clear(seen);
                }
                if over {
                    break false;
                }
                self.readable.wait(|| false, Reason::Read, deadline, Location::caller());
                waited = true;
                over = deadline.is_some();
            };
            if waited {
                self.readable.pass_on();
            }
            read
        }
    }

    fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.check(model);
    }

    /// The second byte comes while the first is read.
    #[test]
    fn no_edge_is_lost() {
        check(3, || {
            let pipe = Pipe::new();
            let reader = {
                let pipe = Arc::clone(&pipe);
                thread::spawn(move || {
                    pipe.read(None);
                    pipe.read(None);
                })
            };
            for _ in 0..2 {
                pipe.write(1);
                pipe.poll();
            }
            reader.join().unwrap();
        });
    }

    /// One edge for two bytes: the first reader wakes the second.
    #[test]
    fn the_baton_is_passed() {
        check(2, || {
            let pipe = Pipe::new();
            let readers = [(); 2].map(|()| {
                let pipe = Arc::clone(&pipe);
                thread::spawn(move || pipe.read(None))
            });
            pipe.write(2);
            pipe.poll();
            readers.into_iter().for_each(|reader| assert!(reader.join().unwrap()));
        });
    }

    /// A reader whose time is over keeps the edge from no other.
    #[test]
    fn one_that_gives_up_passes_the_baton() {
        check(2, || {
            let pipe = Pipe::new();
            let quitter = {
                let pipe = Arc::clone(&pipe);
                thread::spawn(move || {
                    if pipe.read(Some(Instant::now())) {
                        // For the other.
                        pipe.write(1);
                        pipe.poll();
                    }
                })
            };
            let reader = {
                let pipe = Arc::clone(&pipe);
                thread::spawn(move || pipe.read(None))
            };
            pipe.write(1);
            pipe.poll();
            quitter.join().unwrap();
            assert!(reader.join().unwrap());
        });
    }
}
