//! Faults: a signal handler for them, and the alternate stacks that it runs on.
//!
//! A stack that has overflowed has no room for a signal handler. So handlers run on an *alternate
//! stack*, and each OS thread must have its own. The handler here distinguishes a touched guard
//! from any other fault by asking the owner of the stacks. Another fault goes to the previous
//! handler: std's, which explains overflows of OS threads, or one that the program installed.

use std::cell::UnsafeCell;
use std::io;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::sync::OnceLock;

use memmap2::{MmapMut, MmapOptions};

use crate::page_size;

/// The signals that a touched guard raises: SIGSEGV on Linux, and perhaps SIGBUS on other systems.
const SIGNALS: [libc::c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// A function that is called with the address and the instruction of a fault.
type Explain = fn(address: usize, instruction: usize);

/// The state of the handler, which exists once in a process.
struct Installed {
    explain: Explain,
    /// The previous handler of each of [`SIGNALS`].
    before: [UnsafeCell<MaybeUninit<libc::sigaction>>; SIGNALS.len()],
}

// SAFETY: `before` is written only by the thread that initialises `INSTALLED`, before that thread
// installs the handler that reads it. All other accesses are reads, in the handler. `explain` is a
// function, which any thread may call.
unsafe impl Sync for Installed {}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Installs a signal handler that calls `explain` whenever the process faults.
///
/// If the fault is for `explain` to explain, `explain` ends the process. If it returns, the
/// previous handler is called. A handler that is installed later replaces this one, unless the
/// later one calls it. Only the first call of this function has an effect.
///
/// # Errors
///
/// If the system refuses to install a handler.
///
/// # Safety
///
/// `explain` is async-signal-safe, because it runs in a signal handler, and interrupts any thread
/// at any point. So it does not allocate, take locks, or unwind.
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
        // SAFETY: all zeros are a valid sigaction.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // With SA_SIGINFO, as below, a handler has the signature of `handle`.
        action.sa_sigaction = handle as *const () as usize;
        // The handler runs on the alternate stack. System calls are not restarted, because the
        // handler returns only to fault again.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the query changes nothing, and writes the whole struct. No other code accesses
        // `before`: only this thread initialised `INSTALLED`, and the handler is installed later.
        if unsafe { libc::sigaction(signal, std::ptr::null(), before.get().cast()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `action` is a valid sigaction, and its handler has the signature that SA_SIGINFO
        // asks for. The handler is async-signal-safe because `explain` is, as the caller says.
        if unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Handles a fault: calls the explaining function, and then the previous handler.
///
/// # Safety
///
/// The kernel calls this function, as a handler that was installed with SA_SIGINFO.
unsafe extern "C" fn handle(
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let Some(installed) = INSTALLED.get() else { return };
    // SAFETY: the kernel passes a valid siginfo to a handler that was installed with SA_SIGINFO.
    let (address, code) = unsafe { ((*info).si_addr() as usize, (*info).si_code) };
    // A signal that was sent by a process has no address.
    if code > 0 {
        (installed.explain)(address, instruction(context));
    }
    let Some(place) = SIGNALS.iter().position(|&known| known == signal) else { return };
    // SAFETY: `on_fault` has initialised it before it installed the handler for this signal, and
    // nothing writes it again.
    let before = unsafe { (*installed.before[place].get()).assume_init_ref() };
    // SAFETY: `before` is the previous handler of this signal, and the arguments are those of the
    // kernel.
    unsafe { pass_on(before, signal, info, context) };
}

/// Does what would have happened without our handler.
///
/// # Safety
///
/// `before` is the previous handler of `signal`. The other arguments are those that the kernel gave
/// to a handler that was installed with SA_SIGINFO.
unsafe fn pass_on(
    before: &libc::sigaction,
    signal: libc::c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    let handler = before.sa_sigaction;
    if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
        // When the handler returns, the faulting instruction runs again, and this time the process
        // ends. That does not repeat a signal that was sent by a process, so it is raised again.
        //
        // SAFETY: to set the default action and to raise a signal have no preconditions, and both
        // are async-signal-safe. `info` is valid, as the caller says.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            if (*info).si_code <= 0 {
                libc::raise(signal);
            }
        }
        return;
    }
    if before.sa_flags & libc::SA_RESETHAND != 0 {
        // SAFETY: to set the default action has no preconditions, and is async-signal-safe.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    if before.sa_flags & libc::SA_SIGINFO != 0 {
        type Action = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
        // SAFETY: SA_SIGINFO says that this is the handler's type. It is neither SIG_DFL nor
        // SIG_IGN, so it is a function. It gets the arguments of the kernel.
        unsafe { std::mem::transmute::<usize, Action>(handler)(signal, info, context) };
    } else {
        type Handler = unsafe extern "C" fn(libc::c_int);
        // SAFETY: without SA_SIGINFO this is the handler's type. It is neither SIG_DFL nor SIG_IGN,
        // so it is a function. It gets the argument of the kernel.
        unsafe { std::mem::transmute::<usize, Handler>(handler)(signal) };
    }
}

