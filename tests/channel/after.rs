//! `after` and `at`: one message, not before its time, to one receiver.

use gthread_tests::channel::{
    Receiver, RecvTimeoutError, Select, TryRecvError, after, at, bounded, never, select,
};
use gthread_tests::{LONG, SHORT, Way, every_way};
use std::time::{Duration, Instant};

every_way!(
    fires_when_due_and_not_before,
    fires_once,
    tells_of_itself,
    what_is_past_is_due,
    far_away_is_never,
    a_shorter_timeout_wins,
    of_several_receivers_one_gets_it,
    in_selects,
    of_several_timers_the_first_due_wins,
    a_loop_with_a_time_limit,
    many_timers_at_once,
    dropped_before_it_is_due,
);

fn fires_when_due_and_not_before(_: Way) {
    let start = Instant::now();
    let rx = after(SHORT);
    // A busy machine may come here when it is due already.
    let due = rx.try_recv().unwrap_or_else(|error| {
        assert_eq!(error, TryRecvError::Empty);
        rx.recv().unwrap()
    });
    assert!(due >= start + SHORT && due <= Instant::now());
    let when = Instant::now() + SHORT;
    let rx = at(when);
    assert_eq!(rx.recv(), Ok(when));
    assert!(Instant::now() >= when);
    let when = Instant::now() + SHORT;
    let rx = at(when);
    assert_eq!(rx.recv_timeout(LONG), Ok(when));
    assert!(Instant::now() >= when);
    let when = Instant::now() + SHORT;
    let rx = at(when);
    assert_eq!(rx.recv_deadline(when + LONG), Ok(when));
    assert!(Instant::now() >= when);
}

/// Later there is nothing, and never an end.
fn fires_once(on: Way) {
    let rx = after(SHORT);
    rx.recv().unwrap();
    for _ in 0..3 {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
    }
    let start = Instant::now();
    assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= SHORT);
    assert_eq!(rx.try_iter().next(), None);
    let rx = after(Duration::ZERO);
    on.until(|| rx.try_recv().is_ok());
    assert_eq!(rx.recv_deadline(Instant::now() + SHORT), Err(RecvTimeoutError::Timeout));
}

fn tells_of_itself(on: Way) {
    let rx = after(SHORT);
    let (later, due) = (after(LONG), at(Instant::now()));
    assert_eq!((rx.capacity(), later.capacity()), (Some(1), Some(1)));
    assert_eq!((later.len(), later.is_empty(), later.is_full()), (0, true, false));
    assert_eq!((due.len(), due.is_empty(), due.is_full()), (1, false, true));
    on.until(|| rx.len() == 1);
    assert!(rx.is_full() && !rx.is_empty());
    rx.recv().unwrap();
    assert!(rx.is_empty() && !rx.is_full());
    let clone = rx.clone();
    assert!(rx.same_channel(&clone) && clone.same_channel(&rx));
    assert!(!rx.same_channel(&later) && !rx.same_channel(&due) && !rx.same_channel(&never()));
    assert!(!rx.same_channel(&after(SHORT)));
    assert!(!rx.same_channel(&gthread_tests::channel::tick(SHORT)));
    assert_eq!(format!("{rx:?}"), "Receiver { .. }");
}

fn what_is_past_is_due(_: Way) {
    let now = Instant::now();
    assert_eq!(at(now).try_recv(), Ok(now));
    let past = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
    assert_eq!(at(past).recv(), Ok(past));
    assert_eq!(at(past).recv_timeout(Duration::ZERO), Ok(past));
    assert!(after(Duration::ZERO).try_recv().unwrap() >= now);
    select! {
        recv(at(past)) -> when => assert_eq!(when, Ok(past)),
        default => unreachable!(),
    }
}

fn far_away_is_never(_: Way) {
    for rx in [after(Duration::MAX), after(LONG), at(Instant::now() + LONG), never()] {
        assert_eq!(rx.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
        select! { recv(rx) -> _ => unreachable!(), default(SHORT) => {} }
    }
    assert!(after(Duration::MAX).same_channel(&never()));
}

fn a_shorter_timeout_wins(_: Way) {
    // A busy machine may come so late that it is due, but not each time.
    let mut were_shorter = false;
    while !were_shorter {
        let begin = Instant::now();
        let rx = after(3 * SHORT);
        were_shorter = [Duration::ZERO, SHORT].into_iter().all(|timeout| {
            let start = Instant::now();
            match rx.recv_timeout(timeout) {
                Ok(due) => assert!(due >= begin + 3 * SHORT && Instant::now() >= due),
                Err(error) => {
                    assert_eq!(error, RecvTimeoutError::Timeout);
                    assert!(start.elapsed() >= timeout);
                    return true;
                }
            }
            false
        });
    }
    let far = after(LONG);
    let start = Instant::now();
    assert_eq!(far.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout));
    assert_eq!(far.recv_deadline(start + 2 * SHORT), Err(RecvTimeoutError::Timeout));
    assert!(start.elapsed() >= 2 * SHORT);
}

