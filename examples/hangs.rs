//! Programs that hang, each in its own way: for docs/when-it-hangs.md, which shows what they print.
//!
//! `cargo run --example hangs NAME`, where the name is one of those in `main`.

use std::sync::Arc;
use std::time::Duration;

use gthread::channel::{self, Receiver};
use gthread::sync::Mutex;
use gthread::{Builder, JoinHandle, Leaks, Runtime, go};

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    match name.as_str() {
        "deadlock" => deadlock(),
        "forgotten" => forgotten(),
        "circle" => circle(),
        "outside" => outside(),
        "hog" => hog(),
        "leak" => leak(),
        _ => eprintln!("usage: hangs deadlock | forgotten | circle | outside | hog | leak"),
    }
}

fn consume(orders: &Receiver<u32>) -> u32 {
    orders.iter().sum()
}

/// The sender that keeps the channel open is in the frame that waits for the consumers.
fn deadlock() {
    gthread::run(|| {
        let (orders, incoming) = channel::bounded(16);
        let consumers: Vec<_> = (0..3)
            .map(|_| {
                let incoming = incoming.clone();
                go!(move || consume(&incoming))
            })
            .collect();
        (1..=10).for_each(|order| orders.send(order).unwrap());
        // Missing: drop(orders).
        let total: u32 = consumers.into_iter().map(|consumer| consumer.join().unwrap()).sum();
        println!("{total}");
    });
}

/// The sender that keeps the channel open is main's own.
fn forgotten() {
    let (done, results) = channel::unbounded();
    for n in 1..=3_u32 {
        let done = done.clone();
        go!(move || done.send(n * n).unwrap());
    }
    // Missing: drop(done).
    println!("{}", results.iter().sum::<u32>());
}

/// One has the lock and waits for the other, which waits for the lock.
fn circle() {
    gthread::run(|| {
        let account = Arc::new(Mutex::new(100));
        let (hand_over, audit) = channel::bounded::<JoinHandle<()>>(1);
        let teller = Builder::new().name("teller".into()).spawn({
            let account = Arc::clone(&account);
            move || {
                let mut balance = account.lock().unwrap();
                *balance -= 10;
                audit.recv().unwrap().join().unwrap();
            }
        });
        let auditor = Builder::new().name("auditor".into()).spawn({
            let account = Arc::clone(&account);
            move || println!("{}", account.lock().unwrap())
        });
        hand_over.send(auditor.unwrap()).unwrap();
        teller.unwrap().join().unwrap();
    });
}

/// An OS thread that gthread knows nothing of might still wake somebody.
fn outside() {
    let (events, incoming) = channel::bounded::<u32>(0);
    let listener = std::thread::Builder::new().name("listener".into());
    let listens = listener.spawn(move || {
        std::thread::sleep(Duration::from_secs(7));
        events.send(1).unwrap();
    });
    gthread::run(|| println!("{:?}", incoming.recv()));
    listens.unwrap().join().unwrap();
}

/// A loop that never waits for anything, and what waits for it.
fn hog() {
    gthread::dump_on_sigquit().unwrap();
    gthread::run(|| {
        let (results, incoming) = channel::bounded::<u64>(0);
        let search = Builder::new().name("search".into());
        let search = search.queued(true).spawn(move || {
            let found = (1_u64..).find(|&n| std::hint::black_box(n) == 0);
            let _ = results.send(found.unwrap_or(0));
        });
        println!("{:?}", incoming.recv());
        search.unwrap().join().unwrap();
    });
}

/// A runtime that goes while a thread of it waits.
fn leak() {
    let runtime = Runtime::builder().name("service").report_leaks(Leaks::Print).build().unwrap();
    let (keep, requests) = channel::unbounded::<u32>();
    runtime.run(|| {
        go!(move || consume(&requests));
    });
    drop(runtime);
    drop(keep);
}
