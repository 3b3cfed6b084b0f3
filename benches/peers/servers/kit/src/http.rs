//! HTTP/1.1 without the waiting: requests in, responses out. It answers what hyper answers to the
//! same request.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use httparse::{EMPTY_HEADER, Request, Status};
use httpdate::HttpDate;

/// The most bytes of a request.
pub const INPUT: usize = 4096;
/// The most headers of a request.
const HEADERS: usize = 16;

/// The body of every response.
pub const BODY: &str = "Hello, World!";

/// What became of the requests in a buffer.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// How many bytes the requests had that were answered.
    pub used: usize,
    /// Whether the connection ends after the responses.
    pub close: bool,
}

/// A date as responses have it, written anew once a second.
#[derive(Debug)]
pub struct Date {
    second: u64,
    text: Vec<u8>,
}

impl Date {
    /// Creates one that is not written yet.
    pub fn new() -> Self {
        Self { second: 0, text: Vec::new() }
    }

    fn now(&mut self) -> &[u8] {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second || self.text.is_empty() {
            self.second = second;
            self.text.clear();
            write!(self.text, "{}", HttpDate::from(now)).expect("a vector takes all");
        }
        &self.text
    }
}

impl Default for Date {
    fn default() -> Self {
        Self::new()
    }
}

/// Appends a response for each whole request in `input` to `output`.
pub fn answer(input: &[u8], output: &mut Vec<u8>, date: &mut Date) -> Answered {
    let mut used = 0;
    while used < input.len() {
        let mut headers = [EMPTY_HEADER; HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(&input[used..]) {
            Ok(Status::Complete(len)) if request.method == Some("GET") => {
                used += len;
                respond(output, "200 OK", BODY, date);
                if asks_to_close(&request) {
                    return Answered { used, close: true };
                }
            }
            Ok(Status::Complete(_)) => {
                respond(output, "405 Method Not Allowed", "", date);
                return Answered { used: input.len(), close: true };
            }
            Ok(Status::Partial) if used > 0 || input.len() < INPUT => break,
            Ok(Status::Partial) => {
                respond(output, "431 Request Header Fields Too Large", "", date);
                return Answered { used: input.len(), close: true };
            }
            Err(_) => {
                respond(output, "400 Bad Request", "", date);
                return Answered { used: input.len(), close: true };
            }
        }
    }
    Answered { used, close: false }
}

fn respond(output: &mut Vec<u8>, status: &str, body: &str, date: &mut Date) {
    output.extend_from_slice(b"HTTP/1.1 ");
    output.extend_from_slice(status.as_bytes());
    output.extend_from_slice(b"\r\ncontent-type: text/plain\r\ncontent-length: ");
    write!(output, "{}", body.len()).expect("a vector takes all");
    output.extend_from_slice(b"\r\ndate: ");
    output.extend_from_slice(date.now());
    output.extend_from_slice(b"\r\n\r\n");
    output.extend_from_slice(body.as_bytes());
}

fn asks_to_close(request: &Request<'_, '_>) -> bool {
    let asks = |header: &httparse::Header<'_>| {
        header.name.eq_ignore_ascii_case("connection")
            && header.value.eq_ignore_ascii_case(b"close")
    };
    request.version == Some(0) || request.headers.iter().any(asks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(input: &str) -> (String, Answered) {
        let mut output = Vec::new();
        let answered = answer(input.as_bytes(), &mut output, &mut Date::new());
        (String::from_utf8(output).unwrap(), answered)
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn a_whole_request_is_answered_and_a_part_is_left() {
        let (output, answered) = answers(&format!("{GET}{GET}GET / HT"));
        assert_eq!(answered, Answered { used: 2 * GET.len(), close: false });
        assert_eq!(output.matches("HTTP/1.1 200 OK\r\n").count(), 2);
        assert!(output.ends_with("\r\n\r\nHello, World!"), "{output}");
        assert!(output.contains("\r\ncontent-length: 13\r\n"), "{output}");
    }

    #[test]
    fn a_date_is_what_rfc_9110_has() {
        let (output, _) = answers(GET);
        let (_, date) = output.split_once("\r\ndate: ").unwrap();
        assert_eq!(date.find(" GMT\r\n"), Some("Sun, 06 Nov 1994 08:49:37".len()));
    }

    #[test]
    fn some_connections_end() {
        for (input, status) in [
            ("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", "200"),
            ("GET / HTTP/1.0\r\n\r\n", "200"),
            ("POST / HTTP/1.1\r\n\r\n", "405"),
            ("\x01\r\n\r\n", "400"),
            (&"a".repeat(INPUT), "431"),
        ] {
            let (output, answered) = answers(input);
            assert!(output.starts_with(&format!("HTTP/1.1 {status} ")), "{output}");
            assert_eq!(answered, Answered { used: input.len(), close: true });
        }
    }
}
