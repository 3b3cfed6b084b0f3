//! The switch by corosensei, the default.
//!
//! It supports every architecture that gthread supports, and AddressSanitizer.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::fiber::{Entry, Switch};
use crate::{FiberStack, fiber};

pub(crate) struct Fiber<C: 'static> {
    /// Not dropped with the fiber: corosensei would unwind a coroutine that has not finished.
    coroutine: ManuallyDrop<Coroutine<(), C, (), FiberStack>>,
}

impl<C: Copy> Fiber<C> {
    /// # Safety
    ///
    /// The same as that of [`fiber::Fiber::new`].
    #[inline]
    pub(crate) unsafe fn new<E: Entry<C>>(stack: FiberStack, data: *mut ()) -> Self {
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), C>, ()| {
            let suspender = fiber::Suspender(Suspender(NonNull::from(yielder)));
            // SAFETY: a coroutine calls its closure once, and on its own stack. The suspender is
            // made of the coroutine's yielder. `data` is the pointer that `new` was given.
            unsafe { E::run(suspender, data) }
        });
        Self { coroutine: ManuallyDrop::new(coroutine) }
    }

    #[inline]
    pub(crate) fn resume(&mut self) -> Switch<C> {
        match self.coroutine.resume(()) {
            CoroutineResult::Yield(command) => Switch::Suspended(command),
            CoroutineResult::Return(()) => Switch::Finished,
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.coroutine.started() && !self.coroutine.done()
    }

    #[inline]
    pub(crate) fn retire(self) {
        // `into_stack` asserts the same, but its panic would drop the coroutine, and so unwind the
        // fiber.
        assert!(self.coroutine.done(), "a fiber that has not finished has frames");
        let _stack = ManuallyDrop::into_inner(self.coroutine).into_stack();
    }

    pub(crate) fn discard(self) {
        assert!(!self.coroutine.started(), "a fiber that was resumed has frames");
        drop(ManuallyDrop::into_inner(self.coroutine));
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Suspender<C: Copy + 'static>(NonNull<Yielder<(), C>>);

impl<C: Copy> Suspender<C> {
    /// # Safety
    ///
    /// The same as that of [`fiber::Suspender::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend(self, command: C) {
        // SAFETY: the yielder lives at the base of the stack that the caller runs on, until the
        // entry function returns.
        unsafe { self.0.as_ref() }.suspend(command);
    }
}
