//! `select!` as syntax: every form of arm, and what may stand where.

use gthread_tests::channel::{
    self, Receiver, RecvError, SendError, Sender, bounded, never, select, select_biased, unbounded,
};
use gthread_tests::{LONG, SHORT, Way, every_way};
use std::sync::Arc;
use std::time::{Duration, Instant};

every_way!(
    bodies_with_and_without_commas,
    one_arm,
    default_alone,
    default_is_chosen_if_nothing_is_ready,
    default_after_a_time,
    default_may_stand_anywhere,
    patterns,
    receivers_and_senders_are_expressions,
    messages_are_evaluated_when_chosen,
    timeouts_are_expressions,
    ends_are_evaluated_once_and_in_order,
    biased_has_the_same_forms,
    by_path_and_by_name,
    inside_other_macros_and_generics,
);

fn ready() -> Receiver<i32> {
    let (tx, rx) = unbounded();
    (0..9).for_each(|n| tx.send(n).unwrap());
    // It is to stay connected.
    std::mem::forget(tx);
    rx
}

fn bodies_with_and_without_commas(_: Way) {
    let (rx, off) = (ready(), never::<i32>());
    let (tx, _kept) = unbounded::<i32>();
    select! { recv(rx) -> _ => {} }
    select! { recv(rx) -> _ => {}, }
    select! { recv(rx) -> _ => () }
    select! { recv(rx) -> _ => (), }
    select! { recv(rx) -> _ => {} recv(off) -> _ => {} }
    select! { recv(rx) -> _ => {}, recv(off) -> _ => {}, }
    select! { recv(rx) -> _ => {} recv(off) -> _ => (), }
    select! { recv(rx) -> _ => (), recv(off) -> _ => () }
    select! { send(tx, 1) -> _ => {} recv(off) -> _ => {} default => {} }
    select! { send(tx, 1,) -> _ => {}, recv(off,) -> _ => {}, default() => {}, }
    select! { send(tx, 1) -> _ => (), recv(off) -> _ => (), default(LONG) => (), }
    select! { send(tx, 1) -> _ => {} recv(off) -> _ => {} default(LONG,) => {} }
    select! { default => {} }
    select! { default => (), }
    select!(recv(rx) -> _ => {},);
    select![recv(off) -> _ => {}, default => {}];
    let value = select! {
        recv(off) -> _ => if true { 1 } else { 2 },
        recv(never::<u8>()) -> _ => match 3 { 3 => 4, _ => 5 },
        default => { 6 }
    };
    assert_eq!(value, 6);
}

fn one_arm(on: Way) {
    let (tx, rx) = bounded(0);
    let sender = on.spawn(move || {
        for n in 0..20 {
            assert_eq!(select! { send(tx, n) -> sent => sent }, Ok(()));
        }
    });
    for n in 0..20 {
        assert_eq!(select! { recv(rx) -> value => value }, Ok(n));
    }
    assert_eq!(select! { recv(rx) -> value => value }, Err(RecvError));
    sender.join();
    let (tx, _) = bounded(0);
    assert_eq!(select! { send(tx, 1) -> sent => sent }, Err(SendError(1)));
    assert_eq!(select! { send(tx, 2) -> sent => sent, default => Ok(()) }, Err(SendError(2)));
    assert_eq!(select! { send(tx, 3) -> sent => sent, default(LONG) => Ok(()) }, Err(SendError(3)));
    let (tx, rx) = unbounded::<u8>();
    assert!(select! { recv(rx) -> _ => false, default => true });
    assert!(select! { recv(rx) -> _ => false, default(SHORT) => true });
    drop(tx);
    assert!(select! { recv(rx) -> value => value.is_err(), default => false });
    assert!(select! { recv(rx) -> value => value.is_err(), default(SHORT) => false });
}

fn default_alone(_: Way) {
    assert_eq!(select! { default => 1 }, 1);
    assert_eq!(select! { default() => { 2 } }, 2);
    let start = Instant::now();
    assert_eq!(select! { default(SHORT) => 3 }, 3);
    assert!(start.elapsed() >= SHORT);
    assert_eq!(select_biased! { default => "text" }, "text");
}

fn default_is_chosen_if_nothing_is_ready(_: Way) {
    let ((tx, rx), (other, other_rx)) = (bounded(1), bounded::<u8>(1));
    other.send(0).unwrap();
    let try_all = || {
        select! {
            recv(rx) -> value => format!("{value:?}"),
            send(other, 1) -> _ => "sent".into(),
            default => "nothing".into(),
        }
    };
    assert_eq!(try_all(), "nothing");
    tx.send(5).unwrap();
    assert_eq!(try_all(), "Ok(5)");
    assert_eq!(try_all(), "nothing");
    other_rx.recv().unwrap();
    assert_eq!(try_all(), "sent");
    assert_eq!(try_all(), "nothing");
    drop(tx);
    assert_eq!(try_all(), "Err(RecvError)");
}

