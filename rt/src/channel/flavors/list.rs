//! The buffer of an unbounded channel: a list of blocks of slots.
//!
//! Positions count slots, and one more at the end of each block, at which the next block is linked in:
//! there nobody can go on until whoever took the last slot has moved head or tail to the next block.
//! (The shape is that of crossbeam's `SegQueue`; here a block counts the values that were taken out of
//! it, and whoever takes the last frees it.)
//!
//! Invariants:
//! - Whoever moves the tail from p fills slot p and marks it; whoever moves the head from p waits for
//!   the mark, which is a few instructions away, takes the value, and counts it in the block.
//! - A block is reachable from `tail` until its last slot was given out, and from `head` until then too;
//!   the one who took the last slot leaves the head behind it before it counts its own value. So when
//!   all are counted nobody can reach the block, and whoever counts last frees it.
//! - `next` is set before the last slot's mark, so it is there for whoever has seen the mark.
//! - Whoever changes head or tail, or is about to sleep for what they are, comes first, and leaves after
//!   ([`Sole`]). If it is not alone, head and tail move with sequentially consistent operations: see
//!   `WaitList`.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::TryRecvError;
use crossbeam_utils::CachePadded;

use crate::channel::flavors::buffer::{Buffer, NotReady, PushError, move_out};
use crate::loom::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use crate::util::backoff::Backoff;
use crate::util::sole::{Entry, Others, Sole, Turn};

/// Slots of a block.
const SLOTS: usize = if cfg!(loom) { 2 } else { 31 };
/// Positions of a block: its slots and its end.
const LAP: usize = SLOTS + 1;
/// The lowest bit of the tail: nothing more is sent. Positions are counted in twos.
const CLOSED: usize = 1;
/// The lowest bit of the head: the tail is in a later block, so that there is a value, and no need to
/// look at the tail, which the senders write.
const MORE: usize = 1;
const ONE: usize = 2;

pub(crate) struct List<T> {
    head: CachePadded<End<T>>,
    tail: CachePadded<End<T>>,
    sole: Sole,
}

/// One end: the position, and the block that it is in. The block is right for the position unless that
/// is a block's end.
struct End<T> {
    position: AtomicUsize,
    block: AtomicPtr<Block<T>>,
}

struct Block<T> {
    slots: [Slot<T>; SLOTS],
    next: AtomicPtr<Block<T>>,
    /// Values that were taken out.
    taken: CachePadded<AtomicUsize>,
}

struct Slot<T> {
    filled: AtomicBool,
    value: UnsafeCell<MaybeUninit<T>>,
}

fn slot_of(position: usize) -> usize {
    position / ONE % LAP
}

impl<T> Block<T> {
    fn new() -> *mut Self {
        // In place: a block may be too large for the stack.
        let block = Box::into_raw(Box::<Self>::new_uninit()).cast::<Self>();
        // SAFETY: the place is a block's, to be initialized. Of a slot's two fields the value needs not.
        unsafe {
            for slot in 0..SLOTS {
                (&raw mut (*block).slots[slot].filled).write(AtomicBool::new(false));
            }
            (&raw mut (*block).next).write(AtomicPtr::new(ptr::null_mut()));
            (&raw mut (*block).taken).write(CachePadded::new(AtomicUsize::new(0)));
        }
        block
    }

