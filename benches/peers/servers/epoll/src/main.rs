//! Servers that are a bare epoll loop on one thread, with the system calls alone between them and the
//! kernel. The number of workers means nothing here.

mod poll;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::ExitCode;
use std::thread;

use poll::{Events, Poll, writable};
use serve_kit::http::{Answered, Date, INPUT, answer};
use serve_kit::{Args, BUFFER, compute};

fn main() -> ExitCode {
    serve_kit::main(&[
        ("echo", |args| serve(args, || Echo { buffer: [0; BUFFER] })),
        ("http", |args| serve(args, Http::new)),
        ("echo-beside", |args| {
            for _ in 0..args.workers {
                thread::spawn(|| compute());
            }
            serve(args, || Echo { buffer: [0; BUFFER] })
        }),
    ])
}

/// What is done with a connection from which something can be read.
trait Serve {
    /// What is kept for a connection between two calls.
    type Kept: Default;

    /// Reads once and answers. Returns `false` if the connection is to end.
    fn serve(&mut self, stream: &TcpStream, kept: &mut Self::Kept) -> io::Result<bool>;
}

fn serve<S: Serve>(args: &Args, new: impl FnOnce() -> S) -> io::Result<()> {
    let mut service = new();
    let listener = TcpListener::bind(args.address())?;
    listener.set_nonblocking(true)?;
    let (poll, mut events) = (Poll::new()?, Events::new());
    let listening = listener.as_raw_fd();
    poll.add(listener.as_fd())?;
    // By descriptor, which are small numbers.
    let mut connections: Vec<Option<(TcpStream, S::Kept)>> = Vec::new();
    loop {
        for fd in poll.wait(&mut events)? {
            if fd == listening {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let place = &mut connections[fd as usize];
            let Some((stream, kept)) = place else { continue };
            if !service.serve(stream, kept).unwrap_or(false) {
                *place = None;
            }
        }
    }
}

/// Accepts all connections that are there.
fn accept<T: Default>(
    listener: &TcpListener,
    poll: &Poll,
    connections: &mut Vec<Option<(TcpStream, T)>>,
) -> io::Result<()> {
    loop {
        let stream = match poll::accept(listener.as_fd()) {
            Ok(stream) => TcpStream::from(stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let place = stream.as_raw_fd() as usize;
        if connections.len() <= place {
            connections.resize_with(place + 1, || None);
        }
        poll.add(stream.as_fd())?;
        connections[place] = Some((stream, T::default()));
    }
}

/// Reads once. Returns `None` if there was nothing, and 0 at the end of the connection.
fn read(mut stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    match stream.read(buffer) {
        Ok(len) => Ok(Some(len)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes all. If the peer does not read, the whole server waits for it: this is a floor.
fn write(mut stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => writable(stream.as_fd())?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What comes is sent back. All connections have one buffer.
struct Echo {
    buffer: [u8; BUFFER],
}

impl Serve for Echo {
    type Kept = ();

    fn serve(&mut self, stream: &TcpStream, (): &mut ()) -> io::Result<bool> {
        match read(stream, &mut self.buffer)? {
            None => Ok(true),
            Some(0) => Ok(false),
            Some(len) => write(stream, &self.buffer[..len]).map(|()| true),
        }
    }
}

/// HTTP over httparse. All connections have one buffer, and keep the beginning of a request.
struct Http {
    input: [u8; INPUT],
    output: Vec<u8>,
    date: Date,
}

impl Http {
    fn new() -> Self {
        Self { input: [0; INPUT], output: Vec::new(), date: Date::new() }
    }
}

impl Serve for Http {
    type Kept = Vec<u8>;

    fn serve(&mut self, stream: &TcpStream, kept: &mut Vec<u8>) -> io::Result<bool> {
        let begun = kept.len();
        self.input[..begun].copy_from_slice(kept);
        let filled = match read(stream, &mut self.input[begun..])? {
            None => return Ok(true),
            Some(0) => return Ok(false),
            Some(len) => begun + len,
        };
        let Answered { used, close } =
            answer(&self.input[..filled], &mut self.output, &mut self.date);
        kept.clear();
        kept.extend_from_slice(&self.input[used..filled]);
        write(stream, &self.output)?;
        self.output.clear();
        Ok(!close)
    }
}
