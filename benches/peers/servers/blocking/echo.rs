//! What comes is sent back.

use std::io::{self, Read as _, Write as _};

use serve_kit::BUFFER;

use crate::net::TcpStream;

/// Serves one connection.
pub(crate) fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; BUFFER];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => stream.write_all(&buffer[..len])?,
        }
    }
}
