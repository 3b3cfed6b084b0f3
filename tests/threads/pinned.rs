//! A pinned green thread stays on one OS thread for life.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::{Builder, JoinHandle, channel, go};
use gthread_tests::{Flag, for_workers, hog_until, os_thread_id};

fn pinned<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().pinned(true).spawn(f).unwrap()
}

/// Suspends in every way, many times, and looks each time where it is.
fn wander(ping: &channel::Sender<u32>, pong: &channel::Receiver<u32>) {
    let home = os_thread_id();
    let check = |what: &str| assert_eq!(os_thread_id(), home, "moved at {what}");
    for n in 0..60 {
        gthread::yield_now();
        check("yield_now");
        ping.send(n).unwrap();
        check("send");
        pong.recv().unwrap();
        check("recv");
        assert_eq!(go!(|| 1).join().unwrap(), 1);
        check("join");
        gthread::current().unpark();
        gthread::park();
        check("park");
        gthread::park_timeout(Duration::from_micros(50));
        check("park_timeout");
        gthread::scope(|s| {
            s.spawn(gthread::yield_now);
        });
        check("scope");
        assert_eq!(gthread::join(|| 1, || 2), (1, 2));
        check("join of two");
        gthread::blocking(|| ());
        check("blocking");
    }
    gthread::sleep(Duration::from_millis(1));
    check("sleep");
}

#[test]
fn it_never_moves() {
    for_workers(|runtime| {
        let (stop, done) = (Flag::new(), Arc::new(AtomicUsize::new(0)));
        // Load: threads that are stolen all the time.
        let load: Vec<_> = (0..16)
            .map(|_| {
                let stop = stop.clone();
                runtime.spawn(move || {
                    while !stop.is_up() {
                        go!(gthread::yield_now).join().unwrap();
                    }
                })
            })
            .collect();
        let wanderers = runtime.run(|| {
            (0..12)
                .map(|_| {
                    let (ping, pings) = channel::bounded(0);
                    let (pong, pongs) = channel::bounded(0);
                    drop(go!(move || pings.iter().try_for_each(|n| pong.send(n))));
                    let done = Arc::clone(&done);
                    pinned(move || {
                        wander(&ping, &pongs);
                        done.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect::<Vec<_>>()
        });
        wanderers.into_iter().for_each(|thread| thread.join().unwrap());
        stop.raise();
        load.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(done.load(Ordering::Relaxed), 12);
    });
}

#[test]
fn its_thread_locals_are_stable() {
    thread_local! {
        static COUNT: Cell<*const u8> = const { Cell::new(std::ptr::null()) };
    }
    #[inline(never)]
    fn address() -> usize {
        COUNT.with(|count| std::ptr::from_ref(count) as usize)
    }
    for_workers(|runtime| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                runtime.spawn(|| {
                    pinned(|| {
                        let here = address();
                        for _ in 0..200 {
                            gthread::yield_now();
                            assert_eq!(address(), here);
                        }
                    })
                    .join()
                    .unwrap();
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// Woken from outside while its worker sleeps, and while others are awake.
#[test]
fn it_is_woken_from_outside() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<()>(0);
        let other = gthread_tests::runtime(1);
        let thread = runtime.run(|| {
            pinned(move || {
                let home = os_thread_id();
                rx.iter().for_each(|()| assert_eq!(os_thread_id(), home));
            })
        });
        for n in 0..200 {
            match n % 3 {
                0 => tx.send(()).unwrap(),
                1 => runtime.run(|| tx.send(()).unwrap()),
                _ => other.run(|| tx.send(()).unwrap()),
            }
        }
        drop(tx);
        thread.join().unwrap();
    });
}

/// Its worker is busy with another that suspends only now and then: it must still get its turns.
#[test]
fn it_is_not_starved_on_its_worker() {
    for_workers(|runtime| {
        runtime.run(|| {
            let stop = Flag::new();
            let thread = pinned(|| (0..300).for_each(|_| gthread::yield_now()));
            let forks = {
                let stop = stop.clone();
                pinned(move || {
                    while !stop.is_up() {
                        go!(|| {}).join().unwrap();
                    }
                })
            };
            thread.join().unwrap();
            stop.raise();
            forks.join().unwrap();
        });
    });
}

/// What is not pinned must get away from a worker that a pinned thread keeps busy.
#[test]
fn others_leave_the_worker_it_hogs() {
    for_workers(|runtime| {
        runtime.run(|| {
            let stop = Flag::new();
            let hog = {
                let stop = stop.clone();
                pinned(move || {
                    let children: Vec<_> = (0..10).map(|n| go!(move || n)).collect();
                    hog_until(|| stop.is_up());
                    children.into_iter().map(|child| child.join().unwrap()).sum::<u32>()
                })
            };
            // Suspends, so that the hog may run here.
            for _ in 0..10 {
                go!(gthread::yield_now).join().unwrap();
                gthread::yield_now();
            }
            stop.raise();
            assert_eq!(hog.join().unwrap(), 45);
        });
    });
}

/// A thread that is pinned on a spare keeps it, however long it sleeps.
#[test]
fn it_may_be_pinned_to_a_spare() {
    gthread_tests::for_each_of(&[1], |runtime| {
        runtime.run(|| {
            let stop = Flag::new();
            let hog = {
                let stop = stop.clone();
                go!(move || hog_until(|| stop.is_up()))
            };
            // On a spare now.
            let thread = pinned(|| {
                let home = os_thread_id();
                gthread::sleep(Duration::from_millis(1));
                gthread::yield_now();
                assert_eq!(os_thread_id(), home);
                // Longer than a spare is kept.
                gthread::sleep(Duration::from_millis(1200));
                assert_eq!(os_thread_id(), home);
            });
            gthread::sleep(Duration::from_millis(5));
            stop.raise();
            hog.join().unwrap();
            thread.join().unwrap();
        });
    });
}
