//! Guards: memory below a stack that turns an overflow into a fault.
//!
//! Linux 6.13 has `MADV_GUARD_INSTALL`, which marks pages as faulting in the page tables alone, so
//! a guard takes no memory map. On older kernels a guard is made by `mprotect(PROT_NONE)`, which
//! splits the map in two, and so reaches the default `vm.max_map_count` at about 32,700 stacks. A
//! part of that limit is left to the rest of the process: an allocator that gets no more maps
//! cannot report it, and the process dies.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

use crate::slot::MAX_GUARD;
use crate::{StackError, advise, page_size};

/// The way in which the guards of a pool are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardKind {
    /// `MADV_GUARD_INSTALL` where the kernel has it, else [`GuardKind::Mprotect`].
    Auto,
    /// `mprotect(PROT_NONE)` always.
    Mprotect,
}

/// The configuration of the guards of a pool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GuardConfig {
    /// The way in which the guards are made.
    pub kind: GuardKind,
    /// The size of each guard in bytes.
    size: usize,
    /// The number of memory maps that the guards may take, if they take any.
    ///
    /// `None` stands for 15 of every 16 maps that the kernel allows the process.
    pub max_maps: Option<usize>,
}

/// The size in bytes of the guard that compilers expect below a stack.
///
/// Code with a larger frame touches the frame in steps of this many bytes (*stack probes*), so that
/// it cannot step over the guard. Rust's probes step by 4 KiB on every architecture. Those of C
/// compilers (`-fstack-clash-protection`) step by 4 KiB on x86_64, and by 64 KiB on AArch64.
const PROBE_STEP: usize = if cfg!(target_arch = "aarch64") { 64 << 10 } else { 4 << 10 };

impl GuardConfig {
    /// Creates a configuration of guards as large as compilers' stack probes need.
    pub fn new(kind: GuardKind) -> Self {
        Self { kind, size: PROBE_STEP.next_multiple_of(page_size()), max_maps: None }
    }

    /// Makes the guards at least `bytes` large.
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

    /// Returns the size of each guard in bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Installs guards, and remembers whether the kernel supports `MADV_GUARD_INSTALL`.
#[derive(Debug)]
pub(crate) struct Guards {
    config: GuardConfig,
    /// [`UNKNOWN`], [`MADVISE`], or [`MPROTECT`].
    state: AtomicU8,
    /// The number of guards that take memory maps.
    mapped: AtomicUsize,
}

/// The state while no guard was installed yet.
const UNKNOWN: u8 = 0;
/// The state after `MADV_GUARD_INSTALL` has succeeded once.
const MADVISE: u8 = 1;
/// The state if the kernel lacks `MADV_GUARD_INSTALL`, or the configuration forbids it.
const MPROTECT: u8 = 2;

/// The number of maps that a guard takes: its own, and that of the stack that it separates from the
/// next.
const MAPS_EACH: usize = 2;

/// The result of [`Guards::install`].
pub(crate) struct Installed {
    /// The number of places that are guarded, from the first.
    pub(crate) guarded: usize,
    /// The number of those places whose guards take memory maps.
    pub(crate) mapped: usize,
    /// The reason why no more places are guarded.
    pub(crate) result: Result<(), StackError>,
}

impl Guards {
    /// Creates the state for a configuration, without any guard.
    pub(crate) fn new(config: GuardConfig) -> Self {
        let state = match config.kind {
            GuardKind::Auto => UNKNOWN,
            GuardKind::Mprotect => MPROTECT,
        };
        Self { config, state: AtomicU8::new(state), mapped: AtomicUsize::new(0) }
    }

    /// Returns the size of each guard in bytes.
    pub(crate) fn size(&self) -> usize {
        self.config.size
    }

    /// Returns `true` if guards take no memory maps, which other parts of the process might need.
    pub(crate) fn are_cheap(&self) -> bool {
        self.state.load(Relaxed) == MADVISE
    }

    /// Makes the lowest [`Guards::size`] bytes of each place fault when touched.
    ///
    /// # Safety
    ///
    /// Each place is a page-aligned address. The bytes to guard are mapped private and anonymous,
    /// and are not in use.
    pub(crate) unsafe fn install(&self, places: &[*mut u8]) -> Installed {
        let mut guarded = 0;
        if self.state.load(Relaxed) != MPROTECT {
            let ranges: Vec<_> =
                places.iter().map(|&place| advise::range(place, self.size())).collect();
            // SAFETY: the ranges are mapped private and anonymous, and not in use, as the caller
            // says, so it is sound to discard their bytes and take away access.
            let (done, result) = unsafe { advise::each(&ranges, advise::GUARD_INSTALL) };
            guarded = done;
            match result {
                Ok(()) => {
                    self.state.store(MADVISE, Relaxed);
                    return Installed { guarded, mapped: 0, result: Ok(()) };
                }
                // The kernel is old, or the advice does not apply to this memory, because it is
                // locked. In both cases mprotect works. If the advice has succeeded before, the
                // kernel is not old, and only these ranges fall back.
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
            // SAFETY: the place is page-aligned, mapped and not in use, as the caller says.
            unsafe { self.protect(place) }?;
            mapped += 1;
            Ok(())
        });
        Installed { guarded: guarded + mapped, mapped, result }
    }

    /// Guards one place at the cost of memory maps.
    ///
    /// # Safety
    ///
    /// The same as that of [`Guards::install`], for this place.
    unsafe fn protect(&self, place: *mut u8) -> Result<(), StackError> {
        let guarded = self.mapped.fetch_add(1, Relaxed);
        let limit = self.config.max_maps.or_else(fair_share).unwrap_or(usize::MAX);
        let refused = if (guarded + 1).saturating_mul(MAPS_EACH) > limit {
            StackError::Maps { guarded, limit, of: max_map_count(), source: None }
        } else {
            // SAFETY: the range is page-aligned and mapped, and no value in it is in use, as the
            // caller says. So it is sound to take access away.
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

    /// Subtracts guards that are gone from the number of those that take memory maps.
    pub(crate) fn forget(&self, mapped: usize) {
        self.mapped.fetch_sub(mapped, Relaxed);
    }
}

/// Returns the kernel's limit on memory maps per process, if it can be read.
fn max_map_count() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/vm/max_map_count").ok()?.trim().parse().ok()
}

/// Returns the number of memory maps that stacks may take.
///
/// The limit is read once, because this function is called for every guard.
fn fair_share() -> Option<usize> {
    static SHARE: std::sync::OnceLock<Option<usize>> = std::sync::OnceLock::new();
    *SHARE.get_or_init(|| max_map_count().map(|all| all - all / 16))
}