    /// Takes long, compared to what it is called after: not while inside.
    ///
    /// # Safety
    ///
    /// From [`Block::new`], and nobody reaches it any more.
    #[cold]
    #[inline(never)]
    unsafe fn free(block: *mut Self) {
        // SAFETY: the caller's.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl<T> Slot<T> {
    /// # Safety
    ///
    /// The caller moved the tail from here, and does this once.
    #[inline(always)]
    unsafe fn fill(&self, value: &mut Option<T>) {
        // SAFETY: the slot is the caller's, so its memory is nobody else's and without a value.
        unsafe { move_out(value, (*self.value.get()).as_mut_ptr()) };
        self.filled.store(true, Ordering::Release);
    }

    /// Waits until it is filled, which is a few instructions away, and moves the value to `place`.
    ///
    /// # Safety
    ///
    /// The caller moved the head from here, and does this once.
    #[inline(always)]
    unsafe fn empty(&self, place: &mut MaybeUninit<T>) {
        if !self.filled.load(Ordering::Acquire) {
            self.wait();
        }
        // SAFETY: the slot is the caller's, and the value is there.
        unsafe { (*self.value.get()).as_ptr().copy_to_nonoverlapping(place.as_mut_ptr(), 1) };
    }

    #[cold]
    fn wait(&self) {
        let mut patience = Backoff::new();
        while !self.filled.load(Ordering::Acquire) {
            patience.wait();
        }
    }
}

impl<T> List<T> {
    /// The first block is made with the first value.
    pub(crate) fn new() -> Self {
        let end = || {
            CachePadded::new(End {
                position: AtomicUsize::new(0),
                block: AtomicPtr::new(ptr::null_mut()),
            })
        };
        Self { head: end(), tail: end(), sole: Sole::new() }
    }

    /// Makes `new` the first block: gives the tail's block, and a block that is left over if another
    /// thread was faster.
    #[cold]
    fn first_block(&self, new: *mut Block<T>) -> (*mut Block<T>, *mut Block<T>) {
        let tail = &self.tail.block;
        match tail.compare_exchange(ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                self.head.block.store(new, Ordering::Release);
                (new, ptr::null_mut())
            }
            Err(block) => (block, new),
        }
    }

    #[inline(never)]
    fn pop(&self, entry: Entry<'_>, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        let mut patience = Backoff::new();
        let mut position = self.head.position.load(Ordering::Acquire);
        loop {
            let block = self.head.block.load(Ordering::Acquire);
            let mut next_position = position + ONE;
            if position & MORE == 0 {
                let tail = self.tail.position.load(Ordering::SeqCst);
                if tail & !CLOSED == position {
                    return Err(if tail & CLOSED == 0 {
                        TryRecvError::Empty
                    } else {
                        TryRecvError::Disconnected
                    });
                }
                if tail / ONE / LAP != position / ONE / LAP {
                    next_position |= MORE;
                }
            }
            let index = slot_of(position);
            // No block yet: the first value is on its way.
            if index == SLOTS || block.is_null() {
                patience.wait();
                position = self.head.position.load(Ordering::Acquire);
                continue;
            }
            let head = &self.head.position;
            match entry.exchange(head, position, next_position) {
                Ok(()) => {
                    // SAFETY: as in `push_slowly`: the block is right for the position, and stays until we
                    // have counted our value. The slot is ours since we moved the head from its position.
                    unsafe { (*block).slots[index].empty(place) };
                    if index + 1 == SLOTS {
                        // SAFETY: as above. `next` was set before the mark that we have seen.
                        let next = unsafe { &*block }.next.load(Ordering::Acquire);
                        // SAFETY: the next block has values to come; it stays until they are taken.
                        let more = !unsafe { &*next }.next.load(Ordering::Relaxed).is_null();
                        self.head.block.store(next, Ordering::Release);
                        let first = (position & !MORE) + 2 * ONE;
                        head.store(first | if more { MORE } else { 0 }, Ordering::SeqCst);
                    }
                    // SAFETY: as above, up to the addition.
                    let taken = entry.add(unsafe { &(*block).taken }, 1) + 1;
                    drop(entry);
                    if taken == SLOTS {
                        // SAFETY: ours was the last value, so nobody else reaches the block any more.
                        unsafe { Block::free(block) };
                    }
                    return Ok(());
                }
                Err(now) => {
                    position = now;
                    patience.lost();
                }
            }
        }
    }
}

impl<T> Buffer<T> for List<T> {
    fn sole(&self) -> &Sole {
        &self.sole
    }

