//! Refuses system calls: functions of this program's stand before libc's, for std and for gthread, and ask
//! here whether to pass a call on. What libc calls itself it does not ask for: its allocator and its
//! threads' stacks are served.

use std::ffi::{CStr, c_int, c_long, c_void};
use std::mem::transmute;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};

/// A call site, as far as the call itself shows it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    /// `mmap` of address space for stacks, of any size.
    Reserve,
    /// `mmap` of more than 32 MiB.
    ReserveMuch,
    /// `mmap` of a worker's stack for signal handlers.
    MapAlternateStack,
    /// `sigaltstack` with such a stack.
    UseAlternateStack,
    /// `sigaction` with a handler.
    Handle,
    /// `madvise(MADV_GUARD_INSTALL)`.
    Guard,
    /// `madvise(MADV_POPULATE_WRITE)`.
    Populate,
    /// `madvise(MADV_DONTNEED)`.
    GiveBack,
    /// `madvise(MADV_NOHUGEPAGE)`.
    NoHugePages,
    /// `process_madvise`, with any advice.
    AdviseMany,
    /// `mprotect(PROT_NONE)`.
    Protect,
    /// `mincore`.
    Residency,
    /// `membarrier`.
    Barrier,
    /// `prctl(PR_GET_SECCOMP)`.
    Filter,
    /// `sched_getattr`.
    ReadSlice,
    /// `sched_setattr`.
    Slice,
    /// `pthread_create`.
    Thread,
    /// `poll`.
    Poll,
}

const CALLS: usize = Call::Poll as usize + 1;

/// What is done with the calls of one kind.
struct Fault {
    /// The error; zero if they are passed on.
    error: AtomicI32,
    /// How many are passed on before.
    passes: AtomicUsize,
    refused: AtomicUsize,
}

static FAULTS: [Fault; CALLS] = [const {
    Fault { error: AtomicI32::new(0), passes: AtomicUsize::new(0), refused: AtomicUsize::new(0) }
}; CALLS];

/// Calls are refused while it lives.
#[must_use]
pub(crate) struct Refused(Call);

/// Refuses all calls of a kind with this error.
pub(crate) fn refuse(call: Call, error: c_int) -> Refused {
    refuse_after(0, call, error)
}

/// Passes so many calls on, and refuses those that follow.
pub(crate) fn refuse_after(passes: usize, call: Call, error: c_int) -> Refused {
    let fault = &FAULTS[call as usize];
    fault.passes.store(passes, SeqCst);
    fault.refused.store(0, SeqCst);
    fault.error.store(error, SeqCst);
    Refused(call)
}

impl Refused {
    /// How many calls were refused so far.
    pub(crate) fn count(&self) -> usize {
        FAULTS[self.0 as usize].refused.load(SeqCst)
    }
}

impl Drop for Refused {
    fn drop(&mut self) {
        FAULTS[self.0 as usize].error.store(0, SeqCst);
        assert!(self.count() > 0 || std::thread::panicking(), "no call was refused: {:?}", self.0);
    }
}

/// The error with which a call is to fail.
fn error(call: Call) -> Option<c_int> {
    let fault = &FAULTS[call as usize];
    let error = fault.error.load(SeqCst);
    if error == 0 || fault.passes.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
        return None;
    }
    fault.refused.fetch_add(1, SeqCst);
    Some(error)
}

/// As [`error`], and sets `errno`.
fn fails(call: Call) -> bool {
    let error = error(call);
    if let Some(error) = error {
        // SAFETY: the calling thread's errno.
        unsafe { *libc::__errno_location() = error };
    }
    error.is_some()
}

/// libc's function, which ours stands before.
fn next(name: &CStr) -> *mut c_void {
    // SAFETY: the name is a string; asking changes nothing.
    let function = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    assert!(!function.is_null(), "{name:?}");
    function
}

/// Bytes of a worker's alternate stack. Nothing else that is mapped here has this size, and a page more for a guard.
const ALTERNATE_STACK: usize = 64 << 10;

type Mmap = unsafe extern "C" fn(*mut c_void, usize, c_int, c_int, c_int, i64) -> *mut c_void;

#[unsafe(no_mangle)]
unsafe extern "C" fn mmap64(
    address: *mut c_void,
    len: usize,
    access: c_int,
    flags: c_int,
    file: c_int,
    from: i64,
) -> *mut c_void {
    // SAFETY: it asks for a constant.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let call = match len {
        len if len == page + ALTERNATE_STACK => Call::MapAlternateStack,
        len if len > 32 << 20 && FAULTS[Call::ReserveMuch as usize].error.load(SeqCst) != 0 => {
            Call::ReserveMuch
        }
        _ => Call::Reserve,
    };
    let is_ours = flags & libc::MAP_ANONYMOUS != 0 && len >= ALTERNATE_STACK;
    if is_ours && fails(call) {
        return libc::MAP_FAILED;
    }
    // SAFETY: the function has this type; the call is the caller's.
    let start = unsafe {
        transmute::<*mut c_void, Mmap>(next(c"mmap64"))(address, len, access, flags, file, from)
    };
    if flags & libc::MAP_NORESERVE != 0 && start != libc::MAP_FAILED {
        RESERVED.lock().unwrap().push(start as usize..start as usize + len);
    }
    start
}

