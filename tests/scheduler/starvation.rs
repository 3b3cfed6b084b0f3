//! With one worker, whatever runs for ever beside it, everything runnable gets its turn.

use std::time::Duration;

use gthread::{JoinHandle, Runtime, channel, go};
use gthread_tests::{Flag, for_each_of, yield_often};

/// Starts what never ends by itself; raised, the flag ends it.
type Background = fn(Flag) -> Vec<JoinHandle<()>>;

/// One that must finish, started and woken in every way there is, beside the background.
fn finishes_beside(background: Background) {
    for_each_of(&[1], |runtime| {
        let stop = Flag::new();
        let running = {
            let stop = stop.clone();
            runtime.run(move || background(stop))
        };
        injected_from_outside(runtime);
        woken_from_outside(runtime);
        forked_and_queued_inside(runtime);
        woken_by_a_timer(runtime);
        stop.raise();
        running.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn injected_from_outside(runtime: &Runtime) {
    println!("injected");
    for _ in 0..10 {
        runtime.spawn(yield_often).join().unwrap();
    }
    let threads: Vec<_> = (0..100).map(|_| runtime.spawn(gthread::yield_now)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

fn woken_from_outside(runtime: &Runtime) {
    println!("woken");
    let (ping, pings) = channel::bounded::<u32>(0);
    let (pong, pongs) = channel::bounded::<u32>(0);
    let thread = runtime.spawn(move || pings.iter().for_each(|n| pong.send(n).unwrap()));
    for n in 0..50 {
        ping.send(n).unwrap();
        assert_eq!(pongs.recv(), Ok(n));
    }
    drop(ping);
    thread.join().unwrap();
}

fn forked_and_queued_inside(runtime: &Runtime) {
    println!("inside");
    runtime.run(|| {
        for _ in 0..20 {
            let forked = go!(yield_often);
            let queued = gthread::Builder::new().queued(true).spawn(yield_often).unwrap();
            let pinned = gthread::Builder::new().pinned(true).spawn(yield_often).unwrap();
            for thread in [forked, queued, pinned] {
                thread.join().unwrap();
            }
        }
    });
}

fn woken_by_a_timer(runtime: &Runtime) {
    println!("slept");
    runtime.run(|| (0..5).for_each(|_| gthread::sleep(Duration::from_millis(1))));
}

#[test]
fn beside_two_that_yield() {
    finishes_beside(|stop| {
        let yielder = |stop: Flag| go!(move || gthread_tests::yield_until(|| stop.is_up()));
        vec![yielder(stop.clone()), yielder(stop)]
    });
}

/// The two hand each other the worker, past all queues.
#[test]
fn beside_two_that_play_ping_pong() {
    for capacity in [0, 1] {
        let play: [Background; 2] = [|stop| ping_pong(0, stop), |stop| ping_pong(1, stop)];
        finishes_beside(play[capacity]);
    }
}

fn ping_pong(capacity: usize, stop: Flag) -> Vec<JoinHandle<()>> {
    let (ping, pings) = channel::bounded(capacity);
    let (pong, pongs) = channel::bounded(capacity);
    let first = go!(move || {
        while !stop.is_up() {
            ping.send(()).unwrap();
            pongs.recv().unwrap();
        }
    });
    let second = go!(move || pings.iter().for_each(|()| pong.send(()).unwrap()));
    vec![first, second]
}

#[test]
fn beside_two_that_unpark_each_other() {
    finishes_beside(|stop| {
        let (to_second, from_first) = channel::bounded::<gthread::Thread>(1);
        let ended = stop.clone();
        let second = go!(move || {
            let first = from_first.recv().unwrap();
            while !ended.is_up() {
                first.unpark();
                gthread::park();
            }
            first.unpark();
        });
        let partner = second.thread().clone();
        let first = go!(move || {
            to_second.send(gthread::current()).unwrap();
            while !stop.is_up() {
                partner.unpark();
                gthread::park();
            }
            partner.unpark();
        });
        vec![first, second]
    });
}

/// Continuations are last in, first out: what was queued before would wait for ever.
#[test]
fn beside_one_that_forks_in_a_loop() {
    finishes_beside(|stop| {
        vec![go!(move || {
            while !stop.is_up() {
                go!(|| {}).join().unwrap();
            }
        })]
    });
}

#[test]
fn beside_a_chain_of_successors() {
    fn successor(stop: Flag, done: channel::Sender<()>) {
        if stop.is_up() {
            done.send(()).unwrap();
        } else {
            go!(move || successor(stop, done));
        }
    }
    finishes_beside(|stop| {
        let (done, ended) = channel::bounded(1);
        go!(move || successor(stop, done));
        vec![go!(move || ended.recv().unwrap())]
    });
}

/// Two whose halves run in their own frames, so that they are never suspended by themselves.
#[test]
fn beside_two_that_fork_and_join() {
    fn tree(depth: u32) {
        if depth > 0 {
            gthread::join(|| tree(depth - 1), || tree(depth - 1));
        }
    }
    finishes_beside(|stop| {
        let forks =
            |stop: Flag| go!(move || (0..).take_while(|_| !stop.is_up()).for_each(|_| tree(4)));
        vec![forks(stop.clone()), forks(stop)]
    });
}

/// One that forks, wakes and yields all at once, so that no queue is ever empty.
#[test]
fn beside_all_of_it() {
    finishes_beside(|stop| {
        let mut threads = ping_pong(0, stop.clone());
        threads.extend(ping_pong(1, stop.clone()));
        for _ in 0..2 {
            let stop = stop.clone();
            threads.push(go!(move || {
                while !stop.is_up() {
                    go!(gthread::yield_now).join().unwrap();
                    gthread::yield_now();
                }
            }));
        }
        threads
    });
}

/// The pair that plays must itself get turns beside one that forks.
#[test]
fn a_pair_that_plays_beside_a_fork_loop_goes_on() {
    for_each_of(&[1], |runtime| {
        let stop = Flag::new();
        let forks = runtime.spawn({
            let stop = stop.clone();
            move || {
                while !stop.is_up() {
                    go!(|| {}).join().unwrap();
                }
            }
        });
        runtime.run(|| {
            let (tx, rx) = channel::bounded(0);
            let other = go!(move || rx.iter().count());
            (0..1000).for_each(|n| tx.send(n).unwrap());
            drop(tx);
            assert_eq!(other.join().unwrap(), 1000);
        });
        stop.raise();
        forks.join().unwrap();
    });
}
