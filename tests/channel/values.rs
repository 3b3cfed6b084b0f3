//! Values of every size and alignment go through channels of every capacity.

use gthread_tests::channel::{self, Receiver, Sender};
use gthread_tests::{CAPACITIES, Way, every_way, make};

every_way!(zero_sized, over_aligned, huge, on_a_small_stack, owning, with_holes_in_their_bits);

/// Ten times through each kind of channel, from a peer to here.
fn pass<T: Send + Clone + PartialEq + std::fmt::Debug + 'static>(on: Way, value: T, check: fn(&T)) {
    for capacity in CAPACITIES {
        let (tx, rx) = make(capacity);
        let copy = value.clone();
        let sender = on.spawn(move || {
            for n in 0..10 {
                // Once the receiver waits for the sender, once the other way around.
                if n % 3 == 0 {
                    on.yield_now();
                }
                tx.send(copy.clone()).unwrap();
            }
        });
        let mut count = 0;
        for received in rx {
            check(&received);
            assert_eq!(received, value);
            count += 1;
            if count % 4 == 0 {
                on.yield_now();
            }
        }
        assert_eq!(count, 10);
        sender.join();
    }
}

fn zero_sized(on: Way) {
    pass(on, (), |()| {});
    pass(on, [0_u64; 0], |_| {});
    let (tx, rx) = make(None);
    let sender = on.spawn(move || (0..1000).for_each(|_| tx.send(()).unwrap()));
    assert_eq!(rx.iter().count(), 1000);
    sender.join();
}

fn over_aligned(on: Way) {
    fn check<T>(value: &T) {
        let address = std::hint::black_box(std::ptr::from_ref(value) as usize);
        assert_eq!(address % align_of::<T>(), 0);
    }
    /// A size and an alignment that no allocation has by chance.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(256))]
    struct Aligned(u8);
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(64))]
    struct Line([u8; 65]);
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(128))]
    struct Nothing;
    pass(on, Aligned(9), check);
    pass(on, Line([7; 65]), check);
    pass(on, Nothing, check);
}

fn huge(on: Way) {
    let roomy = on.with_stack(4 << 20);
    let body = move || {
        pass(roomy, [5_u8; 64 << 10], |value| assert!(value.iter().all(|&byte| byte == 5)));
    };
    roomy.spawn(body).join();
}

/// As large as crossbeam-channel lets them be on a stack of this size, which is the default: they are moved a few times on
/// their way, also in debug builds.
fn on_a_small_stack(on: Way) {
    const SIZE: usize = if cfg!(debug_assertions) { 12 << 10 } else { 48 << 10 };
    type Large = [u8; SIZE];
    #[inline(never)]
    fn buffered(capacity: Option<usize>) {
        let (tx, rx) = make::<Large>(capacity);
        tx.send([1; SIZE]).unwrap();
        assert_eq!(std::hint::black_box(rx.recv().unwrap())[0], 1);
    }
    #[inline(never)]
    fn sends(tx: &Sender<Large>) {
        tx.send([1; SIZE]).unwrap();
    }
    #[inline(never)]
    fn receives(rx: &Receiver<Large>) {
        assert_eq!(std::hint::black_box(rx.recv().unwrap())[0], 1);
    }
    #[inline(never)]
    fn selects(rx: &Receiver<Large>) {
        let n = channel::select! { recv(rx) -> value => std::hint::black_box(value.unwrap())[0] };
        assert_eq!(n, 1);
    }
    let on = on.with_stack(252 << 10);
    on.spawn(|| buffered(None)).join();
    on.spawn(|| buffered(Some(1))).join();
    for capacity in CAPACITIES {
        for way in [receives, selects] {
            let (tx, rx) = make::<Large>(capacity);
            let sender = on.spawn(move || sends(&tx));
            on.spawn(move || way(&rx)).join();
            sender.join();
        }
    }
}

fn owning(on: Way) {
    pass(on, vec![String::from("a"), String::from("b")], |_| {});
    pass(on, Box::new([1_u64; 100]), |_| {});
    pass(on, Some(std::sync::Arc::new(5)), |_| {});
    pass(on, String::new(), |_| {});
    pass(on, Some(Box::<str>::from("boxed")), |_| {});
}

/// Values whose every bit pattern is not theirs: padding, niches, enums.
fn with_holes_in_their_bits(on: Way) {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Mixed {
        Byte(u8),
        Wide(u8, u64),
        Flag(bool, char),
        Nothing,
    }
    for value in [Mixed::Byte(1), Mixed::Wide(2, u64::MAX), Mixed::Flag(true, 'ß'), Mixed::Nothing]
    {
        pass(on, value, |_| {});
    }
    pass(on, (1_u8, 2_u64, 3_u16), |_| {});
    pass(on, None::<Box<u8>>, |_| {});
    pass(on, std::num::NonZero::new(3_u8), |_| {});
}
