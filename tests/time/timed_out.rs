//! Who has timed out has left the queue: what comes next goes to another who waits, and nothing is lost with it.
//!
//! For everything that waits with a timeout: receives, sends, `Select` and `select!`, `Condvar`, `Semaphore`,
//! `park_timeout`. (A mutex has none; `join_timeout` and `wait_group` see to joins and wait groups.) How long they wait is the subject of
//! `channel_timeout`, `select_wait` and `sync_*`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gthread::sync::{Condvar, Mutex, Semaphore};
use gthread_tests::channel::{Receiver, Select, Sender, never, select};
use gthread_tests::{Drops, Flag, SHORT, Token, Way, every_way, full, make};

every_way!(
    receivers_of_a_rendezvous,
    receivers_of_one_place,
    receivers_of_an_unbounded_channel,
    senders_to_a_rendezvous,
    senders_to_one_place,
    waiters_of_a_condvar,
    waiters_of_a_semaphore,
    nobody_meets_who_has_left,
    an_unpark_that_comes_late_is_the_next_parks,
);

/// What threads queue for.
trait Awaited: Send + Sync + Sized + 'static {
    /// How many ways there are to wait.
    const WAYS: usize;

    /// Waits for one thing in one of the ways: false if it timed out.
    fn take(&self, way: usize, timeout: Option<Duration>) -> bool;

    /// Gives one thing, to whoever waits or will.
    fn give(&self);

    /// Called until true, when one who waits without a timeout has been started: what is given from then on
    /// reaches it.
    fn is_awaited(&self) -> bool {
        true
    }

    /// Looks, at the end, whether anything was left.
    fn assert_nothing_left(self) {}
}

#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// The one without a timeout comes when all others have timed out.
    AfterTheyLeft,
    Behind,
    InFront,
    /// Behind them, and what is given comes as their time runs out.
    Racing(u64),
}

/// One who waits without a timeout gets what is given, whatever those do who have one.
fn goes_to_another<A: Awaited>(on: Way, new: fn() -> A) {
    for (theirs, its) in (0..A::WAYS).flat_map(|a| (0..A::WAYS).map(move |b| (a, b))) {
        let racing = (0..10).map(Order::Racing);
        for order in [Order::AfterTheyLeft, Order::Behind, Order::InFront].into_iter().chain(racing)
        {
            let of = Arc::new(new());
            goes_to_the_patient(on, &of, order, theirs, its);
            on.until(|| Arc::strong_count(&of) == 1);
            Arc::into_inner(of).unwrap().assert_nothing_left();
        }
    }
}

fn goes_to_the_patient<A: Awaited>(on: Way, of: &Arc<A>, order: Order, theirs: usize, its: usize) {
    let start = |way, timeout| {
        let of = Arc::clone(of);
        on.spawn(move || of.take(way, timeout))
    };
    let start_patient = || {
        let patient = start(its, None);
        on.until(|| of.is_awaited());
        patient
    };
    let early = (order == Order::InFront).then(start_patient);
    let impatient: Vec<_> = (0..3)
        .map(|n| match order {
            Order::Racing(seed) => Duration::from_micros((seed * 7 + n * 13) % 50 * 4),
            _ => SHORT,
        })
        .map(|timeout| start(theirs, Some(timeout)))
        .collect();
    let behind = matches!(order, Order::Behind | Order::Racing(_)).then(start_patient);
    if let Order::Racing(seed) = order {
        on.sleep(Duration::from_micros(seed * 20));
        of.give();
    }
    let took = impatient.into_iter().map(|peer| peer.join()).filter(|&took| took).count();
    let patient = early.or(behind).unwrap_or_else(start_patient);
    // To it, if nothing was given yet, or another has it.
    if matches!(order, Order::Racing(_)) {
        assert!(took <= 1, "one thing was given, and {took} took it");
    } else {
        assert_eq!(took, 0, "nothing was given");
    }
    if took == 1 || !matches!(order, Order::Racing(_)) {
        of.give();
    }
    assert!(patient.join());
}

/// Until when, for those that ask for it so. Far, if for ever.
fn deadline(timeout: Option<Duration>) -> Instant {
    Instant::now() + timeout.unwrap_or(gthread_tests::LONG)
}

