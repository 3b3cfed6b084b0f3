//! The report on a green thread that has run off the end of its stack, before the process ends.
//!
//! Runs in a signal handler, on the worker's alternate stack, while the thread hangs in the middle
//! of any instruction. So nothing here allocates, locks, or calls a function that might.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Once;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use gthread_arch::stacks::{Slot, on_fault};

use crate::diagnostics::dump::Quoted;
use crate::runtime::context;
use crate::task::header::TaskRef;

/// The start of the program's code in memory, which offsets of code addresses are relative to.
static CODE: AtomicUsize = AtomicUsize::new(0);

/// Makes the process explain stack overflows from now on. May be called by any thread, any number
/// of times.
///
/// A program that handles signals in its own way is not refused anything: its stacks have guards
/// all the same, and only the explanation is missing.
pub(crate) fn explain_overflows() {
    static ONCE: Once = Once::new();
    ONCE.call_once(install);
}

fn install() {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::uninit();
    let here = install as *const ();
    // SAFETY: dladdr writes the struct if it finds the object that contains the address.
    if unsafe { libc::dladdr(here.cast(), info.as_mut_ptr()) } != 0 {
        // SAFETY: dladdr has succeeded, so it has written the struct.
        CODE.store(unsafe { info.assume_init() }.dli_fbase as usize, Relaxed);
    }
    // SAFETY: `explain` writes text in its own frame, and aborts. It neither allocates, locks nor
    // unwinds.
    let _ = unsafe { on_fault(explain) };
}

/// Ends the process with an explanation if the running thread faulted in the guard of its stack.
fn explain(address: usize, instruction: usize) {
    let task = context::running();
    // SAFETY: the temporary stack is in a frame of the thread that the signal has interrupted.
    if let Some(temporary) = unsafe { context::temporary().as_ref() } {
        if is_guard(&temporary.slot, address) {
            report(task, &temporary.slot, true, instruction);
        }
    }
    if let Some(task) = task {
        if is_guard(task.slot(), address) {
            report(Some(task), task.slot(), false, instruction);
        }
    }
}

fn is_guard(slot: &Slot, address: usize) -> bool {
    let bottom = slot.bottom().as_ptr() as usize;
    (bottom..bottom + slot.guard()).contains(&address)
}

fn report(task: Option<TaskRef>, slot: &Slot, temporary: bool, instruction: usize) -> ! {
    let mut text = Text::new();
    // Text that is too long is cut off.
    let _ = describe(&mut text, task, slot, temporary, instruction);
    text.print();
    // SAFETY: abort is async-signal-safe.
    unsafe { libc::abort() }
}

fn describe(
    text: &mut Text,
    task: Option<TaskRef>,
    slot: &Slot,
    temporary: bool,
    instruction: usize,
) -> fmt::Result {
    let stack = if temporary { "the stack that with_stack gave it" } else { "its stack" };
    match task {
        Some(task) => {
            write!(text, "\ngreen thread {}", task.id)?;
            if let Some(name) = &task.name {
                write!(text, " {}", Quoted(name))?;
            }
            writeln!(text, " has overflowed {stack}")?;
            writeln!(text, "  spawned at: {}", task.site)?;
        }
        None => writeln!(text, "\nan OS thread has overflowed {stack}")?,
    }
    writeln!(text, "  stack size: {} bytes, and {} of guard", slot.usable(), slot.guard())?;
    let code = CODE.load(Relaxed);
    if code != 0 && instruction > code {
        let offset = instruction - code;
        write!(text, "  deepest call: at {offset:#x} of the program ")?;
        writeln!(text, "(`addr2line -Cfe PROGRAM {offset:#x}` names it)")?;
    }
    if temporary {
        writeln!(text, "  remedy: a larger size for gthread::with_stack, or less recursion")?;
    } else {
        write!(
            text,
            "  remedy: a larger stack, by gthread::Builder::stack_size for this thread or "
        )?;
        write!(text, "GTHREAD_STACK_SIZE={} for all; ", (2 * slot.usable()).next_power_of_two())?;
        writeln!(text, "or gthread::with_stack for the deep call alone")?;
    }
    writeln!(text, "fatal: stack overflow, aborting")
}

/// Text of limited length, in place.
struct Text {
    bytes: [u8; 2048],
    len: usize,
}

impl Text {
    fn new() -> Self {
        Self { bytes: [0; 2048], len: 0 }
    }

    /// Writes the text to standard error.
    fn print(&self) {
        let mut rest = &self.bytes[..self.len];
        while !rest.is_empty() {
            // SAFETY: the bytes are initialized and alive during the call.
            let written =
                unsafe { libc::write(libc::STDERR_FILENO, rest.as_ptr().cast(), rest.len()) };
            match usize::try_from(written) {
                Ok(written @ 1..) => rest = &rest[written..],
                _ if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                _ => return,
            }
        }
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        if len == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
