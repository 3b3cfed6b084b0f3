//! `Condvar`: what std documents of its own, on every kind of thread.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::sync::{Condvar, Mutex};
use gthread_tests::{LONG, SHORT, Way, every_way, every_way_crowded};

every_way!(
    a_notification_wakes,
    notify_one_wakes_one,
    notify_all_wakes_all,
    notifications_are_not_kept,
    wait_while_looks_first,
    wait_while_waits_on,
    a_timeout_ends_the_wait,
    a_timeout_that_is_not_needed,
    wait_timeout_while_times_out,
    wait_timeout_while_ends_early,
    it_says_so_if_the_mutex_is_poisoned,
    a_condition_that_panics_poisons,
    one_condvar_for_two_mutexes,
    timeouts_and_notifications_cross,
    statics_are_shared,
);
every_way_crowded!(a_bounded_queue);

/// A number under a lock, and word of its changes.
#[derive(Default)]
struct Shared {
    number: Mutex<usize>,
    changed: Condvar,
}

fn shared() -> Arc<Shared> {
    Arc::default()
}

impl Shared {
    fn add(&self, n: usize) {
        *self.number.lock().unwrap() += n;
    }
}

fn a_notification_wakes(on: Way) {
    let shared = shared();
    let peer = {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            let mut number = shared.number.lock().unwrap();
            while *number == 0 {
                number = shared.changed.wait(number).unwrap();
            }
            *number
        })
    };
    on.lull();
    shared.add(7);
    shared.changed.notify_one();
    assert_eq!(peer.join(), 7);
}

fn notify_one_wakes_one(on: Way) {
    const PEERS: usize = 5;
    let (shared, woken) = (shared(), shared());
    let peers: Vec<_> = (0..PEERS)
        .map(|_| {
            let (shared, woken) = (Arc::clone(&shared), Arc::clone(&woken));
            on.spawn(move || {
                let mut tickets = shared.number.lock().unwrap();
                woken.add(1);
                while *tickets == 0 {
                    tickets = shared.changed.wait(tickets).unwrap();
                }
                *tickets -= 1;
            })
        })
        .collect();
    // All are at their wait once the lock can be had, after all have counted.
    on.until(|| *woken.number.lock().unwrap() == PEERS && shared.number.try_lock().is_ok());
    for left in (0..PEERS).rev() {
        shared.add(1);
        shared.changed.notify_one();
        on.until(|| *shared.number.lock().unwrap() == 0);
        on.until(|| peers.iter().filter(|peer| !peer.is_finished()).count() == left);
    }
    peers.into_iter().for_each(|peer| peer.join());
}

/// More than are claimed at a time.
fn notify_all_wakes_all(on: Way) {
    let peers = if on.is_parallel() { 40 } else { 100 };
    let shared = shared();
    let peers: Vec<_> = (0..peers)
        .map(|_| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let number = shared.number.lock().unwrap();
                drop(shared.changed.wait_while(number, |number| *number == 0).unwrap());
            })
        })
        .collect();
    on.lull();
    shared.add(1);
    shared.changed.notify_all();
    peers.into_iter().for_each(|peer| peer.join());
}

fn notifications_are_not_kept(_: Way) {
    let shared = shared();
    shared.changed.notify_one();
    shared.changed.notify_all();
    let number = shared.number.lock().unwrap();
    let (_number, result) = shared.changed.wait_timeout(number, SHORT).unwrap();
    assert!(result.timed_out());
}

fn wait_while_looks_first(_: Way) {
    let shared = shared();
    let mut looks = 0;
    let number = shared.number.lock().unwrap();
    let number = shared.changed.wait_while(number, |_| {
        looks += 1;
        false
    });
    assert_eq!((*number.unwrap(), looks), (0, 1));
}

fn wait_while_waits_on(on: Way) {
    let shared = shared();
    let peer = {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            for _ in 0..10 {
                shared.add(1);
                shared.changed.notify_all();
                on.yield_now();
            }
        })
    };
    let number = shared.number.lock().unwrap();
    let number = shared.changed.wait_while(number, |number| {
        // May be changed under the lock.
        *number < 10
    });
    assert_eq!(*number.unwrap(), 10);
    peer.join();
}

