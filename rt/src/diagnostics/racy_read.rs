//! Reading a control block that may be freed at this very moment.
//!
//! A dump needs the name and number of the task that a worker is inside of. The task may end during
//! the read, and its memory may be freed, unmapped, or written anew: an ordinary read would be a
//! data race, or fault. So the kernel does the read, as it would for a debugger. Its read cannot
//! fault, and its result is only believed if the worker is still inside the task afterwards
//! (`Stopped::is_inside`). If the kernel refuses, nothing is known.

use std::mem::MaybeUninit;

use crate::diagnostics::stop_world::Stopped;
use crate::task::header::{Task, TaskRef};

/// Calls `read` with a copy of the control block of `task` and with the task's name. Worker `index`
/// was inside of `task`. Returns `None` if it no longer is.
pub(crate) fn peek<R>(
    stopped: &Stopped<'_>,
    index: usize,
    task: TaskRef,
    read: impl FnOnce(&Task, Option<String>) -> R,
) -> Option<R> {
    let mut copy = MaybeUninit::<Task>::uninit();
    let bytes = copy.as_mut_ptr().cast::<u8>();
    // SAFETY: `bytes` has room for a control block.
    let copied = unsafe { copy_out(task.as_ptr().cast(), bytes, size_of::<Task>()) };
    if !copied || !stopped.is_inside(index, task) {
        return None;
    }
    // SAFETY: this is a bitwise copy of a control block that was alive while the copy was made.
    // This function and `read` only use fields that do not change while the task lives, or for
    // which any number is valid. Nothing is dropped.
    let copy = unsafe { copy.assume_init_ref() };
    let Some(name) = copy.name.as_deref() else { return Some(read(copy, None)) };
    let mut bytes = vec![0; name.len()];
    // SAFETY: the vector has as many bytes. The name itself is not accessed.
    let copied = unsafe { copy_out(name.as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
    if !copied || !stopped.is_inside(index, task) {
        return None;
    }
    Some(read(copy, Some(String::from_utf8_lossy(&bytes).into_owned())))
}

/// Copies bytes of this process from any address. Returns `false` if they are not all mapped.
///
/// # Safety
///
/// `to` has room for `len` bytes.
#[cfg(target_os = "linux")]
unsafe fn copy_out(from: *const u8, to: *mut u8, len: usize) -> bool {
    let local = libc::iovec { iov_base: to.cast(), iov_len: len };
    let remote = libc::iovec { iov_base: from.cast_mut().cast(), iov_len: len };
    // SAFETY: the kernel writes only to the local range, for which the caller guarantees room.
    let copied = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    copied == len as isize
}

#[cfg(not(target_os = "linux"))]
unsafe fn copy_out(_: *const u8, _: *mut u8, _: usize) -> bool {
    false
}
