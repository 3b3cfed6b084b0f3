//! The command line of a server.

use std::env;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

/// A server: its name in the protocol, and what runs it. It ends only if it cannot go on.
pub type Server = (&'static str, fn(&Args) -> io::Result<()>);

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// OS threads that run the server.
    pub workers: usize,
    /// The port at which it listens.
    pub port: u16,
}

impl Args {
    /// Returns the address at which the server listens.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// The whole of a contestant's server: does what the command line asks for.
pub fn main(servers: &[Server]) -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => {
            servers.iter().for_each(|(name, _)| println!("{name}"));
            ExitCode::SUCCESS
        }
        [server, workers, port] => match (find(servers, server), workers.parse(), port.parse()) {
            (Some(run), Ok(workers), Ok(port)) => {
                let why = run(&Args { workers, port }).err();
                let why = why.map_or("it does not listen any more".into(), |why| why.to_string());
                refuse(&format!("{server} at port {port}: {why}"), 1)
            }
            (None, ..) => refuse(&format!("there is no server {server}"), 2),
            _ => refuse("WORKERS and PORT are numbers", 2),
        },
        _ => refuse("arguments: list, or SERVER WORKERS PORT", 2),
    }
}

fn find(servers: &[Server], name: &str) -> Option<fn(&Args) -> io::Result<()>> {
    servers.iter().find(|(server, _)| *server == name).map(|(_, run)| *run)
}

fn refuse(why: &str, code: u8) -> ExitCode {
    eprintln!("{why}");
    ExitCode::from(code)
}
