//! Deadlocks are reported, and nothing else is taken for one.
//!
//! Each program runs in a process of its own, whose only OS threads are the runtime's and those that the program
//! starts: libtest's would count as threads that may wake somebody. So this is a test without libtest.

mod borrowed;
mod never_all_asleep;
#[cfg(target_os = "linux")]
mod outside;
mod waits;

use std::io::{BufReader, Read};
use std::panic::catch_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use gthread::channel::{self, Receiver, Sender};
use gthread::{Builder, JoinHandle, Runtime, go};
use gthread_tests::{Watchdog, is_chaos, read_to};
use never_all_asleep::{come_and_go, ring, two_callers};

const REPORT: &str = "all green threads are asleep - deadlock!";
const WARNING: &str = "warning: all green threads have been asleep";

/// Programs that run at a time: most of them wait.
const AT_ONCE: usize = 4;
/// Of gthread's variables, those that a program gets.
const PASSED_ON: &[&str] = &["GTHREAD_CHAOS", "GTHREAD_GUARD", "GTHREAD_WORKERS"];

struct Program {
    name: &'static str,
    run: fn(),
    check: fn(&Output, &str),
    env: &'static [(&'static str, &'static str)],
    /// It hangs when it has said this, if anything: for so long, and then something is done about it.
    hangs: Option<(&'static str, Duration, Then)>,
}

#[derive(Clone, Copy)]
enum Then {
    Killed,
    /// Its input ends, and it goes on.
    Told,
}

/// With panics instead of the end of the process.
const fn panics(name: &'static str, run: fn(), check: fn(&Output, &str)) -> Program {
    Program { env: &[("GTHREAD_DEADLOCK", "panic")], ..program(name, run, check) }
}

const fn program(name: &'static str, run: fn(), check: fn(&Output, &str)) -> Program {
    Program { name, run, check, env: &[], hangs: None }
}

const PROGRAMS: &[Program] = &[
    program("a_recv_that_nobody_answers", recv_for_ever, |output, text| {
        ended(output, text);
        assert!(text.contains("is parked in recv") && text.contains("deadlock/main.rs"), "{text}");
        assert!(text.contains("OS thread 'main' (") && text.contains("waits in run"), "{text}");
    }),
    Program {
        env: &[("GTHREAD_DUMP", "sigquit")],
        ..program("the_thread_for_sigquit_wakes_nobody", recv_for_ever, ended)
    },
    program("two_runtimes_wait_for_each_other", two_runtimes, |output, text| {
        ended(output, text);
        assert!(text.contains("runtime 'one'") && text.contains("runtime 'two'"), "{text}");
        assert_eq!(text.matches("is parked in recv").count(), 2, "{text}");
    }),
    program("a_join_outside", join_outside, |output, text| {
        ended(output, text);
        let waits = text.lines().find(|line| line.contains("OS thread 'main'")).unwrap();
        assert!(waits.contains("waits in join") && waits.ends_with(", for thread 1"), "{text}");
        assert!(text.contains("thread 1 is parked in park"), "{text}");
    }),
    program("a_circle_of_joins_is_named", circle_of_joins, |output, text| {
        ended(output, text);
        assert!(text.contains("these will never go on: thread"), "{text}");
        assert!(text.contains("'a' waits to join thread") && text.contains("'b', which"), "{text}");
    }),
    program("four_callers_of_run", four_callers, ended),
    program("main_waits_for_a_message", os_recv, main_is_named),
    program("main_waits_in_a_loop_over_messages", os_loop, main_is_named),
    program("main_waits_in_an_iterator_of_std", os_sum, main_is_named),
    program("main_waits_for_what_a_select_has_promised", os_promised, main_is_named),
    program("no_green_thread_is_left", os_alone, |output, text| {
        main_is_named(output, text);
        assert!(text.contains("runtime 'gthread': no green threads"), "{text}");
    }),
    // Nothing is unwound under those that borrow.
    program("borrowed_by_a_green_thread", borrowed::by_green, ended),
    program("borrowed_by_one_that_blocks_its_worker", borrowed::by_blocked, |output, text| {
        ended(output, text);
        let blocks = |line: &str| line.starts_with("thread 1 is blocking worker ");
        assert!(text.lines().any(|line| blocks(line) && line.contains(" in recv for ")), "{text}");
    }),
    program("borrowed_by_a_scoped_os_thread", borrowed::by_os_thread, |output, text| {
        ended(output, text);
        assert!(text.contains("OS thread 'borrows' ("), "{text}");
    }),
    program(
        "borrowed_by_a_scoped_os_thread_under_blocking",
        borrowed::by_os_thread_blocking,
        ended,
    ),
    program("borrowed_by_a_pool_of_os_threads", borrowed::by_pool, ended),
    program("borrowed_by_a_caller_of_run", borrowed::by_caller_of_run, ended),
    panics("as_a_panic_borrowed_by_a_green_thread", borrowed::by_green, gone_on),
    panics("as_a_panic_borrowed_by_one_that_blocks_its_worker", borrowed::by_blocked, gone_on),
    panics("as_a_panic_borrowed_by_a_scoped_os_thread", borrowed::by_os_thread, gone_on),
    panics(
        "as_a_panic_borrowed_by_a_scoped_os_thread_under_blocking",
        borrowed::by_os_thread_blocking,
        gone_on,
    ),
    panics("as_a_panic_borrowed_by_a_pool_of_os_threads", borrowed::by_pool, gone_on),
    panics("as_a_panic_borrowed_by_a_caller_of_run", borrowed::by_caller_of_run, gone_on),
    panics("as_a_panic_in_every_wait", waits::all_kinds, interrupted),
    panics("as_a_panic_in_four_callers_of_run", waits::four_callers, interrupted),
    panics("as_a_panic_what_it_leaves_is_whole", waits::usable_afterwards, interrupted),
    panics("as_a_panic_one_that_unwinds_is_left_alone", waits::while_unwinding, |output, text| {
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("No wait can be interrupted"), "{text}");
    }),
    panics(
        "as_a_panic_a_circle_of_locks_ends_the_process",
        waits::circle_of_locks,
        |output, text| {
            assert_eq!(output.status.code(), Some(2), "{text}");
            assert!(text.contains("these will never go on: thread"), "{text}");
            assert!(text.contains("No wait can be interrupted"), "{text}");
        },
    ),
    panics("as_a_panic_beside_a_thread_that_waits_in_std", waits::beside_std, interrupted),
    panics("as_a_panic_after_ten_idle_seconds", waits::beside_a_sleeper, |output, text| {
        assert!(output.status.success(), "{text}");
        assert_eq!(text.matches(&format!("error: {REPORT}")).count(), 1, "{text}");
        assert_eq!(text.matches(WARNING).count(), 1, "{text}");
    }),
    panics(
        "as_a_panic_not_beside_one_that_computes",
        waits::beside_one_that_computes,
        passed_quietly,
    ),
    program("as_a_panic_in_check_leaks", waits::in_check_leaks, |output, text| {
        interrupted(output, text);
        assert!(text.contains("runtime 'check_leaks': 1 green thread (1 parked)"), "{text}");
    }),
    Program {
        env: &[("GTHREAD_DEADLOCK", "on")],
        ..program("check_leaks_does_what_the_environment_says", waits::in_check_leaks, ended)
    },
    panics("as_a_panic_not_for_what_has_a_deadline", waits::with_deadlines, passed_quietly),
    panics("as_a_panic_not_before_a_std_thread_has_slept", woken_from_outside, passed_quietly),
    program("an_os_thread_that_will_wake_one", woken_from_outside, passed_quietly),
    program("a_timer_that_will", woken_by_a_timer, passed_quietly),
    program("one_that_blocks_its_worker", blocks, passed_quietly),
    program("an_os_thread_that_waits_with_a_deadline", os_recv_timeout, passed_quietly),
    program("a_green_thread_that_nobody_waits_for", nobody_waits, passed_quietly),
    Program {
        env: &[("GTHREAD_DEADLOCK", "eager")],
        ..program("the_end_of_a_spare_worker", woken_by_the_end_of_a_spare, passed_quietly)
    },
    Program {
        // However late the warning is. There is not another.
        hangs: Some((WARNING, Duration::from_secs(3), Then::Told)),
        ..program("after_a_while_without_certainty_a_warning", slow_outside, |output, text| {
            assert!(output.status.success(), "{text}");
            assert_eq!(text.matches(WARNING).count(), 1, "{text}");
            assert!(text.contains("slow waker (") && text.contains("is parked in recv"), "{text}");
            assert!(text.contains("fourteen chars"), "{text}");
            assert!(!text.contains(REPORT), "{text}");
        })
    },
    Program {
        hangs: Some((WARNING, Duration::from_millis(100), Then::Told)),
        ..program("a_warning_names_main_where_it_waits", slow_outside_main, |output, text| {
            assert!(output.status.success(), "{text}");
            assert_eq!(text.matches(WARNING).count(), 1, "{text}");
            assert!(text.contains("slow waker ("), "{text}");
            assert!(
                text.contains("OS thread 'main' (") && text.contains("waits in recv"),
                "{text}"
            );
        })
    },
    Program {
        env: &[("GTHREAD_DEADLOCK", "eager")],
        hangs: Some(("", Duration::from_millis(700), Then::Killed)),
        ..program("the_outside_world_may_connect", accept_for_ever, silent)
    },
    Program {
        env: &[("GTHREAD_DEADLOCK", "off")],
        hangs: Some(("", Duration::from_millis(700), Then::Killed)),
        ..program("switched_off_in_the_environment", recv_for_ever, silent)
    },
    Program {
        hangs: Some(("", Duration::from_millis(700), Then::Killed)),
        ..program("switched_off_by_the_builder", switched_off, silent)
    },
    Program {
        env: &[("GTHREAD_DEADLOCK", "eager")],
        ..program("no_false_report_in_a_ring_of_all_kinds_of_threads", ring, passed_quietly)
    },
    Program {
        env: &[("GTHREAD_DEADLOCK", "eager")],
        ..program("no_false_report_while_os_threads_come_and_go", come_and_go, passed_quietly)
    },
    Program {
        env: &[("GTHREAD_DEADLOCK", "eager")],
        ..program("no_false_report_between_two_callers_of_run", two_callers, passed_quietly)
    },
    #[cfg(target_os = "linux")]
    program("a_signal_that_may_come", outside::a_signal_comes, passed_quietly),
    #[cfg(target_os = "linux")]
    program("a_child_that_will_end", outside::a_child_ends, passed_quietly),
    #[cfg(target_os = "linux")]
    program("a_receiver_of_signals_that_does_not_wait", outside::nobody_waits_for_signals, ended),
];

