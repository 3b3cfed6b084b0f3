//! Tests of pool, cache and guards together.

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
        // SAFETY: the slot is ours and `offset` is within its usable part.
        unsafe {
            top.sub(offset).write(42);
            assert_eq!(top.sub(offset).read(), 42);
        }
    }
}

/// At an even number of pages from each other, their top pages would compete for half of the TLB, or less.
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
fn who_takes_many_sees_what_comes() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let slots: Vec<_> = (0..100).map(|_| pool.take(class()).unwrap()).collect();
    slots.into_iter().for_each(|slot| pool.put(slot));
    let taken: Vec<_> = (0..100).map(|_| pool.take_and_look_ahead(class()).unwrap()).collect();
    let top = |slot: &Slot| slot.top().as_ptr().wrapping_sub(slot.colour());
    let ahead = taken.iter().position(|(slot, _)| Some(top(slot)) == seen(&taken[0]));
    let ahead = ahead.expect("the first sees one that comes");
    for (now, later) in taken.iter().zip(&taken[ahead..]) {
        assert_eq!(seen(now), Some(top(&later.0)));
    }
    taken.into_iter().for_each(|(slot, _)| pool.put(slot));

    fn seen(taken: &(Slot, Option<NonNull<u8>>)) -> Option<*mut u8> {
        taken.1.map(NonNull::as_ptr)
    }
}

#[test]
fn a_cache_takes_and_gives_in_batches_and_loses_nothing() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let (mut taker, mut giver) = (Cache::new(class()), Cache::new(class()));
    // One side only takes, the other only gives: the pool must feed one from the other.
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
fn a_cache_tells_of_what_comes_from_the_pool_and_is_about_to_be_taken() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    // So many that they are not expected to be in the processor's caches.
    let slots: Vec<_> = (0..4096 + 96).map(|_| pool.take(class()).unwrap()).collect();
    slots.into_iter().for_each(|slot| pool.put(slot));

    let mut cache = Cache::new(class());
    let (mut told, mut taken) = (Vec::new(), Vec::new());
    for _ in 0..80 {
        taken.push(take(&mut cache, &pool, class()));
        told.extend(cache.coming().iter().rev().map(Slot::bottom));
        assert!(cache.coming().is_empty());
    }
    // The first of a batch is taken at once.
    let coming = taken.iter().enumerate().filter(|(index, _)| index % 32 > 0);
    let coming: Vec<_> = coming.map(|(_, slot)| slot.bottom()).collect();
    assert_eq!(told[..coming.len()], coming);
    assert_eq!(told.len(), coming.len() + 3, "and those that are taken next");

    // Of what comes back it does not tell.
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

/// The guard faults: in a child process, because the fault kills.
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
    // SAFETY: the child only writes one byte and exits: nothing it calls takes a lock or
    // allocates.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: the write is meant to fault. Were it to succeed, it would hit memory of
        // the child, which uses none any more; `_exit` has no preconditions.
        unsafe {
            libc::signal(libc::SIGSEGV, libc::SIG_DFL);
            place.write_volatile(1);
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: `child` is our child and `status` is a local.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFSIGNALED(status), "no fault");
    assert_eq!(libc::WTERMSIG(status), libc::SIGSEGV);
}

/// The calling thread's.
fn alternate_stack() -> libc::stack_t {
    // SAFETY: all zeros is a valid stack_t, and asking changes nothing.
    unsafe {
        let mut now: libc::stack_t = std::mem::zeroed();
        assert_eq!(libc::sigaltstack(std::ptr::null(), &mut now), 0);
        now
    }
}

