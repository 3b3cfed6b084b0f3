//! Whole programs of selects, as Go is known for them.

use gthread_tests::channel::{self, Receiver, Select, after, bounded, never, select, unbounded};
use gthread_tests::{LONG, SHORT, Way, every_way, every_way_crowded, make};

every_way!(
    bits_at_random,
    a_buffer_of_ones_own,
    two_ways_to_be_told_the_same,
    a_server_that_is_shut_down,
    a_dance_of_those_who_only_try,
    a_request_with_a_time_limit,
    arms_switched_on_and_off,
    sends_and_receives_in_lockstep,
    the_first_answer_wins,
);

every_way_crowded!(a_storm_of_pairs, everybody_selects_everything);

/// Zero and one are equally ready to be sent: both come out, in no order.
fn bits_at_random(on: Way) {
    for capacity in [0, 1] {
        let (tx, rx) = bounded(capacity);
        let sender = on.spawn(move || {
            for _ in 0..2000 {
                select! {
                    send(tx, 0) -> sent => sent.unwrap(),
                    send(tx, 1) -> sent => sent.unwrap(),
                }
            }
        });
        let bits: Vec<usize> = rx.iter().collect();
        let ones: usize = bits.iter().sum();
        assert!(bits.len() == 2000 && (600..1400).contains(&ones), "{ones}");
        // Neither all of one and then all of the other, nor in turn.
        let changes = bits.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((600..1400).contains(&changes), "{changes}");
        sender.join();
    }
}

/// A thread between two rendezvous that holds any number of values: an arm is off while it has none.
fn a_buffer_of_ones_own(on: Way) {
    let (tx, from) = bounded(0);
    let (to, rx) = bounded(0);
    let buffer = on.spawn(move || {
        let (mut from, mut held) = (from, std::collections::VecDeque::new());
        let closed = never();
        while !(held.is_empty() && from.same_channel(&closed)) {
            let mut list = Select::new();
            let receives = list.recv(&from);
            if !held.is_empty() {
                list.send(&to);
            }
            let operation = list.select();
            if operation.index() == receives {
                match operation.recv(&from) {
                    Ok(value) => held.push_back(value),
                    Err(_) => from = never(),
                }
            } else {
                operation.send(&to, held.pop_front().unwrap()).unwrap();
            }
        }
    });
    (0..200).for_each(|n| tx.send(n).unwrap());
    assert!(rx.iter().take(50).eq(0..50));
    (200..250).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    assert!(rx.iter().eq(50..250));
    buffer.join();
}

/// The same values over several channels, at once and by chance: a receiver of both sees each twice,
/// and in order on each of them.
fn two_ways_to_be_told_the_same(on: Way) {
    for capacity in CAPACITIES_OF_TWO {
        let ((a, from_a), (b, from_b)) = (make(capacity[0]), make(capacity[1]));
        let sender = on.spawn(move || {
            for n in 0..300 {
                select! {
                    send(a, n) -> sent => { sent.unwrap(); b.send(n).unwrap(); }
                    send(b, n) -> sent => { sent.unwrap(); a.send(n).unwrap(); }
                }
            }
        });
        let (mut next_a, mut next_b) = (0, 0);
        while next_a < 300 || next_b < 300 {
            select! {
                recv(from_a) -> value => if let Ok(n) = value { assert_eq!(n, next_a); next_a += 1; },
                recv(from_b) -> value => if let Ok(n) = value { assert_eq!(n, next_b); next_b += 1; },
            }
        }
        sender.join();
    }
}

const CAPACITIES_OF_TWO: [[Option<usize>; 2]; 4] =
    [[Some(0), Some(0)], [Some(1), Some(0)], [Some(7), Some(1)], [None, Some(0)]];

