//! Servers with an OS thread for each connection. The number of workers means nothing here.

#[path = "../../blocking/accept.rs"]
mod accept;
#[path = "../../blocking/echo.rs"]
mod echo;
#[path = "../../blocking/http.rs"]
mod http;

use std::process::ExitCode;
use std::{net, thread};

use serve_kit::compute;

fn main() -> ExitCode {
    serve_kit::main(&[
        ("echo", |args| accept::each(args, echo::echo)),
        ("http", |args| accept::each(args, http::http)),
        ("echo-beside", |args| {
            for _ in 0..args.workers {
                thread::spawn(|| compute());
            }
            accept::each(args, echo::echo)
        }),
    ])
}
