//! tools/gdb-gthread.py finds green threads, shows the calls of one, and disturbs nothing.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gthread::{Builder, channel};
use gthread_tests::{is_child, test_path, use_stack, watchdog};

const NAME: &str = "gdb_lists_green_threads_and_shows_their_calls";

/// Where the debugger stops.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn gthread_test_stop() {
    std::hint::black_box(());
}

#[inline(never)]
fn wait_for_orders(orders: &channel::Receiver<u32>) -> u32 {
    std::hint::black_box(orders.recv().unwrap_or(7))
}

fn debugged() {
    gthread::run(|| {
        let (tx, rx) = channel::bounded::<u32>(0);
        let start = |name: &str| Builder::new().name(name.into());
        let waits = start("waits").spawn({
            let rx = rx.clone();
            move || wait_for_orders(&rx)
        });
        let large = start("large").spawn(move || {
            gthread::with_stack(1 << 20, || use_stack(1000) as u32 + wait_for_orders(&rx))
        });
        // Pinned: no spare runs it if the debugger keeps the worker for long.
        let new = start("new").queued(true).pinned(true).spawn(|| ());
        gthread_test_stop();
        drop(tx);
        assert_eq!(waits.unwrap().join().unwrap(), 7);
        assert!(large.unwrap().join().unwrap() > 7);
        new.unwrap().join().unwrap();
        println!("went on as if nothing had happened");
    });
}

#[test]
fn gdb_lists_green_threads_and_shows_their_calls() {
    if is_child() {
        return debugged();
    }
    if Command::new("gdb").arg("--version").output().is_err() {
        return println!("skipped: there is no gdb");
    }
    watchdog(Duration::from_secs(120), || {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("tools");
        let script = format!("source {}", tools.join("gdb-gthread.py").display());
        let commands = [
            "set debuginfod enabled off",
            "set width 0",
            &script,
            "break gthread_test_stop",
            "run",
            "info gthreads",
            "gthread waits",
            "gthread large bt",
            "gthread nobody",
            "continue",
        ];
        let output = Command::new("gdb")
            .args(["-nx", "-batch"])
            .args(commands.iter().flat_map(|command| ["-ex", *command]))
            .arg("--args")
            .arg(std::env::current_exe().unwrap())
            .args([&*test_path!(NAME), "--exact", "--nocapture", "--test-threads=1"])
            .env("GTHREAD_TEST_CHILD", "1")
            .env("GTHREAD_WORKERS", "1")
            // Who waits by then, and who has not begun, is the scheduler's order.
            .env_remove("GTHREAD_CHAOS")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let all = format!("{text}\n{}", gthread_tests::stderr(&output));
        if all.contains("Operation not permitted") {
            return println!("skipped: gdb may not trace here");
        }
        assert!(text.contains("4 green threads"), "{all}");
        // With line tables only, as in release builds here and in CI, names come without their module.
        let text = &text.replace("diagnostics::gdb::wait_for_orders", "wait_for_orders");
        assert!(text.contains("'waits'  parked  in wait_for_orders"), "{all}");
        assert!(text.contains("'large'  parked  in wait_for_orders"), "{all}");
        assert!(text.contains("'new'  new"), "{all}");
        assert!(text.contains("  running"), "{all}");
        let calls = text.lines().filter(|line| line.starts_with('#')).collect::<Vec<_>>();
        assert!(calls.iter().any(|call| call.contains("wait_for_orders")), "{all}");
        assert!(calls.iter().any(|call| call.contains("with_stack")), "{all}");
        assert!(all.contains("no green thread nobody"), "{all}");
        assert!(text.contains("went on as if nothing had happened"), "{all}");
    });
}
