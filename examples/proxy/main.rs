//! A TCP proxy: what comes in at one address is passed on to another, and back.
//!
//! ```console
//! $ cargo run --release --example proxy -- 127.0.0.1:7001 127.0.0.1:7000
//! $ nc 127.0.0.1 7001
//! ```
//!
//! Each direction of a connection has a thread, and a third one watches both (`relay`).

mod args;
mod output;
mod relay;

use std::process::{self, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::channel::{Receiver, Sender, bounded, select};
use gthread::context::Context;
use gthread::io::{self, ErrorKind, Write};
use gthread::net::{TcpListener, TcpStream};
use gthread::signal::{self, Signal};
use gthread::sync::WaitGroup;
use gthread::{Builder, go};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use args::{Command, Config};
use output::{complain, reason};

/// The exit status that a shell reports for a program that ended by SIGINT: 128 plus the signal.
const STATUS_INTERRUPTED: i32 = 130;
const STATUS_USAGE: u8 = 2;

/// Descriptors for other things than connections: the standard streams, the listener, the runtime's
/// own.
const RESERVED: usize = 16;

/// The pause after a connection could not be accepted, and between two complaints about that.
const PAUSE: Duration = Duration::from_millis(10);
const COMPLAINTS: Duration = Duration::from_secs(1);

/// How long the last connections may take to end once they are cut off.
const CUT_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let config = match args::parse(std::env::args().skip(1)) {
        Ok(Command::Proxy(config)) => config,
        Ok(Command::Help) => {
            // A closed stdout is no reason to panic, as `print!` would.
            let _ = io::stdout().write_all(args::HELP.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(mistake) => {
            complain(&format!("{mistake}\n{}", args::USAGE));
            return ExitCode::from(STATUS_USAGE);
        }
    };
    match gthread::run(|| serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

/// What the connections have in common.
struct Proxy {
    config: Config,
    /// Ends when there are to be no more connections.
    stop: Context,
    /// Ends when the connections that there are must end.
    cut: Context,
    /// Go's semaphore: a channel with room for as many tokens as there may be connections. Unlike a
    /// `Semaphore` it can be waited for in a `select!`.
    permits: Sender<()>,
    returned: Receiver<()>,
    open: WaitGroup,
}

/// Proxies until a signal ends it. The error is a line for the user.
fn serve(mut config: Config) -> Result<(), String> {
    limit_connections(&mut config);
    let signals = signal::notify(&[Signal::INTERRUPT, Signal::TERMINATE])
        .map_err(|error| format!("cannot wait for signals: {}", reason(&error)))?;
    let address = &config.listen;
    let listener = TcpListener::bind(address)
        .map_err(|error| format!("cannot listen at {address}: {}", reason(&error)))?;
    let address = listener.local_addr().map_or("?".into(), |address| address.to_string());

    let (stop, stop_now) = Context::background().with_cancel();
    let (cut, cut_now) = Context::background().with_cancel();
    let (permits, returned) = bounded(config.connections);
    let drain = config.drain;
    let open = WaitGroup::new();
    let proxy = Proxy { config, stop, cut, permits, returned, open: open.clone() };
    let listener = Arc::new(listener);
    let acceptor = go!({
        let listener = Arc::clone(&listener);
        move || Arc::new(proxy).accept(&listener)
    });
    complain(&format!("listening at {address}"));

    let _ = signals.recv();
    go!(move || {
        if signals.recv().is_ok() {
            process::exit(STATUS_INTERRUPTED);
        }
    });
    stop_now.cancel();
    let _ = listener.set_deadline(Some(Instant::now()));
    // It only fails if the acceptor has panicked, which is said already.
    let _ = acceptor.join();
    drop(listener);
    if open.wait_timeout(drain) {
        return Ok(());
    }
    cut_now.cancel();
    let _ = open.wait_timeout(CUT_TIME);
    Err("connections were cut off".into())
}

/// Allows this process as many descriptors as it may have, and no more connections than these are
/// enough for.
fn limit_connections(config: &mut Config) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let Some(descriptors) = current.and_then(|limit| usize::try_from(limit).ok()) else { return };
    // Two sockets, and a pipe for each direction.
    let of_one = if config.splice { 6 } else { 2 };
    let possible = (descriptors.saturating_sub(RESERVED) / of_one).max(1);
    if possible < config.connections {
        config.connections = possible;
        complain(&format!("at most {possible} connections at once: ulimit -n is {descriptors}"));
    }
}

impl Proxy {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut complained: Option<Instant> = None;
        loop {
            // Clients beyond the limit wait in the kernel's queue.
            select! {
                send(self.permits, ()) -> sent => sent.expect("`returned` is alive"),
                recv(self.stop.done()) -> _ => return,
            }
            let permit = Permit(self.returned.clone());
            match listener.accept() {
                Ok((client, _)) => self.start(client, permit),
                // Its deadline: the proxy is to end.
                Err(error) if error.kind() == ErrorKind::TimedOut => {}
                Err(error) => {
                    // Too many descriptors, for example. It may go on for long.
                    if complained.is_none_or(|at| at.elapsed() >= COMPLAINTS) {
                        complain(&format!("cannot accept: {}", reason(&error)));
                        complained = Some(Instant::now());
                    }
                    gthread::sleep(PAUSE);
                }
            }
        }
    }

    fn start(self: &Arc<Self>, client: TcpStream, permit: Permit) {
        let proxy = Arc::clone(self);
        self.open.add(1);
        let open = Open(self.open.clone());
        let relay = move || {
            let _guards = (open, permit);
            relay::relay(&proxy.config, &proxy.cut, client);
        };
        if let Err(error) = Builder::new().spawn(relay) {
            complain(&format!("cannot start a thread: {}", reason(&error)));
        }
    }
}

/// One token of the semaphore, handed back on drop and so on panic too.
struct Permit(Receiver<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // There is a token for each permit, so this neither waits nor fails.
        let _ = self.0.try_recv();
    }
}

/// A connection that the end of the program waits for.
struct Open(WaitGroup);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.done();
    }
}
