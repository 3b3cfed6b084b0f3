//! Tests of pools, caches, guards and alternate stacks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::{
    AlternateStack, Cache, GuardConfig, GuardKind, Pool, SizeClass, Slot, StackError, Trim,
    page_size,
};

fn class() -> SizeClass {
    SizeClass::of_size(64 << 10).unwrap()
}

fn take(cache: &mut Cache, pool: &Pool, class: SizeClass) -> Slot {
    cache.take(class).unwrap_or_else(|| cache.refill(pool, class).unwrap())
}

fn write_and_read(slot: &Slot) {
    let top = slot.top().as_ptr();
    for offset in [1, slot.usable()] {
        // SAFETY: the slot is owned by the caller, and `offset` is within its usable part.
        unsafe {
            top.sub(offset).write(42);
            assert_eq!(top.sub(offset).read(), 42);
        }
    }
}

/// At a distance of an even number of pages, the top pages would compete for half of the TLB, or
/// less.
#[test]
fn neighbours_are_an_odd_number_of_pages_apart() {
    for log2 in [14, 16, 18, 20, 26] {
        let stride = SizeClass::of_size(1 << log2).unwrap().stride();
        assert_eq!(stride / page_size() % 2, 1);
        assert_eq!(stride % page_size(), 0);
    }
}

#[test]
fn slots_are_distinct_writable_and_reused() {
    for kind in [GuardKind::Auto, GuardKind::Mprotect] {
        let pool = Pool::new(GuardConfig::new(kind));
        let slots: Vec<_> = (0..200).map(|_| pool.take(class()).unwrap()).collect();
        let mut bottoms: Vec<_> = slots.iter().map(|slot| slot.bottom()).collect();
        bottoms.sort();
        for pair in bottoms.windows(2) {
            assert!(pair[1].as_ptr() as usize - pair[0].as_ptr() as usize >= class().size());
        }
        slots.iter().for_each(write_and_read);
        assert_eq!(pool.outstanding(), 200);
        slots.into_iter().for_each(|slot| pool.put(slot));
        assert_eq!(pool.outstanding(), 0);
        let again = pool.take(class()).unwrap();
        assert!(bottoms.contains(&again.bottom()));
        pool.put(again);
    }
}

#[test]
fn taking_a_slot_predicts_a_later_one() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let slots: Vec<_> = (0..100).map(|_| pool.take(class()).unwrap()).collect();
    slots.into_iter().for_each(|slot| pool.put(slot));
    let taken: Vec<_> = (0..100).map(|_| pool.take_and_look_ahead(class()).unwrap()).collect();
    let top = |slot: &Slot| slot.top().as_ptr().wrapping_sub(slot.colour());
    let ahead = taken.iter().position(|(slot, _)| Some(top(slot)) == predicted(&taken[0]));
    let ahead = ahead.expect("the first take predicts a later one");
    for (now, later) in taken.iter().zip(&taken[ahead..]) {
        assert_eq!(predicted(now), Some(top(&later.0)));
    }
    taken.into_iter().for_each(|(slot, _)| pool.put(slot));

    fn predicted(taken: &(Slot, Option<NonNull<u8>>)) -> Option<*mut u8> {
        taken.1.map(NonNull::as_ptr)
    }
}

#[test]
fn a_cache_takes_and_gives_in_batches_and_loses_nothing() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let (mut taker, mut giver) = (Cache::new(class()), Cache::new(class()));
    // One cache only takes, the other only gives, so the pool must supply one from the other.
    for _ in 0..10_000 {
        let slot = take(&mut taker, &pool, class());
        giver.put(&pool, slot);
    }
    assert!(pool.outstanding() <= 6 * 32, "the pool grew");
    let other = SizeClass::of_size(1 << 20).unwrap();
    let slot = take(&mut taker, &pool, other);
    assert_eq!(slot.class(), other);
    write_and_read(&slot);
    taker.put(&pool, slot);
    taker.flush(&pool);
    giver.flush(&pool);
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn a_cache_announces_slots_from_the_pool_before_they_are_taken() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    // There are so many that they are not expected to be in the processor's caches.
    let slots: Vec<_> = (0..4096 + 96).map(|_| pool.take(class()).unwrap()).collect();
    slots.into_iter().for_each(|slot| pool.put(slot));

    let mut cache = Cache::new(class());
    let (mut announced, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..80 {
        taken.push(take(&mut cache, &pool, class()));
        announced.extend(cache.coming().iter().rev().map(Slot::bottom));
        assert!(cache.coming().is_empty());
    }
    // The first slot of a batch is taken at once, and so not announced.
    let coming = taken.iter().enumerate().filter(|(index, _)| index % 32 > 0);
    let coming: Vec<_> = coming.map(|(_, slot)| slot.bottom()).collect();
    assert_eq!(announced[..coming.len()], coming);
    assert_eq!(announced.len(), coming.len() + 3, "and the slots that are taken next");

    // Slots that came back from users are not announced.
    for slot in taken.drain(75..) {
        cache.put(&pool, slot);
    }
    for _ in 75..80 {
        taken.push(take(&mut cache, &pool, class()));
        assert!(cache.coming().is_empty());
    }
    taken.into_iter().for_each(|slot| cache.put(&pool, slot));
    cache.flush(&pool);
    assert_eq!(pool.outstanding(), 0);
}

