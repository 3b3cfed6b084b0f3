//! The list of a `Select`: indices, removal, the same end twice, copies, order.

use gthread_tests::channel::{self, Receiver, RecvError, Select, never};
use gthread_tests::{CAPACITIES, SHORT, Way, every_way, make};
use std::collections::HashSet;

every_way!(
    indices_count_up_and_are_not_used_again,
    a_removed_operation_is_not_chosen,
    the_same_receiver_twice,
    the_same_sender_twice,
    both_ends_of_one_channel,
    a_copy_is_a_list_of_its_own,
    a_list_of_hundreds,
    ends_of_different_types,
    a_merged_stream,
    a_list_made_here_is_used_there,
    the_first_ready_of_a_biased_list,
);

fn indices_count_up_and_are_not_used_again(_: Way) {
    let ends: Vec<_> = (0..6).map(|_| channel::unbounded::<usize>()).collect();
    let mut select = Select::new();
    for (n, (tx, rx)) in ends.iter().enumerate() {
        assert_eq!(if n % 2 == 0 { select.recv(rx) } else { select.send(tx) }, n);
    }
    select.remove(1);
    select.remove(0);
    select.remove(3);
    select.remove(5);
    assert_eq!(select.recv(&ends[0].1), 6);
    // Those left answer to the numbers they were given.
    for (n, index) in [(4, 4), (2, 2), (0, 6)] {
        ends[n].0.send(n).unwrap();
        assert_eq!(select.try_ready(), Ok(index));
        let operation = select.select();
        assert_eq!(operation.index(), index);
        assert_eq!(operation.recv(&ends[n].1), Ok(n));
    }
    assert!(select.try_ready().is_err());
}

fn a_removed_operation_is_not_chosen(on: Way) {
    let ((a, from_a), (b, from_b)) = (channel::unbounded(), channel::unbounded());
    a.send(1).unwrap();
    drop(a);
    let mut select = Select::new();
    let first = select.recv(&from_a);
    let second = select.recv(&from_b);
    select.remove(first);
    assert!(select.try_select().is_err());
    assert!(select.select_timeout(SHORT).is_err());
    b.send(2).unwrap();
    let operation = select.select();
    assert_eq!((operation.index(), operation.recv(&from_b)), (second, Ok(2)));
    assert_eq!(from_a.recv(), Ok(1));
    // One that is not there, or no longer, cannot be.
    for index in [0, 2, usize::MAX] {
        let (_tx, rx) = channel::bounded::<u8>(1);
        let removes = on.spawn(move || {
            let mut select = Select::new();
            for _ in 0..2 {
                select.recv(&rx);
            }
            select.remove(0);
            select.remove(index);
        });
        assert!(removes.try_join().is_err(), "{index}");
    }
}

fn the_same_receiver_twice(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let sender = on.spawn(move || (0..100).for_each(|n| tx.send(n).unwrap()));
        let mut select = Select::new();
        assert_eq!((select.recv(&rx), select.recv(&rx), select.recv(&rx)), (0, 1, 2));
        for n in 0..100 {
            let operation = select.select();
            assert!(operation.index() < 3);
            assert_eq!(operation.recv(&rx), Ok(n));
        }
        assert_eq!(select.select().recv(&rx), Err(RecvError));
        sender.join();
    }
}

fn the_same_sender_twice(on: Way) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let receiver = on.spawn(move || rx.iter().collect::<Vec<u32>>());
        let clone = tx.clone();
        let mut select = Select::new();
        select.send(&tx);
        select.send(&clone);
        select.send(&tx);
        for n in 0..100 {
            let operation = select.select();
            let sender = if operation.index() == 1 { &clone } else { &tx };
            operation.send(sender, n).unwrap();
        }
        drop((tx, clone));
        assert!(receiver.join().into_iter().eq(0..100));
    }
}

fn both_ends_of_one_channel(_: Way) {
    let (tx, rx) = channel::bounded(1);
    let mut select = Select::new();
    let (sends, receives) = (select.send(&tx), select.recv(&rx));
    // Either a place or a value is there, never both.
    for n in 0..50 {
        let operation = select.select();
        assert_eq!(operation.index(), sends);
        operation.send(&tx, n).unwrap();
        let operation = select.select();
        assert_eq!(operation.index(), receives);
        assert_eq!(operation.recv(&rx), Ok(n));
    }
}