/// What is reserved. What is made inaccessible in it are guards of green threads, and not of std's threads.
static RESERVED: Mutex<Vec<Range<usize>>> = Mutex::new(Vec::new());

fn is_reserved(address: usize) -> bool {
    RESERVED.lock().unwrap().iter().any(|range| range.contains(&address))
}

type Munmap = unsafe extern "C" fn(*mut c_void, usize) -> c_int;

/// Never refused. What is unmapped may be the place of another thread's guard soon.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(address: *mut c_void, len: usize) -> c_int {
    let unmapped = address as usize..address as usize + len;
    RESERVED
        .lock()
        .unwrap()
        .retain(|range| range.end <= unmapped.start || unmapped.end <= range.start);
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Munmap>(next(c"munmap"))(address, len) }
}

fn advice_fails(advice: c_int) -> bool {
    const GUARD_INSTALL: c_int = 102;
    match advice {
        GUARD_INSTALL => fails(Call::Guard),
        libc::MADV_POPULATE_WRITE => fails(Call::Populate),
        libc::MADV_DONTNEED => fails(Call::GiveBack),
        libc::MADV_NOHUGEPAGE => fails(Call::NoHugePages),
        _ => false,
    }
}

type Madvise = unsafe extern "C" fn(*mut c_void, usize, c_int) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn madvise(address: *mut c_void, len: usize, advice: c_int) -> c_int {
    if advice_fails(advice) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Madvise>(next(c"madvise"))(address, len, advice) }
}

type Mprotect = unsafe extern "C" fn(*mut c_void, usize, c_int) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn mprotect(address: *mut c_void, len: usize, access: c_int) -> c_int {
    if access == libc::PROT_NONE && is_reserved(address as usize) && fails(Call::Protect) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Mprotect>(next(c"mprotect"))(address, len, access) }
}

type Mincore = unsafe extern "C" fn(*mut c_void, usize, *mut u8) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn mincore(address: *mut c_void, len: usize, states: *mut u8) -> c_int {
    if fails(Call::Residency) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Mincore>(next(c"mincore"))(address, len, states) }
}

type Sigaltstack = unsafe extern "C" fn(*const libc::stack_t, *mut libc::stack_t) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaltstack(new: *const libc::stack_t, old: *mut libc::stack_t) -> c_int {
    // SAFETY: the caller gives a valid struct or null.
    let is_ours = unsafe { new.as_ref() }.is_some_and(|new| new.ss_size == ALTERNATE_STACK);
    if is_ours && fails(Call::UseAlternateStack) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Sigaltstack>(next(c"sigaltstack"))(new, old) }
}

type Sigaction = unsafe extern "C" fn(c_int, *const libc::sigaction, *mut libc::sigaction) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    if !new.is_null() && fails(Call::Handle) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Sigaction>(next(c"sigaction"))(signal, new, old) }
}

type Body = extern "C" fn(*mut c_void) -> *mut c_void;
type PthreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const libc::pthread_attr_t,
    Body,
    *mut c_void,
) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    body: Body,
    argument: *mut c_void,
) -> c_int {
    if let Some(error) = error(Call::Thread) {
        return error;
    }
    let next = next(c"pthread_create");
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, PthreadCreate>(next)(thread, attributes, body, argument) }
}

type Poll = unsafe extern "C" fn(*mut libc::pollfd, libc::nfds_t, c_int) -> c_int;

#[unsafe(no_mangle)]
unsafe extern "C" fn poll(files: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int {
    if fails(Call::Poll) {
        return -1;
    }
    // SAFETY: as above.
    unsafe { transmute::<*mut c_void, Poll>(next(c"poll"))(files, count, timeout) }
}

type Syscall =
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// Variadic in libc, and called so; where this test runs, what it may be passed is where the arguments of
/// seven are.
#[unsafe(no_mangle)]
unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let refused = match number {
        libc::SYS_process_madvise => {
            fails(Call::AdviseMany) || c_int::try_from(d).is_ok_and(advice_fails)
        }
        libc::SYS_membarrier => fails(Call::Barrier),
        libc::SYS_prctl => fails(Call::Filter),
        libc::SYS_sched_getattr => fails(Call::ReadSlice),
        libc::SYS_sched_setattr => fails(Call::Slice),
        _ => false,
    };
    if refused {
        return -1;
    }
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let mut known = NEXT.load(SeqCst);
    if known == 0 {
        known = next(c"syscall") as usize;
        NEXT.store(known, SeqCst);
    }
    // SAFETY: as above; the call takes those of the arguments that it has.
    unsafe { transmute::<usize, Syscall>(known)(number, a, b, c, d, e, f) }
}