fn a_timeout_ends_the_wait(_: Way) {
    let shared = shared();
    let start = Instant::now();
    let number = shared.number.lock().unwrap();
    let (mut number, result) = shared.changed.wait_timeout(number, SHORT).unwrap();
    assert!(result.timed_out() && start.elapsed() >= SHORT);
    *number += 1;
    let (number, result) = shared.changed.wait_timeout(number, Duration::ZERO).unwrap();
    assert!(result.timed_out());
    #[expect(deprecated, reason = "std still has it")]
    let (number, woken) = shared.changed.wait_timeout_ms(number, 1).unwrap();
    assert!(!woken);
    drop(number);
    assert_eq!(*shared.number.lock().unwrap(), 1);
    // Nobody is left in the queue.
    shared.changed.notify_all();
}

fn a_timeout_that_is_not_needed(on: Way) {
    for timeout in [LONG, Duration::MAX] {
        let shared = shared();
        let peer = {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let mut number = shared.number.lock().unwrap();
                let mut timed_out = false;
                while *number == 0 {
                    let (guard, result) = shared.changed.wait_timeout(number, timeout).unwrap();
                    number = guard;
                    timed_out |= result.timed_out();
                }
                timed_out
            })
        };
        on.lull();
        shared.add(1);
        shared.changed.notify_one();
        assert!(!peer.join());
    }
}

fn wait_timeout_while_times_out(on: Way) {
    let shared = shared();
    let peer = {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            for _ in 0..5 {
                shared.add(1);
                shared.changed.notify_all();
                on.yield_now();
            }
        })
    };
    let start = Instant::now();
    let number = shared.number.lock().unwrap();
    let (number, result) =
        shared.changed.wait_timeout_while(number, SHORT, |number| *number < 1_000).unwrap();
    assert!(result.timed_out() && start.elapsed() >= SHORT);
    drop(number);
    peer.join();
    // The condition is asked once more when the time is over, and the answer counts.
    let number = shared.number.lock().unwrap();
    let (_number, result) =
        shared.changed.wait_timeout_while(number, Duration::ZERO, |_| false).unwrap();
    assert!(!result.timed_out());
    assert_eq!(result, result.clone());
}

fn wait_timeout_while_ends_early(on: Way) {
    let shared = shared();
    let peer = {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            on.lull();
            shared.add(3);
            shared.changed.notify_one();
        })
    };
    let number = shared.number.lock().unwrap();
    let (number, result) =
        shared.changed.wait_timeout_while(number, LONG, |number| *number == 0).unwrap();
    assert_eq!((*number, result.timed_out()), (3, false));
    drop(number);
    peer.join();
}

fn it_says_so_if_the_mutex_is_poisoned(on: Way) {
    let shared = shared();
    for timed in [false, true] {
        // Locked before the peer is there: it comes in when this one waits, and not before.
        let number = shared.number.lock().unwrap_or_else(|error| error.into_inner());
        let peer = {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let _number = shared.number.lock();
                shared.changed.notify_all();
                resume_unwind(Box::new(()));
            })
        };
        if timed {
            let result = shared.changed.wait_timeout(number, LONG);
            assert!(!result.unwrap_err().into_inner().1.timed_out());
        } else {
            assert!(shared.changed.wait(number).is_err());
        }
        let _: Result<(), _> = peer.try_join();
    }
    let number = shared.number.lock().unwrap_err().into_inner();
    assert!(shared.changed.wait_timeout_while(number, SHORT, |_| true).is_err());
    let number = shared.number.lock().unwrap_err().into_inner();
    assert!(shared.changed.wait_while(number, |_| false).is_ok(), "it did not wait");
}

fn a_condition_that_panics_poisons(on: Way) {
    let shared = shared();
    let peer = {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            let number = shared.number.lock().unwrap();
            let _ = shared.changed.wait_while(number, |_| resume_unwind(Box::new(())));
        })
    };
    assert!(peer.try_join().is_err());
    assert!(shared.number.is_poisoned());
}

