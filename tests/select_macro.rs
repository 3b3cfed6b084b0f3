//! `select!` and `select_biased!`: every form of arm, and what is evaluated when.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread_tests::channel::{
    self, Receiver, RecvError, Sender, after, bounded, never, select, select_biased, unbounded,
};
use gthread_tests::{LONG, SHORT, Way, every_way};

every_way!(
    forms_of_arms,
    ends_may_be_any_expression,
    results_and_patterns,
    bodies_may_leave,
    only_what_is_chosen_is_evaluated,
    bodies_may_use_what_the_arms_named,
    nested,
    default_is_for_when_nothing_is_ready,
    default_with_a_timeout,
    a_timeout_without_end,
    biased_takes_the_first,
    many_arms,
    a_disconnected_arm_is_ready,
    temporaries_live_long_enough,
);

fn forms_of_arms(_: Way) {
    let (tx, rx) = bounded::<i32>(8);
    let mut log = Vec::new();
    for n in 0..8 {
        // A trailing comma in the parentheses, after an expression, after a block, and none.
        let got = match n {
            0 => select! { recv(rx) -> m => m.unwrap(), default => -1 },
            1 => select! { send(tx, n) -> r => { r.unwrap(); 1 } default => -1, },
            2 => select! { recv(rx,) -> m => { m.unwrap() }, default() => -1 },
            3 => select! { send(tx, n,) -> _ => 3 },
            4 => select! { recv(rx) -> m => m.unwrap() },
            5 => select! { default => 5 },
            6 => select! { default() => { 6 } },
            _ => select_biased! {
                recv(never::<i32>()) -> _ => unreachable!(),
                default(Duration::ZERO) => 7,
            },
        };
        log.push(got);
    }
    assert_eq!(log, [-1, 1, 1, 3, 3, 5, 6, 7]);
}

struct Holder {
    tx: Sender<i32>,
    rx: Option<Receiver<i32>>,
}

impl Holder {
    fn receiver(&self) -> &Receiver<i32> {
        self.rx.as_ref().unwrap()
    }
}

fn ends_may_be_any_expression(_: Way) {
    let (tx, rx) = unbounded();
    let holder = Holder { tx, rx: Some(rx) };
    let shared = Arc::new(holder.receiver().clone());
    let list = [(holder.tx.clone(), holder.receiver().clone())];
    let reference = &&list[0].1;
    for n in 0..7 {
        select! { send(holder.tx, n) -> r => r.unwrap() }
        let got = match n {
            0 => select! { recv(holder.receiver()) -> m => m },
            1 => select! { recv(shared) -> m => m },
            2 => select! { recv(&shared) -> m => m },
            3 => select! { recv(reference) -> m => m },
            4 => select! { recv(list[0].1) -> m => m },
            5 => select! { recv(list[0].1.clone()) -> m => m },
            _ => select! { recv(holder.rx.as_ref().unwrap_or(&never())) -> m => m },
        };
        assert_eq!(got, Ok(n));
    }
    // Not moved.
    drop(holder);
}

fn results_and_patterns(_: Way) {
    let (tx, rx) = unbounded::<(i32, String)>();
    tx.send((1, "one".to_owned())).unwrap();
    let (number, name) = select! { recv(rx) -> message => message.unwrap() };
    assert_eq!((number, name.as_str()), (1, "one"));
    tx.send((2, "two".to_owned())).unwrap();
    select! {
        recv(rx) -> mut message => {
            if let Ok((n, _)) = &mut message {
                *n += 1;
            }
            assert_eq!(message.unwrap().0, 3);
        }
    }
    select! { send(tx, (3, String::new())) -> _ => {} }
    select! { recv(rx) -> (Ok((3, _)) | Ok(_) | Err(RecvError)) => {} }
    drop(rx);
    select! {
        send(tx, (4, "back".to_owned())) -> result => {
            assert_eq!(result.unwrap_err().into_inner().1, "back");
        }
    }
}