fn default_after_a_time(on: Way) {
    let (tx, rx) = bounded(0);
    let start = Instant::now();
    select! {
        recv(rx) -> _ => unreachable!(),
        recv(never::<u8>()) -> _ => unreachable!(),
        default(SHORT) => assert!(start.elapsed() >= SHORT),
    }
    let sender = on.spawn(move || tx.send(1));
    select! {
        recv(rx) -> value => assert_eq!(value, Ok(1)),
        recv(never::<u8>()) -> _ => unreachable!(),
        default(LONG) => unreachable!(),
    }
    sender.join().unwrap();
    // No longer than the clock goes is for ever.
    let (tx, rx) = bounded(0);
    let sender = on.spawn(move || tx.send(2));
    select! {
        recv(rx) -> value => assert_eq!(value, Ok(2)),
        default(Duration::MAX) => unreachable!(),
    }
    sender.join().unwrap();
}

fn default_may_stand_anywhere(_: Way) {
    let rx = ready();
    let got = select! { default => 100, recv(rx) -> value => value.unwrap() };
    assert_eq!(got, 0);
    let got = select! {
        recv(never::<i32>()) -> _ => 100,
        default(LONG) => { 200 }
        recv(rx) -> value => value.unwrap(),
    };
    assert_eq!(got, 1);
    let got = select! { default => 100, recv(never::<i32>()) -> value => value.unwrap() };
    assert_eq!(got, 100);
}

fn patterns(_: Way) {
    let rx = ready();
    select! {
        recv(rx) -> mut value => {
            value = value.map(|n| n + 10);
            assert_eq!(value, Ok(10));
        }
    }
    select! { recv(rx) -> ref value => assert_eq!(*value, Ok(1)) }
    select! { recv(rx) -> value @ (Ok(_) | Err(_)) => assert_eq!(value, Ok(2)) }
    select! { send(unbounded().0, 1) -> (Ok(()) | Err(SendError(_))) => {} }
    let (tx, rx) = unbounded::<std::convert::Infallible>();
    drop(tx);
    select! { recv(rx) -> Err(RecvError) => {} }
}

fn receivers_and_senders_are_expressions(_: Way) {
    struct Ends {
        tx: Sender<i32>,
        rx: Receiver<i32>,
    }
    impl Ends {
        fn rx(&self) -> &Receiver<i32> {
            &self.rx
        }
    }
    let (tx, rx) = unbounded();
    let ends = Ends { tx, rx };
    let many = [never(), ends.rx.clone()];
    let (shared, boxed) = (Arc::new(ends.rx.clone()), Box::new(ends.tx.clone()));
    let by_reference = &&ends.tx;
    let maybe = many.get(1);
    for round in 0..8 {
        select! {
            send(ends.tx, 0) -> sent => sent.unwrap(),
            send(&ends.tx, 1) -> sent => sent.unwrap(),
            send(by_reference, 2) -> sent => sent.unwrap(),
            send(boxed, 3) -> sent => sent.unwrap(),
            send(ends.tx.clone(), 4) -> sent => sent.unwrap(),
            send({ assert!(round < 8); ends.tx.clone() }, 5) -> sent => sent.unwrap(),
        }
        select! {
            recv(ends.rx) -> value => assert!(value.is_ok()),
            recv(&ends.rx) -> value => assert!(value.is_ok()),
            recv(ends.rx()) -> value => assert!(value.is_ok()),
            recv(many[1]) -> value => assert!(value.is_ok()),
            recv(shared) -> value => assert!(value.is_ok()),
            recv(*shared) -> value => assert!(value.is_ok()),
            recv(maybe.unwrap_or(&never())) -> value => assert!(value.is_ok()),
            recv(if round > 4 { ends.rx.clone() } else { never() }) -> value => assert!(value.is_ok()),
            recv(many.first().unwrap()) -> _ => unreachable!(),
        }
    }
    assert!(ends.rx.is_empty());
}

fn messages_are_evaluated_when_chosen(_: Way) {
    let ((full, _kept), (tx, rx)) = (bounded(0), bounded(2));
    let (mut evaluated, mut other) = (0, 0);
    let mut message = |n: i32| {
        evaluated += 1;
        n
    };
    for n in 0..2 {
        select! {
            send(full, { other += 1; other.to_string() }) -> _ => unreachable!(),
            send(tx, message(n)) -> sent => sent.unwrap(),
        }
    }
    select! {
        send(tx, message(9)) -> _ => unreachable!(),
        default => {}
    }
    assert_eq!((evaluated, other), (2, 0));
    assert!(rx.try_iter().eq(0..2));
    // What it moves stays where it is if it is not sent.
    let text = String::from("kept");
    select! {
        send(full, text) -> _ => unreachable!(),
        default => assert_eq!(text, "kept"),
    }
}