/// Values that are counted.
#[derive(Default)]
struct Values {
    made: AtomicUsize,
    drops: Drops,
}

impl Values {
    fn make(&self) -> Token {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.drops.token()
    }

    fn assert_all_dropped(&self) {
        assert_eq!(self.drops.count(), self.made.load(Ordering::SeqCst));
    }
}

// ---- channels ---------------------------------------------------------------------------------

/// Messages.
struct Messages {
    tx: Sender<Token>,
    rx: Receiver<Token>,
    values: Values,
}

impl Messages {
    fn new(capacity: Option<usize>) -> Self {
        let (tx, rx) = make(capacity);
        Self { tx, rx, values: Values::default() }
    }
}

impl Awaited for Messages {
    const WAYS: usize = 5;

    fn take(&self, way: usize, timeout: Option<Duration>) -> bool {
        let (rx, nothing) = (&self.rx, never::<Token>());
        match (way, timeout) {
            (0, None) => rx.recv().is_ok(),
            (0, Some(timeout)) => rx.recv_timeout(timeout).is_ok(),
            (1, timeout) => rx.recv_deadline(deadline(timeout)).is_ok(),
            (2, timeout) => {
                let mut select = Select::new();
                select.recv(&nothing);
                select.recv(rx);
                let operation = match timeout {
                    None => Ok(select.select()),
                    Some(timeout) => select.select_timeout(timeout),
                };
                operation.is_ok_and(|operation| operation.recv(rx).is_ok())
            }
            (3, None) => select! {
                recv(nothing) -> _ => unreachable!(),
                recv(rx) -> message => message.is_ok(),
            },
            (3, Some(timeout)) => select! {
                recv(nothing) -> _ => unreachable!(),
                recv(rx) -> message => message.is_ok(),
                default(timeout) => false,
            },
            (_, timeout) => {
                let deadline = deadline(timeout);
                let mut select = Select::new();
                select.recv(&nothing);
                select.recv(rx);
                // Another may be quicker.
                while select.ready_deadline(deadline).is_ok() {
                    if rx.try_recv().is_ok() {
                        return true;
                    }
                }
                false
            }
        }
    }

    fn give(&self) {
        self.tx.send(self.values.make()).unwrap();
    }

    fn assert_nothing_left(self) {
        assert!(self.rx.try_recv().is_err());
        drop((self.tx, self.rx));
        self.values.assert_all_dropped();
    }
}

fn receivers_of_a_rendezvous(on: Way) {
    goes_to_another(on, || Messages::new(Some(0)));
}

fn receivers_of_one_place(on: Way) {
    goes_to_another(on, || Messages::new(Some(1)));
}

fn receivers_of_an_unbounded_channel(on: Way) {
    goes_to_another(on, || Messages::new(None));
}

/// Places for messages.
struct Places {
    tx: Sender<Token>,
    rx: Receiver<Token>,
    values: Values,
}

impl Places {
    fn new(capacity: usize) -> Self {
        let (tx, rx) = make(Some(capacity));
        let values = Values::default();
        while tx.len() < capacity {
            tx.send(values.make()).unwrap();
        }
        Self { tx, rx, values }
    }
}

impl Awaited for Places {
    const WAYS: usize = 5;

    fn take(&self, way: usize, timeout: Option<Duration>) -> bool {
        let (tx, value) = (&self.tx, self.values.make());
        let (full, _full) = full(Some(1), 0).unwrap();
        match (way, timeout) {
            (0, None) => tx.send(value).is_ok(),
            (0, Some(timeout)) => tx.send_timeout(value, timeout).is_ok(),
            (1, timeout) => tx.send_deadline(value, deadline(timeout)).is_ok(),
            (2, timeout) => {
                let mut select = Select::new();
                select.send(&full);
                select.send(tx);
                let operation = match timeout {
                    None => Ok(select.select()),
                    Some(timeout) => select.select_timeout(timeout),
                };
                operation.is_ok_and(|operation| operation.send(tx, value).is_ok())
            }
            (3, None) => select! {
                send(full, 1) -> _ => unreachable!(),
                send(tx, value) -> sent => sent.is_ok(),
            },
            (3, Some(timeout)) => select! {
                send(full, 1) -> _ => unreachable!(),
                send(tx, value) -> sent => sent.is_ok(),
                default(timeout) => false,
            },
            (_, timeout) => {
                let (deadline, mut value) = (deadline(timeout), value);
                let mut select = Select::new();
                select.send(&full);
                select.send(tx);
                while select.ready_deadline(deadline).is_ok() {
                    match tx.try_send(value) {
                        Ok(()) => return true,
                        Err(error) => value = error.into_inner(),
                    }
                }
                false
            }
        }
    }

