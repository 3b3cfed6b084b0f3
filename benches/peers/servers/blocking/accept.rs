//! A thread for each connection.

use std::io;

use serve_kit::Args;

use crate::net::{TcpListener, TcpStream};
use crate::thread;

/// Accepts connections until that fails.
pub(crate) fn each(
    args: &Args,
    connection: impl Fn(TcpStream) -> io::Result<()> + Copy + Send + 'static,
) -> io::Result<()> {
    for stream in TcpListener::bind(args.address())?.incoming() {
        let stream = stream?;
        // What goes wrong with a connection ends that connection.
        thread::spawn(move || drop(connection(stream)));
    }
    Ok(())
}