fn of_several_receivers_one_gets_it(on: Way) {
    for round in 0..5 {
        let rx = after(SHORT * (round % 2));
        let (done, is_done) = bounded::<()>(0);
        let receivers: Vec<_> = (0..4)
            .map(|n| {
                let (rx, is_done) = (rx.clone(), is_done.clone());
                on.spawn(move || {
                    if n == 0 {
                        // Those who wait with a timeout look again, too.
                        while !matches!(is_done.try_recv(), Err(TryRecvError::Disconnected)) {
                            if rx.recv_timeout(SHORT / 4).is_ok() {
                                return 1;
                            }
                        }
                        return 0;
                    }
                    select! { recv(rx) -> _ => 1, recv(is_done) -> _ => 0 }
                })
            })
            .collect();
        on.until(|| rx.is_empty() && receivers.iter().any(|receiver| receiver.is_finished()));
        drop(done);
        assert_eq!(receivers.into_iter().map(|receiver| receiver.join()).sum::<u32>(), 1);
    }
}

fn in_selects(on: Way) {
    let start = Instant::now();
    let (tx, rx) = bounded::<u8>(0);
    select! {
        recv(rx) -> _ => unreachable!(),
        recv(after(SHORT)) -> due => assert!(due.unwrap() >= start + SHORT),
    }
    assert!(start.elapsed() >= SHORT);
    let timer = after(SHORT);
    let mut list = Select::new();
    list.recv(&rx);
    let due = list.recv(&timer);
    assert!(list.try_ready().is_err() || start.elapsed() >= 2 * SHORT);
    let operation = list.select();
    assert_eq!(operation.index(), due);
    assert!(operation.recv(&timer).unwrap() >= start + 2 * SHORT);
    assert!(list.select_timeout(SHORT).is_err());
    // A value that comes first wins, and the timer's message is still there for later.
    let sender = on.spawn(move || tx.send(3));
    let timer = after(Duration::ZERO);
    select! {
        recv(rx) -> value => assert_eq!(value, Ok(3)),
        recv(after(LONG)) -> _ => unreachable!(),
    }
    sender.join().unwrap();
    assert!(timer.try_recv().is_ok());
}

fn of_several_timers_the_first_due_wins(_: Way) {
    let start = Instant::now();
    let timers: Vec<_> = [LONG, 4 * SHORT, SHORT, 2 * LONG].into_iter().map(after).collect();
    let mut list = Select::new();
    timers.iter().for_each(|timer| _ = list.recv(timer));
    let (first, second) = (list.select(), start + SHORT);
    // Behind time both may be due.
    assert!(first.index() == 2 || (first.index() == 1 && start.elapsed() >= 4 * SHORT));
    let index = first.index();
    assert!(first.recv(&timers[index]).unwrap() >= second);
    let next = list.select();
    assert_eq!(next.index(), 3 - index);
    next.recv(&timers[3 - index]).unwrap();
    assert!(start.elapsed() >= 4 * SHORT);
    assert!(list.try_select().is_err());
}

fn a_loop_with_a_time_limit(on: Way) {
    fn count_until(limit: &Receiver<Instant>, values: &Receiver<u32>) -> u32 {
        let mut count = 0;
        loop {
            select! {
                recv(values) -> value => count += u32::from(value.is_ok()),
                recv(limit) -> _ => return count,
            }
        }
    }
    let (tx, rx) = bounded(1);
    let sender = on.spawn(move || (0..).take_while(|&n| tx.send(n).is_ok()).count());
    let start = Instant::now();
    let count = count_until(&after(SHORT), &rx);
    assert!(start.elapsed() >= SHORT);
    drop(rx);
    let sent = sender.join() as u32;
    assert!(count <= sent && sent <= count + 1, "{count} {sent}");
}

fn many_timers_at_once(on: Way) {
    let start = Instant::now();
    on.scope(|scope| {
        for n in 0..40_u32 {
            scope.spawn(move || {
                let wait = SHORT * (n % 5);
                let due = if n % 2 == 0 {
                    after(wait).recv().unwrap()
                } else {
                    select! { recv(after(wait)) -> due => due.unwrap(), recv(never()) -> due => due.unwrap() }
                };
                assert!(due >= start + wait && Instant::now() >= due);
            });
        }
    });
    assert!(start.elapsed() >= 4 * SHORT);
}

fn dropped_before_it_is_due(_: Way) {
    for _ in 0..1000 {
        let rx = after(LONG);
        drop(rx.clone());
        select! { recv(rx) -> _ => unreachable!(), default => {} }
    }
}
