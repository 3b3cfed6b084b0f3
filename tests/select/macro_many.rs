//! `select!` with as many arms as crossbeam-channel allows, 32, without a raised recursion limit.

use gthread_tests::channel::{self, select, select_biased};
use gthread_tests::{Way, every_way, make};

every_way!(only_receives, sends_and_receives, biased, with_a_default);

const ARMS: usize = 32;

fn only_receives(on: Way) {
    for capacity in [Some(0), Some(1), None] {
        let (tx, rx): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| make(capacity)).unzip();
        let sender = on.spawn(move || {
            for n in 0..ARMS {
                tx[n * 5 % ARMS].send(n * 5 % ARMS).unwrap();
            }
            tx
        });
        let once = || {
            select! {
                recv(rx[0]) -> value => { assert_eq!(value, Ok(0)); 0 }
                recv(rx[1]) -> value => { assert_eq!(value, Ok(1)); 1 }
                recv(rx[2]) -> value => { assert_eq!(value, Ok(2)); 2 }
                recv(rx[3]) -> value => { assert_eq!(value, Ok(3)); 3 }
                recv(rx[4]) -> value => { assert_eq!(value, Ok(4)); 4 }
                recv(rx[5]) -> value => { assert_eq!(value, Ok(5)); 5 }
                recv(rx[6]) -> value => { assert_eq!(value, Ok(6)); 6 }
                recv(rx[7]) -> value => { assert_eq!(value, Ok(7)); 7 }
                recv(rx[8]) -> value => { assert_eq!(value, Ok(8)); 8 }
                recv(rx[9]) -> value => { assert_eq!(value, Ok(9)); 9 }
                recv(rx[10]) -> value => { assert_eq!(value, Ok(10)); 10 }
                recv(rx[11]) -> value => { assert_eq!(value, Ok(11)); 11 }
                recv(rx[12]) -> value => { assert_eq!(value, Ok(12)); 12 }
                recv(rx[13]) -> value => { assert_eq!(value, Ok(13)); 13 }
                recv(rx[14]) -> value => { assert_eq!(value, Ok(14)); 14 }
                recv(rx[15]) -> value => { assert_eq!(value, Ok(15)); 15 }
                recv(rx[16]) -> value => { assert_eq!(value, Ok(16)); 16 }
                recv(rx[17]) -> value => { assert_eq!(value, Ok(17)); 17 }
                recv(rx[18]) -> value => { assert_eq!(value, Ok(18)); 18 }
                recv(rx[19]) -> value => { assert_eq!(value, Ok(19)); 19 }
                recv(rx[20]) -> value => { assert_eq!(value, Ok(20)); 20 }
                recv(rx[21]) -> value => { assert_eq!(value, Ok(21)); 21 }
                recv(rx[22]) -> value => { assert_eq!(value, Ok(22)); 22 }
                recv(rx[23]) -> value => { assert_eq!(value, Ok(23)); 23 }
                recv(rx[24]) -> value => { assert_eq!(value, Ok(24)); 24 }
                recv(rx[25]) -> value => { assert_eq!(value, Ok(25)); 25 }
                recv(rx[26]) -> value => { assert_eq!(value, Ok(26)); 26 }
                recv(rx[27]) -> value => { assert_eq!(value, Ok(27)); 27 }
                recv(rx[28]) -> value => { assert_eq!(value, Ok(28)); 28 }
                recv(rx[29]) -> value => { assert_eq!(value, Ok(29)); 29 }
                recv(rx[30]) -> value => { assert_eq!(value, Ok(30)); 30 }
                recv(rx[31]) -> value => { assert_eq!(value, Ok(31)); 31 }
            }
        };
        let mut seen: Vec<usize> = (0..ARMS).map(|_| once()).collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..ARMS));
        drop(sender.join());
    }
}

