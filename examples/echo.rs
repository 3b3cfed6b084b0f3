//! An echo server: what a client sends comes back. One green thread per connection.
//!
//! ```console
//! $ cargo run --release --example echo -- 127.0.0.1:7000
//! $ nc 127.0.0.1 7000
//! ```
//!
//! `cargo run --release --example echo -- --idle 30 127.0.0.1:7000` ends connections that say nothing
//! for half a minute.

use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use gthread::go;
use gthread::net::{TcpListener, TcpStream};

const USAGE: &str = "usage: echo [--idle SECONDS] [ADDRESS]   (127.0.0.1:7000)";

struct Args {
    address: String,
    idle: Option<Duration>,
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut parsed = Args { address: "127.0.0.1:7000".into(), idle: None };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--idle" => {
                let seconds = args.next().ok_or("--idle needs a number of seconds")?;
                let seconds: u64 =
                    seconds.parse().map_err(|_| format!("{seconds:?} is no number of seconds"))?;
                parsed.idle = Some(Duration::from_secs(seconds)).filter(|idle| !idle.is_zero());
            }
            "--help" | "-h" => return Err(USAGE.into()),
            option if option.starts_with('-') => {
                return Err(format!("no option {option}\n{USAGE}"));
            }
            _ => parsed.address = arg,
        }
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match gthread::run(|| serve(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot listen at {}: {error}", args.address);
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> std::io::Result<()> {
    let listener = TcpListener::bind(&args.address)?;
    eprintln!("listening at {}", listener.local_addr()?);
    for stream in listener.incoming() {
        match stream {
            Ok(stream) => {
                let idle = args.idle;
                go!(move || {
                    if let Err(error) = echo(stream, idle) {
                        eprintln!("a connection ended: {error}");
                    }
                });
            }
            // Too many descriptors, for example; the next may work.
            Err(error) => eprintln!("cannot accept: {error}"),
        }
    }
    Ok(())
}

fn echo(mut stream: TcpStream, idle: Option<Duration>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(idle)?;
    let mut buf = [0; 4096];
    loop {
        match stream.read(&mut buf) {
            Ok(0) => return Ok(()),
            Ok(read) => stream.write_all(&buf[..read])?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