fn a_copy_is_a_list_of_its_own(_: Way) {
    let ((a, from_a), (b, from_b)) = (channel::unbounded(), channel::unbounded());
    let mut select = Select::new();
    let first = select.recv(&from_a);
    let mut copy = select.clone();
    let second = copy.recv(&from_b);
    assert_eq!((first, second), (0, 1));
    b.send(1).unwrap();
    assert!(select.try_select().is_err());
    assert_eq!(copy.select().recv(&from_b), Ok(1));
    copy.remove(first);
    a.send(2).unwrap();
    assert!(copy.try_select().is_err());
    assert_eq!(select.select().recv(&from_a), Ok(2));
    assert_eq!(format!("{select:?} {:?}", Select::default()), "Select { .. } Select { .. }");
}

fn a_list_of_hundreds(on: Way) {
    for capacity in CAPACITIES {
        let ends: Vec<_> = (0..300).map(|_| make(capacity)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        let sender = on.spawn(move || {
            for n in 0..600_usize {
                senders[n * 7 % 300].send(n).unwrap();
            }
        });
        let mut select = Select::new();
        for rx in &receivers {
            select.recv(rx);
        }
        let (mut seen, mut ended) = (HashSet::new(), 0);
        while ended < 300 {
            let operation = select.select();
            let index = operation.index();
            match operation.recv(&receivers[index]) {
                Ok(n) => {
                    assert_eq!(n * 7 % 300, index);
                    assert!(seen.insert(n));
                }
                Err(RecvError) => {
                    select.remove(index);
                    ended += 1;
                }
            }
        }
        assert_eq!(seen.len(), 600);
        sender.join();
    }
}

fn ends_of_different_types(_: Way) {
    let (words, from_words) = channel::unbounded::<String>();
    let (units, from_units) = channel::bounded::<()>(1);
    let (big, from_big) = channel::bounded::<[u64; 100]>(1);
    let mut select = Select::new();
    let (a, b) = (select.recv(&from_words), select.recv(&from_units));
    let c = select.send(&big);
    let operation = select.select();
    assert_eq!(operation.index(), c);
    operation.send(&big, [3; 100]).unwrap();
    words.send("word".into()).unwrap();
    let operation = select.select();
    assert_eq!(operation.index(), a);
    assert_eq!(operation.recv(&from_words).unwrap(), "word");
    units.send(()).unwrap();
    let operation = select.select();
    assert_eq!((operation.index(), operation.recv(&from_units)), (b, Ok(())));
    assert_eq!(from_big.recv(), Ok([3; 100]));
}

fn a_merged_stream(on: Way) {
    fn first_of(receivers: &[Receiver<u32>]) -> Option<u32> {
        let mut select = Select::new();
        for rx in receivers {
            select.recv(rx);
        }
        for _ in receivers {
            let operation = select.select();
            let index = operation.index();
            match operation.recv(&receivers[index]) {
                Ok(value) => return Some(value),
                Err(RecvError) => select.remove(index),
            }
        }
        None
    }
    for capacity in CAPACITIES {
        let (receivers, senders): (Vec<_>, Vec<_>) = (0..5)
            .map(|n| {
                let (tx, rx) = make(capacity);
                (rx, on.spawn(move || (n * 20..n * 20 + 20).for_each(|n| tx.send(n).unwrap())))
            })
            .unzip();
        let mut values: Vec<_> = std::iter::from_fn(|| first_of(&receivers)).collect();
        values.sort_unstable();
        assert!(values.into_iter().eq(0..100));
        senders.into_iter().for_each(|sender| sender.join());
    }
}

/// A list may go to another thread, and be looked at from several.
fn a_list_made_here_is_used_there(on: Way) {
    let (tx, rx) = channel::bounded(0);
    let mut select = Select::new();
    select.recv(&rx);
    on.scope(|scope| {
        let there = scope.spawn(|| select.select().recv(&rx));
        tx.send(8).unwrap();
        assert_eq!(there.join(), Ok(8));
    });
}

fn the_first_ready_of_a_biased_list(_: Way) {
    let ends: Vec<_> = (0..5).map(|_| channel::bounded(40)).collect();
    let off = never::<u8>();
    let mut select = Select::new_biased();
    select.recv(&off);
    for (_, rx) in &ends {
        select.recv(rx);
    }
    for n in 0..40 {
        ends.iter().for_each(|(tx, _)| tx.send(n).unwrap());
    }
    for (n, (_, rx)) in ends.iter().enumerate() {
        for value in 0..40 {
            assert_eq!(select.try_ready(), Ok(n + 1));
            assert_eq!(select.ready(), n + 1);
            let operation = match value % 3 {
                0 => select.try_select().unwrap(),
                1 => select.select(),
                _ => select.select_timeout(SHORT).unwrap(),
            };
            assert_eq!(operation.index(), n + 1);
            assert_eq!(operation.recv(rx), Ok(value));
        }
    }
    assert!(select.try_select().is_err());
}
