//! One connection of the proxy: a thread for each direction, and one that watches both.
//!
//! A direction that is at its end passes that on: the other side sees the end of the data, and may
//! still send. When both directions are at their end, so is the connection. To end it earlier, the
//! watching thread shuts both sockets down, which ends the waits of the others.

use std::mem::{self, MaybeUninit};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gthread::Builder;
use gthread::channel::{bounded, select};
use gthread::context::Context;
use gthread::io::{self, Read, Write};
use gthread::net::{Dialer, Shutdown, TcpStream};

use crate::args::Config;
use crate::output::{complain, reason};

const BUFFER: usize = 16 << 10;

/// Connects a client to the target, and passes on what comes, until both sides have ended. When
/// `cut` ends, so does the connection.
pub(crate) fn relay(config: &Config, cut: &Context, client: TcpStream) {
    let start = Instant::now();
    let peer = client.peer_addr().map_or("?".into(), |peer| peer.to_string());
    let dialer = Dialer::new().timeout(config.connect_time).context(cut).nodelay(true);
    let target = match dialer.connect(&config.target) {
        Ok(target) => target,
        Err(error) => {
            complain(&format!("{peer}: cannot connect to {}: {}", config.target, reason(&error)));
            return;
        }
    };
    // Small pieces are passed on as they come.
    let _ = client.set_nodelay(true);
    let (client, target) = (Arc::new(client), Arc::new(target));
    let up = Direction::new(&client, &target);
    let down = Direction::new(&target, &client);
    let outcome = watch(config, cut, &up, &down);
    if !config.quiet {
        let (up, down) = (up.count(), down.count());
        let seconds = start.elapsed().as_secs_f64();
        let line = format!("{peer}: {up} bytes up, {down} bytes down, {seconds:.1} s");
        match outcome {
            Ok(()) => complain(&line),
            Err(why) => complain(&format!("{line}: {why}")),
        }
    }
}

/// Starts both directions, and waits for their ends.
///
/// # Errors
///
/// Why the connection has ended early.
fn watch(config: &Config, cut: &Context, up: &Direction, down: &Direction) -> Result<(), String> {
    let (end, ends) = bounded(2);
    for direction in [up, down] {
        let (this, end, splice) = (direction.clone(), end.clone(), config.splice);
        let pass_on = move || drop(end.send(this.pass_on(splice)));
        if let Err(error) = Builder::new().spawn(pass_on) {
            up.end_both();
            return Err(format!("cannot start a thread: {}", reason(&error)));
        }
    }
    // A thread that panics does not send, and then no sender is left.
    drop(end);
    let mut result = Ok(());
    let mut running = 2;
    let mut silence = Duration::ZERO;
    let why = loop {
        select! {
            recv(ends) -> end => match end {
                Ok(end) => {
                    result = result.and(end);
                    running -= 1;
                    if running == 0 {
                        return result;
                    }
                }
                Err(_) => break "a thread has panicked",
            },
            recv(cut.done()) -> _ => break "cut off",
            default(config.idle - silence) => {
                // Since something was heard from either side.
                silence = up.silence().min(down.silence());
                if silence >= config.idle {
                    break "idle for too long";
                }
            }
        }
    };
    up.end_both();
    ends.iter().for_each(drop);
    Err(why.into())
}

/// The bytes from one socket to another.
#[derive(Clone)]
struct Direction {
    from: Arc<TcpStream>,
    to: Arc<TcpStream>,
    count: Arc<AtomicU64>,
}

impl Direction {
    fn new(from: &Arc<TcpStream>, to: &Arc<TcpStream>) -> Self {
        Self { from: Arc::clone(from), to: Arc::clone(to), count: Arc::default() }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.count.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Passes on all bytes, and then their end, also if that is an error.
    fn pass_on(&self, splice: bool) -> Result<(), String> {
        let passed = match splice {
            true => io::splice(&self.from, &self.to, None).map(|bytes| self.add(bytes)),
            false => self.copy(),
        };
        // They fail if the other side has gone, which is the end as well. The other direction ends
        // by itself: it may still have something to deliver.
        let _ = self.to.shutdown(Shutdown::Write);
        let _ = self.from.shutdown(Shutdown::Read);
        passed.map_err(|error| reason(&error))
    }

    fn copy(&self) -> io::Result<()> {
        let (mut from, mut to) = (&*self.from, &*self.to);
        let mut buffer = vec![0; BUFFER];
        loop {
            match from.read(&mut buffer)? {
                0 => return Ok(()),
                read => {
                    to.write_all(&buffer[..read])?;
                    self.add(read as u64);
                }
            }
        }
    }

    /// Ends this direction and the other one.
    fn end_both(&self) {
        for stream in [&self.from, &self.to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Returns how long nothing has come from `from`. The kernel knows, whoever moves the bytes.
    fn silence(&self) -> Duration {
        match tcp_info(&self.from) {
            Ok(info) => Duration::from_millis(info.tcpi_last_data_recv.into()),
            // It cannot fail for a TCP socket.
            Err(_) => Duration::MAX,
        }
    }
}

fn tcp_info(stream: &TcpStream) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut len = mem::size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed. `info` has room for `len`
    // bytes; the kernel writes as many of them as it knows; neither pointer is kept.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    match result {
        // SAFETY: all fields are integers, for which any bytes are valid, and all are initialised:
        // with zeros, or by the kernel.
        0 => Ok(unsafe { info.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}