fn a_server_that_is_shut_down(on: Way) {
    let (requests, from_requests) = bounded::<(u32, channel::Sender<u32>)>(0);
    let (done, is_done) = bounded::<()>(0);
    let servers: Vec<_> = (0..3)
        .map(|_| {
            let (requests, is_done) = (from_requests.clone(), is_done.clone());
            on.spawn(move || {
                let mut served = 0;
                loop {
                    select! {
                        recv(requests) -> request => {
                            let (n, to) = request.unwrap();
                            to.send(n + 1).unwrap();
                            served += 1;
                        }
                        recv(is_done) -> _ => return served,
                    }
                }
            })
        })
        .collect();
    for n in 0..100 {
        let (to, answer) = bounded(0);
        requests.send((n, to)).unwrap();
        assert_eq!(answer.recv(), Ok(n + 1));
    }
    drop(done);
    assert_eq!(servers.into_iter().map(|server| server.join()).sum::<u32>(), 100);
    drop((from_requests, is_done));
    assert!(requests.send((0, bounded(0).0)).is_err());
}

/// Each of two tries, and lets the other try: they come together only if one waits.
fn a_dance_of_those_who_only_try(on: Way) {
    for capacity in [Some(1), Some(7), None] {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || {
            for n in 0..200 {
                while !select! { send(tx, n) -> sent => sent.is_ok(), default => false } {
                    on.yield_now();
                }
            }
        });
        for n in 0..200 {
            let mut got = None;
            on_until(on, || {
                got = select! { recv(rx) -> value => Some(value), default => None };
                got.is_some()
            });
            assert_eq!(got, Some(Ok(n)));
        }
        sender.join();
    }
}

fn on_until(on: Way, mut event: impl FnMut() -> bool) {
    while !event() {
        on.yield_now();
    }
}

fn a_request_with_a_time_limit(on: Way) {
    let (requests, from_requests) = bounded::<(bool, channel::Sender<u32>)>(0);
    let server = on.spawn(move || {
        let mut kept = Vec::new();
        for (answers, to) in from_requests {
            if answers {
                to.send(1).unwrap();
            } else {
                kept.push(to);
            }
        }
        // Nobody listens any more, but that is no harm to one with a place.
        kept.into_iter().filter(|to| to.send(2).is_err()).count()
    });
    for n in 0..10 {
        let (to, answer) = bounded(1);
        requests.send((n % 2 == 0, to)).unwrap();
        let got = select! {
            recv(answer) -> value => value.ok(),
            recv(after(if n % 2 == 0 { LONG } else { SHORT })) -> _ => None,
        };
        assert_eq!(got, (n % 2 == 0).then_some(1));
    }
    drop(requests);
    assert_eq!(server.join(), 5);
}

fn arms_switched_on_and_off(on: Way) {
    let ends: [_; 3] = std::array::from_fn(|_| bounded(0));
    let receivers = ends.each_ref().map(|(_, rx)| rx.clone());
    let senders = ends.map(|(tx, _)| on.spawn(move || while tx.send(()).is_ok() {}));
    let off = never();
    let mut rounds = 0;
    for mask in (0..8).cycle().take(80) {
        let arm = |n: usize| if mask >> n & 1 == 1 { &receivers[n] } else { &off };
        let chosen = select! {
            recv(arm(0)) -> value => { value.unwrap(); 1 }
            recv(arm(1)) -> value => { value.unwrap(); 2 }
            recv(arm(2)) -> value => { value.unwrap(); 4 }
            recv(if mask == 0 { after(std::time::Duration::ZERO) } else { never() }) -> _ => 0,
        };
        assert_eq!(chosen & mask, chosen);
        assert_eq!(chosen == 0, mask == 0);
        rounds += 1;
    }
    assert_eq!(rounds, 80);
    drop(receivers);
    senders.into_iter().for_each(|sender| sender.join());
}

/// A value is passed on before the next is taken, with one select that does either.
fn sends_and_receives_in_lockstep(on: Way) {
    let (tx, mut last) = bounded(0);
    let stages: Vec<_> = (0..8)
        .map(|_| {
            let (to, rx) = bounded(0);
            let from: Receiver<u32> = std::mem::replace(&mut last, rx);
            on.spawn(move || {
                let mut held = None;
                loop {
                    let mut list = Select::new();
                    match held {
                        None => list.recv(&from),
                        Some(_) => list.send(&to),
                    };
                    let operation = list.select();
                    match held.take() {
                        None => match operation.recv(&from) {
                            Ok(value) => held = Some(value),
                            Err(_) => return,
                        },
                        Some(value) => operation.send(&to, value).unwrap(),
                    }
                }
            })
        })
        .collect();
    let sender = on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
    assert!(last.iter().eq(0..100));
    sender.join();
    stages.into_iter().for_each(|stage| stage.join());
}