/// The guards are touched in child processes, because the fault kills the process.
#[test]
fn touching_a_guard_kills_the_process() {
    for kind in [GuardKind::Auto, GuardKind::Mprotect] {
        let slot = Pool::new(GuardConfig::new(kind)).take(class()).unwrap();
        assert_faults(slot.bottom().as_ptr().wrapping_add(slot.guard() - 1));
    }
    let alternate = AlternateStack::install().unwrap();
    assert_faults(alternate_stack().ss_sp.cast::<u8>().wrapping_sub(1));
    drop(alternate);
}

#[track_caller]
fn assert_faults(place: *mut u8) {
    // SAFETY: the child only writes one byte and exits. No function that it calls takes a lock or
    // allocates.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: to set the default action has no preconditions. The write is meant to fault. If
        // it succeeds, it hits memory that the child does not use any more. `_exit` has no
        // preconditions.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            place.write_volatile(1);
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: `child` is a child of this process, and `status` is a local.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "no fault");
    assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
}

/// Returns the alternate stack of the calling thread.
fn alternate_stack() -> libc::stack_t {
    // SAFETY: all zeros are a valid stack_t. The query changes nothing, and writes to a local.
    unsafe {
        let mut now: libc::stack_t = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(std::ptr::null(), &mut now), 0);
        now
    }
}

#[test]
fn slots_are_prepared_ahead_of_a_burst_only() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let mut slots: Vec<_> = (0..50).map(|_| pool.take(class()).unwrap()).collect();
    assert!(!pool.is_growing() && !pool.prepare_ahead(), "a few are no burst");
    slots.extend((0..450).map(|_| pool.take(class()).unwrap()));
    if !pool.is_growing() {
        // The guards of this kernel take maps: see the next test.
        return slots.into_iter().for_each(|slot| pool.put(slot));
    }
    let more = (0..1_000).take_while(|_| pool.prepare_ahead()).count();
    assert!((1..=16).contains(&more), "{more} times");
    assert!(!pool.is_growing(), "enough for now");
    assert_eq!(pool.outstanding(), 500);
    slots.extend((0..500).map(|_| pool.take(class()).unwrap()));
    assert!(pool.is_growing(), "the burst goes on");
    slots.iter().for_each(write_and_read);
    let mut bottoms: Vec<_> = slots.iter().map(|slot| slot.bottom()).collect();
    bottoms.sort();
    bottoms.dedup();
    assert_eq!(bottoms.len(), 1_000);
    slots.into_iter().for_each(|slot| pool.put(slot));
    assert_eq!(pool.outstanding(), 0);
}

#[test]
fn guards_that_take_maps_are_not_made_ahead() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Mprotect));
    let slots: Vec<_> = (0..500).map(|_| pool.take(class()).unwrap()).collect();
    assert!(!pool.is_growing() && !pool.prepare_ahead());
    slots.into_iter().for_each(|slot| pool.put(slot));
}

#[test]
fn memory_is_kept_for_ten_trims_in_which_it_is_not_needed() {
    const BURST: usize = 1000;
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    // Takes many slots and gives them back. Returns the number of those that had a user before.
    let burst = || {
        let slots: Vec<_> = (0..BURST).map(|_| pool.take(class()).unwrap()).collect();
        let is_used = |slot: &&Slot| {
            let mark = slot.top().as_ptr().wrapping_sub(1);
            // SAFETY: the slot is owned here, and the byte is its highest.
            unsafe { mark.replace(42) == 42 }
        };
        let used = slots.iter().filter(is_used).count();
        slots.into_iter().for_each(|slot| pool.put(slot));
        used
    };
    assert_eq!(burst(), 0);
    // The slots are needed again after fewer than ten trims, and after ten.
    for trims in [4, 10, 10] {
        for _ in 0..trims {
            assert_eq!(pool.trim(), Trim::Later);
        }
        // Some slots were prepared at the end of the first burst, and had no user.
        assert!(burst() > BURST - 64);
    }
    let trims = (1..).find(|_| pool.trim() == Trim::Done).unwrap();
    assert!((11..=12).contains(&trims), "{trims}");
    assert!(burst() <= 64);
}

