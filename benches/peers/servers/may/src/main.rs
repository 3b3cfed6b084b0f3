//! Servers on may's coroutines, with its default stacks; HTTP by may_minihttp. A coroutine that computes
//! keeps its worker for ever, so what computes beside the server are OS threads.

#[path = "../../blocking/accept.rs"]
mod accept;
#[path = "../../blocking/echo.rs"]
mod echo;

use std::io;
use std::process::ExitCode;

use may::{config, go, net};
use may_minihttp::{HttpServer, HttpService, Request, Response};
use serve_kit::http::BODY;
use serve_kit::{Args, compute};

fn main() -> ExitCode {
    serve_kit::main(&[
        ("echo", |args| run(*args, echo)),
        ("http", |args| run(*args, http)),
        ("echo-beside", |args| {
            for _ in 0..args.workers {
                std::thread::spawn(|| compute());
            }
            run(*args, echo)
        }),
    ])
}

/// may's words for threads.
mod thread {
    use may::go;

    pub(crate) fn spawn(f: impl FnOnce() + Send + 'static) {
        go!(f);
    }
}

fn run(args: Args, serve: fn(&Args) -> io::Result<()>) -> io::Result<()> {
    config().set_workers(args.workers);
    go!(move || serve(&args)).join().map_err(|_| io::Error::other("the server panicked"))?
}

fn echo(args: &Args) -> io::Result<()> {
    accept::each(args, echo::echo)
}

fn http(args: &Args) -> io::Result<()> {
    let server = HttpServer(Hello).start(args.address())?;
    server.join().map_err(|_| io::Error::other("the server panicked"))
}

#[derive(Clone)]
struct Hello;

impl HttpService for Hello {
    fn call(&mut self, _: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain");
        response.body(BODY);
        Ok(())
    }
}
