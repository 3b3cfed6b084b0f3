//! Create, resume, suspend, finish.

use crate::FiberStack;
use crate::switch;

/// How a [`Fiber::resume`] came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<C> {
    /// The fiber suspended itself with this command; it can be resumed.
    Suspended(C),
    /// The entry function returned. Never resume it again; its stack is free.
    Finished,
}

/// What a fiber begins with. It must not unwind.
pub type Entry<C> = unsafe extern "C" fn(Suspender<C>, *mut ());

/// A computation on a stack of its own, which speaks to whoever resumes it in commands `C`.
///
/// A fiber is never unwound from outside and its drop does nothing: a suspended fiber that is dropped
/// leaks what its frames own, as a detached OS thread does at process exit.
///
/// `C` must be no larger than a register.
pub struct Fiber<C: Copy + 'static>(switch::Fiber<C>);

// SAFETY: what is under a fiber is !Send because the frames on its stack may hold values that
// must stay on their thread. Here:
// - The closure that starts a fiber is `Send`: gthread's spawn functions demand it.
// - What the running fiber *then* puts in its frames may be !Send (an `Rc`, a `MutexGuard`), and does
//   move with the whole stack. That is sound for values that are !Send because another thread might
//   hold an alias of them: all frames of a fiber move together and run on one OS thread at a time,
//   with a happens-before edge from each suspension to the next resumption (the queues between
//   workers release and acquire). It is not sound for values tied to the identity of the OS thread,
//   that is, references into its thread-locals. Rust cannot rule these out today; gthread's
//   docs/soundness.md states it beside `go!`, and pinned green threads are exempt.
// - The switch saves registers to the fiber's own stack; it keeps nothing in OS-thread state.
unsafe impl<C: Copy + Send> Send for Fiber<C> {}

impl<C: Copy> Fiber<C> {
    /// A fiber that will call `entry(suspender, data)` on `stack` when first resumed.
    ///
    /// # Safety
    ///
    /// - `entry` must not unwind.
    /// - `data` must be what `entry` expects, from now until `entry` has returned.
    #[inline]
    pub unsafe fn new(stack: FiberStack, entry: Entry<C>, data: *mut ()) -> Self {
        const { assert!(size_of::<C>() <= size_of::<usize>(), "a command is passed in a register") };
        // SAFETY: the caller's.
        Self(unsafe { switch::Fiber::new(stack, entry, data) })
    }

    /// Runs the fiber until it suspends or finishes. A switch there and back.
    ///
    /// # Panics
    ///
    /// If the fiber has finished.
    #[inline]
    pub fn resume(&mut self) -> Switch<C> {
        self.0.resume()
    }

    /// Whether the fiber is suspended somewhere: it has been resumed, and has not finished.
    pub fn is_suspended(&self) -> bool {
        self.0.is_suspended()
    }

    /// Gives up a fiber that has finished, so that its stack may be used for something else. Only
    /// AddressSanitizer needs this: it remembers where the frames of the fiber had variables.
    ///
    /// # Panics
    ///
    /// If the fiber has not finished.
    #[inline]
    pub fn retire(self) {
        self.0.retire();
    }

    /// Gives up a fiber that was never resumed: its entry is not called.
    ///
    /// # Panics
    ///
    /// If the fiber was resumed.
    pub fn discard(self) {
        self.0.discard();
    }
}

/// The running fiber's way back to whoever resumed it.
///
/// It points to a fixed place of the fiber's stack, so it stays valid from the first resume until the
/// entry function returns, on whichever OS thread the fiber runs.
#[derive(Debug)]
#[repr(transparent)]
pub struct Suspender<C: Copy + 'static>(pub(crate) switch::Suspender<C>);

impl<C: Copy> Clone for Suspender<C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Copy> Copy for Suspender<C> {}

