//! Programs in which nearly everybody sleeps nearly always, but never all, while sysmons look all the time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::channel::{self, Receiver, Sender};
use gthread::{Builder, Runtime, go};
use gthread_tests::Random;

use super::named;

/// How long they run.
fn stress_time() -> Duration {
    Duration::from_secs(3)
}

/// A token goes round through green threads of two runtimes and OS threads that wait in gthread.
pub(super) fn ring() {
    let runtimes = [named("one"), named("two")];
    let (first, mut from) = channel::unbounded::<u64>();
    let pass = |from: Receiver<u64>, to: Sender<u64>, mut pause: Box<dyn FnMut() + Send>| {
        move || {
            while let Ok(token) = from.recv() {
                pause();
                if to.send(token + 1).is_err() {
                    break;
                }
            }
        }
    };
    let mut random = Random::new(7);
    for member in 0..9 {
        let (to, next) = channel::unbounded();
        let mut chance = random.fork();
        match member % 3 {
            0 => {
                let sleeps = move || {
                    if chance.one_in(20) {
                        gthread::sleep(chance.micros(300));
                    }
                };
                drop(runtimes[member % 2].spawn(pass(from, to, Box::new(sleeps))));
            }
            1 => drop(runtimes[member % 2].spawn(pass(from, to, Box::new(|| {})))),
            _ => {
                let sleeps = move || {
                    if chance.one_in(20) {
                        std::thread::sleep(chance.micros(300));
                    }
                };
                std::thread::spawn(pass(from, to, Box::new(sleeps)));
            }
        }
        from = next;
    }
    // This OS thread waits for its round as the others do.
    runtimes[0].run(|| {
        let end = Instant::now() + stress_time();
        let mut rounds = 0;
        // However slow the machine is: the watchdog says when that is too slow.
        while Instant::now() < end || rounds <= 100 {
            first.send(0).unwrap();
            assert_eq!(from.recv(), Ok(9));
            rounds += 1;
        }
    });
}

/// OS threads that live for one wake: there is always one that has just started, or is about to end.
pub(super) fn come_and_go() {
    let runtime = named("own");
    runtime.run(|| {
        let end = Instant::now() + stress_time();
        while Instant::now() < end {
            let (tx, rx) = channel::bounded::<u32>(0);
            std::thread::spawn(move || {
                let (to_other, other) = channel::bounded::<Sender<u32>>(0);
                std::thread::spawn(move || other.recv().unwrap().send(1).unwrap());
                to_other.send(tx).unwrap();
            });
            assert_eq!(rx.recv(), Ok(1));
        }
    });
}

/// Two OS threads have the turn one after the other, and use a runtime from outside in every way; the other waits in
/// gthread meanwhile. So nearly everybody sleeps: the one who does not is now an OS thread, now a worker, now
/// a timer, now a spare.
pub(super) fn two_callers() {
    let shared = Arc::new(named("shared"));
    let (to_other, from_one) = channel::bounded::<()>(0);
    let (to_one, from_other) = channel::bounded::<()>(0);
    let end = Instant::now() + stress_time();
    let play =
        move |mut random: Random, runtime: Arc<Runtime>, to: Sender<()>, from: Receiver<()>| {
            move || {
                while Instant::now() < end && from.recv().is_ok() {
                    turn(&mut random, &runtime);
                    if to.send(()).is_err() {
                        break;
                    }
                }
            }
        };
    let mut random = Random::new(11);
    let other = play(random.fork(), Arc::clone(&shared), to_one, from_one);
    let other = std::thread::spawn(other);
    to_other.send(()).unwrap();
    play(random.fork(), shared, to_other, from_other)();
    other.join().unwrap();
}

fn turn(random: &mut Random, runtime: &Runtime) {
    let time = random.micros(300);
    match random.below(8) {
        0 => assert_eq!(runtime.spawn(|| 1).join().unwrap(), 1),
        1 => runtime.run(|| go!(gthread::yield_now).join().unwrap()),
        2 => runtime.run(|| gthread::sleep(time)),
        3 => runtime.run(|| {
            let (tx, rx) = channel::bounded::<u32>(0);
            go!(move || {
                gthread::blocking(|| std::thread::sleep(time));
                tx.send(1).unwrap();
            });
            // This blocks its worker in gthread.
            assert_eq!(gthread::blocking(|| rx.recv()), Ok(1));
        }),
        4 => {
            let (tx, rx) = channel::bounded::<u32>(0);
            drop(runtime.spawn(move || tx.send(2)));
            assert_eq!(rx.recv(), Ok(2));
        }
        5 => {
            let (tx, rx) = channel::bounded::<u32>(0);
            let pinned = runtime
                .run(|| Builder::new().pinned(true).spawn(move || rx.recv().unwrap()).unwrap());
            tx.send(3).unwrap();
            assert_eq!(pinned.join().unwrap(), 3);
        }
        6 => {
            let (after, never) = (channel::after(time), channel::never::<Instant>());
            runtime.run(|| {
                channel::select! {
                    recv(after) -> _ => {}
                    recv(never) -> _ => unreachable!(),
                }
            });
        }
        // One that starts and stops. Its threads sleep when they are not yet, or no longer, known.
        _ => {
            let own = Runtime::builder().workers(1).build().unwrap();
            assert_eq!(own.run(|| runtime.run(|| 4)), 4);
        }
    }
}
