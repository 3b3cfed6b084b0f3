//! One stack.

use std::ptr::NonNull;

use crate::{SizeClass, advise};

/// One stack: exclusive ownership of a guarded run of address space.
///
/// A slot comes from a [`Pool`](crate::Pool) and goes back to it. It does not return by itself: to
/// drop one loses its address space until the process ends (the pool then keeps the reservation that it
/// was cut from), which is safe, and is what becomes of a stack whose thread never finishes.
#[must_use = "a slot that is dropped never returns to its pool"]
#[derive(Debug)]
pub struct Slot {
    bottom: NonNull<u8>,
    /// The number of the reservation it was cut from, the guard's size in units of [`GUARD_UNIT`], and the
    /// class. In one word, so that a slot travels in two registers: in fields of their own they are written
    /// one by one and read together, which the processor cannot forward.
    word: u64,
}

const CHUNK_SHIFT: u32 = 32;
const GUARD_SHIFT: u32 = 16;

/// Enough to spread a thousand threads' hot lines over a second-level cache; together half a page, so that a
/// small thread still lives in its top page.
const COLOURS: usize = 8;

/// The smallest page there is.
const GUARD_UNIT: usize = 4 << 10;

/// Bytes of the largest guard.
pub(crate) const MAX_GUARD: usize = u16::MAX as usize * GUARD_UNIT;

// SAFETY: a slot is an address, of memory that belongs to no thread, and two numbers. What another thread can do with
// it in safe code is to read those, and to give it back to its pool, which is shared anyhow. It holds no value: what a
// fiber has in the memory is reached through the fiber, and the slot is not given away before the fiber's end, as
// gthread-arch's `FiberStack::new` demands.
unsafe impl Send for Slot {}
// SAFETY: as above. A shared `Slot` gives out addresses and numbers; what uses the memory, to read or to give it back
// to the kernel, is `unsafe`.
unsafe impl Sync for Slot {}

impl Slot {
    /// # Safety
    ///
    /// `bottom` is the start of `class.size()` bytes of writable memory of chunk `chunk`, the lowest
    /// `guard` of them guarded, that no other slot covers and that stays mapped as long as the slot
    /// lives. `guard` is a multiple of the page size and at most [`MAX_GUARD`].
    pub(crate) unsafe fn from_raw(
        bottom: NonNull<u8>,
        chunk: u32,
        guard: usize,
        class: SizeClass,
    ) -> Self {
        debug_assert!(guard <= MAX_GUARD);
        let guard = (guard / GUARD_UNIT) as u64;
        let word = u64::from(chunk) << CHUNK_SHIFT | guard << GUARD_SHIFT | class.index() as u64;
        Self { bottom, word }
    }

    /// The lowest address, where the guard begins.
    #[inline]
    pub fn bottom(&self) -> NonNull<u8> {
        self.bottom
    }

    /// One past the highest address. Stacks start here and grow down.
    #[inline]
    pub fn top(&self) -> NonNull<u8> {
        // SAFETY: the slot owns `size()` bytes from `bottom` in one mapping, so the end is in bounds
        // and not null.
        unsafe { self.bottom.add(self.class().size()) }
    }

    /// Bytes that should stay unused at the top, less than [`Slot::MAX_COLOUR`]. They differ from a slot to
    /// its neighbours: what many threads touch at the top of their stacks would otherwise have one page offset
    /// in all of them, and compete for a few sets of the processor's caches. (Cache colouring; Bonwick, "The
    /// slab allocator".)
    #[inline]
    pub fn colour(&self) -> usize {
        colour_of(self.bottom, self.class())
    }

    /// No colour is this large.
    pub const MAX_COLOUR: usize = COLOURS * Self::COLOUR_STEP;

    /// Every colour is a multiple of this.
    pub const COLOUR_STEP: usize = 256;

    /// The size class this slot was cut for.
    #[inline]
    pub fn class(&self) -> SizeClass {
        SizeClass::from_index((self.word & 0xff) as usize)
    }

    /// Bytes of guard at the bottom.
    #[inline]
    pub fn guard(&self) -> usize {
        usize::from((self.word >> GUARD_SHIFT) as u16) * GUARD_UNIT
    }

    /// Bytes of stack between the guard and the top.
    #[inline]
    pub fn usable(&self) -> usize {
        self.class().size() - self.guard()
    }

    /// Bytes from the top down to the lowest word that was ever written, by whoever had the slot since
    /// its memory was last given back ([`Slot::give_back`], [`Pool::trim`](crate::Pool::trim)). An
    /// estimate: a frame may have left zeros. Makes a system call for each megabyte of the slot.
    ///
    /// # Safety
    ///
    /// No other thread writes to the slot meanwhile: a fiber on it does not run elsewhere.
    ///
    /// ```compile_fail,E0133
    /// fn deepest(slot: &gthread_stacks::Slot) -> usize {
    ///     slot.high_water()
    /// }
    /// ```
    pub unsafe fn high_water(&self) -> usize {
        let top = self.top().as_ptr() as usize;
        let backed = advise::backed_below(top - self.usable(), top);
        let lowest = (top - backed) as *const usize;
        let words = backed.min(crate::page_size()) / size_of::<usize>();
        let zeros = (0..words)
            // SAFETY: `backed` bytes below the top are the slot's, mapped and readable; words are
            // aligned, being counted from the start of a page. Nobody else writes them, as the caller says.
            // Volatile, because the caller's own frames may live there.
            .take_while(|&word| unsafe { lowest.add(word).read_volatile() } == 0)
            .count();
        backed - zeros * size_of::<usize>()
    }

    /// Gives the memory behind the slot back to the kernel: all of it reads as zero afterwards. The
    /// guard stays.
    ///
    /// # Safety
    ///
    /// Nobody uses what is in the slot.
    pub unsafe fn give_back(&self) {
        let all = advise::range(self.bottom.as_ptr(), self.class().size());
        // SAFETY: the slot is mapped, and the caller says that nothing in it is in use.
        unsafe { advise::give_back(&[all]) };
    }

    pub(crate) fn chunk(&self) -> u32 {
        (self.word >> CHUNK_SHIFT) as u32
    }
}

/// [`Slot::colour`] of the slot at `bottom`.
#[inline]
pub(crate) fn colour_of(bottom: NonNull<u8>, class: SizeClass) -> usize {
    let number = bottom.as_ptr() as usize >> class.log2();
    number % COLOURS * Slot::COLOUR_STEP
}

/// [`Slot::high_water`] of the calling OS thread's own stack: bytes from its highest address down to the
/// lowest page that is backed, as seen from `stack_pointer`, an address in it. Zero if the system does
/// not say where the stack is.
pub fn thread_high_water(stack_pointer: usize) -> usize {
    let Some(top) = thread_stack_top().filter(|&top| top > stack_pointer) else { return 0 };
    let page = crate::page_size();
    let mut lowest = stack_pointer & !(page - 1);
    while lowest > page && advise::backed_below(lowest - page, lowest) > 0 {
        lowest -= page;
    }
    top - lowest
}

/// One past the highest address of the calling OS thread's stack.
#[cfg(target_os = "linux")]
fn thread_stack_top() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::uninit();
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are initialised by the first call, if it succeeds, read by the second, and
    // destroyed by the third.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then_some(lowest as usize + size)
    }
}

#[cfg(not(target_os = "linux"))]
fn thread_stack_top() -> Option<usize> {
    None
}