fn bodies_may_leave(_: Way) {
    fn first(rx: &Receiver<i32>) -> Result<i32, RecvError> {
        let n = select! {
            recv(rx) -> m => m?,
            default => return Ok(-1),
        };
        Ok(n * 10)
    }
    let (tx, rx) = unbounded();
    assert_eq!(first(&rx), Ok(-1));
    tx.send(1).unwrap();
    assert_eq!(first(&rx), Ok(10));
    (2..=5).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    let mut sum = 0;
    let end = loop {
        select! {
            recv(rx) -> m => match m {
                Ok(3) => continue,
                Ok(n) => sum += n,
                Err(_) => break "end",
            }
        }
    };
    assert_eq!((end, sum), ("end", 2 + 4 + 5));
    assert_eq!(first(&rx), Err(RecvError));
    // A message that leaves gives the operation up.
    fn leaves(tx: &Sender<i32>, message: Option<i32>) -> Option<&'static str> {
        select! { send(tx, message?) -> _ => Some("sent") }
    }
    let (tx, rx) = bounded::<i32>(1);
    assert_eq!(leaves(&tx, None), None);
    assert_eq!(leaves(&tx, Some(1)), Some("sent"));
    assert_eq!((rx.try_recv(), rx.len()), (Ok(1), 0));
}

fn only_what_is_chosen_is_evaluated(_: Way) {
    let count = Cell::new(0);
    let note = |n: i32| {
        count.set(count.get() + 1);
        n
    };
    let (full, _keep) = bounded(1);
    full.send(0).unwrap();
    let (tx, rx) = unbounded();
    select! {
        send(full, note(1)) -> _ => unreachable!(),
        send(tx, note(2)) -> r => r.unwrap(),
    }
    assert_eq!((count.get(), rx.try_recv()), (1, Ok(2)));
    select! {
        send(full, note(3)) -> _ => unreachable!(),
        default => {}
    }
    assert_eq!(count.get(), 1);
    // Ends are evaluated once each, in order, chosen or not.
    let order = std::cell::RefCell::new(Vec::new());
    let end = |n| {
        order.borrow_mut().push(n);
        &rx
    };
    select! {
        recv(end(1)) -> _ => unreachable!(),
        recv(end(2)) -> _ => unreachable!(),
        default({ order.borrow_mut().push(3); Duration::ZERO }) => {}
    }
    assert_eq!(*order.borrow(), [1, 2, 3]);
}

fn bodies_may_use_what_the_arms_named(_: Way) {
    struct Server {
        rx: Receiver<i32>,
        done: Option<Receiver<()>>,
        sum: i32,
    }
    impl Server {
        fn step(&mut self) -> bool {
            select! {
                recv(self.rx) -> m => match m {
                    Ok(n) => self.add(n),
                    Err(_) => self.rx = never(),
                },
                recv(self.done.as_ref().unwrap_or(&never())) -> _ => {
                    self.done = None;
                    return false;
                }
            }
            true
        }
        fn add(&mut self, n: i32) {
            self.sum += n;
        }
    }
    let (tx, rx) = unbounded();
    let (done_tx, done) = bounded(0);
    let mut server = Server { rx, done: Some(done), sum: 0 };
    (1..=3).for_each(|n| tx.send(n).unwrap());
    drop(tx);
    (0..4).for_each(|_| assert!(server.step()));
    drop(done_tx);
    assert!(!server.step());
    assert_eq!(server.sum, 6);
    // A body may even drop the end.
    let (tx, rx) = unbounded::<i32>();
    select! {
        recv(rx) -> _ => unreachable!(),
        send(tx, 1) -> _ => drop(tx),
    }
    assert_eq!(rx.iter().count(), 1);
}

fn nested(_: Way) {
    let (tx, rx) = unbounded();
    tx.send(1).unwrap();
    let got = select! {
        recv(rx) -> outer => select! {
            recv(rx) -> _ => unreachable!(),
            default => select! {
                send(tx, outer.unwrap() + 1) -> _ => rx.recv(),
            }
        }
    };
    assert_eq!(got, Ok(2));
    // A select as message and as end.
    select! {
        send(tx, select! { default => 5 }) -> r => r.unwrap(),
    }
    assert_eq!(select! { recv(select! { default => &rx }) -> m => m }, Ok(5));
}