fn sends_and_receives(on: Way) {
    let (tx, rx): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| channel::bounded(0)).unzip();
    let (other_tx, other_rx) = (tx.clone(), rx.clone());
    let other = on.spawn(move || {
        for n in (0..ARMS).rev() {
            if n % 2 == 0 {
                other_tx[n].send(n).unwrap();
            } else {
                assert_eq!(other_rx[n].recv(), Ok(n));
            }
        }
    });
    for n in (0..ARMS).rev() {
        let got: usize = select! {
            recv(rx[0]) -> value => { assert_eq!(value, Ok(0)); 0 }
            send(tx[1], 1) -> sent => { assert_eq!(sent, Ok(())); 1 }
            recv(rx[2]) -> value => { assert_eq!(value, Ok(2)); 2 }
            send(tx[3], 3) -> sent => { assert_eq!(sent, Ok(())); 3 }
            recv(rx[4]) -> value => { assert_eq!(value, Ok(4)); 4 }
            send(tx[5], 5) -> sent => { assert_eq!(sent, Ok(())); 5 }
            recv(rx[6]) -> value => { assert_eq!(value, Ok(6)); 6 }
            send(tx[7], 7) -> sent => { assert_eq!(sent, Ok(())); 7 }
            recv(rx[8]) -> value => { assert_eq!(value, Ok(8)); 8 }
            send(tx[9], 9) -> sent => { assert_eq!(sent, Ok(())); 9 }
            recv(rx[10]) -> value => { assert_eq!(value, Ok(10)); 10 }
            send(tx[11], 11) -> sent => { assert_eq!(sent, Ok(())); 11 }
            recv(rx[12]) -> value => { assert_eq!(value, Ok(12)); 12 }
            send(tx[13], 13) -> sent => { assert_eq!(sent, Ok(())); 13 }
            recv(rx[14]) -> value => { assert_eq!(value, Ok(14)); 14 }
            send(tx[15], 15) -> sent => { assert_eq!(sent, Ok(())); 15 }
            recv(rx[16]) -> value => { assert_eq!(value, Ok(16)); 16 }
            send(tx[17], 17) -> sent => { assert_eq!(sent, Ok(())); 17 }
            recv(rx[18]) -> value => { assert_eq!(value, Ok(18)); 18 }
            send(tx[19], 19) -> sent => { assert_eq!(sent, Ok(())); 19 }
            recv(rx[20]) -> value => { assert_eq!(value, Ok(20)); 20 }
            send(tx[21], 21) -> sent => { assert_eq!(sent, Ok(())); 21 }
            recv(rx[22]) -> value => { assert_eq!(value, Ok(22)); 22 }
            send(tx[23], 23) -> sent => { assert_eq!(sent, Ok(())); 23 }
            recv(rx[24]) -> value => { assert_eq!(value, Ok(24)); 24 }
            send(tx[25], 25) -> sent => { assert_eq!(sent, Ok(())); 25 }
            recv(rx[26]) -> value => { assert_eq!(value, Ok(26)); 26 }
            send(tx[27], 27) -> sent => { assert_eq!(sent, Ok(())); 27 }
            recv(rx[28]) -> value => { assert_eq!(value, Ok(28)); 28 }
            send(tx[29], 29) -> sent => { assert_eq!(sent, Ok(())); 29 }
            recv(rx[30]) -> value => { assert_eq!(value, Ok(30)); 30 }
            send(tx[31], 31) -> sent => { assert_eq!(sent, Ok(())); 31 }
        };
        assert_eq!(got, n);
    }
    other.join();
}

fn biased(_: Way) {
    let (tx, rx): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| channel::unbounded()).unzip();
    (0..ARMS).rev().for_each(|n| tx[n].send(n).unwrap());
    for n in 0..ARMS {
        let got: usize = select_biased! {
            recv(rx[0]) -> value => { assert_eq!(value, Ok(0)); 0 }
            recv(rx[1]) -> value => { assert_eq!(value, Ok(1)); 1 }
            recv(rx[2]) -> value => { assert_eq!(value, Ok(2)); 2 }
            recv(rx[3]) -> value => { assert_eq!(value, Ok(3)); 3 }
            recv(rx[4]) -> value => { assert_eq!(value, Ok(4)); 4 }
            recv(rx[5]) -> value => { assert_eq!(value, Ok(5)); 5 }
            recv(rx[6]) -> value => { assert_eq!(value, Ok(6)); 6 }
            recv(rx[7]) -> value => { assert_eq!(value, Ok(7)); 7 }
            recv(rx[8]) -> value => { assert_eq!(value, Ok(8)); 8 }
            recv(rx[9]) -> value => { assert_eq!(value, Ok(9)); 9 }
            recv(rx[10]) -> value => { assert_eq!(value, Ok(10)); 10 }
            recv(rx[11]) -> value => { assert_eq!(value, Ok(11)); 11 }
            recv(rx[12]) -> value => { assert_eq!(value, Ok(12)); 12 }
            recv(rx[13]) -> value => { assert_eq!(value, Ok(13)); 13 }
            recv(rx[14]) -> value => { assert_eq!(value, Ok(14)); 14 }
            recv(rx[15]) -> value => { assert_eq!(value, Ok(15)); 15 }
            recv(rx[16]) -> value => { assert_eq!(value, Ok(16)); 16 }
            recv(rx[17]) -> value => { assert_eq!(value, Ok(17)); 17 }
            recv(rx[18]) -> value => { assert_eq!(value, Ok(18)); 18 }
            recv(rx[19]) -> value => { assert_eq!(value, Ok(19)); 19 }
            recv(rx[20]) -> value => { assert_eq!(value, Ok(20)); 20 }
            recv(rx[21]) -> value => { assert_eq!(value, Ok(21)); 21 }
            recv(rx[22]) -> value => { assert_eq!(value, Ok(22)); 22 }
            recv(rx[23]) -> value => { assert_eq!(value, Ok(23)); 23 }
            recv(rx[24]) -> value => { assert_eq!(value, Ok(24)); 24 }
            recv(rx[25]) -> value => { assert_eq!(value, Ok(25)); 25 }
            recv(rx[26]) -> value => { assert_eq!(value, Ok(26)); 26 }
            recv(rx[27]) -> value => { assert_eq!(value, Ok(27)); 27 }
            recv(rx[28]) -> value => { assert_eq!(value, Ok(28)); 28 }
            recv(rx[29]) -> value => { assert_eq!(value, Ok(29)); 29 }
            recv(rx[30]) -> value => { assert_eq!(value, Ok(30)); 30 }
            recv(rx[31]) -> value => { assert_eq!(value, Ok(31)); 31 }
        };
        assert_eq!(got, n);
        // Those behind it wait.
        assert!(rx[n + 1..].iter().all(|rx| rx.len() == 1));
    }
}

