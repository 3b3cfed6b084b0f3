//! HTTP over httparse.

use std::io::{self, Read as _, Write as _};

use serve_kit::http::{Answered, Date, INPUT, answer};

use crate::net::TcpStream;

/// Serves one connection.
pub(crate) fn http(mut stream: TcpStream) -> io::Result<()> {
    let (mut input, mut filled) = ([0; INPUT], 0);
    let (mut output, mut date) = (Vec::with_capacity(256), Date::new());
    loop {
        match stream.read(&mut input[filled..])? {
            0 => return Ok(()),
            len => filled += len,
        }
        let Answered { used, close } = answer(&input[..filled], &mut output, &mut date);
        input.copy_within(used..filled, 0);
        filled -= used;
        stream.write_all(&output)?;
        output.clear();
        if close {
            return Ok(());
        }
    }
}
