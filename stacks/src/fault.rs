//! Faults: who is told of them, and on which stack.
//!
//! A stack that has overflowed has no room for a signal handler: handlers run on an *alternate stack*,
//! which each OS thread must have of its own. The handler here tells a guard that was hit from any other
//! fault by asking whoever owns the stacks. What is not theirs goes to the handler that was there
//! before: std's, which explains overflows of OS threads, or one that the program installed.

use std::cell::UnsafeCell;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::OnceLock;

use memmap2::{MmapMut, MmapOptions};

use crate::page_size;

/// The signals that a touched guard raises: SIGSEGV on Linux, on other systems perhaps SIGBUS.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What is called with the address and the instruction of a fault.
type Explain = fn(address: usize, instruction: usize);

struct Installed {
    explain: Explain,
    /// What was there before, for each of [`SIGNALS`].
    before: [UnsafeCell<MaybeUninit<libc::sigaction>>; SIGNALS.len()],
}

// SAFETY: `before` is written by the one thread that comes first, before it installs the handler that reads it, and
// never again: all that other threads do is to read it, in the handler. `explain` is a function, which any thread may
// call.
unsafe impl Sync for Installed {}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Has `explain` called, once and for all, whenever the process faults: before the handler that is
/// installed now, which is called if `explain` returns.
///
/// `explain` ends the process if the fault is for it to explain. A handler that is installed later replaces
/// this one, unless it calls it.
///
/// # Errors
///
/// When the system refuses to install a handler.
///
/// # Safety
///
/// `explain` runs in a signal handler, on any thread, in the middle of whatever that does: it does only what is
/// async-signal-safe. So it does not allocate, take locks, or unwind.
pub unsafe fn on_fault(explain: Explain) -> io::Result<()> {
    let mut first = false;
    let installed = INSTALLED.get_or_init(|| {
        first = true;
        Installed {
            explain,
            before: [const { UnsafeCell::new(MaybeUninit::uninit()) }; SIGNALS.len()],
        }
    });
    if !first {
        return Ok(());
    }
    for (&signal, before) in SIGNALS.iter().zip(&installed.before) {
        // SAFETY: all zeros is a valid sigaction; the handler has the signature that SA_SIGINFO says.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        // On the alternate stack; and not to be restarted: it does not come back but to fault again.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: asking what is installed changes nothing, and writes the whole struct. Nobody else
        // touches `before`: its handler is installed only after.
        if unsafe { libc::sigaction(signal, std::ptr::null(), before.get().cast()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the handler is async-signal-safe because `explain` is, as the caller says.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the kernel gives a valid siginfo to handlers installed with SA_SIGINFO.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // Not if somebody sent the signal: there is no address then.
    if code > 0 {
        (installed.explain)(address, instruction(context));
    }
    let Some(place) = SIGNALS.iter().position(|&known| known == signal) else { return };
    // SAFETY: written by `on_fault` before the handler was installed.
    let before = unsafe { (*installed.before[place].get()).assume_init_ref() };
    // SAFETY: what was a handler before is called as the kernel would have.
    unsafe { pass_on(before, signal, info, context) };
}

/// Does what would have been done without our handler.
unsafe fn pass_on(
    before: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // Returning runs the faulting instruction again, and this time the process ends. A signal that
        // somebody sent is not raised again by that: send it once more.
        // SAFETY: the default action has no preconditions.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            if (*info).si_code <= 0 {
                libc::raise(signal);
            }
        }
        return;
    }
    if before.sa_flags & libc::SA_RESETHAND != 0 {
        // SAFETY: as above.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Action = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: SA_SIGINFO says that this is its type.
        unsafe { std::mem::transmute::<usize, Action>(handler)(signal, info, context) };
    } else {
        type Handler = unsafe extern "C" fn(libc::c_int);
        // SAFETY: without SA_SIGINFO this is its type.
        unsafe { std::mem::transmute::<usize, Handler>(handler)(signal) };
    }
}

/// The instruction that faulted, or zero where that is not known.
fn instruction(context: *mut libc::c_void) -> usize {
    // SAFETY: the kernel gives handlers installed with SA_SIGINFO a context of this type.
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    return unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] as usize
    };
    // SAFETY: as above.
    #[cfg(all(target_os = "linux", target_arch = "aarch64"))]
    return unsafe { (*context.cast::<libc::ucontext_t>()).uc_mcontext.pc as usize };
    #[allow(unreachable_code)]
    {
        let _ = context;
        0
    }
}

/// A stack for the signal handlers of one OS thread, while it lives. Belongs to the thread that made it.
///
/// The thread has the one that it had before when this is dropped, if this is the one that it has then. Otherwise
/// (several are dropped in another order than the reverse of that in which they were made, or somebody else has
/// installed one since, or a handler runs on it) the memory is leaked, because a thread may yet come to use it.
///
/// ```compile_fail,E0277
/// let alternate = gthread_stacks::AlternateStack::install();
/// std::thread::spawn(move || drop(alternate));
/// ```
#[derive(Debug)]
pub struct AlternateStack {
    /// A guard, and the stack. Stays mapped, if it is not seen that no thread has it for its alternate stack, or ever
    /// will.
    memory: ManuallyDrop<MmapMut>,
    before: libc::stack_t,
    _thread_bound: std::marker::PhantomData<*const ()>,
}

impl AlternateStack {
    /// Room for a handler that prints.
    const SIZE: usize = 64 << 10;

    /// Gives the calling thread an alternate stack, larger than std's.
    ///
    /// # Errors
    ///
    /// When there is no memory for it, or it runs on its alternate stack now.
    pub fn install() -> io::Result<Self> {
        let memory = MmapOptions::new().len(page_size() + Self::SIZE).map_anon()?;
        // SAFETY: nothing is in the memory yet, of which this is the first page.
        if unsafe { libc::mprotect(memory.as_ptr() as *mut _, page_size(), libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let ours = libc::stack_t { ss_sp: bottom(&memory), ss_flags: 0, ss_size: Self::SIZE };
        let mut before = MaybeUninit::uninit();
        // SAFETY: the memory is ours, and stays mapped unless drop sees that it is out of use.
        if unsafe { libc::sigaltstack(&raw const ours, before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: written by the successful call.
        let before = unsafe { before.assume_init() };
        let memory = ManuallyDrop::new(memory);
        Ok(Self { memory, before, _thread_bound: std::marker::PhantomData })
    }

    /// Whether the calling thread has an alternate stack, whoever gave it.
    pub fn is_present() -> bool {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: asking changes nothing; the struct is read if the call has written it.
        unsafe {
            libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) == 0
                && now.assume_init().ss_flags & libc::SS_DISABLE == 0
        }
    }
}

/// Where the stack begins, above its guard.
fn bottom(memory: &MmapMut) -> *mut libc::c_void {
    memory.as_ptr().wrapping_add(page_size()).cast_mut().cast()
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: asking changes nothing.
        let known = unsafe { libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) } == 0;
        // SAFETY: written if `known`.
        let ours = known && unsafe { now.assume_init() }.ss_sp == bottom(&self.memory);
        // SAFETY: what was there before is mapped still if it was an `AlternateStack`, as below; else its owner, which has
        // not taken it out, keeps it. The call fails while a handler runs on ours.
        if ours && unsafe { libc::sigaltstack(&raw const self.before, std::ptr::null_mut()) } == 0 {
            // SAFETY: dropped once, here. This thread has had it until now; nobody else has it as the one from before,
            // since that one would be installed.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
