//! Guard pages: what makes a stack overflow a fault instead of a corruption.
//!
//! Linux 6.13 has `MADV_GUARD_INSTALL`, which marks pages as faulting in the page tables alone: a
//! guard costs no memory map. Older kernels get `mprotect(PROT_NONE)`, which splits the map in two,
//! and so runs into `vm.max_map_count` at about 32,700 stacks.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use crate::page_size;

/// `MADV_GUARD_INSTALL` of `<linux/mman.h>`, which the libc crate does not name on every target.
const MADV_GUARD_INSTALL: libc::c_int = 102;

/// How the guards of a pool are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` where the kernel has it, else [`GuardKind::Mprotect`].
    Auto,
    /// `mprotect(PROT_NONE)` always.
    Mprotect,
}

/// Bytes of guard at the bottom of every slot.
///
/// One page is enough for Rust code on x86_64 and aarch64: the compiler probes every page of a frame
/// larger than one, in order, so no frame can step over it.
#[inline]
pub(crate) fn guard_size() -> usize {
    page_size()
}

/// Installs guards, remembering whether the kernel knows the cheap way.
#[derive(Debug)]
pub(crate) struct Guards {
    state: AtomicU8,
}

/// Not tried yet.
const UNKNOWN: u8 = 0;
/// `MADV_GUARD_INSTALL` worked once.
const MADVISE: u8 = 1;
/// The kernel lacks it, or it was forbidden.
const MPROTECT: u8 = 2;

impl Guards {
    pub(crate) fn new(kind: GuardKind) -> Self {
        let state = match kind {
            GuardKind::Auto => UNKNOWN,
            GuardKind::Mprotect => MPROTECT,
        };
        Self { state: AtomicU8::new(state) }
    }

    /// Makes the `guard_size()` bytes from `bottom` fault when touched.
    ///
    /// # Safety
    ///
    /// The range is page-aligned, mapped private and anonymous, and nothing that is in use lies in it.
    pub(crate) unsafe fn install(&self, bottom: NonNull<u8>) -> io::Result<()> {
        let (addr, len) = (bottom.as_ptr().cast(), guard_size());
        if self.state.load(Relaxed) != MPROTECT {
            // SAFETY: the caller gives a mapped range that nobody uses; the advice changes no map.
            if unsafe { libc::madvise(addr, len, MADV_GUARD_INSTALL) } == 0 {
                self.state.store(MADVISE, Relaxed);
                return Ok(());
            }
            let error = io::Error::last_os_error();
            // EINVAL is an old kernel, or memory this advice does not apply to (locked): both are
            // served by mprotect. Once it has worked, an older kernel is out of the question, and
            // the range alone falls back.
            if error.raw_os_error() != Some(libc::EINVAL) {
                return Err(error);
            }
            if self.state.load(Relaxed) == UNKNOWN {
                self.state.store(MPROTECT, Relaxed);
            }
        }
        // SAFETY: as above; no live object is in the range, so taking its access away harms none.
        match unsafe { libc::mprotect(addr, len, libc::PROT_NONE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
