//! The switch on x86_64: by jumps.
//!
//! A processor predicts where a `ret` goes by the `call`s that came before it. corosensei resumes by a `call` and suspends
//! by a `ret`, which match if the coroutine returns from nothing and is in no new call when it suspends again: as a
//! generator is, but not a thread. That was resumed in the `recv` that it had called, returns from that, and suspends in the
//! next: both `ret`s are predicted wrongly, and what the processor would have done meanwhile, it begins 20 cycles later,
//! each time; in a ring of 503 threads that was more than half of the time (docs/decisions, 61). Here no switch calls or
//! returns, so the predictor sees the program's own calls and returns alone. Those of threads that do the same match
//! whoever of them runs; and where a jump goes is predicted by what came before it.
//!
//! What is where, with lower addresses below:
//!
//! ```text
//!   a fiber's stack                      the resumer's, while the fiber runs
//!     | link, at the base  |               | ...               |
//!     | ...                |               | rbx               |
//!     | rbp                |               | rbp               |
//!     | rbx                |               | where it goes on  | <- link.resumer
//!     | where it goes on   | <- sp
//! ```
//!
//! One that has not begun is laid out as if it had suspended itself on the way into [`begin`].
//!
//! Invariants:
//! - `sp` is where a fiber has been left. There is none after it has finished, and while it runs only a debugger looks.
//! - The link stays where it is, and belongs to whoever runs: written as the fiber is resumed, read as it suspends.
//! - `rbx` and `rbp`, which the compiler keeps to itself, are pushed and popped; all other registers are given up.
//! - What is at the bottom of the calls is a return address of zero, and a frame pointer of zero, where backtraces end.

use std::arch::asm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::fiber::{Entry, Switch};
use crate::{FiberStack, STACK_ALIGN, fiber};

/// At the base of a fiber's stack.
#[repr(C, align(16))]
struct Link {
    /// The stack pointer of whoever resumed it last.
    resumer: *mut u8,
    /// For the entry.
    data: *mut (),
}

const _: () = assert!(align_of::<Link>() == STACK_ALIGN);
// What is pushed and stored is so large.
const _: () = assert!(size_of::<usize>() == 8, "gthread does not know the ABI x32");

/// What is below the link of a fiber that has not begun.
#[repr(C)]
struct Start {
    goes_on: unsafe extern "sysv64" fn(NonNull<Link>) -> !,
    rbx: usize,
    rbp: usize,
    /// Of [`begin`], which does not return. It finds the stack as after a call.
    returns: usize,
}

/// (In this order for `tools/gdb-gthread.py`.)
#[repr(C)]
pub(crate) struct Fiber<C: Copy + 'static> {
    sp: Option<NonNull<u8>>,
    link: NonNull<Link>,
    commands: PhantomData<fn() -> C>,
}

impl<C: Copy> Fiber<C> {
    /// # Safety
    ///
    /// As [`fiber::Fiber::new`].
    #[inline]
    pub(crate) unsafe fn new<E: Entry<C>>(stack: FiberStack, data: *mut ()) -> Self {
        // SAFETY: the stack is ours, aligned, and much larger than both.
        unsafe {
            let link = stack.base.cast::<Link>().sub(1);
            link.write(Link { resumer: ptr::null_mut(), data });
            let start = link.cast::<Start>().sub(1);
            start.write(Start { goes_on: begin::<C, E>, rbx: 0, rbp: 0, returns: 0 });
            Self { sp: Some(start.cast()), link, commands: PhantomData }
        }
    }

    /// The stack pointer of one that has not begun. Of none that has: calls keep stacks aligned to 16, and `suspend` pushes
    /// 24 bytes more, where `Start` has 32.
    fn start(&self) -> NonNull<u8> {
        // SAFETY: `new` has put it there.
        unsafe { self.link.cast::<Start>().sub(1) }.cast()
    }

