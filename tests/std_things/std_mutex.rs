//! std's locks, channels and sockets block the OS thread. That must not stop the runtime, whether few threads do so or
//! many, nor with a lock that is held across a suspension point.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Barrier, Condvar, Mutex, RwLock, mpsc};
use std::time::Duration;

use gthread::{Runtime, channel, go};
use gthread_tests::{for_each_of, for_workers};

/// So many threads block at once, each its OS thread.
const MANY: usize = 100;

/// Starts them, and waits until all have ended.
fn run_many(runtime: &Runtime, body: impl Fn(usize) + Clone + Send + 'static) {
    let start = |n| {
        let body = body.clone();
        runtime.spawn(move || body(n))
    };
    let threads: Vec<_> = (0..MANY).map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A pool of threads that have nothing to do, and one more behind them.
#[test]
fn many_that_wait_in_a_channel_of_std() {
    for_workers(|runtime| {
        let (job, jobs) = mpsc::channel::<()>();
        let jobs = Mutex::new(jobs);
        runtime.run(|| {
            gthread::scope(|scope| {
                for _ in 0..MANY {
                    scope.spawn(|| jobs.lock().unwrap().recv().unwrap_err());
                }
                scope.spawn(move || drop(job));
            });
        });
    });
}

#[test]
fn many_at_a_barrier_of_std() {
    for_workers(|runtime| {
        let barrier = Arc::new(Barrier::new(MANY));
        run_many(runtime, move |_| {
            for _ in 0..3 {
                barrier.wait();
            }
        });
    });
}

#[test]
fn many_that_send_to_one_through_a_rendezvous_of_std() {
    for_workers(|runtime| {
        let (tx, rx) = mpsc::sync_channel(0);
        let receiver = runtime.spawn(move || rx.iter().sum::<usize>());
        run_many(runtime, move |n| (0..10).for_each(|_| tx.send(n).unwrap()));
        assert_eq!(receiver.join().unwrap(), 10 * MANY * (MANY - 1) / 2);
    });
}

/// One has the lock and sleeps, as a green thread or in the kernel, and all others want it.
#[test]
fn a_mutex_held_over_a_sleep_in_many() {
    for sleep in [gthread::sleep, std::thread::sleep] {
        for_workers(|runtime| {
            let count = Arc::new(Mutex::new(0));
            let shared = Arc::clone(&count);
            run_many(runtime, move |_| {
                let mut count = shared.lock().unwrap();
                sleep(Duration::from_millis(1));
                *count += 1;
            });
            assert_eq!(*count.lock().unwrap(), MANY);
        });
    }
}

/// A thread for each connection, at both ends, and not a word to gthread of what blocks.
#[test]
fn many_connections_of_std() {
    for_workers(|runtime| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = runtime.spawn(move || {
            let accept = |_| {
                let (mut stream, _) = listener.accept().unwrap();
                go!(move || {
                    let mut bytes = [0; 64];
                    loop {
                        match stream.read(&mut bytes).unwrap() {
                            0 => return,
                            length => stream.write_all(&bytes[..length]).unwrap(),
                        }
                    }
                })
            };
            let connections: Vec<_> = (0..MANY).map(accept).collect();
            connections.into_iter().for_each(|thread| thread.join().unwrap());
        });
        run_many(runtime, move |n| {
            let mut stream = TcpStream::connect(address).unwrap();
            let (sent, mut received) = ([n as u8; 16], [0; 16]);
            for _ in 0..10 {
                stream.write_all(&sent).unwrap();
                stream.read_exact(&mut received).unwrap();
                assert_eq!(received, sent);
            }
        });
        server.join().unwrap();
    });
}

/// All that may is one spare: what is ready waits until one that blocks is done, and nobody is forgotten.
#[test]
fn more_that_block_than_there_may_be_spares() {
    for workers in [1, 2] {
        let build = || Runtime::builder().workers(workers).max_spares(1).build().unwrap();
        for_each_of(&[1], |_| {
            let runtime = build();
            run_many(&runtime, |n| match n % 3 {
                0 => std::thread::sleep(Duration::from_millis(1)),
                1 => gthread::blocking(|| std::thread::sleep(Duration::from_millis(1))),
                _ => gthread::sleep(Duration::from_millis(1)),
            });
            assert!(runtime.metrics().spare_workers <= 1);
        });
    }
}

/// The child runs at once and blocks the only worker; the caller, who has the lock, must go on
/// elsewhere.
#[test]
fn a_mutex_held_across_go_does_not_deadlock() {
    for_workers(|runtime| {
        for _ in 0..10 {
            runtime.run(|| {
                let shared = Arc::new(Mutex::new(0));
                let guard = shared.lock().unwrap();
                let child = go!({
                    let shared = Arc::clone(&shared);
                    move || *shared.lock().unwrap() += 1
                });
                drop(guard);
                child.join().unwrap();
                assert_eq!(*shared.lock().unwrap(), 1);
            });
        }
    });
}

#[test]
fn a_lock_held_across_go_for_several_children() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new(RwLock::new(0));
            let guard = shared.write().unwrap();
            let children: Vec<_> = (0..5)
                .map(|n| {
                    let shared = Arc::clone(&shared);
                    go!(move || *shared.write().unwrap() += n)
                })
                .collect();
            drop(guard);
            children.into_iter().for_each(|child| child.join().unwrap());
            assert_eq!(*shared.read().unwrap(), 10);
        });
    });
}

/// The holder is parked, and another one blocks the worker that is to wake it.
#[test]
fn a_mutex_held_across_a_recv_does_not_deadlock() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new(Mutex::new(0));
            let (tx, rx) = channel::bounded(0);
            let holder = go!({
                let shared = Arc::clone(&shared);
                move || {
                    let mut guard = shared.lock().unwrap();
                    *guard = rx.recv().unwrap();
                }
            });
            let wants = go!({
                let shared = Arc::clone(&shared);
                move || *shared.lock().unwrap()
            });
            let sender = go!(move || tx.send(9).unwrap());
            sender.join().unwrap();
            holder.join().unwrap();
            let _ = wants.join().unwrap();
            assert_eq!(*shared.lock().unwrap(), 9);
        });
    });
}

#[test]
fn a_condvar_wait_does_not_stop_the_others() {
    for_workers(|runtime| {
        runtime.run(|| {
            let shared = Arc::new((Mutex::new(false), Condvar::new()));
            let waits = go!({
                let shared = Arc::clone(&shared);
                move || {
                    let (ready, changed) = &*shared;
                    drop(changed.wait_while(ready.lock().unwrap(), |ready| !*ready).unwrap());
                }
            });
            *shared.0.lock().unwrap() = true;
            shared.1.notify_all();
            waits.join().unwrap();
        });
    });
}
