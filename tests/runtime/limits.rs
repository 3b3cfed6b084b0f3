//! What happens when no more stacks can be had: a clear error, and nobody is harmed.

use std::io;

use gthread::{Builder, JoinHandle, channel, go};
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, runtime, watchdog};

/// Starts threads that wait until none can be started any more; then ends them. Gives how many there
/// were, and the error.
fn until_refused(size: usize) -> (usize, io::Error) {
    let (tx, rx) = channel::bounded::<()>(0);
    let mut threads: Vec<JoinHandle<bool>> = Vec::new();
    let error = loop {
        let rx = rx.clone();
        let builder = Builder::new().stack_size(size);
        match builder.spawn(move || rx.recv().is_err()) {
            Ok(thread) => threads.push(thread),
            Err(error) => break error,
        }
        assert!(threads.len() < 200_000, "no limit was met");
    };
    // Those that run are unharmed, and can do what they like.
    assert!(threads.iter().all(|thread| !thread.is_finished()));
    let allocated: Vec<_> = (0..100).map(|n| vec![n; 10_000]).collect();
    assert!(allocated.iter().zip(0_u8..).all(|(block, n)| block.iter().all(|&byte| byte == n)));
    std::thread::spawn(|| ()).join().unwrap();
    drop(tx);
    let count = threads.len();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    // There are stacks again.
    let thread = Builder::new().stack_size(size).spawn(|| 7).unwrap();
    assert_eq!(thread.join().unwrap(), 7);
    (count, error)
}

const SMALL: usize = 64 << 10;

#[test]
fn where_guards_take_memory_maps_the_limit_is_named() {
    if is_child() {
        for workers in [1, 2] {
            let (count, error) = runtime(workers).run(|| until_refused(SMALL));
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            let text = error.to_string();
            for part in ["vm.max_map_count is ", "sysctl -w vm.max_map_count", "are guarded"] {
                assert!(text.contains(part), "{text}");
            }
            println!("{count}: {text}");
            let told: Option<usize> =
                std::env::var("GTHREAD_MAX_MAPS").ok().map(|maps| maps.parse().unwrap());
            match told {
                Some(maps) => assert!((maps / 2 - 100..=maps / 2).contains(&count), "{count}"),
                None => assert!(count > 10_000, "{count}"),
            }
        }
        return;
    }
    watchdog(LIMIT * 2, || {
        let name = "where_guards_take_memory_maps_the_limit_is_named";
        let mprotect = ("GTHREAD_GUARD", "mprotect");
        assert_passed(&rerun!(name, &[mprotect, ("GTHREAD_MAX_MAPS", "2000")]));
        assert_passed(&rerun!(name, &[mprotect]));
    });
}

/// `go!` panics with the same message, in the thread that called it.
#[test]
fn the_macro_panics_with_the_reason() {
    if is_child() {
        let runtime = runtime(1);
        let parent = runtime.spawn(|| {
            let threads: Vec<_> = (0..1000).map(|_| go!(gthread::park)).collect();
            threads.len()
        });
        let payload = parent.join().unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(text.starts_with("failed to spawn a green thread: "), "{text}");
        assert!(text.contains("vm.max_map_count"), "{text}");
        return;
    }
    watchdog(LIMIT, || {
        let variables = [("GTHREAD_GUARD", "mprotect"), ("GTHREAD_MAX_MAPS", "500")];
        assert_passed(&rerun!("the_macro_panics_with_the_reason", &variables));
    });
}

fn limit_address_space(bytes: u64) {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the struct is whole; the limit concerns this subprocess alone.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

#[test]
fn a_limit_on_address_space_is_named() {
    if is_child() {
        let runtime = runtime(2);
        runtime.run(|| ());
        let now = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = now.split(' ').next().unwrap().parse().unwrap();
        limit_address_space(pages * 4096 + (200 << 20));
        let (count, error) = runtime.run(|| until_refused(1 << 20));
        // The backtrace of a failed assertion takes memory too.
        limit_address_space(libc::RLIM_INFINITY);
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        let text = error.to_string();
        assert!(text.contains("address space") && text.contains("ulimit -v"), "{text}");
        // Most of what the limit leaves was used, though the first reservation asked for was larger.
        // A slot of them has 2 MiB.
        assert!((80..100).contains(&count), "{count}");
        return;
    }
    watchdog(LIMIT, || {
        // Else each thread that allocates reserves 128 MiB for a moment and 64 MiB for good, before the limit
        // is set or after it.
        let one_arena = [("MALLOC_ARENA_MAX", "1")];
        assert_passed(&rerun!("a_limit_on_address_space_is_named", &one_arena));
    });
}

/// Locked memory cannot have the cheap guards, and gets the others.
#[test]
fn locked_memory_is_guarded_too() {
    if is_child() {
        let runtime = runtime(1);
        runtime.run(|| ());
        // SAFETY: changes no memory.
        if unsafe { libc::mlockall(libc::MCL_FUTURE) } != 0 {
            println!("no right to lock memory: {}", io::Error::last_os_error());
            return;
        }
        let sum: usize = runtime.run(|| {
            let spawn = |n| Builder::new().stack_size(32 << 10).spawn(move || n).unwrap();
            let threads: Vec<_> = (0..100).map(spawn).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, 100 * 99 / 2);
        return;
    }
    watchdog(LIMIT, || assert_passed(&rerun!("locked_memory_is_guarded_too", &[])));
}
