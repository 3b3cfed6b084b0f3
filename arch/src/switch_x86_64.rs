//! The switch by jumps, for x86_64 with the feature `fast-switch`.
//!
//! A processor predicts the target of a `ret` by the `call`s before it. corosensei resumes by a
//! `call` and suspends by a `ret`. These match if the coroutine has returned from no call since it
//! was resumed, and is in no new call when it suspends again. A generator is like that. A thread is
//! not: it was resumed in the `recv` that it had called, returns from it, and suspends in the next
//! one. Both `ret`s are predicted wrongly, and the work that the processor would have begun
//! meanwhile is delayed by each.
//!
//! The switch here neither calls nor returns, so the predictor sees the program's own calls and
//! returns only. The calls and returns of threads that do the same match, whichever of these
//! threads runs. The target of a jump is predicted by the branches before it. Decision 61 in
//! docs/decisions has the experiment.
//!
//! # Layout
//!
//! Lower addresses are below:
//!
//! ```text
//!   a fiber's stack                      the resumer's, while the fiber runs
//!     | link, at the base  |               | ...               |
//!     | ...                |               | rbx               |
//!     | rbp                |               | rbp               |
//!     | rbx                |               | resume address    | <- link.resumer
//!     | resume address     | <- sp
//! ```
//!
//! The stack of a fiber that has not begun looks as if the fiber had suspended itself on the way
//! into [`begin`].
//!
//! # Invariants
//!
//! - `sp` is the stack pointer at which a fiber was left. It is `None` after the fiber has
//!   finished. While the fiber runs, only a debugger reads it.
//! - The link stays at its place, and belongs to the running side: it is written when the fiber is
//!   resumed, and read when the fiber suspends.
//! - `rbx` and `rbp`, which the compiler reserves for itself, are pushed and popped. All other
//!   registers are declared as clobbered.
//! - At the bottom of the calls are a return address of zero and a frame pointer of zero, where
//!   backtraces end.

use std::arch::asm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use crate::fiber::{Entry, Switch};
use crate::{FiberStack, STACK_ALIGN, fiber};

/// The words at the base of a fiber's stack.
#[repr(C, align(16))]
struct Link {
    /// The stack pointer of the last resumer.
    resumer: *mut u8,
    /// The argument of the entry.
    data: *mut (),
}

const _: () = assert!(align_of::<Link>() == STACK_ALIGN);
// The assembly pushes and stores words of eight bytes.
const _: () = assert!(size_of::<usize>() == 8, "gthread does not know the ABI x32");

/// The words below the link of a fiber that has not begun.
#[repr(C)]
struct Start {
    resume_address: unsafe extern "sysv64" fn(NonNull<Link>) -> !,
    rbx: usize,
    rbp: usize,
    /// The return address of [`begin`], which finds its stack as after a call, and never returns.
    return_address: usize,
}

/// `tools/gdb-gthread.py` relies on the order of the fields.
#[repr(C)]
pub(crate) struct Fiber<C: Copy + 'static> {
    sp: Option<NonNull<u8>>,
    link: NonNull<Link>,
    commands: PhantomData<fn() -> C>,
}

impl<C: Copy> Fiber<C> {
    /// # Safety
    ///
    /// The same as that of [`fiber::Fiber::new`].
    #[inline]
    pub(crate) unsafe fn new<E: Entry<C>>(stack: FiberStack, data: *mut ()) -> Self {
        // SAFETY: nothing else uses the stack, by the contract of `FiberStack::new`. Its base is
        // aligned like a `Link`, and so is the place of the `Start` below. Both are much smaller
        // than the stack.
        unsafe {
            let link = stack.base.cast::<Link>().sub(1);
            link.write(Link { resumer: ptr::null_mut(), data });
            let start = link.cast::<Start>().sub(1);
            start.write(Start { resume_address: begin::<C, E>, rbx: 0, rbp: 0, return_address: 0 });
            Self { sp: Some(start.cast()), link, commands: PhantomData }
        }
    }

    /// Returns the stack pointer of a fiber that has not begun.
    ///
    /// No fiber that has begun is left at this stack pointer: calls keep a stack aligned to 16
    /// bytes, and `suspend` pushes 24 bytes more, while `Start` has 32.
    fn start(&self) -> NonNull<u8> {
        // SAFETY: `new` has put a `Start` there, so the address is in the stack.
        unsafe { self.link.cast::<Start>().sub(1) }.cast()
    }

    #[inline]
    pub(crate) fn resume(&mut self) -> Switch<C> {
        let sp = self.sp.take().expect("a fiber that has finished is not resumed");
        let (command, left): (MaybeUninit<usize>, *mut u8);
        // SAFETY: `suspend` or `new` left the fiber at `sp`, with the words above it that are
        // popped here. `suspend` or `begin` comes back to label 2, with the stack as it was, and
        // with `rbx` and `rbp` restored. All other registers that a fiber may change are declared
        // as outputs or clobbers.
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
            // SAFETY: the register holds the command that `suspend` was given: the fiber did not
            // finish.
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

/// A command in a register, parts of which may stay unused.
#[derive(Clone, Copy)]
#[repr(C)]
union Word<C: Copy> {
    word: MaybeUninit<usize>,
    command: C,
}

/// Runs the entry of a fiber, and switches to the resumer for the last time.
///
/// `resume` jumps here, with the link in the register of the first argument.
unsafe extern "sysv64" fn begin<C: Copy + 'static, E: Entry<C>>(link: NonNull<Link>) -> ! {
    // SAFETY: a fiber begins once, with the suspender of its own link, and with the data that `new`
    // was given. `resume` left the stack of the resumer at `link.resumer`, with the words that are
    // popped here. Nothing on this stack is needed after the entry has returned, and the zero in
    // `rdx` tells the resumer that the fiber has finished.
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
    // Inlined, so that the processor sees no return except those of the program's own calls.
    /// # Safety
    ///
    /// The same as that of [`fiber::Suspender::suspend`].
    #[inline(always)]
    pub(crate) unsafe fn suspend(self, command: C) {
        let mut word = Word { word: MaybeUninit::uninit() };
        word.command = command;
        // SAFETY: this code runs on the fiber of `link`, as the caller says. `resume` left the
        // stack of the resumer at `link.resumer`, with the words that are popped here. `resume`
        // comes back to label 2, with the stack as it was, and with `rbx` and `rbp` restored. All
        // other registers that change meanwhile are declared as outputs or clobbers.
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
