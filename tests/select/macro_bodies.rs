//! What the arms of `select!` may do: borrow, move, leave, and begin again.

use gthread_tests::channel::{
    self, Receiver, RecvError, SendError, Sender, bounded, never, select, select_biased, unbounded,
};
use gthread_tests::{Drops, SHORT, Way, every_way};
use std::error::Error;

every_way!(
    a_value_of_the_whole,
    arms_that_leave_a_loop,
    arms_that_leave_the_function,
    the_question_mark,
    locals_are_borrowed_mutably,
    a_local_is_moved_by_one_arm_only,
    ends_can_be_replaced_and_dropped_in_bodies,
    references_are_yielded,
    a_select_within_a_select,
    a_select_within_a_message,
    a_panic_in_a_body,
    closures_and_methods,
    chains_of_operators,
    values_are_dropped_once,
);

fn ready(n: i32) -> Receiver<i32> {
    let (tx, rx) = unbounded();
    tx.send(n).unwrap();
    rx
}

fn a_value_of_the_whole(_: Way) {
    let n: i64 = select! { recv(ready(1)) -> value => value.unwrap().into(), default => 0 };
    assert_eq!(n, 1);
    let words: &str = select! { recv(ready(1)) -> _ => "one", default => "none" };
    assert_eq!(words, "one");
    let boxed: Box<dyn Fn() -> i32> = select! {
        recv(ready(5)) -> value => Box::new(move || value.unwrap()),
        recv(never::<u8>()) -> _ => Box::new(|| 0),
    };
    assert_eq!(boxed(), 5);
    // Of the type that the others have, though this one has none.
    let never_ends: u8 = select! { recv(ready(1)) -> _ => 3, default => unreachable!() };
    assert_eq!(never_ends, 3);
}

fn arms_that_leave_a_loop(on: Way) {
    let (tx, rx) = bounded(0);
    let sender = on.spawn(move || (0..30).for_each(|n| tx.send(n).unwrap()));
    let (mut even, mut rounds) = (0, 0);
    let last = 'outer: loop {
        loop {
            rounds += 1;
            select! {
                recv(rx) -> value => match value {
                    Ok(n) if n % 2 == 1 => continue 'outer,
                    Ok(29) => unreachable!(),
                    Ok(_) => {}
                    Err(RecvError) => break 'outer rounds,
                },
                recv(never::<u8>()) -> _ => break,
            }
            even += 1;
            if even > 100 {
                break;
            }
        }
    };
    assert_eq!((last, even), (31, 15));
    sender.join();
    let mut seen = Vec::new();
    for n in 0.. {
        select! {
            recv(if n % 3 == 0 { never() } else { ready(n) }) -> value => seen.push(value.unwrap()),
            default => if n < 6 { continue } else { break },
        }
        seen.push(-n);
    }
    assert_eq!(seen, [1, -1, 2, -2, 4, -4, 5, -5]);
    while let Ok(n) = select! { recv(ready(1)) -> value => value, default => Err(RecvError) } {
        seen.push(n);
        if seen.len() > 9 {
            break;
        }
    }
    assert_eq!(seen.len(), 10);
}

fn arms_that_leave_the_function(_: Way) {
    fn early(a: &Receiver<i32>, b: &Receiver<i32>) -> &'static str {
        let n = select! {
            recv(a) -> value => match value {
                Ok(n) => n,
                Err(_) => return "a ended",
            },
            recv(b) -> _ => return "b",
            default => return "nothing",
        };
        if n == 1 { "one" } else { "more" }
    }
    let off = never();
    assert_eq!(early(&ready(1), &off), "one");
    let twice = ready(2);
    assert_eq!((early(&twice, &off), early(&twice, &off)), ("more", "a ended"));
    assert_eq!(early(&off, &ready(1)), "b");
    assert_eq!(early(&off, &off), "nothing");
    #[expect(clippy::needless_return, reason = "arms of no type at all")]
    fn only_returns(rx: &Receiver<i32>) -> i32 {
        select! {
            recv(rx) -> value => return value.unwrap(),
            default => return -1,
        }
    }
    assert_eq!((only_returns(&ready(3)), only_returns(&never())), (3, -1));
}

