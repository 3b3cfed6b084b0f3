//! Deadlocks in which somebody has borrowed from a frame that `run` would have unwound, and whom the program wakes if it goes
//! on: it would read what was freed. Programs that go on say so; none may find anything but what it has lent.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::mpsc;

use gthread::channel::{self, Receiver};

/// What is lent.
struct Data(Vec<u8>);

impl Data {
    fn new() -> Self {
        Self(vec![0x5a; 100])
    }

    fn is_whole(&self) -> bool {
        self.0.iter().all(|&byte| byte == 0x5a)
    }
}

/// Runs `body`, which waits for `rx` with what it borrows, and for ever; wakes whoever waits for `rx` still when that has
/// panicked, and looks what they say of what they had borrowed.
fn lend(body: impl FnOnce(&Data, &Receiver<()>, mpsc::Sender<bool>)) {
    let (tx, rx) = channel::unbounded::<()>();
    let (says, said) = mpsc::channel();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let data = Data::new();
        body(&data, &rx, says);
    }));
    assert!(result.is_err());
    // In the place of what was lent.
    let others: Vec<_> = (0..100).map(|_| vec![0x11_u8; 100]).collect();
    (0..10).for_each(|_| tx.send(()).unwrap());
    // All that could say something have ended.
    assert!(said.iter().all(|whole| whole));
    drop(others);
    assert_eq!(gthread::run(|| 3), 3);
    println!("gone on");
}

fn wait_and_look(data: &Data, rx: &Receiver<()>, says: &mpsc::Sender<bool>) {
    let received = rx.recv();
    says.send(data.is_whole()).unwrap();
    received.unwrap();
}

pub(super) fn by_green() {
    lend(|data, rx, says| gthread::run(|| wait_and_look(data, rx, &says)));
}

pub(super) fn by_blocked() {
    lend(|data, rx, says| {
        gthread::run(|| gthread::blocking(|| wait_and_look(data, rx, &says)));
    });
}

/// Starts an OS thread, which waits, and waits itself.
fn scoped(data: &Data, rx: &Receiver<()>, says: &mpsc::Sender<bool>, wait: impl FnOnce()) {
    std::thread::scope(|s| {
        let borrows = std::thread::Builder::new().name("borrows".into());
        let says = says.clone();
        borrows.spawn_scoped(s, move || wait_and_look(data, rx, &says)).unwrap();
        wait();
    });
}

pub(super) fn by_os_thread() {
    let (_tx, never) = channel::bounded::<()>(0);
    // It must not be moved inside of std's scope.
    let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
    lend(|data, rx, says| {
        runtime.run(|| scoped(data, rx, &says, || never.recv().unwrap()));
    });
}

pub(super) fn by_os_thread_blocking() {
    let (_tx, never) = channel::bounded::<()>(0);
    lend(|data, rx, says| {
        gthread::run(|| {
            scoped(data, rx, &says, || gthread::blocking(|| never.recv().unwrap()));
        });
    });
}

/// OS threads of a pool that lives longer run what borrows, as rayon's do.
pub(super) fn by_pool() {
    type Job<'a> = Box<dyn FnOnce() + Send + 'a>;
    let (jobs, next) = mpsc::channel::<Job<'static>>();
    let next = std::sync::Arc::new(Mutex::new(next));
    for _ in 0..2 {
        let next = std::sync::Arc::clone(&next);
        std::thread::spawn(move || {
            loop {
                let job = next.lock().unwrap().recv();
                let Ok(job) = job else { return };
                let _ = catch_unwind(AssertUnwindSafe(job));
                // It waits for the next in gthread, so that it is no stranger.
                gthread::park();
            }
        });
    }
    lend(|data, rx, says| {
        gthread::run(|| {
            // As rayon's scope: it does not end before its jobs have.
            let (ended, end) = channel::unbounded::<()>();
            for _ in 0..2 {
                let (says, ended) = (says.clone(), ended.clone());
                let job: Job<'_> = Box::new(move || {
                    let _ended = ended;
                    wait_and_look(data, rx, &says);
                });
                // SAFETY: the loop below ends when both jobs have dropped what they own, and it is not left before.
                let job = unsafe { std::mem::transmute::<Job<'_>, Job<'static>>(job) };
                jobs.send(job).unwrap();
            }
            drop(ended);
            let wait = AssertUnwindSafe(|| gthread::blocking(|| end.recv()));
            // Also if the wait panics, while the jobs are there.
            let mut ends = catch_unwind(wait);
            while !matches!(&ends, Ok(Err(_))) {
                ends = catch_unwind(AssertUnwindSafe(|| gthread::blocking(|| end.recv())));
            }
            panic!("the jobs have");
        });
    });
    // The pool's threads wait for ever, and main ends all the same.
}

/// An OS thread that borrows and waits in a `run` of its own, so that it would be told, too.
pub(super) fn by_caller_of_run() {
    let (_tx, never) = channel::bounded::<()>(0);
    let runtime = gthread::Runtime::builder().workers(1).build().unwrap();
    lend(|data, rx, says| {
        runtime.run(|| {
            std::thread::scope(|s| {
                let says = says.clone();
                s.spawn(move || {
                    let waits = || gthread::run(|| rx.recv());
                    let waited = catch_unwind(AssertUnwindSafe(waits));
                    says.send(data.is_whole()).unwrap();
                    waited.unwrap().unwrap();
                });
                never.recv().unwrap();
            });
        });
    });
}
