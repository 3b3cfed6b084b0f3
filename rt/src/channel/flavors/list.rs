//! The buffer of an unbounded channel: a linked list of blocks of slots.
//!
//! Positions count slots, and one more position at the end of each block, at which the next block
//! is linked in. At that position all threads wait until the thread that took the last slot has
//! moved the head or the tail to the next block. (The shape is that of crossbeam's `SegQueue`. Here
//! a block counts the values that were taken out of it, and the thread that takes the last one
//! frees it.)
//!
//! Invariants:
//! - The thread that moves the tail from p fills slot p and marks it. The thread that moves the
//!   head from p waits for the mark, which is a few instructions away, takes the value, and counts
//!   it in the block.
//! - A block is reachable from `tail` until its last slot is taken by a sender, and from `head`
//!   until its last slot is taken by a receiver. That receiver moves the head past the block before
//!   it counts its own value. So when all values are counted no other thread can reach the block,
//!   and the thread that counts last frees it.
//! - `next` is set before the last slot is marked, so every thread that has seen the mark also sees
//!   `next`.
//! - The head and the tail move with sequentially consistent operations, as `WaitList` needs.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

use crossbeam_channel::TryRecvError;
use crossbeam_utils::CachePadded;

use crate::channel::flavors::buffer::{Buffer, NotReady, PushError, exchange, move_out};
use crate::loom::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use crate::util::backoff::Backoff;

/// The number of slots of a block.
const SLOTS: usize = if cfg!(loom) { 2 } else { 31 };
/// The number of positions of a block: its slots and its end.
const LAP: usize = SLOTS + 1;
/// The lowest bit of the tail: the list is closed for sending. Positions are counted in twos.
const CLOSED: usize = 1;
/// The lowest bit of the head: the tail is in a later block. So there is a value, and a receiver
/// need not read the tail, which the senders write.
const MORE: usize = 1;
const ONE: usize = 2;

pub(crate) struct List<T> {
    head: CachePadded<End<T>>,
    tail: CachePadded<End<T>>,
}

/// One end: a position, and its block. The block belongs to the position unless the position is the
/// end of a block.
struct End<T> {
    position: AtomicUsize,
    block: AtomicPtr<Block<T>>,
}

struct Block<T> {
    slots: [Slot<T>; SLOTS],
    next: AtomicPtr<Block<T>>,
    /// The number of values that were taken out.
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
        // Initialized in place: a block may be too large for the stack.
        let block = Box::into_raw(Box::<Self>::new_uninit()).cast::<Self>();
        // SAFETY: `block` is a valid, uninitialized allocation for a block, and each field is
        // written through a raw pointer. A slot's value may stay uninitialized.
        unsafe {
            for slot in 0..SLOTS {
                (&raw mut (*block).slots[slot].filled).write(AtomicBool::new(false));
            }
            (&raw mut (*block).next).write(AtomicPtr::new(ptr::null_mut()));
            (&raw mut (*block).taken).write(CachePadded::new(AtomicUsize::new(0)));
        }
        block
    }

    /// Frees a block.
    ///
    /// # Safety
    ///
    /// `block` comes from [`Block::new`], and no other thread reaches it any more.
    #[cold]
    #[inline(never)]
    unsafe fn free(block: *mut Self) {
        // SAFETY: the caller guarantees that `block` is from `Box::into_raw` in `Block::new` and is
        // freed once.
        drop(unsafe { Box::from_raw(block) });
    }
}

impl<T> Slot<T> {
    /// # Safety
    ///
    /// The caller has moved the tail from this slot, and calls this once.
    #[inline(always)]
    unsafe fn fill(&self, value: &mut Option<T>) {
        // SAFETY: the caller moved the tail from here, so the slot is the caller's alone: the
        // memory is valid for writes and holds no value.
        unsafe { move_out(value, (*self.value.get()).as_mut_ptr()) };
        self.filled.store(true, Ordering::Release);
    }

