//! Values of every size and alignment go through channels with a buffer.

use gthread::channel;
use gthread::go;
use gthread_tests::for_workers;

/// A size and an alignment that no allocation has by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(align(256))]
struct Aligned(u8);

fn pass<T: Send + Clone + PartialEq + std::fmt::Debug + 'static>(value: T, check: fn(&T)) {
    for capacity in [Some(1), Some(3), None] {
        let (tx, rx) = capacity.map_or_else(channel::unbounded, channel::bounded);
        let copy = value.clone();
        let sender = gthread::Builder::new().stack_size(4 << 20).spawn(move || {
            for _ in 0..10 {
                tx.send(copy.clone()).unwrap();
            }
        });
        let mut count = 0;
        for received in rx {
            check(&received);
            assert_eq!(received, value);
            count += 1;
        }
        assert_eq!(count, 10);
        sender.unwrap().join().unwrap();
    }
}

#[test]
fn zero_sized() {
    for_workers(|runtime| runtime.run(|| pass((), |()| {})));
    for_workers(|runtime| {
        runtime.run(|| {
            let (tx, rx) = channel::unbounded();
            go!(move || (0..1000).for_each(|_| tx.send(()).unwrap()));
            assert_eq!(rx.iter().count(), 1000);
        });
    });
}

#[test]
fn over_aligned() {
    for_workers(|runtime| {
        runtime.run(|| {
            pass(Aligned(9), |value| {
                let address = std::hint::black_box(std::ptr::from_ref(value) as usize);
                assert_eq!(address % align_of::<Aligned>(), 0);
            });
        });
    });
}

#[test]
fn huge() {
    for_workers(|runtime| {
        runtime.run(|| {
            let roomy = gthread::Builder::new().stack_size(8 << 20);
            let huge = || pass([5_u8; 64 << 10], |value| assert!(value.iter().all(|&b| b == 5)));
            roomy.spawn(huge).unwrap().join().unwrap();
        });
    });
}

#[test]
fn owning() {
    for_workers(|runtime| {
        runtime.run(|| {
            pass(vec![String::from("a"), String::from("b")], |_| {});
            pass(Box::new([1_u64; 100]), |_| {});
            pass(Some(std::sync::Arc::new(5)), |_| {});
        });
    });
}