/// Returns the address of the instruction that faulted, or zero where that is not known.
fn instruction(context: *mut libc::c_void) -> usize {
    // SAFETY: the kernel passes a context of this type to a handler that was installed with
    // SA_SIGINFO.
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

/// An alternate stack: a stack for the signal handlers of one OS thread.
///
/// It belongs to the thread that created it. Dropping it installs the thread's previous alternate
/// stack again, if this one is installed then. Otherwise the memory is leaked, because a thread may
/// use it later. This happens in three cases:
///
/// - Several alternate stacks are dropped in an order that is not the reverse of their creation.
/// - Other code has installed an alternate stack since.
/// - A handler runs on this one.
///
/// ```compile_fail,E0277
/// let alternate = gthread_stacks::AlternateStack::install();
/// std::thread::spawn(move || drop(alternate));
/// ```
#[derive(Debug)]
pub struct AlternateStack {
    /// A guard, and the stack above it.
    ///
    /// The memory stays mapped unless it is certain that no thread uses it as its alternate stack,
    /// now or later.
    memory: ManuallyDrop<MmapMut>,
    /// The thread's previous alternate stack.
    before: libc::stack_t,
    _thread_bound: std::marker::PhantomData<*const ()>,
}

impl AlternateStack {
    /// The size in bytes, with room for a handler that prints.
    const SIZE: usize = 64 << 10;

    /// Installs an alternate stack for the calling thread, larger than std's.
    ///
    /// # Errors
    ///
    /// If there is no memory for it, or the thread runs on its alternate stack now.
    pub fn install() -> io::Result<Self> {
        let memory = MmapOptions::new().len(page_size() + Self::SIZE).map_anon()?;
        // SAFETY: the range is the first page of the new mapping, which nothing uses yet.
        if unsafe { libc::mprotect(memory.as_ptr() as *mut _, page_size(), libc::PROT_NONE) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let ours = libc::stack_t { ss_sp: bottom(&memory), ss_flags: 0, ss_size: Self::SIZE };
        let mut before = MaybeUninit::uninit();
        // SAFETY: the memory is owned here, and nothing else uses it. It stays mapped until `drop`
        // finds that it is not in use; before that an early return unmaps it only if the call has
        // failed. Both pointers are to locals.
        if unsafe { libc::sigaltstack(&raw const ours, before.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the successful call has written the struct.
        let before = unsafe { before.assume_init() };
        let memory = ManuallyDrop::new(memory);
        Ok(Self { memory, before, _thread_bound: std::marker::PhantomData })
    }

    /// Returns `true` if the calling thread has an alternate stack, also if other code installed
    /// it.
    pub fn is_present() -> bool {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: the query changes nothing. The struct is read only if the call has succeeded, and
        // so written it.
        unsafe {
            libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) == 0
                && now.assume_init().ss_flags & libc::SS_DISABLE == 0
        }
    }
}

/// Returns the lowest address of the stack, above its guard.
fn bottom(memory: &MmapMut) -> *mut libc::c_void {
    memory.as_ptr().wrapping_add(page_size()).cast_mut().cast()
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        let mut now = MaybeUninit::<libc::stack_t>::uninit();
        // SAFETY: the query changes nothing, and writes to a local.
        let known = unsafe { libc::sigaltstack(std::ptr::null(), now.as_mut_ptr()) } == 0;
        // SAFETY: the call has written the struct if `known` is true.
        let ours = known && unsafe { now.assume_init() }.ss_sp == bottom(&self.memory);
        // SAFETY: the previous alternate stack is still mapped. If it was an `AlternateStack`, it
        // was not unmapped by its drop, as below. Otherwise its owner keeps it, because the owner
        // has not uninstalled it. The call fails while a handler runs on this stack.
        if ours && unsafe { libc::sigaltstack(&raw const self.before, std::ptr::null_mut()) } == 0 {
            // SAFETY: the memory is dropped once, here. It was this thread's alternate stack until
            // now, and is no longer. It is the previous one of no `AlternateStack`, because that
            // one would be installed instead.
            unsafe { ManuallyDrop::drop(&mut self.memory) };
        }
    }
}