fn default_is_for_when_nothing_is_ready(_: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = capacity.map_or_else(unbounded::<i32>, bounded);
        for _ in 0..100 {
            select! {
                recv(rx) -> _ => unreachable!(),
                default => {}
            }
        }
        if tx.try_send(1).is_ok() {
            select! {
                recv(rx) -> m => assert_eq!(m, Ok(1)),
                default => unreachable!(),
            }
        }
    }
}

fn default_with_a_timeout(on: Way) {
    let (tx, rx) = bounded::<i32>(0);
    let start = Instant::now();
    select! {
        recv(rx) -> _ => unreachable!(),
        send(tx, 1) -> _ => unreachable!("with itself"),
        default(SHORT) => assert!(start.elapsed() >= SHORT),
    }
    let peer = on.spawn(move || {
        on.lull();
        tx.send(7).unwrap();
    });
    select! {
        recv(rx) -> m => assert_eq!(m, Ok(7)),
        default(LONG) => unreachable!(),
    }
    peer.join();
}

fn a_timeout_without_end(on: Way) {
    let (tx, rx) = bounded::<i32>(0);
    let peer = on.spawn(move || tx.send(1).unwrap());
    select! {
        recv(rx) -> m => assert_eq!(m, Ok(1)),
        default(Duration::MAX) => unreachable!(),
    }
    peer.join();
}

fn biased_takes_the_first(_: Way) {
    let ends: Vec<_> = (0..3).map(|_| unbounded()).collect();
    for _ in 0..100 {
        ends.iter().enumerate().for_each(|(n, (tx, _))| tx.send(n).unwrap());
        for expected in 0..3 {
            let got = select_biased! {
                recv(ends[0].1) -> m => m,
                recv(ends[1].1) -> m => m,
                recv(ends[2].1) -> m => m,
                default => unreachable!(),
            };
            assert_eq!(got, Ok(expected));
        }
    }
}

fn many_arms(on: Way) {
    let ends: Vec<_> = (0..20).map(|_| bounded::<usize>(0)).collect();
    let (senders, rx): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let peers: Vec<_> = senders
        .into_iter()
        .enumerate()
        .map(|(n, tx)| on.spawn(move || tx.send(n).unwrap()))
        .collect();
    let mut got: Vec<usize> = (0..20)
        .map(|_| {
            select! {
                recv(rx[0]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[1]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[2]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[3]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[4]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[5]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[6]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[7]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[8]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[9]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[10]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[11]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[12]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[13]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[14]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[15]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[16]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[17]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[18]) -> m => m.unwrap_or_else(|_| gone()),
                recv(rx[19]) -> m => m.unwrap_or_else(|_| gone()),
            }
        })
        .filter(|&n| n != usize::MAX)
        .collect();
    // A sender that is gone makes its arm ready too, which may come before the others'.
    let left = rx.iter().flat_map(|rx| rx.iter());
    got.extend(left);
    got.sort_unstable();
    assert_eq!(got, (0..20).collect::<Vec<_>>());
    peers.into_iter().for_each(gthread_tests::Peer::join);
}

fn gone() -> usize {
    usize::MAX
}

fn a_disconnected_arm_is_ready(_: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx) = capacity.map_or_else(unbounded::<i32>, bounded);
        drop(tx);
        select! { recv(rx) -> m => assert_eq!(m, Err(RecvError)) }
        let (tx, rx) = capacity.map_or_else(unbounded::<i32>, bounded);
        drop(rx);
        select! {
            send(tx, 3) -> r => assert_eq!(r.unwrap_err().into_inner(), 3),
            default(LONG) => unreachable!(),
        }
    }
}

fn temporaries_live_long_enough(_: Way) {
    let start = Instant::now();
    select! {
        recv(after(SHORT)) -> due => assert!(due.unwrap() >= start + SHORT),
        recv(channel::unbounded::<i32>().1.clone()) -> m => assert_eq!(m, Err(RecvError)),
    }
    select! {
        recv(after(SHORT)) -> due => assert!(due.unwrap() >= start + SHORT),
        recv(&never::<i32>()) -> _ => unreachable!(),
    }
}
