//! Selects against each other and against plain operations, by chance, for a while:
//! `GTHREAD_STRESS_SECS`, one second if not set. Each test prints its seed; `GTHREAD_TEST_SEED` runs it
//! again with the same choices (not the same timing).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;

use gthread::channel::{self, Receiver, Select, Sender, never, select, select_biased};
use gthread_tests::{Drops, Random, Token, stress};

fn make<T>(capacity: Option<usize>) -> (Sender<T>, Receiver<T>) {
    capacity.map_or_else(channel::unbounded, channel::bounded)
}

fn any_capacity(rendezvous: bool, random: &mut Random) -> Option<usize> {
    let least = if rendezvous { Some(0) } else { Some(1) };
    [least, least, Some(1), Some(2), None][random.below(5) as usize]
}

// ---- nothing is lost --------------------------------------------------------------------------

const WIDTH: usize = 4;

/// Sends `count` values over the channels: plainly, or to whichever is ready.
fn produce(senders: &[Sender<Token>; WIDTH], count: usize, drops: &Drops, random: &mut Random) {
    // Two that only wait for the other to wait would do so for ever.
    let may_watch = senders.iter().all(|sender| sender.capacity() != Some(0));
    for _ in 0..count {
        let any = random.below(WIDTH as u64) as usize;
        match random.below(if may_watch { 4 } else { 3 }) {
            0 => senders[any].send(drops.token()).unwrap(),
            1 => select! {
                send(senders[0], drops.token()) -> sent => sent.unwrap(),
                send(senders[1], drops.token()) -> sent => sent.unwrap(),
                send(senders[2], drops.token()) -> sent => sent.unwrap(),
                send(senders[3], drops.token()) -> sent => sent.unwrap(),
            },
            2 => {
                let mut select = Select::new();
                for sender in senders {
                    select.send(sender);
                }
                let operation = select.select();
                if random.one_in(3) {
                    // The partner waits for the value meanwhile.
                    gthread::yield_now();
                }
                let index = operation.index();
                operation.send(&senders[index], drops.token()).unwrap();
            }
            _ => {
                let mut select = Select::new();
                for sender in senders {
                    select.send(sender);
                }
                let mut value = drops.token();
                loop {
                    match senders[select.ready()].try_send(value) {
                        Ok(()) => break,
                        Err(error) => value = error.into_inner(),
                    }
                    gthread::yield_now();
                }
            }
        }
    }
}

/// Receives until all channels are disconnected; gives the number of values.
fn consume(mut receivers: Vec<Receiver<Token>>, random: &mut Random) -> usize {
    let mut count = 0;
    let mut open = receivers.len();
    while open > 0 {
        let index = match random.below(3) {
            0 => {
                let mut select = Select::new();
                for receiver in &receivers {
                    select.recv(receiver);
                }
                let operation = select.select();
                let index = operation.index();
                match operation.recv(&receivers[index]) {
                    Ok(_) => {
                        count += 1;
                        continue;
                    }
                    Err(_) => index,
                }
            }
            1 => {
                let (index, message) = select! {
                    recv(receivers[0]) -> message => (0, message),
                    recv(receivers[1]) -> message => (1, message),
                    recv(receivers[2]) -> message => (2, message),
                    recv(receivers[3]) -> message => (3, message),
                };
                match message {
                    Ok(_) => {
                        count += 1;
                        continue;
                    }
                    Err(_) => index,
                }
            }
            _ => {
                let mut select = Select::new();
                for receiver in &receivers {
                    select.recv(receiver);
                }
                let index = select.ready();
                match receivers[index].try_recv() {
                    Ok(_) => {
                        count += 1;
                        continue;
                    }
                    Err(channel::TryRecvError::Empty) => {
                        // Another was faster; it may need this worker.
                        gthread::yield_now();
                        continue;
                    }
                    Err(channel::TryRecvError::Disconnected) => index,
                }
            }
        };
        receivers[index] = never();
        open -= 1;
    }
    count
}

/// Nobody gives up, so a lost wake is a hang.
#[test]
fn every_value_arrives_though_nobody_has_a_timeout() {
    stress(|runtime, random| {
        let rendezvous = random.one_in(2);
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..WIDTH).map(|_| make::<Token>(any_capacity(rendezvous, random))).unzip();
        let senders: [_; WIDTH] = senders.try_into().unwrap();
        let drops = Drops::new();
        let count = 20 + random.below(60) as usize;
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        let mut os_threads = Vec::new();
        for n in 0..4 {
            let (senders, drops, mut random) = (senders.clone(), drops.clone(), random.fork());
            let work = move || produce(&senders, count, &drops, &mut random);
            if n == 0 {
                os_threads.push(std::thread::spawn(work));
            } else {
                producers.push(runtime.spawn(work));
            }
        }
        // Some receive from all channels, some plainly from one.
        for n in 0..4_usize {
            let (receivers, mut random) = (receivers.clone(), random.fork());
            let plain = n > 0 && random.one_in(2);
            let work = move || {
                if plain { receivers[n].iter().count() } else { consume(receivers, &mut random) }
            };
            if n == 3 {
                let consumer = std::thread::spawn(work);
                consumers
                    .push(runtime.spawn(move || gthread::blocking(|| consumer.join().unwrap())));
            } else {
                consumers.push(runtime.spawn(work));
            }
        }
        drop((senders, receivers));
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        os_threads.into_iter().for_each(|producer| producer.join().unwrap());
        let received: usize = consumers.into_iter().map(|c| c.join().unwrap()).sum();
        assert_eq!(received, 4 * count);
        assert_eq!(drops.count(), 4 * count);
    });
}

