//! `GTHREAD_WORKERS`, `GTHREAD_MAX_SPARES`, `GTHREAD_STACK_SIZE` and `GTHREAD_GUARD`, each in a process of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use gthread::Runtime;
use gthread_tests::{
    LIMIT, assert_passed, is_child, os_thread_names, rerun, stderr, until, use_stack, watchdog,
};

/// What a subprocess is to find, told by the parent.
const EXPECTED: &str = "EXPECTED";

fn expected() -> usize {
    std::env::var(EXPECTED).unwrap().parse().unwrap()
}

#[test]
fn the_number_of_workers() {
    if is_child() {
        assert_eq!(gthread::run(|| 1), 1);
        let workers = || {
            let number = |name: &String| name.strip_prefix("gthread-")?.parse::<usize>().ok();
            os_thread_names().iter().filter_map(number).count()
        };
        until(|| workers() == expected());
        // For runtimes that are not told, too; not for those that are.
        let runtime = Runtime::builder().name("other").build().unwrap();
        assert_eq!(runtime.metrics().workers, expected());
        let runtime = Runtime::builder().name("other").workers(2).build().unwrap();
        assert_eq!(runtime.metrics().workers, 2);
        return;
    }
    watchdog(LIMIT, || {
        let machine = std::thread::available_parallelism().unwrap().to_string();
        for (variables, workers) in [
            (vec![("GTHREAD_WORKERS", "1")], "1"),
            (vec![("GTHREAD_WORKERS", " 5 ")], "5"),
            (vec![], machine.as_str()),
        ] {
            let variables: Vec<_> = [&variables[..], &[(EXPECTED, workers)]].concat();
            assert_passed(&rerun!("the_number_of_workers", &variables));
        }
    });
}

/// As many block at once as there are workers and spares, and one more waits: what is said names the cap and how to raise
/// it.
#[test]
fn the_number_of_spares() {
    const THREADS: usize = 6;
    if is_child() {
        let build = |spares: usize| {
            let builder = Runtime::builder().workers(1);
            if spares == 0 { builder } else { builder.max_spares(spares) }.build().unwrap()
        };
        // From the environment, and from the builder, which goes before.
        for (told, spares) in [(0, expected()), (expected() + 1, expected() + 1)] {
            let runtime = build(told);
            let (begun, end) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let start = |n| {
                let (begun, end) = (Arc::clone(&begun), Arc::clone(&end));
                let blocks = move || {
                    begun.fetch_add(1, Ordering::SeqCst);
                    until(|| end.load(Ordering::SeqCst));
                };
                runtime.spawn(move || if n % 2 == 0 { gthread::blocking(blocks) } else { blocks() })
            };
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            until(|| begun.load(Ordering::SeqCst) == spares + 1);
            std::thread::sleep(Duration::from_millis(100));
            assert_eq!(begun.load(Ordering::SeqCst), spares + 1);
            assert_eq!(runtime.metrics().spare_workers, spares);
            end.store(true, Ordering::SeqCst);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        return;
    }
    watchdog(LIMIT, || {
        let output =
            rerun!("the_number_of_spares", &[("GTHREAD_MAX_SPARES", "2"), (EXPECTED, "2")]);
        assert_passed(&output);
        let text = stderr(&output);
        for part in ["2 spare OS threads", "3 spare OS threads", "max_spares", "GTHREAD_MAX_SPARES"]
        {
            assert!(text.contains(part), "no {part:?}: {text}");
        }
        assert!(!text.contains("ulimit"), "{text}");
    });
}

#[test]
fn the_size_of_stacks() {
    if is_child() {
        let bytes = expected();
        gthread::run(|| use_stack(bytes));
        return;
    }
    watchdog(LIMIT, || {
        let run = |size: &str, used: &str| {
            let variables = [("GTHREAD_STACK_SIZE", size), (EXPECTED, used)];
            rerun!("the_size_of_stacks", &variables)
        };
        assert_passed(&run("4194304", "4000000"));
        assert!(!run("65536", "4000000").status.success(), "a small stack held a deep recursion");
    });
}

#[test]
fn the_kind_of_guards() {
    if is_child() {
        gthread::run(|| {
            let threads: Vec<_> = (0..100).map(|_| gthread::go!(gthread::park)).collect();
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let guards = maps.lines().filter(|map| map.contains("---p")).count();
            assert_eq!(guards >= 100, expected() == 1, "{guards} maps without access");
            threads.iter().for_each(|thread| thread.thread().unpark());
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        return;
    }
    watchdog(LIMIT, || {
        let run = |guard: &str, each_a_map: &str| {
            rerun!("the_kind_of_guards", &[("GTHREAD_GUARD", guard), (EXPECTED, each_a_map)])
        };
        assert_passed(&run("mprotect", "1"));
        // `auto` is the same on kernels without cheap guards.
        let auto = [run("auto", "0"), run("auto", "1")];
        assert!(auto.iter().any(|output| output.status.success()), "{auto:?}");
    });
}

#[test]
fn nonsense_is_an_error_that_names_the_variable() {
    if is_child() {
        let error = gthread::Builder::new().spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        println!("an error: {error}");
        let error = Runtime::builder().build().unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        // A panic, where there is no error to return.
        gthread::run(|| ());
        return;
    }
    watchdog(LIMIT, || {
        for (variable, value) in [
            ("GTHREAD_WORKERS", "many"),
            ("GTHREAD_WORKERS", "0"),
            ("GTHREAD_WORKERS", "-1"),
            ("GTHREAD_WORKERS", ""),
            ("GTHREAD_MAX_SPARES", "few"),
            ("GTHREAD_MAX_SPARES", "0"),
            ("GTHREAD_STACK_SIZE", "256K"),
            ("GTHREAD_STACK_SIZE", "0"),
            ("GTHREAD_GUARD", "none"),
            ("GTHREAD_CHAOS", "much"),
            ("GTHREAD_DEADLOCK", "perhaps"),
            ("GTHREAD_LEAKS", "Panic"),
            ("GTHREAD_NAME_PANICS", "yes"),
            ("GTHREAD_STACK_PROFILE", ""),
            ("GTHREAD_DUMP", "always"),
        ] {
            let name = "nonsense_is_an_error_that_names_the_variable";
            let output = rerun!(name, &[(variable, value)]);
            let stdout = String::from_utf8_lossy(&output.stdout);
            let said = stdout.lines().find(|line| line.contains("an error: "));
            assert!(
                said.is_some_and(|said| said.contains(variable)),
                "{variable}={value}: {stdout}"
            );
            // What it is, as it was written.
            assert!(said.is_some_and(|said| said.ends_with(&format!("not {value:?}"))), "{stdout}");
            let stderr = stderr(&output);
            assert!(!output.status.success() && stderr.contains(variable), "{stderr}");
        }
    });
}

#[test]
fn numbers_out_of_range_are_an_error() {
    if is_child() {
        let error = gthread::Builder::new().spawn(|| ()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        return;
    }
    watchdog(LIMIT, || {
        for (variable, value) in [
            ("GTHREAD_WORKERS", "1025"),
            ("GTHREAD_MAX_SPARES", "32769"),
            ("GTHREAD_STACK_SIZE", "2000000000"),
        ] {
            assert_passed(&rerun!("numbers_out_of_range_are_an_error", &[(variable, value)]));
        }
    });
}
