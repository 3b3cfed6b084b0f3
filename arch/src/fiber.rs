//! Fibers: create, resume, suspend, finish.

use crate::FiberStack;
use crate::switch;

/// The reason why a [`Fiber::resume`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch<C> {
    /// The fiber suspended itself with this command. It can be resumed.
    Suspended(C),
    /// The entry function returned. The fiber cannot be resumed again, and its stack is free.
    Finished,
}

/// The code that a fiber runs.
pub trait Entry<C: Copy + 'static> {
    /// Runs on the fiber's stack, beginning when the fiber is first resumed.
    ///
    /// The fiber has finished when this function returns.
    ///
    /// # Safety
    ///
    /// - This function is called once for each fiber.
    /// - `suspender` is that fiber's.
    /// - `data` is the pointer that the fiber was [created](Fiber::new) with.
    unsafe fn run(suspender: Suspender<C>, data: *mut ());
}

/// A computation on a stack of its own, which passes a command `C` to its resumer at each
/// suspension.
///
/// A fiber is never unwound from outside, and dropping it does nothing. A suspended fiber that is
/// dropped leaks the values that its frames own, like a detached OS thread at process exit.
///
/// `C` must be no larger than a register.
#[repr(transparent)]
pub struct Fiber<C: Copy + 'static>(switch::Fiber<C>);

// SAFETY: a fiber is not `Send` by itself, like corosensei's `Coroutine`, because the frames on its
// stack may hold values that must stay on their thread. The thread that owns the fiber, and no
// other, can resume it, ask whether it is suspended, retire it, discard it, or drop it. The last
// three run none of the fiber's code, and drop nothing that the fiber owns. Resuming a fiber runs
// code on that thread which uses the values that the fiber owns and borrows, and returns a command,
// which is `Send`. The values are sound to move for these reasons:
// - The fiber's data, with which it begins, may be used on any thread: `Fiber::new` demands it, and
//   gthread's spawn functions guarantee it because their closure is `Send`.
// - The running fiber may *then* put values in its frames that are not `Send` (an `Rc`, a
//   `MutexGuard`), and these move with the whole stack. That is sound for values that are not
//   `Send` because another thread might hold an alias of them: all frames of a fiber move together
//   and run on one OS thread at a time, with a happens-before edge from each suspension to the next
//   resumption (the queues between workers release and acquire). It is not sound for values tied to
//   the identity of the OS thread, that is, references into its thread-locals. Rust cannot rule
//   these out today. gthread's docs/soundness.md states the rule beside `go!`, and pinned green
//   threads are exempt.
// - A switch saves registers to the stack that it leaves. It keeps nothing in OS-thread state.
unsafe impl<C: Copy + Send> Send for Fiber<C> {}

impl<C: Copy> Fiber<C> {
    /// Creates a fiber that runs `E` on `stack` when it is first resumed.
    ///
    /// # Safety
    ///
    /// - `E::run` must not unwind.
    /// - `data` must be a pointer that `E::run` expects, from now until `E::run` has returned.
    /// - It must be sound to call `E::run`, and to continue it after each suspension, on any OS
    ///   thread: the fiber may be sent, and resumed on the thread that it was sent to.
    #[inline]
    pub unsafe fn new<E: Entry<C>>(stack: FiberStack, data: *mut ()) -> Self {
        const { assert!(size_of::<C>() <= size_of::<usize>(), "a command is passed in a register") };
        // SAFETY: the caller upholds the same contract.
        Self(unsafe { switch::Fiber::new::<E>(stack, data) })
    }

    /// Runs the fiber until it suspends or finishes.
    ///
    /// That is a switch to the fiber, and a switch back.
    ///
    /// # Panics
    ///
    /// If the fiber has finished.
    #[inline]
    pub fn resume(&mut self) -> Switch<C> {
        self.0.resume()
    }

    /// Returns `true` if the fiber is suspended: it has been resumed, and has not finished.
    pub fn is_suspended(&self) -> bool {
        self.0.is_suspended()
    }

    /// Consumes a fiber that has finished, so that its stack may be used for something else.
    ///
    /// Only AddressSanitizer needs this: it remembers where the frames of the fiber had variables.
    ///
    /// # Panics
    ///
    /// If the fiber has not finished.
    #[inline]
    pub fn retire(self) {
        self.0.retire();
    }

    /// Consumes a fiber that was never resumed, without calling its entry.
    ///
    /// # Panics
    ///
    /// If the fiber was resumed.
    pub fn discard(self) {
        self.0.discard();
    }
}

/// A handle by which the running fiber switches back to its resumer.
///
/// It points to a fixed place of the fiber's stack. So it stays valid from the first resumption
/// until the entry function returns, on whichever OS thread the fiber runs.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Suspender<C: Copy + 'static>(pub(crate) switch::Suspender<C>);

