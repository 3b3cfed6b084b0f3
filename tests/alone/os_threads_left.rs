//! Runtimes that come and go leave no OS threads behind. Alone in its process: it counts.

use std::time::Duration;

use gthread::go;
use gthread_tests::{LIMIT, os_thread_names, os_threads, runtime, test_path, until};

use crate::alone;

#[test]
fn two_hundred_runtimes_leave_none() {
    alone(&test_path!("two_hundred_runtimes_leave_none"), LIMIT, || {
        let before = os_threads();
        for n in 0..200 {
            let runtime = runtime(1 + n % 4);
            match n % 5 {
                // Never used.
                0 => {}
                1 => runtime.run(|| (0..10).for_each(|_| drop(go!(gthread::yield_now)))),
                // With spares.
                2 => runtime.run(|| {
                    let (tx, rx) = std::sync::mpsc::channel();
                    let blocks = go!(move || gthread::blocking(|| rx.recv().unwrap()));
                    tx.send(()).unwrap();
                    blocks.join().unwrap();
                }),
                // With threads that never end.
                3 => runtime.run(|| {
                    drop(go!(gthread::park));
                    drop(go!(|| gthread::sleep(Duration::MAX)));
                    drop(go!(|| gthread::sleep(Duration::from_secs(3600))));
                }),
                // Dropped in one of its own threads.
                _ => {
                    let (tx, rx) = gthread::channel::bounded(1);
                    let thread =
                        runtime.spawn(move || drop::<gthread::Runtime>(rx.recv().unwrap()));
                    tx.send(runtime).unwrap();
                    until(|| thread.is_finished());
                    continue;
                }
            }
            drop(runtime);
        }
        // Those that were dropped inside end by themselves, a little later.
        println!("{:?}", os_thread_names());
        until(|| os_threads() <= before);
    });
}