// ---- nothing is doubled -----------------------------------------------------------------------

struct Counts {
    made: AtomicUsize,
    sent: AtomicUsize,
    received: AtomicUsize,
    drops: Drops,
}

impl Counts {
    fn make(&self) -> Token {
        self.made.fetch_add(1, SeqCst);
        self.drops.token()
    }
    fn note_sent(&self, sent: bool) {
        self.sent.fetch_add(usize::from(sent), SeqCst);
    }
    fn note_received(&self, received: bool) {
        self.received.fetch_add(usize::from(received), SeqCst);
    }
}

/// A message that is not to be had.
fn no_message() -> Token {
    std::panic::resume_unwind(Box::new(()))
}

/// One random thing with a way out.
fn act(channels: &[(Sender<Token>, Receiver<Token>)], counts: &Counts, random: &mut Random) {
    let mut any = || &channels[random.below(channels.len() as u64) as usize];
    let (a, b, c) = (any(), any(), any());
    let timeout = random.micros(60);
    match random.below(8) {
        0 => counts.note_sent(a.0.send_timeout(counts.make(), timeout).is_ok()),
        1 => counts.note_received(a.1.recv_timeout(timeout).is_ok()),
        2 => counts.note_received(a.1.try_recv().is_ok()),
        3 => counts.note_sent(a.0.try_send(counts.make()).is_ok()),
        4 => select! {
            recv(a.1) -> message => counts.note_received(message.is_ok()),
            send(b.0, counts.make()) -> sent => counts.note_sent(sent.is_ok()),
            recv(c.1) -> message => counts.note_received(message.is_ok()),
            default(timeout) => {}
        },
        5 => select_biased! {
            send(a.0, counts.make()) -> sent => counts.note_sent(sent.is_ok()),
            // Perhaps the other side of the same channel.
            recv(a.1) -> message => counts.note_received(message.is_ok()),
            send(b.0, counts.make()) -> sent => counts.note_sent(sent.is_ok()),
            default => {}
        },
        6 => {
            // The operation is given up.
            let given_up = catch_unwind(AssertUnwindSafe(|| {
                select! {
                    send(a.0, no_message()) -> _ => {}
                    send(b.0, no_message()) -> _ => {}
                    default(timeout) => {}
                }
            }));
            drop(given_up);
        }
        _ => {
            let mut select = Select::new();
            let sends = select.send(&a.0);
            select.recv(&b.1);
            if let Ok(operation) = select.select_timeout(timeout) {
                if operation.index() == sends {
                    gthread::yield_now();
                    counts.note_sent(operation.send(&a.0, counts.make()).is_ok());
                } else {
                    counts.note_received(operation.recv(&b.1).is_ok());
                }
            }
        }
    }
}

/// Each value is received once, or dropped once with its channel or by the one who could not send it.
#[test]
fn a_value_is_in_one_place() {
    stress(|runtime, random| {
        let capacities = [Some(0), Some(0), Some(1), Some(3), None];
        let channels: Arc<[_]> = capacities.map(make::<Token>).into();
        let counts = Arc::new(Counts {
            made: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
            received: AtomicUsize::new(0),
            drops: Drops::new(),
        });
        // A receive that was paired with a select that then gave up goes on waiting, without its
        // timeout's help if it was a select: this one comes to its aid.
        let over = gthread_tests::Flag::new();
        let actors: Vec<_> = (0..6)
            .map(|_| {
                let (channels, counts, mut random) =
                    (Arc::clone(&channels), Arc::clone(&counts), random.fork());
                runtime.spawn(move || {
                    for _ in 0..60 {
                        act(&channels, &counts, &mut random);
                    }
                })
            })
            .collect();
        let helper = {
            let (channels, counts, over) =
                (Arc::clone(&channels), Arc::clone(&counts), over.clone());
            std::thread::spawn(move || {
                while !over.is_up() {
                    for (sender, _) in &*channels {
                        counts.note_sent(sender.try_send(counts.make()).is_ok());
                    }
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
            })
        };
        actors.into_iter().for_each(|actor| actor.join().unwrap());
        over.raise();
        helper.join().unwrap();
        let left: usize = channels.iter().map(|(_, receiver)| receiver.try_iter().count()).sum();
        let load = |count: &AtomicUsize| count.load(SeqCst);
        assert_eq!(load(&counts.sent), load(&counts.received) + left);
        drop(channels);
        assert_eq!(counts.drops.count(), load(&counts.made));
    });
}