fn main() {
    if let Ok(name) = std::env::var("GTHREAD_TEST_CHILD") {
        let program = PROGRAMS.iter().find(|program| program.name == name).unwrap();
        return (program.run)();
    }
    let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--skip" => skipped.extend(args.next()),
            flag if flag.starts_with('-') => {}
            _ => wanted.push(arg),
        }
    }
    let names = |list: &[String], name: &str| list.iter().any(|part| name.contains(part.as_str()));
    let chosen = PROGRAMS.iter().filter(|Program { name, .. }| {
        (wanted.is_empty() || names(&wanted, name)) && !names(&skipped, name)
    });
    let chosen = Mutex::new(chosen);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for _ in 0..AT_ONCE {
            s.spawn(|| {
                while let Some(program) = { chosen.lock().unwrap().next() } {
                    let ok = passes(program);
                    println!("test {} ... {}", program.name, if ok { "ok" } else { "FAILED" });
                    outcomes.lock().unwrap().push(ok);
                }
            });
        }
    });
    let outcomes = outcomes.into_inner().unwrap();
    let passed = outcomes.iter().filter(|&&ok| ok).count();
    let failed = outcomes.len() - passed;
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed");
    std::process::exit(i32::from(failed > 0));
}

fn passes(program: &Program) -> bool {
    let _watchdog = Watchdog::new(Duration::from_secs(60), program.name);
    catch_unwind(|| {
        let output = start(program);
        (program.check)(&output, &gthread_tests::stderr(&output));
    })
    .is_ok()
}

