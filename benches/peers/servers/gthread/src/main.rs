//! Servers on gthread: plain blocking code, with a green thread for each connection. The source is that
//! of the servers on OS threads, except for time-outs.

#[path = "../../blocking/accept.rs"]
mod accept;
#[path = "../../blocking/echo.rs"]
mod echo;
#[path = "../../blocking/http.rs"]
mod http;

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use gthread::net::TcpStream;
use gthread::{net, thread};
use serve_kit::{Args, BUFFER, TIME_OUT, compute};

fn main() -> ExitCode {
    serve_kit::main(&[
        ("echo", |args| serve(args, echo::echo)),
        ("http", |args| serve(args, http::http)),
        ("echo-time-outs", |args| serve(args, echo_with_time_outs)),
        ("echo-beside", |args| {
            run(args, || {
                for _ in 0..args.workers {
                    thread::spawn(|| compute());
                }
                accept::each(args, echo::echo)
            })
        }),
    ])
}

fn serve(args: &Args, connection: fn(TcpStream) -> io::Result<()>) -> io::Result<()> {
    run(args, || accept::each(args, connection))
}

fn run(args: &Args, f: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    gthread::Runtime::builder().workers(args.workers).build()?.run(f)
}

/// Like [`echo::echo`], with a deadline for each request, as Go's server has it.
fn echo_with_time_outs(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        stream.set_deadline(Some(Instant::now() + TIME_OUT))?;
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}
