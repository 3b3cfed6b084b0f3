//! What is asked, and what is an answer to it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The size of a message that is echoed.
const MESSAGE: usize = 64;

const GET: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 ";
const BODY: &[u8] = b"Hello, World!";
const HEAD_END: &[u8] = b"\r\n\r\n";

/// How long the first answer may take.
const LIMIT: Duration = Duration::from_secs(10);

/// See the head of this file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Exchange {
    /// The answer is what was asked.
    Echo,
    /// A request over HTTP. All answers have the same length.
    Http { answer: usize },
}

impl Exchange {
    pub(crate) fn echo() -> Self {
        Self::Echo
    }

    /// Asks once, to learn how long an answer is.
    pub(crate) fn http(address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(GET)?;
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                len => answer.extend_from_slice(&buffer[..len]),
            }
            if answer.ends_with(&[HEAD_END, BODY].concat()) {
                return Ok(Self::Http { answer: answer.len() });
            }
        }
    }

    /// Returns the first request of a connection.
    pub(crate) fn first(self) -> Vec<u8> {
        match self {
            Self::Echo => (0..MESSAGE as u8).collect(),
            Self::Http { .. } => GET.to_vec(),
        }
    }

    /// Makes the next request from the last, so that its answer is another, if it can be.
    pub(crate) fn advance(self, request: &mut [u8]) {
        if let Self::Echo = self {
            let (count, _) = request.split_first_chunk_mut().expect("a message has room for it");
            *count = u64::from_ne_bytes(*count).wrapping_add(1).to_ne_bytes();
        }
    }

    /// Returns the length of an answer.
    pub(crate) fn answer_len(self) -> usize {
        match self {
            Self::Echo => MESSAGE,
            Self::Http { answer } => answer,
        }
    }

    /// Returns `true` if it is the right answer.
    pub(crate) fn is_answer(self, request: &[u8], answer: &[u8]) -> bool {
        match self {
            Self::Echo => answer == request,
            Self::Http { .. } => answer.starts_with(OK) && answer.ends_with(BODY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_another() {
        let mut request = Exchange::Echo.first();
        let first = request.clone();
        Exchange::Echo.advance(&mut request);
        assert_eq!((first.len(), request.len()), (MESSAGE, Exchange::Echo.answer_len()));
        assert!(Exchange::Echo.is_answer(&request, &request));
        assert!(!Exchange::Echo.is_answer(&request, &first));
    }

    #[test]
    fn an_answer_over_http_is_good_and_whole() {
        let exchange = Exchange::Http { answer: 36 };
        let is_answer = |answer: &str| exchange.is_answer(GET, answer.as_bytes());
        assert!(is_answer("HTTP/1.1 200 OK\r\na: b\r\n\r\nHello, World!"));
        assert!(!is_answer("HTTP/1.1 400 Bad Request\r\n\r\nHello, World!"));
        assert!(!is_answer("HTTP/1.1 200 OK\r\n\r\nHello, W"));
    }
}
