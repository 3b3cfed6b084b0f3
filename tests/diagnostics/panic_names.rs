//! The message of a panic names the green thread. Each in a process of its own: there is one hook.

use std::process::{Command, Stdio};

use gthread::{Builder, Runtime, go};
use gthread_tests::{LIMIT, assert_passed, is_child, rerun, runtime, stderr, test_path, watchdog};

/// Panics in green threads, with names and without, and caught.
fn panic_in_some_ways() {
    let named = || Builder::new().name("parser".into()).spawn(|| panic!("first")).unwrap();
    let line = line!() - 1;
    assert!(runtime(1).run(|| named().join()).is_err());
    assert!(runtime(1).run(|| go!(|| panic!("second")).join()).is_err());
    let caught = || std::panic::catch_unwind(|| panic!("third")).is_err();
    assert!(runtime(1).run(move || gthread::blocking(caught)));
    assert!(std::panic::catch_unwind(|| panic!("on an OS thread")).is_err());
    let _ = runtime(1).run(|| go!(|| std::panic::resume_unwind(Box::new(1))).join());
    eprintln!("line {line}");
}

/// The lines of stderr that name a green thread.
fn names(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("green thread ")).collect()
}

#[test]
fn a_message_names_the_green_thread() {
    if is_child() {
        return panic_in_some_ways();
    }
    watchdog(LIMIT, || {
        let output = rerun!("a_message_names_the_green_thread", &[]);
        assert_passed(&output);
        let stderr = stderr(&output);
        let names = names(&stderr);
        assert_eq!(names.len(), 3, "{stderr}");
        let line = stderr.lines().find_map(|line| line.strip_prefix("line ")).unwrap();
        let place = format!("{}:{line}:", file!());
        let (id, rest) = names[0]["green thread ".len()..].split_once(' ').unwrap();
        assert!(id.parse::<u64>().is_ok(), "{}", names[0]);
        assert!(rest.starts_with(&format!("'parser' (spawned at {place}")), "{}", names[0]);
        assert!(rest.contains(&format!(") panicked at {place}")), "{}", names[0]);
        assert!(rest.ends_with(", on OS thread 'gthread-0':"), "{}", names[0]);
        assert!(names[1].contains(&format!(" (spawned at {}:", file!())), "{}", names[1]);
        assert!(names[2].contains(" panicked at "), "{}", names[2]);
        // Each before its message, which is std's.
        let order = ["'parser'", "first", names[1], "second", names[2], "third", "on an OS thread"];
        let mut rest = &*stderr;
        for part in order {
            rest = rest.split_once(part).unwrap_or_else(|| panic!("no {part} in {rest}")).1;
        }
    });
}

#[test]
fn it_may_be_switched_off() {
    if is_child() {
        if std::env::var_os("GTHREAD_NAME_PANICS").is_some() {
            return panic_in_some_ways();
        }
        let builder = || Runtime::builder().workers(1).name_panics(false);
        assert!(builder().build().unwrap().run(|| go!(|| panic!("first")).join()).is_err());
        return;
    }
    watchdog(LIMIT, || {
        for variables in [&[("GTHREAD_NAME_PANICS", "0")][..], &[]] {
            let output = rerun!("it_may_be_switched_off", variables);
            assert_passed(&output);
            let stderr = stderr(&output);
            assert!(stderr.contains("first") && names(&stderr).is_empty(), "{stderr}");
        }
    });
}

/// One that was set before is called after the line; one that is set later stands alone.
#[test]
fn hooks_of_the_program_are_respected() {
    if is_child() {
        std::panic::set_hook(Box::new(|info| eprintln!("hook 1: {info}")));
        let runtime = runtime(1);
        assert!(runtime.run(|| go!(|| panic!("first")).join()).is_err());
        std::panic::set_hook(Box::new(|_| {
            eprintln!("hook 2: {}", gthread::current().name().unwrap_or("?"));
        }));
        let named = || Builder::new().name("lexer".into()).spawn(|| panic!("second")).unwrap();
        assert!(runtime.run(|| named().join()).is_err());
        // Another runtime does not take that as its own.
        assert!(gthread::run(|| named().join()).is_err());
        let _ = std::panic::take_hook();
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("hooks_of_the_program_are_respected", &[]);
        assert_passed(&output);
        let stderr = stderr(&output);
        assert_eq!(names(&stderr).len(), 1, "{stderr}");
        assert_eq!(stderr.matches("hook 1: panicked at").count(), 1, "{stderr}");
        assert_eq!(stderr.matches("hook 2: lexer").count(), 2, "{stderr}");
    });
}

/// The hook cannot be changed while its thread panics, and a runtime may start just then.
#[test]
fn a_runtime_starts_while_its_thread_unwinds() {
    struct Starts;
    impl Drop for Starts {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            assert_eq!(runtime(1).run(|| go!(|| 1).join().unwrap()), 1);
        }
    }
    if is_child() {
        let unwound = std::panic::catch_unwind(|| {
            let _starts = Starts;
            panic!("first");
        });
        assert!(unwound.is_err());
        assert!(runtime(1).run(|| go!(|| panic!("second")).join()).is_err());
        return;
    }
    watchdog(LIMIT, || {
        let output = rerun!("a_runtime_starts_while_its_thread_unwinds", &[]);
        assert_passed(&output);
        assert_eq!(names(&stderr(&output)).len(), 1, "{}", stderr(&output));
    });
}

/// std's hook does not mind, so this one must not either: a panic in it would end the process.
#[test]
fn a_broken_stderr_ends_nothing() {
    if is_child() {
        for _ in 0..10 {
            assert!(runtime(1).run(|| go!(|| panic!("unheard")).join()).is_err());
        }
        return;
    }
    watchdog(LIMIT, || {
        for closed in [false, true] {
            let mut command = Command::new("sh");
            // The reader is gone, or there is no stderr at all.
            let script = if closed { "exec \"$0\" \"$@\" 2>&-" } else { "exec \"$0\" \"$@\"" };
            command.args(["-c", script]).arg(std::env::current_exe().unwrap());
            command.args([&*test_path!("a_broken_stderr_ends_nothing"), "--exact", "--nocapture"]);
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            let output = command
                .env("GTHREAD_TEST_CHILD", "1")
                .stdout(Stdio::piped())
                .stderr(writer)
                .output()
                .unwrap();
            assert_passed(&output);
        }
    });
}