fn one_condvar_for_two_mutexes(on: Way) {
    let shared = Arc::new((Condvar::new(), [Mutex::new(false), Mutex::new(false)]));
    let peers = [0, 1].map(|which| {
        let shared = Arc::clone(&shared);
        on.spawn(move || {
            let ready = shared.1[which].lock().unwrap();
            drop(shared.0.wait_while(ready, |ready| !*ready).unwrap());
        })
    });
    on.lull();
    for mutex in &shared.1 {
        *mutex.lock().unwrap() = true;
    }
    shared.0.notify_all();
    peers.into_iter().for_each(|peer| peer.join());
}

/// Some leave by their timeouts while others are notified: no notification is lost with one that left.
fn timeouts_and_notifications_cross(on: Way) {
    const ROUNDS: usize = 300;
    let shared = shared();
    let peers: Vec<_> = (0..3)
        .map(|id| {
            let shared = Arc::clone(&shared);
            on.spawn(move || {
                let mut taken = 0;
                let mut tickets = shared.number.lock().unwrap();
                loop {
                    match *tickets {
                        0 => {
                            let patience =
                                Duration::from_micros(if id == 0 { 10 } else { 1_000_000 });
                            tickets = shared.changed.wait_timeout(tickets, patience).unwrap().0;
                        }
                        usize::MAX => return taken,
                        _ => {
                            *tickets -= 1;
                            taken += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for n in 0..ROUNDS {
        shared.add(1);
        shared.changed.notify_one();
        if n % 10 == 0 {
            on.yield_now();
        }
    }
    on.until(|| *shared.number.lock().unwrap() == 0);
    *shared.number.lock().unwrap() = usize::MAX;
    shared.changed.notify_all();
    assert_eq!(peers.into_iter().map(|peer| peer.join()).sum::<usize>(), ROUNDS);
}

fn statics_are_shared(on: Way) {
    static NUMBER: Mutex<usize> = Mutex::new(0);
    static CHANGED: Condvar = Condvar::new();
    let before = *NUMBER.lock().unwrap();
    let peer = on.spawn(move || {
        drop(CHANGED.wait_while(NUMBER.lock().unwrap(), |number| *number <= before).unwrap());
    });
    *NUMBER.lock().unwrap() += 1;
    CHANGED.notify_all();
    peer.join();
}

/// The textbook's queue with two condition variables: values pass through in order, and all of them.
fn a_bounded_queue(on: Way) {
    const PRODUCERS: usize = 6;
    const EACH: usize = 200;
    const ROOM: usize = 4;

    #[derive(Default)]
    struct Bounded {
        values: Mutex<VecDeque<(usize, usize)>>,
        not_empty: Condvar,
        not_full: Condvar,
    }

    let queue: Arc<Bounded> = Arc::default();
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|id| {
            let queue = Arc::clone(&queue);
            on.spawn(move || {
                for n in 0..EACH {
                    let values = queue.values.lock().unwrap();
                    let full = |values: &mut VecDeque<_>| values.len() == ROOM;
                    queue.not_full.wait_while(values, full).unwrap().push_back((id, n));
                    queue.not_empty.notify_one();
                }
            })
        })
        .collect();
    let consumers: Vec<_> = (0..PRODUCERS)
        .map(|_| {
            let queue = Arc::clone(&queue);
            on.spawn(move || {
                let mut last = [None; PRODUCERS];
                for _ in 0..EACH {
                    let values = queue.values.lock().unwrap();
                    let empty = |values: &mut VecDeque<_>| values.is_empty();
                    let mut values = queue.not_empty.wait_while(values, empty).unwrap();
                    let (id, n) = values.pop_front().unwrap();
                    drop(values);
                    queue.not_full.notify_one();
                    assert!(last[id] < Some(n), "out of order");
                    last[id] = Some(n);
                }
            })
        })
        .collect();
    producers.into_iter().for_each(|peer| peer.join());
    consumers.into_iter().for_each(|peer| peer.join());
    assert!(queue.values.lock().unwrap().is_empty());
}

#[test]
fn it_prints_as_stds_and_is_one_word() {
    let stds = std::sync::Condvar::new();
    assert_eq!(format!("{:?}", Condvar::default()), format!("{stds:?}"));
    assert_eq!(size_of::<Condvar>(), size_of::<usize>());
}