fn the_question_mark(_: Way) {
    fn parse(words: &Receiver<&str>, to: &Sender<i32>) -> Result<i32, Box<dyn Error>> {
        let n = select! { recv(words) -> word => word?.parse::<i32>()?, default => 0 };
        select! { send(to, n) -> sent => sent?, default(SHORT) => Err("full")? }
        Ok(n)
    }
    let ((words, from_words), (to, from)) = (unbounded(), bounded(1));
    ["12", "x", "13", "14"].into_iter().for_each(|word| words.send(word).unwrap());
    assert_eq!(parse(&from_words, &to).unwrap(), 12);
    assert!(parse(&from_words, &to).unwrap_err().is::<std::num::ParseIntError>());
    assert_eq!(parse(&from_words, &to).unwrap_err().to_string(), "full");
    drop((from, words));
    assert!(parse(&from_words, &to).unwrap_err().is::<SendError<i32>>());
    assert!(parse(&from_words, &to).unwrap_err().is::<RecvError>());
}

fn locals_are_borrowed_mutably(_: Way) {
    struct State {
        rx: Receiver<i32>,
        log: Vec<i32>,
    }
    impl State {
        fn note(&mut self, n: i32) {
            self.log.push(n);
        }
        fn step(&mut self) -> bool {
            select! {
                recv(self.rx) -> value => match value {
                    Ok(n) => { self.note(n); true }
                    Err(_) => { self.rx = never(); true }
                },
                default => { self.note(-1); false }
            }
        }
    }
    let mut state = State { rx: ready(4), log: Vec::new() };
    assert!(state.step() && state.step() && !state.step());
    assert_eq!(state.log, [4, -1]);
    // In the bodies of several arms, and in messages.
    let ((tx, rx), mut log) = (unbounded(), vec![0]);
    for _ in 0..20 {
        select! {
            send(tx, { log.push(1); log.len() }) -> sent => { sent.unwrap(); log.push(2); }
            recv(rx) -> length => { assert!(length.unwrap() < log.len()); log.push(3); }
        }
    }
    assert!(log.len() >= 21);
}

fn a_local_is_moved_by_one_arm_only(_: Way) {
    let (full, _kept) = bounded(0);
    let (tx, rx) = bounded(1);
    let text = String::from("moved");
    let moved = select! {
        send(full, text) -> _ => unreachable!(),
        send(tx, text) -> sent => { sent.unwrap(); rx.recv().unwrap() }
        recv(never::<u8>()) -> _ => text,
        default => text,
    };
    assert_eq!(moved, "moved");
    select! {
        recv(ready(1)) -> _ => drop(moved),
        default => drop(moved),
    }
}

fn ends_can_be_replaced_and_dropped_in_bodies(_: Way) {
    let (mut a, mut b) = (ready(1), ready(2));
    let mut sum = 0;
    // Go's way to switch off an arm.
    while !(a.same_channel(&never()) && b.same_channel(&never())) {
        select! {
            recv(a) -> value => match value {
                Ok(n) => sum += n,
                Err(RecvError) => a = never(),
            },
            recv(b) -> value => match value {
                Ok(n) => sum += 10 * n,
                Err(RecvError) => b = never(),
            },
        }
    }
    assert_eq!(sum, 21);
    let (tx, rx) = bounded::<i32>(1);
    select! {
        send(tx, 1) -> sent => { sent.unwrap(); drop(tx); }
        recv(rx) -> _ => drop(rx),
    }
    let (tx, rx) = bounded::<i32>(1);
    select! {
        send(tx, 1) -> _ => drop((tx, rx)),
        default => drop((tx, rx)),
    }
}

fn references_are_yielded(_: Way) {
    struct Pool {
        names: Vec<String>,
        rx: Receiver<usize>,
    }
    impl Pool {
        fn next(&self) -> &str {
            select! { recv(self.rx) -> n => &self.names[n.unwrap()], default => "none" }
        }
        fn next_mut(&mut self) -> Option<&mut String> {
            select! { recv(self.rx) -> n => self.names.get_mut(n.ok()?), default => None }
        }
    }
    let (tx, rx) = unbounded();
    let mut pool = Pool { names: vec!["a".into(), "b".into()], rx };
    tx.send(1).unwrap();
    tx.send(0).unwrap();
    assert_eq!(pool.next(), "b");
    pool.next_mut().unwrap().push('!');
    assert_eq!(pool.next(), "none");
    assert_eq!(pool.next_mut(), None);
    assert_eq!(pool.names[0], "a!");
    // Through a channel of references.
    let words = [String::from("long"), String::from("lived")];
    let (tx, rx) = unbounded::<&str>();
    let word = {
        let local = tx;
        select! { send(local, &words[1]) -> sent => sent.unwrap() }
        select! { recv(rx) -> word => word.unwrap(), default => "" }
    };
    assert_eq!(word, "lived");
}