    /// Waits until the slot is filled, which is a few instructions away, and moves the value to
    /// `place`.
    ///
    /// # Safety
    ///
    /// The caller has moved the head from this slot, and calls this once.
    #[inline(always)]
    unsafe fn empty(&self, place: &mut MaybeUninit<T>) {
        if !self.filled.load(Ordering::Acquire) {
            self.wait();
        }
        // SAFETY: the caller moved the head from here, so the slot is the caller's alone. `filled`
        // was read with acquire, so the value is there. `place` is a distinct `&mut`.
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
    /// Creates an empty list. The first block is allocated with the first value.
    pub(crate) fn new() -> Self {
        let end = || {
            CachePadded::new(End {
                position: AtomicUsize::new(0),
                block: AtomicPtr::new(ptr::null_mut()),
            })
        };
        Self { head: end(), tail: end() }
    }

    /// Makes `new` the first block. Returns the tail's block, and `new` or null: the block that is
    /// left over if another thread was faster.
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
    fn pop(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
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
            // No block yet: the sender of the first value is about to link it.
            if index == SLOTS || block.is_null() {
                patience.wait();
                position = self.head.position.load(Ordering::Acquire);
                continue;
            }
            let head = &self.head.position;
            match exchange(head, position, next_position) {
                Ok(()) => {
                    // SAFETY: as in `push_slowly`, the block belongs to the position and stays
                    // until this thread has counted its value. The slot is this thread's, because
                    // it moved the head from its position, and does so once.
                    unsafe { (*block).slots[index].empty(place) };
                    if index + 1 == SLOTS {
                        // SAFETY: the block stays until this thread counts its value. `next` was
                        // set before the mark that this thread has seen, so it is not null below.
                        let next = unsafe { &*block }.next.load(Ordering::Acquire);
                        // SAFETY: the next block still has values to come, and stays until all of
                        // them are taken.
                        let more = !unsafe { &*next }.next.load(Ordering::Relaxed).is_null();
                        self.head.block.store(next, Ordering::Release);
                        let first = (position & !MORE) + 2 * ONE;
                        head.store(first | if more { MORE } else { 0 }, Ordering::SeqCst);
                    }
                    // SAFETY: the block stays until this addition.
                    let taken = unsafe { &(*block).taken }.fetch_add(1, Ordering::AcqRel) + 1;
                    if taken == SLOTS {
                        // SAFETY: this was the last value, so no other thread reaches the block any
                        // more.
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
    #[inline(always)]
    fn push_at_once(&self, value: &mut Option<T>) -> Result<(), NotReady> {
        let position = self.tail.position.load(Ordering::Acquire);
        let block = self.tail.block.load(Ordering::Acquire);
        let index = slot_of(position);
        if position & CLOSED != 0
            || index + 1 >= SLOTS
            || block.is_null()
            || exchange(&self.tail.position, position, position + ONE).is_err()
        {
            return Err(NotReady::Unknown);
        }
        // SAFETY: the tail was moved from this slot just now; the block stays as in `push_slowly`.
        unsafe { (*block).slots[index].fill(value) };
        Ok(())
    }

    #[inline(always)]
    fn pop_at_once(&self, place: &mut MaybeUninit<T>) -> Result<(), NotReady> {
        let position = self.head.position.load(Ordering::Acquire);
        let block = self.head.block.load(Ordering::Acquire);
        if position & MORE == 0 {
            let tail = self.tail.position.load(Ordering::SeqCst);
            if tail == position {
                return Err(NotReady::Wait);
            }
            // A closed list may be empty. If the tail is in a later block, the slow path sets MORE.
            if tail & CLOSED != 0 || tail / ONE / LAP != position / ONE / LAP {
                return Err(NotReady::Unknown);
            }
        }
        let index = slot_of(position);
        if index + 1 >= SLOTS
            || block.is_null()
            || exchange(&self.head.position, position, position + ONE).is_err()
        {
            return Err(NotReady::Unknown);
        }
        // SAFETY: the head was moved from this slot just now; the block stays as in `pop`.
        unsafe { (*block).slots[index].empty(place) };
        // SAFETY: as in `pop`, the block stays until this addition.
        let taken = unsafe { &(*block).taken }.fetch_add(1, Ordering::AcqRel) + 1;
        if taken == SLOTS {
            // SAFETY: as in `pop`, no other thread reaches the block.
            unsafe { Block::free(block) };
        }
        Ok(())
    }

    #[inline(never)]
    fn push_slowly(&self, value: &mut Option<T>) -> Result<(), PushError> {
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
                // Allocated before the tail stands at the end, where other threads wait.
                next = Block::new();
                position = self.tail.position.load(Ordering::Acquire);
                continue;
            }
            if block.is_null() {
                (block, next) = self.first_block(next);
            }
            let tail = &self.tail.position;
            match exchange(tail, position, position + ONE) {
                Ok(()) => {
                    // SAFETY: the tail's block belongs to any position before the block's end, and
                    // does not change while the position stays the same. It is not freed before
                    // this thread's slot was taken.
                    let block = unsafe { &*block };
                    if index + 1 == SLOTS {
                        block.next.store(next, Ordering::Release);
                        self.tail.block.store(next, Ordering::Release);
                        // An addition, because the tail may be closed meanwhile.
                        tail.fetch_add(ONE, Ordering::SeqCst);
                        next = ptr::null_mut();
                    }
                    // SAFETY: this thread moved the tail from the slot's position, so the slot is
                    // its own, and it fills it once.
                    unsafe { block.slots[index].fill(value) };
                    break Ok(());
                }
                Err(now) => {
                    position = now;
                    patience.lost();
                }
            }
        };
        if !next.is_null() {
            // SAFETY: allocated above by `Block::new`, and never linked.
            unsafe { Block::free(next) };
        }
        result
    }

    fn pop_slowly(&self, place: &mut MaybeUninit<T>) -> Result<(), TryRecvError> {
        self.pop(place)
    }

    fn full(&self) -> Option<usize> {
        None
    }

    fn empty(&self) -> Option<usize> {
        // As in `Ring::empty`: the head is read first.
        let head = self.head.position.load(Ordering::SeqCst) & !MORE;
        let tail = self.tail.position.load(Ordering::SeqCst);
        (tail == head).then_some(head)
    }

    fn close(&self) -> bool {
        self.tail.position.fetch_or(CLOSED, Ordering::SeqCst) & CLOSED == 0
    }

    fn len(&self) -> usize {
        loop {
            let tail = self.tail.position.load(Ordering::SeqCst) & !CLOSED;
            let head = self.head.position.load(Ordering::SeqCst) & !MORE;
            // Both values are of one moment if the tail has not moved meanwhile.
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
    /// If a value panics while it is dropped, the rest is leaked: no other destructor runs during
    /// the unwinding.
    fn drop(&mut self) {
        struct FreeBlocks<'a, T>(&'a List<T>);
        impl<T> Drop for FreeBlocks<'_, T> {
            fn drop(&mut self) {
                let mut place = MaybeUninit::uninit();
                while self.0.pop(&mut place).is_ok() {}
                let block = self.0.head.block.load(Ordering::Relaxed);
                if !block.is_null() {
                    // SAFETY: `&mut self` in `drop`, so no other thread is left. All blocks before
                    // the head's are freed. There is none after it: the list is empty, and the head
                    // leaves a block with the block's last value.
                    unsafe { Block::free(block) };
                }
            }
        }
        let blocks = FreeBlocks(self);
        let mut place = MaybeUninit::uninit();
        while blocks.0.pop(&mut place).is_ok() {
            // SAFETY: the pop succeeded, so it has written the place.
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
        // SAFETY: a pop that succeeds has written the place.
        list.pop_slowly(&mut place).is_ok().then(|| *unsafe { place.assume_init() })
    }

    /// Crosses the end of a block (of two slots, under loom), starting without a first block.
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
