//! Deadlocks are reported, and nothing else is taken for one.
//!
//! Each program runs in a process of its own, whose only OS threads are the runtime's and those that the program
//! starts: libtest's would count as threads that may wake somebody. So this is a test without libtest.

mod never_all_asleep;

use std::io::{BufReader, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
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
const PASSED_ON: &[&str] = &["GTHREAD_CHAOS", "GTHREAD_GUARD"];

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

const fn program(name: &'static str, run: fn(), check: fn(&Output, &str)) -> Program {
    Program { name, run, check, env: &[], hangs: None }
}

const PROGRAMS: &[Program] = &[
    program("a_recv_that_nobody_answers", recv_for_ever, |output, text| {
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains(&format!("fatal: {REPORT}")), "{text}");
        assert!(text.contains("is parked in recv") && text.contains("deadlock/main.rs"), "{text}");
        // The panic is in the caller of `run`.
        let panics = text.lines().filter(|line| line.contains("panicked at")).collect::<Vec<_>>();
        assert!(panics.len() == 1 && panics[0].contains("tests/deadlock/main.rs"), "{text}");
    }),
    Program {
        env: &[("GTHREAD_DUMP", "sigquit")],
        ..program("the_thread_for_sigquit_wakes_nobody", recv_for_ever, |output, text| {
            assert_eq!(output.status.code(), Some(101), "{text}");
        })
    },
    program("two_runtimes_wait_for_each_other", two_runtimes, |output, text| {
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains("runtime 'one'") && text.contains("runtime 'two'"), "{text}");
        assert_eq!(text.matches("is parked in recv").count(), 2, "{text}");
    }),
    program("a_join_outside_fails", join_outside, reported_and_passed),
    program("a_circle_of_joins_is_named", circle_of_joins, |output, text| {
        assert_eq!(output.status.code(), Some(101), "{text}");
        assert!(text.contains("these will never go on: thread"), "{text}");
        assert!(text.contains("'a' waits to join thread") && text.contains("'b', which"), "{text}");
    }),
    program("what_was_borrowed_is_never_touched_again", borrowed, reported_and_passed),
    program("every_caller_of_run_is_told", four_callers, reported_and_passed),
    Program {
        hangs: Some(("the process stays as it is", Duration::from_millis(300), Then::Killed)),
        ..program("an_os_thread_that_waits_for_a_green_one", os_recv, |_, text| {
            assert_eq!(text.matches(REPORT).count(), 1, "{text}");
            assert!(text.contains("the process stays as it is"), "{text}");
        })
    },
    program(
        "one_that_blocks_its_worker_is_not_let_loose",
        blocked_and_borrowed,
        reported_and_passed,
    ),
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
            assert!(!text.contains(REPORT), "{text}");
        })
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

fn reported_and_passed(output: &Output, text: &str) {
    assert!(output.status.success(), "{text}");
    assert_eq!(text.matches(&format!("fatal: {REPORT}")).count(), 1, "{text}");
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

/// The caller of `run` goes on after the panic, and lets go of what the threads borrow and wait for: they are
/// woken, and must not run.
fn borrowed() {
    static RAN: AtomicBool = AtomicBool::new(false);
    let runtime = named("own");
    let (tx, rx) = channel::unbounded::<u32>();
    let deadlock = catch_unwind(AssertUnwindSafe(|| {
        runtime.run(|| {
            let _ = rx.recv();
            RAN.store(true, Ordering::SeqCst);
        })
    }));
    assert!(deadlock.is_err());
    drop((tx, rx));
    // The runtimes have ended, and say so.
    let late = catch_unwind(AssertUnwindSafe(|| runtime.run(|| 1)));
    assert!(late.is_err());
    assert!(runtime.spawn(|| 1).join().is_err());
    drop(runtime);
    // New ones work.
    assert_eq!(named("new").run(|| 2), 2);
    assert_eq!(gthread::run(|| 3), 3);
    std::thread::sleep(Duration::from_millis(50));
    assert!(!RAN.load(Ordering::SeqCst));
}

/// As before, but the thread waits in `blocking`: what wakes it is no worker that could be told to stop.
fn blocked_and_borrowed() {
    static RAN: AtomicBool = AtomicBool::new(false);
    let runtime = named("own");
    let (tx, rx) = channel::unbounded::<u32>();
    let deadlock = catch_unwind(AssertUnwindSafe(|| {
        runtime.run(|| {
            let _ = gthread::blocking(|| rx.recv());
            RAN.store(true, Ordering::SeqCst);
        })
    }));
    assert!(deadlock.is_err());
    drop((tx, rx));
    drop(runtime);
    std::thread::sleep(Duration::from_millis(100));
    assert!(!RAN.load(Ordering::SeqCst));
}

fn four_callers() {
    let runtime = named("shared");
    let (tx, rx) = channel::bounded::<u32>(0);
    let call = || catch_unwind(AssertUnwindSafe(|| runtime.run(|| rx.recv().is_ok()))).is_err();
    std::thread::scope(|s| {
        let others: Vec<_> = (0..3).map(|_| s.spawn(call)).collect();
        assert!(call());
        assert!(others.into_iter().all(|other| other.join().unwrap()));
    });
    drop(tx);
}

fn os_recv() {
    let (tx, rx) = channel::bounded::<u32>(0);
    go!(move || {
        gthread::park();
        drop(tx);
    });
    let _ = rx.recv();
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

fn slow_outside() {
    let (tx, rx) = channel::bounded::<u32>(0);
    let waker = std::thread::Builder::new().name("slow waker".into());
    waker
        .spawn(move || {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            tx.send(1).unwrap();
        })
        .unwrap();
    assert_eq!(gthread::run(|| rx.recv()), Ok(1));
}