fn a_select_within_a_select(on: Way) {
    let ((tx, rx), (other, from_other)) = (bounded(0), bounded(0));
    let sender = on.spawn(move || {
        for n in 0..20 {
            tx.send(n).unwrap();
            other.send(-n).unwrap();
        }
    });
    for n in 0..20 {
        let both = select! {
            recv(rx) -> first => select_biased! {
                recv(from_other) -> second => (first.unwrap(), second.unwrap()),
                recv(rx) -> _ => unreachable!(),
            },
            recv(from_other) -> _ => unreachable!(),
        };
        assert_eq!(both, (n, -n));
    }
    let neither = select! {
        recv(never::<u8>()) -> _ => 0,
        default => select! { default(SHORT) => select! { recv(rx) -> value => value.unwrap_or(7) } },
    };
    assert_eq!(neither, 7);
    sender.join();
}

fn a_select_within_a_message(_: Way) {
    let (tx, rx) = bounded(2);
    select! {
        send(tx, select! { recv(ready(3)) -> value => value.unwrap(), default => 0 }) -> sent =>
            sent.unwrap(),
        recv(select! { default => never::<u8>() }) -> _ => unreachable!(),
    }
    assert_eq!(rx.recv(), Ok(3));
}

fn a_panic_in_a_body(on: Way) {
    let (tx, rx) = bounded(0);
    let broken = on.spawn(move || {
        select! {
            recv(rx) -> value => panic!("got {value:?}"),
            recv(never::<u8>()) -> _ => {}
        }
    });
    // The value was handed over: that is between the receiver and itself.
    tx.send(1).unwrap();
    assert_eq!(*broken.try_join().unwrap_err().downcast::<String>().unwrap(), "got Ok(1)");
    assert_eq!(tx.send(2), Err(SendError(2)));
}

fn closures_and_methods(_: Way) {
    let (tx, rx) = unbounded::<Box<dyn FnOnce(i32) -> i32 + Send>>();
    let by = 3;
    tx.send(Box::new(move |n| n * by)).unwrap();
    let next = move || select! { recv(rx) -> f => f.map(|f| f(4)).ok(), default => None };
    assert_eq!((next(), next()), (Some(12), None));
    let text = select! { recv(ready(1)) -> n => n, default => Err(RecvError) }.map(|n| n + 1);
    assert_eq!(text, Ok(2));
}

fn chains_of_operators(_: Way) {
    let n = 1 + select! { recv(ready(1)) -> n => n.unwrap() + 1, default => 0 } * 2;
    assert_eq!(n, 5);
    let n = select! { recv(ready(1)) -> n => -n.unwrap() as i64, default => i64::from(1 < 2) };
    assert_eq!(n, -1);
    let all = [select! { default => 1 }, select! { recv(ready(2)) -> n => n.unwrap() }];
    assert_eq!(all, [1, 2]);
    if select! { recv(ready(1)) -> n => n == Ok(1), default => false } && select!(default => true) {
        return;
    }
    unreachable!();
}

fn values_are_dropped_once(on: Way) {
    let drops = Drops::new();
    let (tx, rx) = bounded(0);
    let tokens: Vec<_> = (0..10).map(|_| drops.token()).collect();
    let sender = on.spawn(move || {
        for token in tokens {
            select! {
                send(tx, token) -> sent => drop(sent),
                recv(never::<u8>()) -> _ => drop(token),
            }
        }
    });
    for n in 0..10 {
        select! {
            recv(rx) -> token => {
                assert_eq!(drops.count(), n);
                drop(token);
            }
            recv(never::<u8>()) -> _ => {}
        }
    }
    sender.join();
    assert_eq!(drops.count(), 10);
    // Bound by a wildcard it is dropped with the arm; an error gives it back.
    let (tx, rx) = bounded(1);
    tx.send(drops.token()).unwrap();
    select! { recv(rx) -> _ => {} }
    assert_eq!(drops.count(), 11);
    drop(rx);
    let back = select! { send(tx, drops.token()) -> sent => sent.unwrap_err() };
    assert_eq!(drops.count(), 11);
    drop(back.into_inner());
    assert_eq!(drops.count(), 12);
    assert!(
        channel::select! { send(tx, drops.token()) -> sent => sent.is_err(), default => false }
    );
    assert_eq!(drops.count(), 13);
}
