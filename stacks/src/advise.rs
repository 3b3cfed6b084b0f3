//! What this crate asks of the kernel about memory that it has mapped.
//!
//! `process_madvise` takes many ranges in one call. On the process itself it takes every advice since
//! Linux 6.13, and names that process without a descriptor since 6.15; elsewhere `madvise` is called for
//! each range.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Advice of `<linux/mman.h>` that the libc crate does not name on every target.
pub(crate) const GUARD_INSTALL: libc::c_int = 102;
const POPULATE_WRITE: libc::c_int = 23;
/// `PIDFD_SELF` of `<linux/pidfd.h>`: the calling process, where a descriptor of one is asked for.
const PIDFD_SELF: libc::c_int = -10_000;

/// Ranges that one call takes.
pub(crate) const BATCH: usize = 32;

/// A page-aligned run of bytes.
pub(crate) type Range = libc::iovec;

/// The `len` bytes from `start`.
pub(crate) fn range(start: *mut u8, len: usize) -> Range {
    Range { iov_base: start.cast(), iov_len: len }
}

/// Whether `process_madvise` was seen not to do what `madvise` does.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

/// Gives advice on each range, in order, up to the first that the kernel refuses: how many were taken,
/// and why no more.
///
/// # Safety
///
/// `madvise` with this advice is sound on each of the ranges.
pub(crate) unsafe fn each(ranges: &[Range], advice: libc::c_int) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < ranges.len() {
        let rest = &ranges[done..];
        // SAFETY: the caller's.
        let batch = if rest.len() > 1 { unsafe { at_once(rest, advice) } } else { 0 };
        done += batch;
        if batch == 0 {
            // SAFETY: the caller's.
            if let Err(error) = unsafe { one(rest[0], advice) } {
                return (done, Err(error));
            }
            done += 1;
            if rest.len() > 1 {
                // What the kernel would not do for many it does for one.
                ONE_BY_ONE.store(true, Relaxed);
            }
        }
    }
    (done, Ok(()))
}

/// As [`each`], in one call: how many ranges it has done, perhaps none.
unsafe fn at_once(ranges: &[Range], advice: libc::c_int) -> usize {
    if ONE_BY_ONE.load(Relaxed) || cfg!(not(target_os = "linux")) {
        return 0;
    }
    let ranges = &ranges[..ranges.len().min(BATCH)];
    let (addr, len) = (ranges.as_ptr(), ranges.len());
    // SAFETY: `addr` and `len` are a slice of iovecs; the advice itself is the caller's.
    let bytes =
        unsafe { libc::syscall(libc::SYS_process_madvise, PIDFD_SELF, addr, len, advice, 0) };
    let mut left = usize::try_from(bytes).unwrap_or(0);
    ranges
        .iter()
        .take_while(|range| {
            let done = left >= range.iov_len;
            left = left.saturating_sub(range.iov_len);
            done
        })
        .count()
}

unsafe fn one(range: Range, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the caller's.
    match unsafe { libc::madvise(range.iov_base, range.iov_len, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Backs each range with memory now: cheaper than a fault later. Best effort.
///
/// # Safety
///
/// The ranges are mapped, writable, and private to the caller.
pub(crate) unsafe fn populate(ranges: &[Range]) {
    // SAFETY: populating changes no byte. What the kernel refuses (before Linux 5.14 all of it) is
    // backed when it is touched.
    let _ = unsafe { each(ranges, POPULATE_WRITE) };
}

/// Gives the memory behind each range back to the kernel; the ranges read as zero afterwards. Guards in
/// them stay. Best effort: locked memory stays as it is.
///
/// # Safety
///
/// The ranges are mapped private and anonymous, and hold nothing that is in use.
pub(crate) unsafe fn give_back(ranges: &[Range]) {
    let mut rest = ranges;
    while !rest.is_empty() {
        // SAFETY: the caller's. A refusal concerns one range: the next may be another's.
        let (done, result) = unsafe { each(rest, libc::MADV_DONTNEED) };
        rest = &rest[(done + usize::from(result.is_err())).min(rest.len())..];
    }
}

/// How many bytes below `top` may be in use, down to `bottom` at most: to the lowest page that is backed
/// by memory, in whole pages.
///
/// Pages are asked about from the bottom up; a page in which the kernel finds something counts as used
/// by whoever used the memory last.
pub(crate) fn backed_below(bottom: usize, top: usize) -> usize {
    let page = crate::page_size();
    let mut states = [0_u8; 256];
    let mut from = bottom;
    while from < top {
        let len = (top - from).min(states.len() * page);
        // SAFETY: mincore writes one byte for each page of the range; a range that is not mapped is an
        // error.
        if unsafe { libc::mincore(from as *mut _, len, states.as_mut_ptr()) } == 0 {
            if let Some(first) =
                states[..len.div_ceil(page)].iter().position(|state| state & 1 != 0)
            {
                return top - (from + first * page);
            }
        }
        from += len;
    }
    0
}
