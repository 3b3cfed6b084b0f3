//! `after`, `at`, `tick` and `never`: alone and as arms.

use std::time::{Duration, Instant};

use gthread_tests::channel::{
    RecvTimeoutError, Select, TryRecvError, after, at, never, select, tick, unbounded,
};
use gthread_tests::{LONG, SHORT, Way, every_way};

every_way!(
    after_delivers_once,
    at_a_moment_that_has_passed,
    a_duration_beyond_the_clock,
    one_of_several_gets_the_message,
    after_against_a_deadline,
    ticks,
    a_tick_that_was_missed_is_skipped,
    tick_of_zero,
    tick_against_a_deadline,
    never_delivers,
    what_timers_say_of_themselves,
    clones_are_the_same_timer,
    the_first_of_several_timers,
    a_timer_beside_a_channel,
    ready_when_due,
);

fn after_delivers_once(_: Way) {
    let start = Instant::now();
    let rx = after(SHORT);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let due = rx.recv().unwrap();
    assert!(due >= start + SHORT && Instant::now() >= due);
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(rx.try_iter().count(), 0);
}

fn at_a_moment_that_has_passed(_: Way) {
    let when = Instant::now();
    let rx = at(when);
    assert_eq!(rx.try_recv(), Ok(when));
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(after(Duration::ZERO).recv_timeout(LONG).map(drop), Ok(()));
}

fn a_duration_beyond_the_clock(_: Way) {
    for rx in [after(Duration::MAX), tick(Duration::MAX)] {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        select! {
            recv(rx) -> _ => unreachable!(),
            default(SHORT) => {}
        }
    }
}

fn one_of_several_gets_the_message(on: Way) {
    let rx = after(SHORT);
    let peers: Vec<_> = (0..4)
        .map(|_| {
            let rx = rx.clone();
            on.spawn(move || rx.recv_timeout(10 * SHORT).is_ok())
        })
        .collect();
    let got = peers.into_iter().map(gthread_tests::Peer::join).filter(|&got| got).count();
    assert_eq!(got, 1);
}

fn after_against_a_deadline(_: Way) {
    let start = Instant::now();
    assert_eq!(after(LONG).recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(after(LONG).recv_deadline(start), Err(RecvTimeoutError::Timeout));
    assert!(after(SHORT).recv_timeout(LONG).is_ok());
}

fn ticks(_: Way) {
    let start = Instant::now();
    let rx = tick(SHORT);
    let mut last = start;
    for n in 1..=4 {
        let due = rx.recv().unwrap();
        assert!(due >= last + SHORT, "a period after the last");
        assert!(Instant::now() >= due && due >= start + n * SHORT);
        last = due;
    }
}

fn a_tick_that_was_missed_is_skipped(on: Way) {
    let rx = tick(SHORT);
    on.sleep(5 * SHORT);
    assert_eq!(rx.len(), 1);
    rx.try_recv().unwrap();
    // The next one is a whole period away, counted from now.
    let now = Instant::now();
    let due = rx.recv().unwrap();
    assert!(due >= now + SHORT - Duration::from_millis(1) || due >= now);
    assert!(Instant::now() >= due);
}

fn tick_of_zero(_: Way) {
    let rx = tick(Duration::ZERO);
    for _ in 0..100 {
        rx.try_recv().unwrap();
        rx.recv().unwrap();
        select! {
            recv(rx) -> due => assert!(due.unwrap() <= Instant::now()),
            default => unreachable!(),
        }
    }
}

fn tick_against_a_deadline(_: Way) {
    let rx = tick(LONG);
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
}

fn never_delivers(on: Way) {
    let rx = never::<i32>();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    let (tx, other) = unbounded();
    let peer = on.spawn(move || {
        on.lull();
        tx.send(1).unwrap();
    });
    select! {
        recv(rx) -> _ => unreachable!(),
        recv(other) -> m => assert_eq!(m, Ok(1)),
    }
    peer.join();
}

fn what_timers_say_of_themselves(on: Way) {
    for rx in [after(SHORT), at(Instant::now() + SHORT), tick(SHORT)] {
        assert_eq!(rx.capacity(), Some(1));
        on.sleep(SHORT);
        assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (1, false, true));
        rx.recv().unwrap();
    }
    let rx = after(LONG);
    assert_eq!((rx.len(), rx.is_empty(), rx.is_full()), (0, true, false));
    let rx = never::<i32>();
    assert_eq!((rx.len(), rx.capacity()), (0, Some(0)));
    assert!(rx.is_empty() && rx.is_full());
}

fn clones_are_the_same_timer(_: Way) {
    for make in [after, tick] {
        let (a, b) = (make(LONG), make(LONG));
        assert!(a.same_channel(&a.clone()) && !a.same_channel(&b));
    }
    assert!(never::<i32>().same_channel(&never()));
    assert!(!after(LONG).same_channel(&tick(LONG)) && !after(LONG).same_channel(&never()));
    let rx = after(Duration::ZERO);
    rx.clone().recv().unwrap();
    assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
}

fn the_first_of_several_timers(_: Way) {
    let (early, late) = (after(SHORT), after(LONG));
    select! {
        recv(late) -> _ => unreachable!(),
        recv(early) -> _ => {}
    }
    let mut select = Select::new();
    select.recv(&late);
    assert!(select.select_timeout(SHORT).is_err());
}

fn a_timer_beside_a_channel(_: Way) {
    let (tx, rx) = unbounded();
    let ticker = tick(SHORT);
    let timeout = after(8 * SHORT);
    let (mut ticks, mut values) = (0, 0);
    loop {
        select! {
            recv(ticker) -> _ => {
                ticks += 1;
                tx.send(ticks).unwrap();
            }
            recv(rx) -> value => {
                values += 1;
                assert_eq!(value, Ok(ticks));
            }
            recv(timeout) -> _ => break,
        }
    }
    assert!(ticks > 0 && values > 0 && ticks - values <= 1, "{ticks} {values}");
}

fn ready_when_due(_: Way) {
    let start = Instant::now();
    let rx = after(SHORT);
    let mut select = Select::new();
    let index = select.recv(&rx);
    assert!(select.try_ready().is_err());
    assert_eq!(select.ready(), index);
    assert!(start.elapsed() >= SHORT);
    assert!(rx.try_recv().is_ok());
}