    #[inline(always)]
    fn push_in_turn(&self, turn: impl Turn, value: &mut Option<T>) -> Result<(), NotReady> {
        let position = self.tail.position.load(Ordering::Acquire);
        let block = self.tail.block.load(Ordering::Acquire);
        let index = slot_of(position);
        if position & CLOSED != 0
            || index + 1 >= SLOTS
            || block.is_null()
            || turn.exchange(&self.tail.position, position, position + ONE).is_err()
        {
            return Err(NotReady::Unknown);
        }
        // SAFETY: as in `push_slowly`.
        unsafe { (*block).slots[index].fill(value) };
        Ok(())
    }

    #[inline(always)]
    fn pop_in_turn(&self, turn: impl Turn, place: &mut MaybeUninit<T>) -> Result<(), NotReady> {
        let position = self.head.position.load(Ordering::Acquire);
        let block = self.head.block.load(Ordering::Acquire);
        if position & MORE == 0 {
            let tail = self.tail.position.load(Ordering::SeqCst);
            if tail == position {
                return Err(NotReady::Wait);
            }
            // If closed, it may be empty. In a later block, the slow way notes that there is MORE.
            if tail & CLOSED != 0 || tail / ONE / LAP != position / ONE / LAP {
                return Err(NotReady::Unknown);
            }
        }
        let index = slot_of(position);
        if index + 1 >= SLOTS
            || block.is_null()
            || turn.exchange(&self.head.position, position, position + ONE).is_err()
        {
            return Err(NotReady::Unknown);
        }
        // SAFETY: as in `pop`.
        unsafe { (*block).slots[index].empty(place) };
        // SAFETY: as in `pop`, up to the addition.
        let taken = turn.add(unsafe { &(*block).taken }, 1) + 1;
        // Who is alone takes them in order, so the last is not here.
        if !turn.is_alone() && taken == SLOTS {
            // SAFETY: as in `pop`.
            unsafe { Block::free(block) };
        }
        Ok(())
    }

    #[inline(never)]
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError> {
        let mut entry = self.sole.enter();
        let mut patience = Backoff::new();
        let mut position = self.tail.position.load(Ordering::Acquire);
        let mut next: *mut Block<T> = ptr::null_mut();
        let result = loop {
            let mut block = self.tail.block.load(Ordering::Acquire);
            if position & CLOSED != 0 {
                break Err(PushError::Closed);
            }
            let index = slot_of(position);
            if index == SLOTS {
                patience.wait();
                position = self.tail.position.load(Ordering::Acquire);
                continue;
            }
            if next.is_null() && (block.is_null() || index + 1 == SLOTS) {
                // Before the tail stands at the end, where others wait; and outside, since it may take long.
                drop(entry);
                next = Block::new();
                entry = self.sole.enter();
                position = self.tail.position.load(Ordering::Acquire);
                continue;
            }
            if block.is_null() {
                (block, next) = self.first_block(next);
            }
            let tail = &self.tail.position;
            match entry.exchange(tail, position, position + ONE) {
                Ok(()) => {
                    // SAFETY: the tail's block is right for a position before its end, and has not
                    // changed while the position has not. It stays until our slot is taken.
                    let block = unsafe { &*block };
                    if index + 1 == SLOTS {
                        block.next.store(next, Ordering::Release);
                        self.tail.block.store(next, Ordering::Release);
                        // An addition: the tail may be closed meanwhile.
                        tail.fetch_add(ONE, Ordering::SeqCst);
                        next = ptr::null_mut();
                    }
                    // SAFETY: the slot at the position that we moved the tail from is ours.
                    unsafe { block.slots[index].fill(value) };
                    break Ok(());
                }
                Err(now) => {
                    position = now;
                    patience.lost();
                }
            }
        };
        drop(entry);
        if !next.is_null() {
            // SAFETY: made above, and linked nowhere.
            unsafe { Block::free(next) };
        }
        result
    }