fn timeouts_are_expressions(_: Way) {
    let mut asked = 0;
    let mut timeout = || {
        asked += 1;
        Duration::from_millis(1)
    };
    select! { recv(never::<u8>()) -> _ => unreachable!(), default(timeout()) => {} }
    select! { recv(ready()) -> _ => {} default(timeout()) => unreachable!() }
    select! { recv(never::<u8>()) -> _ => unreachable!(), default({ timeout() * 2 }) => {} }
    assert_eq!(asked, 3);
    let until = Some(SHORT).filter(|_| false);
    select! { default(until.unwrap_or(Duration::ZERO)) => {} }
}

fn ends_are_evaluated_once_and_in_order(_: Way) {
    let order = std::cell::RefCell::new(Vec::new());
    let note = |n: i32| {
        order.borrow_mut().push(n);
        n
    };
    let (tx, _rx) = bounded::<i32>(0);
    let off = never::<i32>();
    let get = |n| {
        note(n);
        &off
    };
    select! {
        recv(get(1)) -> _ => unreachable!(),
        send({ note(2); &tx }, note(100)) -> _ => unreachable!(),
        recv(get(3)) -> _ => unreachable!(),
        default({ note(4); SHORT }) => { note(5); }
    }
    assert_eq!(*order.borrow(), [1, 2, 3, 4, 5]);
}

fn biased_has_the_same_forms(_: Way) {
    let (first, second) = (ready(), ready());
    let (tx, sent_rx) = unbounded();
    for n in 0..9 {
        select_biased! {
            recv(never::<u8>()) -> _ => unreachable!(),
            recv(first) -> value => assert_eq!(value, Ok(n)),
            recv(second) -> _ => unreachable!(),
            send(tx, 1) -> _ => unreachable!(),
            default => unreachable!(),
        }
    }
    for n in 0..9 {
        select_biased! {
            recv(first) -> _ => unreachable!(),
            recv(second) -> value => { assert_eq!(value, Ok(n)) }
            send(tx, 1) -> _ => { unreachable!() }
            default(LONG) => { unreachable!() }
        }
    }
    select_biased! {
        recv(first) -> _ => unreachable!(),
        recv(second) -> _ => unreachable!(),
        send(tx, 7) -> sent => sent.unwrap(),
    }
    assert_eq!(sent_rx.recv(), Ok(7));
    assert_eq!(select_biased! { recv(first) -> _ => 1, default => 2 }, 2);
}

fn by_path_and_by_name(_: Way) {
    assert_eq!(channel::select! { default => 1 }, 1);
    assert_eq!(channel::select_biased! { recv(ready()) -> value => value.unwrap() }, 0);
    mod elsewhere {
        // Nothing of the channel in scope, and names that the expansion could trip over.
        #![allow(dead_code, non_camel_case_types)]
        struct Option;
        struct Some;
        struct Result;
        struct Sender;
        struct Receiver;
        fn drop() {}
        pub(super) fn try_it(rx: gthread_tests::channel::Receiver<i32>) -> i32 {
            let (end, cases, selection, selected, result) = (1, 2, 3, 4, 5);
            gthread_tests::channel::select! {
                recv(rx) -> value => value.unwrap() + end + cases + selection + selected + result,
                default(std::time::Duration::ZERO) => end + cases + selection + selected + result,
            }
        }
    }
    assert_eq!(elsewhere::try_it(ready()), 15);
    assert_eq!(elsewhere::try_it(never()), 15);
}

fn inside_other_macros_and_generics(_: Way) {
    macro_rules! first {
        ($($rx:expr),*) => {
            select! { $(recv($rx) -> value => value.ok(),)* default => None }
        };
    }
    let (rx, off) = (ready(), never());
    assert_eq!(first!(rx, off), Some(0));
    assert_eq!(first!(off, off.clone(), rx), Some(1));
    assert_eq!(first!(off), None);
    fn either<A: Default, B: Into<A>>(a: &Receiver<A>, b: &Receiver<B>) -> A {
        select! {
            recv(a) -> value => value.unwrap_or_default(),
            recv(b) -> value => value.map_or_else(|_| A::default(), Into::into),
        }
    }
    assert_eq!(either(&rx, &never::<u8>()), 2);
    assert_eq!(either(&never::<i64>(), &rx), 3);
    assert_eq!(vec![select! { recv(rx) -> value => value.unwrap() }; 2], [4, 4]);
}
