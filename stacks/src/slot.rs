//! Slots: the stacks that a pool hands out.

use std::ptr::NonNull;

use crate::{SizeClass, advise};

/// One stack: exclusive ownership of a guarded range of address space.
///
/// A slot comes from a [`Pool`](crate::Pool), and must be given back to it. Dropping a slot is
/// safe, but loses its address space until the process ends, because the pool then keeps the
/// reservation that the slot was cut from. The stack of a thread that never finishes is lost in
/// this way.
#[must_use = "a slot that is dropped never returns to its pool"]
#[derive(Debug)]
pub struct Slot {
    bottom: NonNull<u8>,
    /// The number of the chunk, the guard's size in units of [`GUARD_UNIT`], and the class.
    ///
    /// They are in one word, so that a slot is passed in two registers. Separate fields would be
    /// written one by one and read together, and the processor cannot forward such stores.
    word: u64,
}

/// The position of the chunk's number in the word.
const CHUNK_SHIFT: u32 = 32;
/// The position of the guard's size in the word.
const GUARD_SHIFT: u32 = 16;

/// The number of different colours.
///
/// They are enough to spread the hot lines of a thousand threads over a second-level cache.
/// Together they take half a page, so that a small thread still fits in its top page.
const COLOURS: usize = 8;

/// The size in bytes of the smallest page on any supported machine.
const GUARD_UNIT: usize = 4 << 10;

/// The size of the largest guard in bytes.
pub(crate) const MAX_GUARD: usize = u16::MAX as usize * GUARD_UNIT;

// SAFETY: a slot is an address of memory that belongs to no thread, and a word of numbers. Safe
// code on another thread can read these, and give the slot back to its pool, which is shared. A
// slot owns no value: the values of a fiber in this memory are reached through the fiber, and the
// slot is not given away before the fiber's end, as gthread-arch's `FiberStack::new` demands.
unsafe impl Send for Slot {}
// SAFETY: a shared `Slot` gives out addresses and numbers only. The functions that use its memory,
// to read it or to give it back to the kernel, are `unsafe`.
unsafe impl Sync for Slot {}

impl Slot {
    /// Creates a slot.
    ///
    /// # Safety
    ///
    /// - `bottom` is the start of `class.size()` bytes of writable memory of chunk `chunk`.
    /// - The lowest `guard` of these bytes are guarded.
    /// - No other slot covers these bytes.
    /// - They stay mapped as long as the slot lives.
    /// - `guard` is a multiple of the page size, and at most [`MAX_GUARD`].
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

    /// Returns the lowest address, where the guard begins.
    #[inline]
    pub fn bottom(&self) -> NonNull<u8> {
        self.bottom
    }

    /// Returns the address after the highest one, where a stack begins and grows down from.
    #[inline]
    pub fn top(&self) -> NonNull<u8> {
        // SAFETY: the slot owns `size()` bytes from `bottom` in one mapping, so the end of them is
        // in bounds, and not null.
        unsafe { self.bottom.add(self.class().size()) }
    }

    /// Returns the number of bytes that should stay unused at the top, less than
    /// [`Slot::MAX_COLOUR`].
    ///
    /// Neighbouring slots have different colours. Otherwise the data that threads touch at the top
    /// of their stacks would have the same page offset in all of them, and compete for a few sets
    /// of the processor's caches. The technique is cache colouring (Bonwick, "The slab allocator").
    #[inline]
    pub fn colour(&self) -> usize {
        colour_of(self.bottom, self.class())
    }

    /// An upper bound of all colours, in bytes. Every colour is smaller.
    pub const MAX_COLOUR: usize = COLOURS * Self::COLOUR_STEP;

    /// The unit of colours, in bytes. Every colour is a multiple of it.
    pub const COLOUR_STEP: usize = 256;

    /// Returns the size class of the slot.
    #[inline]
    pub fn class(&self) -> SizeClass {
        SizeClass::from_index((self.word & 0xff) as usize)
    }

    /// Returns the size of the guard at the bottom in bytes.
    #[inline]
    pub fn guard(&self) -> usize {
        usize::from((self.word >> GUARD_SHIFT) as u16) * GUARD_UNIT
    }

    /// Returns the size of the stack between the guard and the top in bytes.
    #[inline]
    pub fn usable(&self) -> usize {
        self.class().size() - self.guard()
    }

    /// Returns the number of bytes from the top down to the lowest word that was ever written.
    ///
    /// This counts all users of the slot since its memory was last given back to the kernel
    /// ([`Slot::give_back`], [`Pool::trim`](crate::Pool::trim)). It is an estimate, because a frame
    /// may have left zeros. A system call is made for each megabyte of the slot.
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
            // SAFETY: `backed` bytes below the top are above the guard of the slot, so they are
            // mapped and readable. The words are aligned, because they are counted from the start
            // of a page. No other thread writes them, as the caller says. The read is volatile,
            // because the caller's own frames may live there.
            .take_while(|&word| unsafe { lowest.add(word).read_volatile() } == 0)
            .count();
        backed - zeros * size_of::<usize>()
    }

    /// Gives the memory behind the slot back to the kernel.
    ///
    /// All of it reads as zero afterwards. The guard stays.
    ///
    /// # Safety
    ///
    /// No value in the slot is in use.
    pub unsafe fn give_back(&self) {
        let all = advise::range(self.bottom.as_ptr(), self.class().size());
        // SAFETY: the slot is mapped private and anonymous, and no value in it is in use, as the
        // caller says.
        unsafe { advise::give_back(&[all]) };
    }

    /// Returns the number of the chunk that the slot was cut from.
    pub(crate) fn chunk(&self) -> u32 {
        (self.word >> CHUNK_SHIFT) as u32
    }
}

/// Returns the [colour](Slot::colour) of the slot at `bottom`.
#[inline]
pub(crate) fn colour_of(bottom: NonNull<u8>, class: SizeClass) -> usize {
    let number = bottom.as_ptr() as usize >> class.log2();
    number % COLOURS * Slot::COLOUR_STEP
}

/// Returns the number of bytes of the calling OS thread's own stack that were used so far.
///
/// This is like [`Slot::high_water`], but in whole pages: the distance from the stack's highest
/// address down to the lowest page that is backed without a gap below `stack_pointer`, which is an
/// address in the stack. The result is zero if the system does not say where the stack is.
pub fn thread_high_water(stack_pointer: usize) -> usize {
    let Some(top) = thread_stack_top().filter(|&top| top > stack_pointer) else { return 0 };
    let page = crate::page_size();
    let mut lowest = stack_pointer & !(page - 1);
    while lowest > page && advise::backed_below(lowest - page, lowest) > 0 {
        lowest -= page;
    }
    top - lowest
}

/// Returns the address after the highest one of the calling OS thread's stack.
#[cfg(target_os = "linux")]
fn thread_stack_top() -> Option<usize> {
    let mut attributes = std::mem::MaybeUninit::uninit();
    let (mut lowest, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the first call initialises the attributes if it succeeds, the second reads them, and
    // the third destroys them. The other pointers are to locals.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let known = libc::pthread_attr_getstack(attributes.as_ptr(), &mut lowest, &mut size) == 0;
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        known.then_some(lowest as usize + size)
    }
}

/// Returns `None`, because this system does not say where the stack is.
#[cfg(not(target_os = "linux"))]
fn thread_stack_top() -> Option<usize> {
    None
}