impl<C: Copy> Suspender<C> {
    /// Suspends the running fiber: `command` is what its [`Fiber::resume`] returns. Comes back when
    /// it is resumed, perhaps on another OS thread.
    ///
    /// # Safety
    ///
    /// Called on the fiber that this suspender was made for, while it runs.
    #[inline(always)]
    pub unsafe fn suspend(self, command: C) {
        // SAFETY: the caller's.
        unsafe { self.0.suspend(command) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gthread_stacks::{GuardConfig, GuardKind, Pool, SizeClass, Slot};

    fn on_slot(run: impl FnOnce(&Slot)) {
        let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
        let slot = pool.take(SizeClass::of_size(64 << 10).unwrap()).unwrap();
        run(&slot);
        pool.put(slot);
    }

    unsafe extern "C" fn count_to(suspender: Suspender<usize>, limit: *mut ()) {
        // SAFETY: the tests below pass a `usize` that outlives the fiber.
        let limit = unsafe { *limit.cast::<usize>() };
        for n in 0..limit {
            // SAFETY: this is the fiber of `suspender`.
            unsafe { suspender.suspend(n) };
        }
    }

    #[test]
    fn a_fiber_yields_its_commands_and_finishes() {
        on_slot(|slot| {
            let mut limit = 3_usize;
            // SAFETY: the slot outlives the fiber and nothing else uses it; `count_to` does not
            // unwind and `limit` is what it expects.
            let mut fiber = unsafe {
                Fiber::new(FiberStack::new(slot, 100), count_to, (&raw mut limit).cast())
            };
            assert!(!fiber.is_suspended());
            for n in 0..3 {
                assert_eq!(fiber.resume(), Switch::Suspended(n));
                assert!(fiber.is_suspended());
            }
            assert_eq!(fiber.resume(), Switch::Finished);
            assert!(!fiber.is_suspended());
        });
    }

    #[test]
    fn a_fiber_that_is_given_up_does_not_run() {
        unsafe extern "C" fn entry(_: Suspender<usize>, _: *mut ()) {
            unreachable!("it was not resumed");
        }
        on_slot(|slot| {
            // SAFETY: as above.
            let stack = unsafe { FiberStack::new(slot, 0) };
            // SAFETY: the entry asks for nothing.
            unsafe { Fiber::new(stack, entry, std::ptr::null_mut()) }.discard();
        });
    }

    #[test]
    fn a_fiber_resumes_on_another_os_thread() {
        on_slot(|slot| {
            let mut limit = 100_usize;
            // SAFETY: as above.
            let mut fiber =
                unsafe { Fiber::new(FiberStack::new(slot, 0), count_to, (&raw mut limit).cast()) };
            for n in 0..100 {
                fiber = std::thread::scope(|scope| {
                    scope
                        .spawn(move || {
                            assert_eq!(fiber.resume(), Switch::Suspended(n));
                            fiber
                        })
                        .join()
                        .unwrap()
                });
            }
        });
    }

    #[test]
    fn the_stack_pointer_is_in_the_fiber_stack() {
        unsafe extern "C" fn entry(_: Suspender<usize>, out: *mut ()) {
            // SAFETY: the test passes a `usize`.
            unsafe { *out.cast::<usize>() = crate::stack_pointer() };
        }
        on_slot(|slot| {
            let mut sp = 0_usize;
            // SAFETY: as above.
            let stack = unsafe { FiberStack::new(slot, 0) };
            // SAFETY: as above; this second view only answers `contains`.
            let view = unsafe { FiberStack::new(slot, 0) };
            // SAFETY: as above.
            let mut fiber = unsafe { Fiber::new(stack, entry, (&raw mut sp).cast()) };
            assert_eq!(fiber.resume(), Switch::Finished);
            fiber.retire();
            assert!(view.contains(sp));
            assert!(!view.contains(crate::stack_pointer()));
        });
    }

    #[test]
    #[should_panic(expected = "leave no stack")]
    fn too_much_above_the_base_is_refused() {
        on_slot(|slot| {
            // SAFETY: refused before anything uses it.
            let _ = unsafe { FiberStack::new(slot, 61 << 10) };
        });
    }
}
