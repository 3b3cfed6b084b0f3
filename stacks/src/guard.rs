//! Guards: what makes a stack overflow a fault instead of a corruption.
//!
//! Linux 6.13 has `MADV_GUARD_INSTALL`, which marks pages as faulting in the page tables alone: a
//! guard costs no memory map. Older kernels get `mprotect(PROT_NONE)`, which splits the map in two,
//! and so runs into `vm.max_map_count` at about 32,700 stacks. A part of that limit is left to the rest
//! of the process, which would die of it: an allocator that gets no more maps cannot say so.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::slot::MAX_GUARD;
use crate::{StackError, advise, page_size};

/// How the guards of a pool are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` where the kernel has it, else [`GuardKind::Mprotect`].
    Auto,
    /// `mprotect(PROT_NONE)` always.
    Mprotect,
}

/// What guards a pool is to make.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GuardConfig {
    /// How they are made.
    pub kind: GuardKind,
    /// Bytes of each.
    size: usize,
    /// How many memory maps they may take, where they take any; if not given, 15 of every 16 that the
    /// kernel allows the process.
    pub max_maps: Option<usize>,
}

/// What compilers expect to lie below a stack: code with a larger frame touches it page by page, in
/// steps of this many bytes, so that it cannot step over the guard. Rust's probes step by 4 KiB
/// everywhere; C compilers' (`-fstack-clash-protection`) by 4 KiB on x86_64, by 64 KiB on AArch64.
const PROBE_STEP: usize = if cfg!(target_arch = "aarch64") { 64 << 10 } else { 4 << 10 };

impl GuardConfig {
    /// Guards of this kind, as large as compilers' stack probes need.
    pub fn new(kind: GuardKind) -> Self {
        Self { kind, size: PROBE_STEP.next_multiple_of(page_size()), max_maps: None }
    }

    /// Guards of at least `bytes`.
    ///
    /// # Errors
    ///
    /// [`StackError::TooLarge`] if that is more than 128 MiB.
    pub fn at_least(mut self, bytes: usize) -> Result<Self, StackError> {
        const LARGEST: usize = 128 << 20;
        const _: () = assert!(LARGEST <= MAX_GUARD);
        if bytes > LARGEST {
            return Err(StackError::TooLarge { asked: bytes });
        }
        self.size = self.size.max(bytes.next_multiple_of(page_size()));
        Ok(self)
    }

    /// Bytes of each guard.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Installs guards, remembering whether the kernel knows the cheap way.
#[derive(Debug)]
pub(crate) struct Guards {
    config: GuardConfig,
    state: AtomicU8,
    /// Guards that take memory maps.
    mapped: AtomicUsize,
}

/// Not tried yet.
const UNKNOWN: u8 = 0;
/// `MADV_GUARD_INSTALL` worked once.
const MADVISE: u8 = 1;
/// The kernel lacks it, or it was forbidden.
const MPROTECT: u8 = 2;

/// Maps that a guard takes: its own, and that of the stack which it cuts off from the next.
const MAPS_EACH: usize = 2;

/// How far [`Guards::install`] came.
pub(crate) struct Installed {
    /// How many places are guarded, from the first.
    pub(crate) guarded: usize,
    /// How many of those take memory maps.
    pub(crate) mapped: usize,
    /// Why no more.
    pub(crate) result: Result<(), StackError>,
}

impl Guards {
    pub(crate) fn new(config: GuardConfig) -> Self {
        let state = match config.kind {
            GuardKind::Auto => UNKNOWN,
            GuardKind::Mprotect => MPROTECT,
        };
        Self { config, state: AtomicU8::new(state), mapped: AtomicUsize::new(0) }
    }

    pub(crate) fn size(&self) -> usize {
        self.config.size
    }

    /// Whether guards take no memory maps, of which some might be wanted for something else.
    pub(crate) fn are_cheap(&self) -> bool {
        self.state.load(Relaxed) == MADVISE
    }

    /// Makes the lowest [`Guards::size`] bytes of each place fault when touched.
    ///
    /// # Safety
    ///
    /// Each is a page-aligned address from which on so many bytes are mapped private and anonymous, and
    /// not in use.
    pub(crate) unsafe fn install(&self, places: &[*mut u8]) -> Installed {
        let mut guarded = 0;
        if self.state.load(Relaxed) != MPROTECT {
            let ranges: Vec<_> =
                places.iter().map(|&place| advise::range(place, self.size())).collect();
            // SAFETY: the caller gives mapped ranges that nobody uses.
            let (done, result) = unsafe { advise::each(&ranges, advise::GUARD_INSTALL) };
            guarded = done;
            match result {
                Ok(()) => {
                    self.state.store(MADVISE, Relaxed);
                    return Installed { guarded, mapped: 0, result: Ok(()) };
                }
                // An old kernel, or memory that this advice does not apply to (locked): both are
                // served by mprotect. Once it has worked, an old kernel is out of the question, and
                // these ranges alone fall back.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    if self.state.load(Relaxed) == UNKNOWN && done == 0 {
                        self.state.store(MPROTECT, Relaxed);
                    }
                }
                Err(source) => {
                    return Installed {
                        guarded,
                        mapped: 0,
                        result: Err(StackError::Guard { source }),
                    };
                }
            }
        }
        let mut mapped = 0;
        let result = places[guarded..].iter().try_for_each(|&place| {
            // SAFETY: the caller's.
            unsafe { self.protect(place) }?;
            mapped += 1;
            Ok(())
        });
        Installed { guarded: guarded + mapped, mapped, result }
    }

    /// Guards one place at the cost of memory maps.
    unsafe fn protect(&self, place: *mut u8) -> Result<(), StackError> {
        let guarded = self.mapped.fetch_add(1, Relaxed);
        let limit = self.config.max_maps.or_else(fair_share).unwrap_or(usize::MAX);
        let refused = if (guarded + 1).saturating_mul(MAPS_EACH) > limit {
            StackError::Maps { guarded, limit, of: max_map_count(), source: None }
        } else {
            // SAFETY: no live object is in the range, so taking its access away harms none.
            match unsafe { libc::mprotect(place.cast(), self.size(), libc::PROT_NONE) } {
                0 => return Ok(()),
                _ => {
                    let source = Some(io::Error::last_os_error());
                    StackError::Maps { guarded, limit, of: max_map_count(), source }
                }
            }
        };
        self.forget(1);
        Err(refused)
    }

    /// So many guards that took memory maps are gone.
    pub(crate) fn forget(&self, mapped: usize) {
        self.mapped.fetch_sub(mapped, Relaxed);
    }
}

/// The kernel's limit on memory maps per process, where it can be read.
fn max_map_count() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

/// What of that stacks may take. Read once: it is asked for with every guard.
fn fair_share() -> Option<usize> {
    static SHARE: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *SHARE.get_or_init(|| max_map_count().map(|all| all - all / 16))
}
