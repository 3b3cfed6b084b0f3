//! Advice to the kernel about mapped memory.
//!
//! `process_madvise` takes many ranges in one call. Since Linux 6.13 it accepts every advice if the
//! calling process names itself, and since 6.15 it can name itself without a descriptor. Elsewhere
//! `madvise` is called for each range.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// An advice of `<linux/mman.h>` that the libc crate does not name on every target.
pub(crate) const GUARD_INSTALL: libc::c_int = 102;
/// An advice like [`GUARD_INSTALL`].
const POPULATE_WRITE: libc::c_int = 23;
/// `PIDFD_SELF` of `<linux/pidfd.h>`, which stands for a descriptor of the calling process.
const PIDFD_SELF: libc::c_int = -10_000;

/// The number of ranges that one call takes at most.
pub(crate) const BATCH: usize = 32;

/// A page-aligned run of bytes.
pub(crate) type Range = libc::iovec;

/// Returns the range of `len` bytes from `start`.
pub(crate) fn range(start: *mut u8, len: usize) -> Range {
    Range { iov_base: start.cast(), iov_len: len }
}

/// Set when `process_madvise` has failed where `madvise` then succeeded.
static ONE_BY_ONE: AtomicBool = AtomicBool::new(false);

/// Gives advice on each range, in order, up to the first that the kernel refuses.
///
/// Returns the number of ranges that were advised, and the reason why there were no more.
///
/// # Safety
///
/// `madvise` with this advice is sound on each of the ranges.
pub(crate) unsafe fn each(ranges: &[Range], advice: libc::c_int) -> (usize, io::Result<()>) {
    let mut done = 0;
    while done < ranges.len() {
        let rest = &ranges[done..];
        // SAFETY: the advice is sound on each of the ranges, as the caller says.
        let batch = if rest.len() > 1 { unsafe { at_once(rest, advice) } } else { 0 };
        done += batch;
        if batch == 0 {
            // SAFETY: the advice is sound on each of the ranges, as the caller says.
            if let Err(error) = unsafe { one(rest[0], advice) } {
                return (done, Err(error));
            }
            done += 1;
            if rest.len() > 1 {
                // The kernel refuses for many ranges at once what it does for a single one.
                ONE_BY_ONE.store(true, Relaxed);
            }
        }
    }
    (done, Ok(()))
}

/// Gives advice on up to [`BATCH`] of the ranges, in one call.
///
/// Returns the number of ranges that were advised, perhaps zero.
///
/// # Safety
///
/// The same as that of [`each`].
unsafe fn at_once(ranges: &[Range], advice: libc::c_int) -> usize {
    if ONE_BY_ONE.load(Relaxed) || cfg!(not(target_os = "linux")) {
        return 0;
    }
    let ranges = &ranges[..ranges.len().min(BATCH)];
    let (addr, len) = (ranges.as_ptr(), ranges.len());
    // SAFETY: `addr` and `len` are those of a slice of iovecs, which lives during the call. The
    // advice is sound on each of the ranges, as the caller says.
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

/// Gives advice on one range.
///
/// # Safety
///
/// `madvise` with this advice is sound on the range.
unsafe fn one(range: Range, advice: libc::c_int) -> io::Result<()> {
    // SAFETY: the advice is sound on the range, as the caller says.
    match unsafe { libc::madvise(range.iov_base, range.iov_len, advice) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Backs each range with memory now, which is cheaper than a fault later.
///
/// This is best effort. A range that the kernel refuses is backed when it is touched. Before Linux
/// 5.14 the kernel refuses all of them.
///
/// # Safety
///
/// The ranges are mapped, writable, and private to the caller.
pub(crate) unsafe fn populate(ranges: &[Range]) {
    // SAFETY: populating changes no byte, and the ranges are mapped and writable, as the caller
    // says.
    let _ = unsafe { each(ranges, POPULATE_WRITE) };
}

/// Gives the memory behind each range back to the kernel.
///
/// The ranges read as zero afterwards. Guards in them stay. This is best effort: locked memory
/// stays as it is.
///
/// # Safety
///
/// The ranges are mapped private and anonymous, and hold nothing that is in use.
pub(crate) unsafe fn give_back(ranges: &[Range]) {
    let mut rest = ranges;
    while !rest.is_empty() {
        // SAFETY: the ranges are private and anonymous, and no value in them is in use, as the
        // caller says, so discarding their bytes is sound.
        let (done, result) = unsafe { each(rest, libc::MADV_DONTNEED) };
        // A refusal concerns one range only, so the ranges after it are tried as well.
        rest = &rest[(done + usize::from(result.is_err())).min(rest.len())..];
    }
}

/// Returns the number of bytes between the lowest page that is backed by memory and `top`.
///
/// Only pages between `bottom` and `top` count. Zero means that none of them is backed. The pages
/// are examined from the bottom up. A page that the kernel has backed counts as used by the last
/// user of the memory.
pub(crate) fn backed_below(bottom: usize, top: usize) -> usize {
    let page = crate::page_size();
    let mut states = [0_u8; 256];
    let mut from = bottom;
    while from < top {
        let len = (top - from).min(states.len() * page);
        // SAFETY: mincore writes one byte for each page of the range, and `states` has room for as
        // many. A range that is not mapped is an error.
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