impl<C: Copy> Suspender<C> {
    /// Suspends the running fiber, and has its [`Fiber::resume`] return `command`.
    ///
    /// This function returns when the fiber is resumed, perhaps on another OS thread.
    ///
    /// # Safety
    ///
    /// The caller runs on the fiber that this suspender was created for.
    #[inline(always)]
    pub unsafe fn suspend(self, command: C) {
        // SAFETY: the caller upholds the same contract.
        unsafe { self.0.suspend(command) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use gthread_stacks::{GuardConfig, GuardKind, Pool, SizeClass, Slot};

    fn take_slot(pool: &Pool) -> Slot {
        pool.take(SizeClass::of_usable(60 << 10, pool.guard_size()).unwrap()).unwrap()
    }

    fn on_slot(run: impl FnOnce(&Slot)) {
        let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
        let slot = take_slot(&pool);
        run(&slot);
        pool.put(slot);
    }

    /// Suspends `limit` times, with the number of the suspension as the command.
    struct CountTo;

    impl Entry<usize> for CountTo {
        unsafe fn run(suspender: Suspender<usize>, limit: *mut ()) {
            // SAFETY: the tests pass a pointer to a `usize` that outlives the fiber.
            let limit = unsafe { *limit.cast::<usize>() };
            for n in 0..limit {
                // SAFETY: this code runs on the fiber of `suspender`.
                unsafe { suspender.suspend(n) };
            }
        }
    }

    /// Calls a closure.
    struct Call<F>(F);

    impl<C: Copy + 'static, F: FnMut(Suspender<C>)> Entry<C> for Call<F> {
        unsafe fn run(suspender: Suspender<C>, f: *mut ()) {
            // SAFETY: `fiber_of` passes a pointer to a closure of this type, which nothing else
            // uses.
            unsafe { (*f.cast::<F>())(suspender) };
        }
    }

    /// Creates a fiber that calls `f` on `slot`.
    ///
    /// # Safety
    ///
    /// - Slot and closure belong to the fiber as long as it may be resumed.
    /// - The closure does not unwind.
    unsafe fn fiber_of<C: Copy + 'static, F: FnMut(Suspender<C>)>(
        slot: &Slot,
        f: &mut F,
    ) -> Fiber<C> {
        // SAFETY: slot and closure are the fiber's, and the closure does not unwind, as the caller
        // says.
        unsafe { Fiber::new::<Call<F>>(FiberStack::new(slot, 0), (&raw mut *f).cast()) }
    }