/// Safe code must not be able to make a pool hand out memory of another pool, or give it to the
/// kernel.
#[test]
fn a_slot_of_another_pool_is_refused() {
    let new = || Pool::new(GuardConfig::new(GuardKind::Auto));
    let (own, other) = (new(), new());
    let refused = |put: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(put)).expect_err("it is of another pool");
        let text: &&str = panic.downcast_ref().unwrap();
        assert!(text.contains("a pool that it was not taken from"), "{text}");
    };
    let mine = own.take(class()).unwrap();
    // A pool without a chunk of that number refuses the slot, and so does a pool with one.
    refused(&mut || new().put(other.take(class()).unwrap()));
    refused(&mut || own.put(other.take(class()).unwrap()));
    // The pool of this slot is gone, and its address space is left.
    let orphan = new().take(class()).unwrap();
    write_and_read(&orphan);
    let mut orphan = Some(orphan);
    refused(&mut || own.put(orphan.take().unwrap()));
    assert_eq!(own.outstanding(), 1);

    // A cache takes the slot of another pool. The slot has no other owner, and reaches no pool
    // except its own.
    let mut cache = Cache::new(class());
    cache.put(&own, mine);
    cache.put(&own, other.take(class()).unwrap());
    refused(&mut || cache.flush(&own));
    assert_eq!((own.outstanding(), other.outstanding()), (1, 3));
    let (theirs, mine) = (cache.take(class()).unwrap(), cache.take(class()).unwrap());
    assert!(cache.take(class()).is_none());
    [&theirs, &mine].into_iter().for_each(write_and_read);
    own.put(mine);
    other.put(theirs);
    assert_eq!((own.outstanding(), other.outstanding()), (0, 2));

    // The same is true when a full cache gives slots to the pool. Those slots are lost.
    cache.put(&own, other.take(class()).unwrap());
    refused(&mut || (0..64).for_each(|_| cache.put(&own, own.take(class()).unwrap())));
    while cache.take(class()).is_some() {}
    let (mine, theirs) = (own.outstanding(), other.outstanding());
    assert!(mine > 0 && theirs == 3, "{mine} {theirs}");
    let next = own.take(class()).unwrap();
    write_and_read(&next);
    own.put(next);
}

#[test]
fn a_guard_that_leaves_nothing_of_a_slot_is_an_error() {
    for kind in [GuardKind::Auto, GuardKind::Mprotect] {
        let guard = GuardConfig::new(kind).at_least(class().size()).unwrap();
        let pool = Pool::new(guard);
        for error in
            [pool.take(class()).map(drop), Cache::new(class()).refill(&pool, class()).map(drop)]
        {
            let Err(error @ StackError::NoRoom { .. }) = error else { panic!("{error:?}") };
            assert_eq!(io::Error::from(error).kind(), io::ErrorKind::InvalidInput);
        }
        let slot = pool.take(SizeClass::of_size(4 * class().size()).unwrap()).unwrap();
        write_and_read(&slot);
        pool.put(slot);
    }
}

/// In whichever order alternate stacks are dropped, one that a thread has or may get back stays
/// mapped.
#[test]
fn an_alternate_stack_that_is_in_use_is_not_unmapped() {
    fn is_mapped(stack: &libc::stack_t) -> bool {
        let mut states = [0_u8; 64];
        // SAFETY: mincore writes one byte for each page, and `states` has room for more.
        unsafe { libc::mincore(stack.ss_sp, stack.ss_size, states.as_mut_ptr()) == 0 }
    }
    let before = alternate_stack();
    let first = AlternateStack::install().unwrap();
    let with_first = alternate_stack();
    let second = AlternateStack::install().unwrap();
    let with_second = alternate_stack();
    assert_ne!(with_first.ss_sp, with_second.ss_sp);

    drop(first);
    assert_eq!(alternate_stack().ss_sp, with_second.ss_sp);
    drop(second);
    assert_eq!(alternate_stack().ss_sp, with_first.ss_sp);
    assert!(is_mapped(&alternate_stack()));

    // If alternate stacks are dropped in order, the previous one is installed again.
    drop(AlternateStack::install().unwrap());
    assert_eq!(alternate_stack().ss_sp, with_first.ss_sp);

    // The alternate stack is dropped on another thread than it was created on, as a fiber could do.
    let stolen = std::thread::scope(|scope| {
        struct Moved(#[expect(dead_code, reason = "it is only dropped")] AlternateStack);
        // SAFETY: the thread that created the alternate stack has ended before it is dropped, so no
        // thread uses it.
        unsafe impl Send for Moved {}
        scope.spawn(|| Moved(AlternateStack::install().unwrap())).join().unwrap()
    });
    drop(stolen);
    assert_eq!(alternate_stack().ss_sp, with_first.ss_sp);
    // SAFETY: this alternate stack was installed when the test began, and is still mapped.
    assert_eq!(unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) }, 0);
}
