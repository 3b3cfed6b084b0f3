//! Stacks for users: how much of one was used, and a larger one for a while.

use std::io;
use std::mem::ManuallyDrop;

use gthread_arch::stacks::{AlternateStack, Pool, thread_high_water};
use gthread_arch::{FiberStack, on_stack, stack_pointer};

use crate::diagnostics::stack_overflow;
use crate::runtime::handle::{put_slot, take_slot};
use crate::runtime::shared::Shared;
use crate::runtime::{config, context};
use crate::task::header::{TaskRef, Temporary, control_block_of};

/// Returns the maximal number of bytes of its stack that the calling thread has used so far.
///
/// In a green thread it is counted from the top of its stack, where the runtime keeps its control
/// block and closure. So this value would have been enough for
/// [`Builder::stack_size`](crate::Builder::stack_size). Inside [`with_stack`] it is that of the
/// temporary stack. On an OS thread it is that of the OS thread's stack, in whole pages; zero on
/// systems that do not report the stack (systems other than Linux).
///
/// It is an upper bound: stacks are reused, and memory that an earlier thread has used counts too.
/// That does not happen if stacks are profiled
/// ([`RuntimeBuilder::profile_stacks`](crate::RuntimeBuilder::profile_stacks), or
/// `GTHREAD_STACK_PROFILE=1`), which empties each stack first. Does not block; makes a system call
/// for each megabyte of stack.
///
/// # Examples
///
/// ```
/// let used = gthread::run(|| {
///     let large = std::hint::black_box([1_u8; 50_000]);
///     assert_eq!(large[0], 1);
///     gthread::stack_high_water()
/// });
/// assert!(used > 50_000);
/// ```
pub fn stack_high_water() -> usize {
    // SAFETY: the pointer is null or was set by a `with_stack` further up this very stack, whose
    // frame owns the record.
    let temporary = unsafe { context::temporary().as_ref() }.map(|temporary| &temporary.slot);
    let running = context::running();
    match temporary.or(running.as_ref().map(|task| task.slot())) {
        // SAFETY: the calling thread runs on this stack, and no other thread does.
        Some(slot) => unsafe { slot.high_water() },
        None => thread_high_water(stack_pointer()),
    }
}

/// Calls `f` on a temporary stack with at least `size` bytes to use, and returns its result.
///
/// For the one deep recursion or foreign call for which the stacks of green threads, or an OS
/// thread's, are too small. Up to 1 GiB; only touched memory is used up, and it is returned
/// afterwards. `f` runs at once, in the calling thread, and may do all that the caller may: block,
/// spawn, panic (the panic propagates to the caller), or call `with_stack` again. Not a suspension
/// point by itself. Costs tens of nanoseconds in a green thread if such a stack is cached, a few
/// microseconds otherwise.
///
/// # Panics
///
/// If `f` panics. If `size` is more than 1 GiB, or no such stack can be had: the message says why.
///
/// # Examples
///
/// ```
/// fn depth(n: u64) -> u64 {
///     std::hint::black_box(if n == 0 { 0 } else { 1 + depth(n - 1) })
/// }
///
/// let thread = gthread::go!(|| gthread::with_stack(64 << 20, || depth(100_000)));
/// assert_eq!(thread.join().unwrap(), 100_000);
/// ```
#[track_caller]
pub fn with_stack<F, R>(size: usize, f: F) -> R
where
    F: FnOnce() -> R,
{
    match Borrowed::new(size) {
        Ok(stack) => stack.call(f),
        Err(error) => panic!("failed to get a stack of {size} bytes: {error}"),
    }
}

/// A temporary stack, and the owner that it is returned to after the call.
struct Borrowed {
    stack: ManuallyDrop<Temporary>,
    owner: Owner,
}

enum Owner {
    /// The runtime of the calling green thread.
    Green(TaskRef),
    /// No runtime: an OS thread maps the stack for this call.
    Os(
        Box<Pool>,
        #[expect(dead_code, reason = "kept until the call is over")] Option<AlternateStack>,
    ),
}

impl Borrowed {
    fn new(size: usize) -> io::Result<Self> {
        let (slot, owner) = match context::running() {
            Some(task) => {
                let shared = Shared::of(&task);
                (take_slot(shared, shared.class_for(Some(size))?)?, Owner::Green(task))
            }
            None => {
                let pool = Box::new(Pool::new(config::guard(None)?));
                let slot = pool.take(config::class_of(size, pool.guard_size())?)?;
                stack_overflow::explain_overflows();
                let alternate = if AlternateStack::is_present() {
                    None
                } else {
                    AlternateStack::install().ok()
                };
                (slot, Owner::Os(pool, alternate))
            }
        };
        let stack = Temporary { slot, below: context::temporary() };
        Ok(Self { stack: ManuallyDrop::new(stack), owner })
    }

    fn call<R>(self, f: impl FnOnce() -> R) -> R {
        // The place of a control block stays unused: no task lives on this stack, and it must not
        // look as if one did.
        let above = control_block_of(&self.stack.slot);
        // SAFETY: the slot stays out of its pool until `self` is dropped, which is after the call,
        // and no other thread uses it.
        let stack = unsafe { FiberStack::new(&self.stack.slot, above) };
        context::set_temporary(&raw const *self.stack);
        let result = on_stack(stack, f);
        // Dropped here, or during unwinding: in either case while `self` has not moved.
        drop(self);
        result
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // SAFETY: the value is taken once, here, and not used again.
        let Temporary { slot, below } = unsafe { ManuallyDrop::take(&mut self.stack) };
        context::set_temporary(below);
        match &self.owner {
            Owner::Green(task) => put_slot(Shared::of(task), slot),
            Owner::Os(pool, _) => pool.put(slot),
        }
    }
}