fn start(program: &Program) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("GTHREAD_") && !PASSED_ON.contains(&&*name) {
            command.env_remove(variable);
        }
    }
    command.env("GTHREAD_TEST_CHILD", program.name).envs(program.env.iter().copied());
    command.env("RUST_BACKTRACE", "0").stderr(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let Some((last, time, then)) = program.hangs else {
        return child.wait_with_output().unwrap();
    };
    // Only then is the time its own, however slow the machine is to start it.
    let (mut from, mut said) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    for what in [chaos_if_any(), last] {
        said += &read_to(&mut from, what);
    }
    std::thread::sleep(time);
    assert!(child.try_wait().unwrap().is_none(), "{} has ended", program.name);
    match then {
        Then::Killed => child.kill().unwrap(),
        Then::Told => drop(child.stdin.take()),
    }
    from.read_to_string(&mut said).unwrap();
    Output { stderr: said.into_bytes(), ..child.wait_with_output().unwrap() }
}

/// What each program says under chaos, before its threads run.
fn chaos_if_any() -> &'static str {
    if is_chaos() { "gthread: chaos, GTHREAD_CHAOS=" } else { "" }
}

/// By the report, and by nothing else: nothing was unwound.
fn ended(output: &Output, text: &str) {
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.matches(&format!("fatal: {REPORT}")).count(), 1, "{text}");
    assert!(!text.contains("panicked at"), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{text}");
}