    fn give(&self) {
        self.rx.recv().unwrap();
    }

    fn assert_nothing_left(self) {
        // What was sent last is in the place that there is.
        assert_eq!(self.rx.try_iter().count(), self.rx.capacity().unwrap());
        drop((self.tx, self.rx));
        self.values.assert_all_dropped();
    }
}

fn senders_to_a_rendezvous(on: Way) {
    goes_to_another(on, || Places::new(0));
}

fn senders_to_one_place(on: Way) {
    goes_to_another(on, || Places::new(1));
}

/// A rendezvous takes two, and one of them has gone.
fn nobody_meets_who_has_left(on: Way) {
    for way in 0..Messages::WAYS {
        let of = Arc::new(Messages::new(Some(0)));
        let receiver = Arc::clone(&of);
        assert!(!on.spawn(move || receiver.take(way, Some(SHORT))).join());
        assert!(of.tx.try_send(of.values.make()).unwrap_err().is_full());
        let of = Arc::new(Places::new(0));
        let sender = Arc::clone(&of);
        assert!(!on.spawn(move || sender.take(way, Some(SHORT))).join());
        assert!(of.rx.try_recv().unwrap_err().is_empty());
        of.values.assert_all_dropped();
    }
}

// ---- the rest ---------------------------------------------------------------------------------

/// Notifications.
#[derive(Default)]
struct Notifications {
    /// How many wait without a timeout, or have.
    patient: Mutex<usize>,
    notified: Condvar,
}

impl Awaited for Notifications {
    const WAYS: usize = 1;

    fn take(&self, _: usize, timeout: Option<Duration>) -> bool {
        let mut patient = self.patient.lock().unwrap();
        match timeout {
            None => {
                *patient += 1;
                drop(self.notified.wait(patient).unwrap());
                true
            }
            Some(timeout) => !self.notified.wait_timeout(patient, timeout).unwrap().1.timed_out(),
        }
    }

    fn give(&self) {
        self.notified.notify_one();
    }

    fn is_awaited(&self) -> bool {
        // Who has counted itself has unlocked the mutex by waiting.
        *self.patient.lock().unwrap() > 0
    }
}

fn waiters_of_a_condvar(on: Way) {
    goes_to_another(on, Notifications::default);
}

impl Awaited for Semaphore {
    const WAYS: usize = 1;

    fn take(&self, _: usize, timeout: Option<Duration>) -> bool {
        let permit = match timeout {
            None => Some(self.acquire()),
            Some(timeout) => self.acquire_timeout(timeout),
        };
        permit.map(|permit| permit.forget()).is_some()
    }

    fn give(&self) {
        self.add_permits(1);
    }

    fn assert_nothing_left(self) {
        assert_eq!(self.available_permits(), 0);
        // Nobody is thought to wait either.
        self.add_permits(1);
        assert!(self.try_acquire().is_some());
    }
}

fn waiters_of_a_semaphore(on: Way) {
    goes_to_another(on, || Semaphore::new(0));
}

/// It neither ends the wait that came between, nor is it lost.
fn an_unpark_that_comes_late_is_the_next_parks(on: Way) {
    for _ in 0..20 {
        let (tx, rx) = make(Some(0));
        let (to_us, from_it) = make(None);
        let unparked = Flag::new();
        let was_unparked = unparked.clone();
        let peer = on.spawn(move || {
            gthread::park_timeout(SHORT / 10);
            to_us.send(gthread::current()).unwrap();
            let value = rx.recv();
            assert!(was_unparked.is_up());
            gthread::park();
            value
        });
        let thread = from_it.recv().unwrap();
        on.lull();
        thread.unpark();
        unparked.raise();
        on.lull();
        tx.send(7).unwrap();
        assert_eq!(peer.join(), Ok(7));
    }
}
