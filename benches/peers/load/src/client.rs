//! The connections, and the loop that keeps them busy.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use peers_kit::Waits;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

use crate::exchange::Exchange;
use crate::socket;

/// How long any answer may take.
const LIMIT: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// Events that are taken at a time.
const BATCH: usize = 256;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    exchange: Exchange,
    epoll: OwnedFd,
    slots: Vec<Slot>,
    /// Whether each request has a connection of its own.
    connects_each_time: bool,
    connected: usize,
}

/// A connection that asks and is answered, or several one after the other.
#[derive(Debug)]
struct Slot {
    stream: Option<TcpStream>,
    request: Vec<u8>,
    /// What has come of an answer that is not whole.
    part: Vec<u8>,
    asked: Instant,
}

/// What happened while the connections were busy. Nothing is under way before it, nor after it.
#[derive(Debug)]
pub(crate) struct Phase {
    /// How long each request waited for its answer.
    pub(crate) waits: Waits,
    pub(crate) taken: Duration,
}

impl Client {
    /// Creates a client without connections.
    pub(crate) fn new(address: SocketAddr, exchange: Exchange) -> io::Result<Self> {
        Ok(Self {
            address,
            exchange,
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            slots: Vec::new(),
            connects_each_time: false,
            connected: 0,
        })
    }

    /// Opens connections that are kept.
    pub(crate) fn connect(&mut self, count: usize) -> io::Result<()> {
        self.add_slots(count);
        for at in 0..count {
            let stream = answered(self.address, self.exchange)?;
            self.watch(at, stream)?;
        }
        Ok(())
    }

    /// Opens a connection for each request, so many at a time.
    pub(crate) fn connect_each_time(&mut self, count: usize) {
        self.add_slots(count);
        self.connects_each_time = true;
    }

    /// Opens connections that ask once, and then nothing.
    pub(crate) fn open_idle(&self, count: usize) -> io::Result<Vec<TcpStream>> {
        (0..count).map(|_| answered(self.address, self.exchange)).collect()
    }

    fn add_slots(&mut self, count: usize) {
        let slot = || Slot {
            stream: None,
            request: self.exchange.first(),
            part: Vec::new(),
            asked: Instant::now(),
        };
        self.slots = (0..count).map(|_| slot()).collect();
    }

    fn watch(&mut self, at: usize, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        epoll::add(&self.epoll, &stream, EventData::new_u64(at as u64), EventFlags::IN)?;
        self.slots[at].stream = Some(stream);
        Ok(())
    }

    /// Keeps all connections busy for so long, and then waits for the last answers.
    pub(crate) fn ask_for(&mut self, time: Duration) -> io::Result<Phase> {
        self.ask_until(time, 0)
    }

    /// Like [`ask_for`](Self::ask_for), but goes on until there were so many requests at least.
    pub(crate) fn ask_until(&mut self, time: Duration, requests: u64) -> io::Result<Phase> {
        let (start, mut waits) = (Instant::now(), Waits::default());
        for at in 0..self.slots.len() {
            self.ask(at, Instant::now())?;
        }
        let mut busy = self.slots.len();
        let mut events = Vec::with_capacity(BATCH);
        while busy > 0 {
            self.next_events(&mut events)?;
            for event in &events {
                let at = event.data.u64() as usize;
                if !self.is_answered(at)? {
                    continue;
                }
                let now = Instant::now();
                waits.add(now - self.slots[at].asked);
                if self.connects_each_time {
                    self.slots[at].stream = None;
                }
                if now - start < time || waits.count() < requests {
                    self.ask(at, now)?;
                } else {
                    busy -= 1;
                }
            }
        }
        Ok(Phase { waits, taken: start.elapsed() })
    }

    fn next_events(&self, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        let room = rustix::buffer::spare_capacity(events);
        if epoll::wait(&self.epoll, room, Some(&LIMIT))? == 0 {
            let why = format!("no answer within {} s", LIMIT.tv_sec);
            return Err(io::Error::new(ErrorKind::TimedOut, why));
        }
        Ok(())
    }