    fn pop_slowly(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        self.pop(self.sole.enter(), place)
    }

    fn full(&self) -> Option<usize> {
        None
    }

    fn empty(&self) -> Option<usize> {
        let _entry = self.sole.enter();
        // As in the ring.
        let head = self.head.position.load(Ordering::SeqCst) & !MORE;
        let tail = self.tail.position.load(Ordering::SeqCst);
        (tail == head).then_some(head)
    }

    fn close(&self) -> bool {
        let _entry = self.sole.enter();
        self.tail.position.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.position.load(Ordering::SeqCst) & !CLOSED;
            let head = self.head.position.load(Ordering::SeqCst) & !MORE;
            // Both of one moment, if the tail has not moved meanwhile.
            if self.tail.position.load(Ordering::SeqCst) & !CLOSED == tail {
                let slots_before = |position: usize| {
                    let position = position / ONE;
                    position / LAP * SLOTS + position % LAP
                };
                return slots_before(tail) - slots_before(head);
            }
        }
    }

    fn capacity(&self) -> Option<usize> {
        None
    }
}

impl<T> Drop for List<T> {
    /// If a value panics as it is dropped, the rest is leaked: no other destructor runs while that unwinds.
    fn drop(&mut self) {
        struct FreeBlocks<'a, T>(&'a List<T>);
        impl<T> Drop for FreeBlocks<'_, T> {
            fn drop(&mut self) {
                let mut place = MaybeUninit::uninit();
                while self.0.pop(Entry::Among(Others::owner()), &mut place).is_ok() {}
                let block = self.0.head.block.load(Ordering::Relaxed);
                if !block.is_null() {
                    // SAFETY: nobody else is left. All blocks before the head's are freed, and there is none
                    // after it: the list is empty, and with the last value of a block the head leaves it.
                    unsafe { Block::free(block) };
                }
            }
        }
        let blocks = FreeBlocks(self);
        let mut place = MaybeUninit::uninit();
        while blocks.0.pop(Entry::Among(Others::owner()), &mut place).is_ok() {
            // SAFETY: just written.
            unsafe { place.assume_init_drop() };
        }
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn push(list: &List<Box<usize>>, n: usize) {
        assert!(list.try_push(&mut Some(Box::new(n))).is_ok());
    }

    fn pop(list: &List<Box<usize>>) -> Option<usize> {
        let mut place = MaybeUninit::uninit();
        // SAFETY: written by a pop that succeeds.
        list.pop_slowly(&mut place).is_ok().then(|| *unsafe { place.assume_init() })
    }

    /// Across the end of a block (of two slots, under loom), with the first block yet to be made.
    #[test]
    fn values_are_neither_lost_nor_doubled() {
        loom::model(|| {
            let list = Arc::new(List::new());
            let sender = {
                let list = Arc::clone(&list);
                thread::spawn(move || (1..=2).for_each(|n| push(&list, n)))
            };
            push(&list, 3);
            let mut out: Vec<usize> = pop(&list).into_iter().collect();
            sender.join().unwrap();
            out.extend(std::iter::from_fn(|| pop(&list)));
            let place = |n| out.iter().position(|&m| m == n);
            assert!(place(1) < place(2), "in order");
            out.sort();
            assert_eq!(out, [1, 2, 3]);
        });
    }

    #[test]
    fn two_receivers_free_a_block_once() {
        loom::model(|| {
            let list = Arc::new(List::new());
            (1..=3).for_each(|n| push(&list, n));
            let other = {
                let list = Arc::clone(&list);
                thread::spawn(move || [pop(&list), pop(&list)])
            };
            let mut out: Vec<_> = pop(&list).into_iter().collect();
            out.extend(other.join().unwrap().into_iter().flatten());
            out.sort();
            assert_eq!(out, [1, 2, 3]);
        });
    }
}