#[test]
fn stacks_are_prepared_ahead_of_a_crowd_and_of_no_one_else() {
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    let mut slots: Vec<_> = (0..50).map(|_| pool.take(class()).unwrap()).collect();
    assert!(!pool.is_growing() && !pool.prepare_ahead(), "a few are no crowd");
    slots.extend((0..450).map(|_| pool.take(class()).unwrap()));
    if !pool.is_growing() {
        // A kernel whose guards take maps: see the next test.
        return slots.into_iter().for_each(|slot| pool.put(slot));
    }
    let more = (0..1_000).take_while(|_| pool.prepare_ahead()).count();
    assert!((1..=16).contains(&more), "{more} times");
    assert!(!pool.is_growing(), "enough for now");
    assert_eq!(pool.outstanding(), 500);
    slots.extend((0..500).map(|_| pool.take(class()).unwrap()));
    assert!(pool.is_growing(), "a crowd still");
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
fn memory_is_kept_for_ten_trims_in_which_nobody_needs_it() {
    const CROWD: usize = 1000;
    let pool = Pool::new(GuardConfig::new(GuardKind::Auto));
    // A crowd that comes, of which so many have stacks on which somebody was before; and goes.
    let crowd = || {
        let slots: Vec<_> = (0..CROWD).map(|_| pool.take(class()).unwrap()).collect();
        let is_used = |slot: &&Slot| {
            let mark = slot.top().as_ptr().wrapping_sub(1);
            // SAFETY: the slot is ours, and the byte the first of it.
            unsafe { mark.replace(42) == 42 }
        };
        let used = slots.iter().filter(is_used).count();
        slots.into_iter().for_each(|slot| pool.put(slot));
        used
    };
    assert_eq!(crowd(), 0);
    // In the midst of those ten, too.
    for trims in [4, 10, 10] {
        for _ in 0..trims {
            assert_eq!(pool.trim(), Trim::Later);
        }
        // Some were prepared at the end of the first crowd, and nobody was there.
        assert!(crowd() > CROWD - 64);
    }
    let trims = (1..).find(|_| pool.trim() == Trim::Done).unwrap();
    assert!((11..=12).contains(&trims), "{trims}");
    assert!(crowd() <= 64);
}

/// What a caller with safe code does must not have a pool give out, or give back to the kernel, what is not its own.
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
    // A pool that has no reservation with its number, and one that has.
    refused(&mut || new().put(other.take(class()).unwrap()));
    refused(&mut || own.put(other.take(class()).unwrap()));
    // One whose pool is gone, with its address space left.
    let orphan = new().take(class()).unwrap();
    write_and_read(&orphan);
    let mut orphan = Some(orphan);
    refused(&mut || own.put(orphan.take().unwrap()));
    assert_eq!(own.outstanding(), 1);

    // A cache has taken it in. It is in nobody else's hands, and comes to no pool but its own.
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

    // Nor when a full cache gives some away: those are lost.
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

/// Whatever the order in which they go: as long as a thread may come to use one, or has it, it is mapped.
#[test]
fn an_alternate_stack_that_is_in_use_is_not_unmapped() {
    fn is_mapped(stack: &libc::stack_t) -> bool {
        let mut states = [0_u8; 64];
        // SAFETY: it writes a byte for each page, of which there are fewer.
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

    // In order, all is as before.
    drop(AlternateStack::install().unwrap());
    assert_eq!(alternate_stack().ss_sp, with_first.ss_sp);

    // On a thread that it was not made on, as when a fiber has it.
    let stolen = std::thread::scope(|scope| {
        struct Moved(#[expect(dead_code, reason = "which is dropped")] AlternateStack);
        // SAFETY: for the sake of this test. The other thread has ended when it is dropped, so nobody uses it.
        unsafe impl Send for Moved {}
        scope.spawn(|| Moved(AlternateStack::install().unwrap())).join().unwrap()
    });
    drop(stolen);
    assert_eq!(alternate_stack().ss_sp, with_first.ss_sp);
    // SAFETY: it was installed when this thread began.
    assert_eq!(unsafe { libc::sigaltstack(&raw const before, std::ptr::null_mut()) }, 0);
}