fn main_is_named(output: &Output, text: &str) {
    ended(output, text);
    let mut lines = text.lines().skip_while(|line| !line.contains("OS thread 'main'"));
    assert!(lines.next().is_some_and(|line| line.contains("waits in recv for")), "{text}");
    assert!(lines.next().is_some_and(|line| line.contains("tests/deadlock/main.rs:")), "{text}");
}

/// The program has caught the panics and come to its end.
fn gone_on(output: &Output, text: &str) {
    interrupted(output, text);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "gone on\n", "{text}");
}

fn interrupted(output: &Output, text: &str) {
    assert!(output.status.success(), "{text}");
    assert!(text.contains(&format!("error: {REPORT}")), "{text}");
    assert!(!text.contains("fatal") && !text.contains(WARNING), "{text}");
}

fn passed_quietly(output: &Output, text: &str) {
    assert!(output.status.success(), "{text}");
    assert!(!text.contains(REPORT) && !text.contains(WARNING), "{text}");
}

fn silent(_: &Output, text: &str) {
    match chaos_if_any() {
        "" => assert_eq!(text, ""),
        // Which says that it is there.
        chaos => {
            assert!(text.starts_with(chaos) && text.ends_with(" repeats its choices\n"), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

// ---- deadlocks --------------------------------------------------------------------------------

fn recv_for_ever() {
    let (tx, rx) = channel::bounded::<u32>(0);
    let _ = gthread::run(|| rx.recv());
    drop(tx);
}

fn named(name: &str) -> Runtime {
    Runtime::builder().workers(2).name(name).build().unwrap()
}

fn two_runtimes() {
    let (one, two) = (named("one"), named("two"));
    let (to_one, from_two) = channel::bounded::<u32>(0);
    let (to_two, from_one) = channel::bounded::<u32>(0);
    drop(two.spawn(move || {
        let _ = from_one.recv();
        let _ = to_one.send(1);
    }));
    one.run(|| {
        let _ = from_two.recv();
        let _ = to_two.send(1);
    });
}

fn join_outside() {
    let parked = go!(gthread::park);
    let error = parked.join().unwrap_err();
    assert!(error.downcast_ref::<&str>().unwrap().contains(REPORT));
}

fn circle_of_joins() {
    gthread::run(|| {
        let (to_a, from_b) = channel::bounded::<JoinHandle<()>>(1);
        let (to_b, from_a) = channel::bounded::<JoinHandle<()>>(1);
        let joins = |name: &str, handles: Receiver<JoinHandle<()>>| {
            let builder = Builder::new().name(name.into());
            builder.spawn(move || handles.recv().unwrap().join().unwrap()).unwrap()
        };
        let (a, b) = (joins("a", from_b), joins("b", from_a));
        to_b.send(a).unwrap();
        to_a.send(b).unwrap();
        gthread::park();
    });
}

fn four_callers() {
    let runtime = named("shared");
    let (tx, rx) = channel::bounded::<u32>(0);
    let call = || runtime.run(|| rx.recv().is_ok());
    std::thread::scope(|s| {
        (0..3).for_each(|_| drop(s.spawn(call)));
        call();
    });
    drop(tx);
}

/// A green thread keeps the sender.
fn kept(tx: Sender<u32>) {
    go!(move || {
        gthread::park();
        drop(tx);
    });
}

/// The select that has promised a value waits for ever at its message.
fn os_promised() {
    let (tx, rx) = channel::bounded::<u32>(0);
    let (_never_tx, never) = channel::bounded::<u32>(0);
    go!(move || channel::select! { send(tx, never.recv().unwrap()) -> _ => {} });
    let _ = rx.recv();
}

fn os_recv() {
    let (tx, rx) = channel::bounded::<u32>(0);
    kept(tx);
    let _ = rx.recv();
}

fn os_loop() {
    let (tx, rx) = channel::unbounded::<u32>();
    kept(tx);
    for _ in rx {}
}

fn os_sum() {
    let (tx, rx) = channel::bounded::<u32>(4);
    kept(tx);
    println!("{}", rx.iter().chain([1]).sum::<u32>());
}

fn os_alone() {
    let (tx, rx) = channel::unbounded::<u32>();
    go!({
        let tx = tx.clone();
        move || tx.send(1).unwrap()
    });
    println!("{}", rx.iter().sum::<u32>());
    drop(tx);
}

fn switched_off() {
    let runtime = Runtime::builder().deadlock_detection(false).build().unwrap();
    runtime.run(gthread::park);
}

// ---- no deadlocks -----------------------------------------------------------------------------

fn woken_from_outside() {
    let (tx, rx) = channel::bounded::<u32>(0);
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(500));
        tx.send(1).unwrap();
    });
    assert_eq!(gthread::run(|| rx.recv()), Ok(1));
}

/// A thread waits for another, and that for a connection.
fn accept_for_ever() {
    gthread::run(|| {
        let listener = gthread::net::TcpListener::bind("127.0.0.1:0").unwrap();
        go!(move || drop(listener.accept())).join().unwrap();
    });
}

fn woken_by_a_timer() {
    gthread::run(|| {
        let (tx, rx) = channel::bounded::<u32>(0);
        go!(move || {
            gthread::sleep(Duration::from_millis(400));
            tx.send(1).unwrap();
        });
        rx.recv().unwrap();
    });
}

fn blocks() {
    gthread::run(|| {
        let sleeps = go!(|| gthread::blocking(|| std::thread::sleep(Duration::from_millis(500))));
        sleeps.join().unwrap();
    });
}

fn os_recv_timeout() {
    let (tx, rx) = channel::bounded::<u32>(0);
    let (never, wait) = channel::bounded::<u32>(0);
    std::thread::spawn(move || {
        let _ = wait.recv_timeout(Duration::from_millis(500));
        tx.send(1).unwrap();
    });
    gthread::run(|| rx.recv().unwrap());
    drop(never);
}

fn nobody_waits() {
    go!(gthread::park);
    std::thread::sleep(Duration::from_millis(500));
}

/// A spare worker ends after a second without work, and with it what a green thread has left in a
/// `thread_local!`: here the only sender.
fn woken_by_the_end_of_a_spare() {
    thread_local! {
        static KEPT: std::cell::RefCell<Option<Sender<u32>>> = const { std::cell::RefCell::new(None) };
    }
    let runtime = Runtime::builder().workers(1).build().unwrap();
    let (tx, rx) = channel::bounded::<u32>(0);
    runtime.run(|| {
        let (done, wait) = std::sync::mpsc::channel();
        // This holds the only worker, so the other runs on a spare.
        let other = Builder::new().queued(true).spawn(move || {
            KEPT.with(|kept| *kept.borrow_mut() = Some(tx));
            done.send(()).unwrap();
        });
        gthread::blocking(|| wait.recv().unwrap());
        other.unwrap().join().unwrap();
        assert!(rx.recv().is_err());
    });
}

fn slow_waker() -> Receiver<u32> {
    let (tx, rx) = channel::bounded::<u32>(0);
    let waker = std::thread::Builder::new().name("slow waker".into());
    waker
        .spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            tx.send(1).unwrap();
        })
        .unwrap();
    rx
}

fn slow_outside() {
    // Of the name the system has 15 bytes, and so half of the last character.
    let idles = std::thread::Builder::new().name("fourteen charsö".into());
    idles.spawn(|| std::thread::sleep(gthread_tests::LONG)).unwrap();
    let rx = slow_waker();
    assert_eq!(gthread::run(|| rx.recv()), Ok(1));
}

fn slow_outside_main() {
    let rx = slow_waker();
    go!(gthread::park);
    assert_eq!(rx.recv(), Ok(1));
}