    fn ask(&mut self, at: usize, now: Instant) -> io::Result<()> {
        self.slots[at].asked = now;
        if self.connects_each_time {
            self.connected += 1;
            let stream = socket::connect_from(socket::source(self.connected), self.address)?;
            self.watch(at, stream)?;
        }
        let slot = &mut self.slots[at];
        self.exchange.advance(&mut slot.request);
        let mut stream = slot.stream.as_ref().expect("it is connected");
        // It fits into what the kernel has room for, as there is nothing under way.
        match stream.write(&slot.request)? {
            len if len == slot.request.len() => Ok(()),
            _ => Err(io::Error::other("the kernel took a part of a request")),
        }
    }

    /// Reads from a connection. Returns `true` if the answer is there, and right.
    fn is_answered(&mut self, at: usize) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        let Slot { stream, request, part, .. } = &mut self.slots[at];
        let Some(mut stream) = stream.as_ref() else { return Ok(false) };
        let answer = match stream.read(&mut buffer) {
            Ok(0) => return Err(io::Error::other("the server has ended a connection")),
            Ok(len) => &buffer[..len],
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        let len = part.len() + answer.len();
        if len < self.exchange.answer_len() {
            part.extend_from_slice(answer);
            return Ok(false);
        }
        let right = if part.is_empty() {
            self.exchange.is_answer(request, answer)
        } else {
            let whole = [mem::take(part).as_slice(), answer].concat();
            self.exchange.is_answer(request, &whole)
        };
        if right && len == self.exchange.answer_len() {
            Ok(true)
        } else {
            Err(io::Error::other("the server has given a wrong answer"))
        }
    }
}

/// Opens a connection and asks once, so that the server has accepted it and waits for more.
fn answered(address: SocketAddr, exchange: Exchange) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(LIMIT.tv_sec as u64)))?;
    let request = exchange.first();
    stream.write_all(&request)?;
    let mut answer = vec![0; exchange.answer_len()];
    stream.read_exact(&mut answer)?;
    if exchange.is_answer(&request, &answer) {
        Ok(stream)
    } else {
        Err(io::Error::other("the server has given a wrong first answer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// A server that answers by `answer`, until the test's process ends.
    fn serve(answer: fn(&mut [u8])) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while stream.read_exact(&mut buffer).is_ok() {
                        answer(&mut buffer);
                        // In two parts, which may come as one.
                        let (first, second) = buffer.split_at(10);
                        let _ = stream.write_all(first).and_then(|()| stream.write_all(second));
                    }
                });
            }
        });
        address
    }

    const TIME: Duration = Duration::from_millis(50);

    #[test]
    fn kept_connections_are_busy_for_the_time() {
        let mut client = Client::new(serve(|_| ()), Exchange::Echo).unwrap();
        client.connect(3).unwrap();
        let phase = client.ask_for(TIME).unwrap();
        assert!(phase.waits.count() >= 3 && phase.taken >= TIME);
        // Nothing of it is left for the next.
        assert!(client.ask_for(TIME).unwrap().waits.count() >= 3);
        assert!(client.ask_until(Duration::ZERO, 1000).unwrap().waits.count() >= 1000);
    }

    #[test]
    fn each_request_may_have_a_connection() {
        let mut client = Client::new(serve(|_| ()), Exchange::Echo).unwrap();
        client.connect_each_time(2);
        let phase = client.ask_for(TIME).unwrap();
        assert_eq!(phase.waits.count(), client.connected as u64);
    }

    #[test]
    fn a_wrong_answer_is_told() {
        let mut client = Client::new(serve(|answer| answer[63] ^= 1), Exchange::Echo).unwrap();
        assert!(client.connect(1).unwrap_err().to_string().contains("wrong"));
        client.connect_each_time(1);
        assert!(client.ask_for(TIME).unwrap_err().to_string().contains("wrong"));
    }
}