    #[inline]
    pub(crate) fn resume(&mut self) -> Switch<C> {
        let sp = self.sp.take().expect("a fiber that has finished is not resumed");
        let (command, left): (MaybeUninit<usize>, *mut u8);
        // SAFETY: the fiber has been left there, by `suspend` or `new`. It comes back to 2, by `suspend` or `begin`, with
        // the stack as it was and `rbx` and `rbp` restored. What else a fiber changes is said to be.
        unsafe {
            asm!(
                "push rbx",
                "push rbp",
                "lea rax, [rip + 2f]",
                "push rax",
                "mov [rdi], rsp",
                "mov rsp, rdx",
                "pop rax",
                "pop rbx",
                "pop rbp",
                "jmp rax",
                "2:",
                inlateout("rdi") self.link.as_ptr() => _,
                inlateout("rdx") sp.as_ptr() => left,
                lateout("rsi") command,
                lateout("r12") _,
                lateout("r13") _,
                lateout("r14") _,
                lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
        self.sp = NonNull::new(left);
        match self.sp {
            // SAFETY: it is what `suspend` was given.
            Some(_) => Switch::Suspended(unsafe { Word { word: command }.command }),
            None => Switch::Finished,
        }
    }

    pub(crate) fn is_suspended(&self) -> bool {
        self.sp.is_some_and(|sp| sp != self.start())
    }

    #[inline]
    pub(crate) fn retire(self) {
        assert!(self.sp.is_none(), "a fiber that has not finished has frames");
    }

    pub(crate) fn discard(self) {
        assert!(self.sp == Some(self.start()), "a fiber that was resumed has frames");
    }
}

/// A command as it is in a register, of which it may leave some unused.
#[derive(Clone, Copy)]
#[repr(C)]
union Word<C: Copy> {
    word: MaybeUninit<usize>,
    command: C,
}

/// Where a fiber begins. `resume` leaves the link where a first argument is.
unsafe extern "sysv64" fn begin<C: Copy + 'static, E: Entry<C>>(link: NonNull<Link>) -> ! {
    // SAFETY: the caller of `new` vouches for entry and data. Afterwards nothing of this stack is needed, and the
    // resumer, which has left its stack as `resume` says, learns from the zero that it was the last time.
    unsafe {
        let suspender = fiber::Suspender(Suspender { link, commands: PhantomData });
        E::run(suspender, (*link.as_ptr()).data);
        asm!(
            "mov rsp, [{link}]",
            "pop rcx",
            "pop rbp",
            "pop rbx",
            "jmp rcx",
            link = in(reg) link.as_ptr(),
            in("rdx") 0_usize,
            options(noreturn),
        );
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(crate) struct Suspender<C: Copy + 'static> {
    link: NonNull<Link>,
    commands: PhantomData<fn(C)>,
}

impl<C: Copy> Suspender<C> {
    // Inlined: not to return from anything but what the program has called.
    /// # Safety
    ///
    /// As [`fiber::Suspender::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend(self, command: C) {
        let mut word = Word { word: MaybeUninit::uninit() };
        word.command = command;
        // SAFETY: this is the fiber, and its resumer has left its stack as `resume` says. The fiber comes back to 2, by
        // `resume`, with the stack as it was and `rbx` and `rbp` restored. What else changes meanwhile is said to.
        unsafe {
            asm!(
                "push rbp",
                "push rbx",
                "lea rax, [rip + 2f]",
                "push rax",
                "mov rdx, rsp",
                "mov rsp, [rdi]",
                "pop rcx",
                "pop rbp",
                "pop rbx",
                "jmp rcx",
                "2:",
                inlateout("rdi") self.link.as_ptr() => _,
                inlateout("rsi") word.word => _,
                lateout("r12") _,
                lateout("r13") _,
                lateout("r14") _,
                lateout("r15") _,
                clobber_abi("sysv64"),
            );
        }
    }
}