fn the_first_answer_wins(on: Way) {
    for _ in 0..10 {
        let (to, answers) = bounded(0);
        let (done, is_done) = bounded::<()>(0);
        let askers: Vec<_> = (0..6)
            .map(|n| {
                let (to, is_done) = (to.clone(), is_done.clone());
                on.spawn(move || {
                    select! { send(to, n) -> sent => sent.is_ok(), recv(is_done) -> _ => false }
                })
            })
            .collect();
        let first = answers.recv().unwrap();
        drop(done);
        for (n, asker) in askers.into_iter().enumerate() {
            assert_eq!(asker.join(), n == first);
        }
        assert!(answers.try_recv().is_err());
    }
}

/// So many selects over one pair of rendezvous, some of which give up now and then.
fn a_storm_of_pairs(on: Way) {
    let ((a, from_a), (b, from_b)) = (bounded(0), bounded(0));
    let sums: Vec<(u64, u64)> = on.scope(|scope| {
        let peers: Vec<_> = (0..10_u64)
            .map(|n| {
                let (a, b, from_a, from_b) = (&a, &b, &from_a, &from_b);
                scope.spawn(move || {
                    let (mut sent, mut received, mut left) = (0, 0, 60);
                    // The last ones may find nobody.
                    while left > 0 {
                        left -= 1;
                        select! {
                            send(a, n) -> result => { result.unwrap(); sent += n; }
                            send(b, n) -> result => { result.unwrap(); sent += n; }
                            recv(from_a) -> value => received += value.unwrap(),
                            recv(from_b) -> value => received += value.unwrap(),
                            default(SHORT) => {}
                        }
                    }
                    (sent, received)
                })
            })
            .collect();
        peers.into_iter().map(|peer| peer.join()).collect()
    });
    let (sent, received) = sums.into_iter().fold((0, 0), |(s, r), (a, b)| (s + a, r + b));
    assert_eq!(sent, received);
}

fn everybody_selects_everything(on: Way) {
    let ends: Vec<_> = [Some(0), Some(1), Some(7), None].into_iter().map(make::<u64>).collect();
    let (done, is_done) = unbounded::<()>();
    let received: u64 = on.scope(|scope| {
        let receivers: Vec<_> = (0..4)
            .map(|_| {
                let (ends, is_done) = (&ends, is_done.clone());
                scope.spawn(move || {
                    let (mut list, mut count, mut told) = (Select::new_biased(), 0, false);
                    // First of all what is there, then the end.
                    ends.iter().for_each(|(_, rx)| _ = list.recv(rx));
                    list.recv(&is_done);
                    while !told {
                        let operation = list.select();
                        match operation.index() {
                            4 => told = operation.recv(&is_done).is_err(),
                            n => count += operation.recv(&ends[n].1).unwrap(),
                        }
                    }
                    count
                })
            })
            .collect();
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let ends = &ends;
                scope.spawn(move || {
                    for _ in 0..150 {
                        select! {
                            send(ends[0].0, 1) -> sent => sent.unwrap(),
                            send(ends[1].0, 1) -> sent => sent.unwrap(),
                            send(ends[2].0, 1) -> sent => sent.unwrap(),
                            send(ends[3].0, 1) -> sent => sent.unwrap(),
                        }
                    }
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join());
        drop(done);
        receivers.into_iter().map(|receiver| receiver.join()).sum()
    });
    // One who looks at the arms in turn may find the end after it found nothing, and a value came between.
    let left: usize = ends.iter().map(|(_, rx)| rx.try_iter().count()).sum();
    assert_eq!(received + left as u64, 600);
}