fn with_a_default(_: Way) {
    let (tx, rx): (Vec<_>, Vec<_>) = (0..ARMS).map(|_| channel::bounded(1)).unzip();
    let once = || {
        select! {
                recv(rx[0]) -> value => { assert_eq!(value, Ok(0)); 0 }
                recv(rx[1]) -> value => { assert_eq!(value, Ok(1)); 1 }
                recv(rx[2]) -> value => { assert_eq!(value, Ok(2)); 2 }
                recv(rx[3]) -> value => { assert_eq!(value, Ok(3)); 3 }
                recv(rx[4]) -> value => { assert_eq!(value, Ok(4)); 4 }
                recv(rx[5]) -> value => { assert_eq!(value, Ok(5)); 5 }
                recv(rx[6]) -> value => { assert_eq!(value, Ok(6)); 6 }
                recv(rx[7]) -> value => { assert_eq!(value, Ok(7)); 7 }
                recv(rx[8]) -> value => { assert_eq!(value, Ok(8)); 8 }
                recv(rx[9]) -> value => { assert_eq!(value, Ok(9)); 9 }
                recv(rx[10]) -> value => { assert_eq!(value, Ok(10)); 10 }
                recv(rx[11]) -> value => { assert_eq!(value, Ok(11)); 11 }
                recv(rx[12]) -> value => { assert_eq!(value, Ok(12)); 12 }
                recv(rx[13]) -> value => { assert_eq!(value, Ok(13)); 13 }
                recv(rx[14]) -> value => { assert_eq!(value, Ok(14)); 14 }
                recv(rx[15]) -> value => { assert_eq!(value, Ok(15)); 15 }
                recv(rx[16]) -> value => { assert_eq!(value, Ok(16)); 16 }
                recv(rx[17]) -> value => { assert_eq!(value, Ok(17)); 17 }
                recv(rx[18]) -> value => { assert_eq!(value, Ok(18)); 18 }
                recv(rx[19]) -> value => { assert_eq!(value, Ok(19)); 19 }
                recv(rx[20]) -> value => { assert_eq!(value, Ok(20)); 20 }
                recv(rx[21]) -> value => { assert_eq!(value, Ok(21)); 21 }
                recv(rx[22]) -> value => { assert_eq!(value, Ok(22)); 22 }
                recv(rx[23]) -> value => { assert_eq!(value, Ok(23)); 23 }
                recv(rx[24]) -> value => { assert_eq!(value, Ok(24)); 24 }
                recv(rx[25]) -> value => { assert_eq!(value, Ok(25)); 25 }
                recv(rx[26]) -> value => { assert_eq!(value, Ok(26)); 26 }
                recv(rx[27]) -> value => { assert_eq!(value, Ok(27)); 27 }
                recv(rx[28]) -> value => { assert_eq!(value, Ok(28)); 28 }
                recv(rx[29]) -> value => { assert_eq!(value, Ok(29)); 29 }
                recv(rx[30]) -> value => { assert_eq!(value, Ok(30)); 30 }
                recv(rx[31]) -> value => { assert_eq!(value, Ok(31)); 31 }
                default => ARMS,
        }
    };
    assert_eq!(once(), ARMS);
    for n in [0, 1, 15, 30, 31] {
        tx[n].send(n).unwrap();
        assert_eq!((once(), once()), (n, ARMS));
    }
}