    #[test]
    fn a_fiber_yields_its_commands_and_finishes() {
        on_slot(|slot| {
            let mut limit = 3_usize;
            // SAFETY: the slot outlives the fiber, and nothing else uses it. The entry does not
            // unwind, and expects a pointer to a `usize`.
            let mut fiber = unsafe {
                Fiber::new::<CountTo>(FiberStack::new(slot, 100), (&raw mut limit).cast())
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
    fn a_discarded_fiber_does_not_run() {
        on_slot(|slot| {
            let mut entry = |_: Suspender<usize>| unreachable!("it was not resumed");
            // SAFETY: the fiber is never resumed.
            unsafe { fiber_of(slot, &mut entry) }.discard();
        });
    }

    #[test]
    #[should_panic(expected = "has frames")]
    fn a_fiber_that_has_run_is_not_discarded() {
        on_slot(|slot| {
            // SAFETY: this code runs on the fiber of the suspender.
            let mut entry = |suspender: Suspender<u8>| unsafe { suspender.suspend(1) };
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            assert_eq!(fiber.resume(), Switch::Suspended(1));
            fiber.discard();
        });
    }

    /// Neither a fiber that was never resumed, nor a suspended one. Nothing is unwound.
    #[test]
    fn a_fiber_that_has_not_finished_is_not_retired() {
        struct OnDrop<'a>(&'a Cell<bool>);
        impl Drop for OnDrop<'_> {
            fn drop(&mut self) {
                self.0.set(true);
            }
        }
        let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
        for resumes in 0..2 {
            // The slot is never given back, because the frames stay.
            let slot = take_slot(&pool);
            let dropped = Cell::new(false);
            let mut entry = |suspender: Suspender<u8>| {
                let _on_drop = OnDrop(&dropped);
                // SAFETY: this code runs on the fiber of the suspender.
                unsafe { suspender.suspend(1) };
            };
            // SAFETY: the fiber is not resumed after slot or closure has ended, and the closure
            // does not unwind.
            let mut fiber = unsafe { fiber_of(&slot, &mut entry) };
            (0..resumes).for_each(|_| assert_eq!(fiber.resume(), Switch::Suspended(1)));
            let retire = AssertUnwindSafe(|| fiber.retire());
            let panic = catch_unwind(retire).expect_err("it has frames");
            assert_eq!(panic.downcast_ref(), Some(&"a fiber that has not finished has frames"));
            assert!(!dropped.get());
        }
    }

    #[test]
    #[should_panic(expected = "resume")]
    fn a_fiber_that_has_finished_is_not_resumed() {
        on_slot(|slot| {
            let mut entry = |_: Suspender<u8>| ();
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            assert_eq!(fiber.resume(), Switch::Finished);
            fiber.resume();
        });
    }

    #[test]
    fn commands_may_be_smaller_than_a_register() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Small {
            Nothing,
            Pair(u8, u16),
        }
        on_slot(|slot| {
            let commands = [Small::Pair(1, 2), Small::Nothing, Small::Pair(3, 4)];
            // SAFETY: this code runs on the fiber of the suspender.
            let suspend = |suspender: Suspender<_>, command| unsafe { suspender.suspend(command) };
            let mut entry = |suspender| commands.iter().for_each(|&one| suspend(suspender, one));
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            for command in commands {
                assert_eq!(fiber.resume(), Switch::Suspended(command));
            }
            assert_eq!(fiber.resume(), Switch::Finished);
        });
    }

    /// More values than there are registers, of both kinds, are in use across each switch. They are
    /// in use on both sides, at different depths.
    #[test]
    fn values_in_use_survive_a_switch() {
        fn mix(depth: u64, seed: u64, switch: &mut dyn FnMut(u64)) -> u64 {
            let mut whole = [0_u64; 24];
            let mut real = [0.0_f64; 24];
            for (n, place) in (seed..).zip(&mut whole) {
                *place = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            }
            for round in 0..3 {
                for n in 0..24 {
                    real[n] += (whole[n] >> 40) as f64;
                    whole[n] = whole[n].rotate_left(7) ^ whole[(n + 5) % 24];
                }
                switch(depth);
                if depth > 0 {
                    whole[0] ^= mix(depth - 1, seed + round, switch);
                }
            }
            let real: f64 = real.iter().sum();
            whole.iter().fold(real as u64, |sum, &n| sum.rotate_left(1) ^ n)
        }
        on_slot(|slot| {
            let expected = [mix(4, 1, &mut |_| ()), mix(3, 2, &mut |_| ())];
            let mut result = 0;
            let mut entry = |suspender: Suspender<u64>| {
                // SAFETY: this code runs on the fiber of the suspender.
                result = mix(4, 1, &mut |depth| unsafe { suspender.suspend(depth) });
            };
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            let mut finished = false;
            let ours = mix(3, 2, &mut |_| finished = fiber.resume() == Switch::Finished);
            while !finished {
                finished = fiber.resume() == Switch::Finished;
            }
            assert_eq!([result, ours], expected);
        });
    }

    #[test]
    fn a_fiber_begins_on_an_aligned_stack() {
        #[repr(align(16))]
        struct Aligned(#[expect(dead_code, reason = "only its address matters")] u8);
        on_slot(|slot| {
            let mut address = 0;
            let mut entry = |_: Suspender<usize>| {
                let aligned = Aligned(1);
                address = std::hint::black_box(&raw const aligned as usize);
            };
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            assert_eq!(fiber.resume(), Switch::Finished);
            assert_eq!(std::hint::black_box(address) % 16, 0);
        });
    }

    /// A backtrace from the frame of the entry comes to an end.
    #[test]
    fn a_backtrace_ends() {
        on_slot(|slot| {
            let mut text = String::new();
            let mut entry = |_: Suspender<usize>| {
                text = std::backtrace::Backtrace::force_capture().to_string();
            };
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
            assert_eq!(fiber.resume(), Switch::Finished);
            assert!(text.contains("a_backtrace_ends"), "{text}");
        });
    }

    #[test]
    fn a_fiber_resumes_on_another_os_thread() {
        on_slot(|slot| {
            let mut limit = 100_usize;
            // SAFETY: the slot outlives the fiber, and nothing else uses it. The entry does not
            // unwind, expects a pointer to a `usize`, and may run on any thread.
            let mut fiber =
                unsafe { Fiber::new::<CountTo>(FiberStack::new(slot, 0), (&raw mut limit).cast()) };
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
        on_slot(|slot| {
            let mut sp = 0_usize;
            let mut entry = |_: Suspender<usize>| sp = crate::stack_pointer();
            // SAFETY: only `contains` is called on this view, which uses no memory.
            let view = unsafe { FiberStack::new(slot, 0) };
            // SAFETY: slot and closure outlive the fiber, and the closure does not unwind.
            let mut fiber = unsafe { fiber_of(slot, &mut entry) };
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
            // SAFETY: the stack is refused before anything uses it.
            let _ = unsafe { FiberStack::new(slot, slot.usable() - 4095) };
        });
    }
}
