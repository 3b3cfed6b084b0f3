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

/// How many bytes of its stack the calling thread has used so far, at the most.
///
/// In a green thread, counted from the top of its stack, where the runtime keeps its control block and
/// closure: [`Builder::stack_size`](crate::Builder::stack_size) of so many bytes would have been enough.
/// Inside [`with_stack`], of the temporary stack. On an OS thread, of that thread's stack, in whole pages;
/// zero where the system does not say where it is (other systems than Linux).
///
/// An upper bound: a stack is reused, and what an earlier thread has left on it counts, unless stacks are
/// profiled ([`RuntimeBuilder::profile_stacks`](crate::RuntimeBuilder::profile_stacks), or
/// `GTHREAD_STACK_PROFILE=1`), which empties each first. Does not block; makes a system call for each
/// megabyte of stack.
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
    // SAFETY: set by a `with_stack` further up this very stack, whose frame has it.
    let temporary = unsafe { context::temporary().as_ref() }.map(|temporary| &temporary.slot);
    let running = context::running();
    match temporary.or(running.as_ref().map(|task| task.slot())) {
        // SAFETY: it is the stack that the calling thread runs on, and nobody else does.
        Some(slot) => unsafe { slot.high_water() },
        None => thread_high_water(stack_pointer()),
    }
}

/// Calls `f` on a temporary stack with at least `size` bytes to use, and gives its result.
///
/// For the one deep recursion or foreign call that the stacks of green threads, or an OS thread's, are too
/// small for. Up to 1 GiB; only what is touched costs memory, and is given back afterwards. `f` runs at
/// once, in the calling thread, and may do all that the caller may: block, spawn, panic (the panic goes
/// on in the caller), call `with_stack` again. Not a suspension point by itself. Costs tens of nanoseconds
/// in a green thread if such a stack is in stock, some microseconds otherwise.
///
/// # Panics
///
/// If `f` does. If `size` is more than 1 GiB, or no such stack can be had: the message says why.
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

/// A temporary stack, and whose it is when the call is over.
struct Borrowed {
    stack: ManuallyDrop<Temporary>,
    owner: Owner,
}

enum Owner {
    /// The runtime of the green thread that calls.
    Green(TaskRef),
    /// Nobody: an OS thread maps it for this call.
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
        // No task lives there, and it must not look as if one did.
        let above = control_block_of(&self.stack.slot);
        // SAFETY: the slot stays out of its pool until `self` is dropped, when the call is over, and
        // nobody else uses it.
        let stack = unsafe { FiberStack::new(&self.stack.slot, above) };
        context::set_temporary(&raw const *self.stack);
        let result = on_stack(stack, f);
        // Here, and while unwinding: in any case while `self` is where it was.
        drop(self);
        result
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let Temporary { slot, below } = unsafe { ManuallyDrop::take(&mut self.stack) };
        context::set_temporary(below);
        match &self.owner {
            Owner::Green(task) => put_slot(Shared::of(task), slot),
            Owner::Os(pool, _) => pool.put(slot),
        }
    }
}
