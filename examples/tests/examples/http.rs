//! The HTTP server.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Folder, LIMIT, Program, connect, example, example_with_descriptors, listen, read_some,
    read_to_end, run, talk, until,
};

/// Starts the server at a free port, with options.
fn serve(options: &[&str]) -> (Program, SocketAddr) {
    Program::serve(example("http", &[options, &["127.0.0.1:0"]].concat()))
}

/// A response, whose body has the length that its head says.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    /// Takes a response out of the bytes that have arrived. `None` if it is not complete.
    fn take(bytes: &mut Vec<u8>, to_head: bool) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Self { status, head, body: Vec::new() };
        let has_body = !to_head && status != 304 && status >= 200;
        let length = response.field("Content-Length").filter(|_| has_body);
        let length = length.map_or(0, |length| length.parse().unwrap());
        if bytes.len() < end + length {
            return None;
        }
        response.body = bytes[end..end + length].to_vec();
        bytes.drain(..end + length);
        Some(response)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A client with a connection that it keeps.
struct Client {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { stream: connect(address), bytes: Vec::new() }
    }

    fn send(&mut self, request: &str) {
        self.stream.write_all(request.as_bytes()).unwrap();
    }

    fn receive_for(&mut self, to_head: bool) -> Response {
        loop {
            if let Some(response) = Response::take(&mut self.bytes, to_head) {
                return response;
            }
            let mut buffer = [0; 16 << 10];
            let read = read_some(&mut self.stream, &mut buffer).unwrap();
            assert_ne!(read, 0, "closed after {:?}", String::from_utf8_lossy(&self.bytes));
            self.bytes.extend_from_slice(&buffer[..read]);
        }
    }

    fn receive(&mut self) -> Response {
        self.receive_for(false)
    }

    fn get(&mut self, path: &str, fields: &str) -> Response {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n"));
        self.receive()
    }

    /// Asserts that the server has closed the connection, and has sent no more.
    fn assert_closed(mut self) {
        assert_eq!(self.bytes, b"");
        assert_eq!(read_to_end(&mut self.stream, true), b"");
    }
}

/// Sends a request that ends the connection; returns the only response.
fn answer_to(address: SocketAddr, request: &str) -> Response {
    let mut client = Client::new(address);
    client.send(request);
    let response = client.receive();
    client.assert_closed();
    response
}

#[test]
fn plaintext_and_json() {
    let (_program, address) = serve(&[]);
    let mut client = Client::new(address);
    for _ in 0..3 {
        let response = client.get("/plaintext", "");
        assert_eq!((response.status, response.text()), (200, "Hello, World!"));
        assert_eq!(response.field("Content-Type"), Some("text/plain"));
        let date = response.field("Date").unwrap();
        assert!(date.len() == 29 && date.ends_with(" GMT"), "{date}");
        let response = client.get("/json?x=1", "");
        assert_eq!(response.text(), r#"{"message":"Hello, World!"}"#);
        assert_eq!(response.field("Content-Type"), Some("application/json"));
    }
    client.send("HEAD /plaintext HTTP/1.1\r\nHost: test\r\n\r\n");
    let response = client.receive_for(true);
    assert_eq!(response.field("Content-Length"), Some("13"));
    assert_eq!(client.get("http://test/plaintext", "").status, 200);
    assert_eq!(client.get("/nothing", "").status, 404);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_program, address) = serve(&[]);
    let mut client = Client::new(address);
    let pair = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\nGET /json HTTP/1.1\r\nHost: a\r\n\r\n";
    client.send(&pair.repeat(500));
    for _ in 0..500 {
        assert_eq!(client.receive().text(), "Hello, World!");
        assert!(client.receive().text().starts_with('{'));
    }
    // In pieces, with a body in the middle.
    let all = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n\
               GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    for byte in all.bytes() {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(client.receive().text(), "hello");
    assert_eq!(client.receive().text(), "Hello, World!");
}

#[test]
fn connections_persist_as_http_says() {
    let (_program, address) = serve(&[]);
    let response = answer_to(address, "GET /json HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(response.field("Connection"), Some("close"));
    assert_eq!(answer_to(address, "GET /json HTTP/1.0\r\n\r\n").status, 200);
    let mut client = Client::new(address);
    for _ in 0..2 {
        client.send("GET /json HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        assert_eq!(client.receive().field("Connection"), Some("keep-alive"));
    }
}

#[test]
fn bodies_are_read_with_a_limit() {
    let (_program, address) = serve(&["--max-body", "100000"]);
    let mut client = Client::new(address);
    let large = "x".repeat(100_000);
    client
        .send(&format!("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{large}"));
    assert_eq!(client.receive().text(), large);
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         4;name=value\r\nWiki\r\n00B\r\npedia in \r\n\r\n0\r\nTrailer: yes\r\n\r\n",
    );
    assert_eq!(client.receive().text(), "Wikipedia in \r\n");
    // The body of a request that does not want one is skipped.
    client.send("GET /json HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.receive().status, 200);
    client.send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    let response = client.receive();
    assert_eq!((response.status, response.field("Allow")), (405, Some("POST")));
    // A client that asks first.
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.receive().status, 100);
    client.send("ok");
    assert_eq!(client.receive().text(), "ok");

    let too_large = [
        "Content-Length: 100001\r\n\r\n",
        "Content-Length: 99999999999999999999999999\r\n\r\n",
        "Content-Length: 100001\r\nExpect: 100-continue\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n186A1\r\n",
        "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n",
    ];
    // A client that sends all of it before it looks at the answer is not reset meanwhile.
    let mut client = Client::new(address);
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\nx");
    assert_eq!(client.receive().status, 413);
    for _ in 0..10 {
        client.send(&"x".repeat(10_000));
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(read_to_end(&mut client.stream, false), b"");
    for rest in too_large {
        let response = answer_to(address, &format!("POST /echo HTTP/1.1\r\nHost: a\r\n{rest}"));
        assert_eq!(response.status, 413, "{rest:?}");
    }
}

#[test]
fn malformed_requests_are_refused() {
    let (program, address) = serve(&["--max-head", "2000", "--max-body", "1000"]);
    let long = "x".repeat(3000);
    let fields: String = (0..65).map(|n| format!("a{n}: b\r\n")).collect();
    let cases = [
        (400, "\x16\x03\x01\x02\r\n\r\n".to_owned()),
        (400, "GET\r\n\r\n".into()),
        (400, "GET /plaintext\r\n\r\n".into()),
        (400, "GET /plain text HTTP/1.1\r\nHost: a\r\n\r\n".into()),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into()),
        (400, "GET /plaintext HTTP/1.1\r\n\r\n".into()),
        (400, "GET /plaintext HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".into()),
        (400, "GET /plaintext HTTP/1.1\r\nHost: a\r\nName : value\r\n\r\n".into()),
        (400, "GET /plaintext HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n".into()),
        (400, "GET /plaintext HTTP/1.1\r\nHost: a\r\nA: \0\r\n\r\n".into()),
        (431, format!("GET /plaintext HTTP/1.1\r\nHost: a\r\nA: {long}\r\n\r\n")),
        (431, format!("GET /plaintext HTTP/1.1\r\nHost: a\r\n{fields}\r\n")),
        (414, format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
        (417, "GET /plaintext HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n".into()),
        // Requests of which proxies may have other ideas.
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".into()),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n".into()),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".into()),
        (400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n".into()),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
                .into(),
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
                .into(),
        ),
        (501, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n".into()),
        (
            400,
            "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n".into(),
        ),
        (
            400,
            "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n"
                .into(),
        ),
    ];
    for (status, request) in &cases {
        let response = answer_to(address, request);
        assert_eq!(response.status, *status, "{request:?}");
        assert_eq!(response.field("Connection"), Some("close"));
    }
    // These are understood, and the connection stays.
    let mut client = Client::new(address);
    client.send("\r\n\r\nBREW / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.receive().status, 501);
    client.send("DELETE /json HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.receive();
    assert_eq!((response.status, response.field("Allow")), (405, Some("GET, HEAD")));
    assert_eq!(client.get("/plaintext", "").status, 200);
    program.signal(libc::SIGTERM);
    program.end().assert_status(0);
}

#[test]
fn a_peer_that_closes_its_side_gets_its_answers() {
    let (program, address) = serve(&[]);
    let request = b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut all = read_to_end(&mut stream, false);
    assert_eq!(Response::take(&mut all, false).unwrap().status, 200);
    assert!(all.is_empty());
    // In the middle of a head, of a body, and before anything.
    let unfinished = ["GET / HT", "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"];
    for part in unfinished {
        let mut stream = connect(address);
        stream.write_all(part.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = read_to_end(&mut stream, false);
        assert_eq!(Response::take(&mut all, false).unwrap().status, 400, "{part:?}");
    }
    let mut stream = connect(address);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&mut stream, false), b"");
    program.assert_is_quiet();
}

#[test]
fn a_peer_that_resets_does_no_harm() {
    let (program, address) = serve(&[]);
    let quiet = program.descriptors();
    for n in 0..50 {
        let mut stream = connect(address);
        if n % 2 == 0 {
            let _ = stream.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\nGET /pl");
        }
        // Closed with time-out zero, and with unread bytes: the peer gets a reset.
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        reset_on_close(&stream, linger);
    }
    assert_eq!(Client::new(address).get("/plaintext", "").status, 200);
    until("the descriptors of all connections are closed", || program.descriptors() <= quiet + 2);
    program.assert_is_quiet();
}

fn reset_on_close(stream: &TcpStream, linger: libc::linger) {
    use std::os::fd::AsRawFd;
    let len = size_of::<libc::linger>() as libc::socklen_t;
    let fd = stream.as_raw_fd();
    // SAFETY: the descriptor is open, and `linger` is what `SO_LINGER` takes.
    let result = unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), len)
    };
    assert_eq!(result, 0);
}

#[test]
fn slow_clients_are_given_up() {
    let (program, address) = serve(&["--head-time", "0.3", "--body-time", "0.3", "--idle", "0.6"]);
    // A byte at a time, for ever.
    let mut loris = connect(address);
    let mut writer = loris.try_clone().unwrap();
    writer.write_all(b"GET /plaintext HTTP/1.1\r\nHost: a\r\n").unwrap();
    let feeder = thread::spawn(move || {
        let end = Instant::now() + LIMIT;
        while writer.write_all(b"a: b\r\n").is_ok() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        Instant::now() < end
    });
    let mut all = read_to_end(&mut loris, true);
    assert_eq!(Response::take(&mut all, false).unwrap().status, 408);
    drop(loris);
    assert!(feeder.join().unwrap(), "it may write for ever");

    let response = answer_to(address, "GET /plaintext HTTP/1.1\r\nHost:");
    assert_eq!(response.status, 408);
    let request = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc";
    assert_eq!(answer_to(address, request).status, 408);
    // The time of one request does not count for the next one, which comes later.
    let mut client = Client::new(address);
    for _ in 0..4 {
        client.send("GET /json HTTP/1.1\r\n");
        thread::sleep(Duration::from_millis(150));
        client.send("Host: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
    // One that asks for nothing is closed without a word.
    client.assert_closed();
    Client::new(address).assert_closed();
    program.assert_is_quiet();
}

#[test]
fn a_client_that_takes_nothing_is_given_up() {
    let folder = Folder::new("http-slow-reader");
    folder.write_zeros("large", 64 << 20);
    let (program, address) =
        serve(&["--root", folder.path(), "--connections", "2", "--write-time", "1"]);
    // By the kernel's sendfile, and by writes.
    let mut reader = connect(address);
    reader.write_all(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut pipeliner = connect(address);
    pipeliner.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let requests = "GET /plaintext HTTP/1.1\r\nHost: a\r\n\r\n".repeat(10_000);
    let stuck = loop {
        if let Err(error) = pipeliner.write_all(requests.as_bytes()) {
            break error.kind();
        }
    };
    let kinds = [ErrorKind::WouldBlock, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(kinds.contains(&stuck), "{stuck:?}");
    program.assert_is_quiet();
    // Now there is room for others, two at once.
    until("both are given up", || {
        let mut clients = [Client::new(address), Client::new(address)];
        clients.each_mut().map(|client| client.get("/plaintext", "").status) == [200, 200]
    });
}

#[test]
fn too_many_connections_are_told_so() {
    let (_program, address) = serve(&["--connections", "2"]);
    let mut clients = [Client::new(address), Client::new(address)];
    clients.iter_mut().for_each(|client| assert_eq!(client.get("/json", "").status, 200));
    let mut client = Client::new(address);
    client.send("GET /json HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.receive();
    assert_eq!((response.status, response.field("Retry-After")), (503, Some("1")));
    client.assert_closed();
    drop(clients);
    until("there is room again", || Client::new(address).get("/json", "").status == 200);
}

#[test]
fn few_descriptors() {
    let folder = Folder::new("http-descriptors");
    folder.write("file", "content");
    let args = ["--root", folder.path(), "127.0.0.1:0"];
    let (program, address) = Program::serve(example_with_descriptors(64, "http", &args));
    let clients: Vec<_> = (0..200)
        .map(|_| {
            let mut client = Client::new(address);
            // Those that are turned away may not get as far.
            let _ = client.stream.write_all(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n");
            client
        })
        .collect();
    program.assert_is_quiet();
    let mut statuses = Vec::new();
    for mut client in clients {
        let mut buffer = [0; 1024];
        let read = read_some(&mut client.stream, &mut buffer).unwrap_or(0);
        client.bytes.extend_from_slice(&buffer[..read]);
        statuses.extend(Response::take(&mut client.bytes, false).map(|response| response.status));
    }
    let served = statuses.iter().filter(|&&status| status == 200).count();
    assert!(served >= 20, "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 503].contains(status)), "{statuses:?}");
    assert_eq!(Client::new(address).get("/file", "").text(), "content");
    program.signal(libc::SIGINT);
    program.end().assert_status(0).assert_stderr(&["at most 24 connections", "ulimit -n is 64"]);
}

#[test]
fn files() {
    let folder = Folder::new("http-files");
    folder.write("index.html", "<p>home</p>");
    folder.write("a b/style.CSS", "p {}");
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    folder.write("large.bin", &large);
    folder.write("empty", "");
    let (_program, address) = serve(&["--root", folder.path()]);
    let mut client = Client::new(address);
    let home = client.get("/", "");
    assert_eq!(home.text(), "<p>home</p>");
    assert_eq!(home.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(home.field("Accept-Ranges"), Some("bytes"));
    let style = client.get("/a%20b/./style.CSS?v=2#x", "");
    assert_eq!(style.text(), "p {}");
    assert_eq!(style.field("Content-Type"), Some("text/css; charset=utf-8"));
    let response = client.get("/large.bin", "");
    assert_eq!(response.field("Content-Type"), Some("application/octet-stream"));
    assert!(response.body == large);
    assert_eq!(client.get("/empty", "").text(), "");
    client.send("HEAD /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n");
    let response = client.receive_for(true);
    assert_eq!((response.status, response.field("Content-Length")), (200, Some("3000000")));
    // Also in the midst of others.
    client.send(
        "GET /json HTTP/1.1\r\nHost: a\r\n\r\nGET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n\
         GET /index.html HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.receive().body.len(), 27);
    assert!(client.receive().body == large);
    assert_eq!(client.receive().text(), "<p>home</p>");
    let response = client.get("//a%20b", "");
    let location = response.field("Location");
    assert_eq!((response.status, location), (301, Some("/a%20b/")));
    for path in ["/a%20b/", "/none", "/index.html/", "/index.html/x", "/a%20b/style.css"] {
        assert_eq!(client.get(path, "").status, 404, "{path}");
    }
    client.send("POST /index.html HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.receive().status, 405);
}

#[test]
fn ranges_of_files() {
    let folder = Folder::new("http-ranges");
    let content: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
    folder.write("file", &content);
    let (_program, address) = serve(&["--root", folder.path()]);
    let mut client = Client::new(address);
    let cases = [
        ("bytes=0-9", 0..10),
        ("Bytes= 5-5", 5..6),
        ("bytes=100000-", 100_000..200_000),
        ("bytes=199999-", 199_999..200_000),
        ("bytes=-10", 199_990..200_000),
        ("bytes=-999999999", 0..200_000),
        ("bytes=10-99999999999999999999999", 10..200_000),
    ];
    for (range, expected) in cases {
        let response = client.get("/file", &format!("Range: {range}\r\n"));
        assert_eq!(response.status, 206, "{range}");
        assert!(response.body == content[expected.clone()], "{range}");
        let field = format!("bytes {}-{}/200000", expected.start, expected.end - 1);
        assert_eq!(response.field("Content-Range"), Some(field.as_str()));
    }
    for range in ["bytes=200000-", "bytes=200000-300000", "bytes=-0"] {
        let response = client.get("/file", &format!("Range: {range}\r\n"));
        assert_eq!(response.status, 416, "{range}");
        assert_eq!(response.field("Content-Range"), Some("bytes */200000"));
    }
    // What is malformed, or more than is offered, is the whole file.
    for range in ["bytes=9-0", "bytes=a-b", "bytes=-", "bytes=0-1,5-6", "lines=0-1", "bytes=--1"] {
        let response = client.get("/file", &format!("Range: {range}\r\n"));
        assert_eq!((response.status, response.body.len()), (200, 200_000), "{range}");
    }
}

#[test]
fn conditions_on_dates() {
    let folder = Folder::new("http-dates");
    folder.write("file", "0123456789");
    let (_program, address) = serve(&["--root", folder.path()]);
    let mut client = Client::new(address);
    let date = client.get("/file", "").field("Last-Modified").unwrap().to_owned();
    let old = "Sun, 06 Nov 1994 08:49:37 GMT";
    let cases = [
        (format!("If-Modified-Since: {date}\r\n"), 304),
        (format!("If-Modified-Since: {old}\r\n"), 200),
        ("If-Modified-Since: yesterday\r\n".into(), 200),
        (format!("If-Modified-Since: {date}\r\nIf-None-Match: \"x\"\r\n"), 200),
        (format!("If-Range: {date}\r\nRange: bytes=0-1\r\n"), 206),
        (format!("If-Range: {old}\r\nRange: bytes=0-1\r\n"), 200),
        ("If-Range: \"tag\"\r\nRange: bytes=0-1\r\n".into(), 200),
    ];
    for (fields, status) in cases {
        assert_eq!(client.get("/file", &fields).status, status, "{fields}");
    }
}

#[test]
fn nothing_outside_of_the_root_is_served() {
    let outside = Folder::new("http-outside");
    let secret = outside.write("secret", "secret");
    let folder = Folder::new("http-inside");
    folder.write("sub/file", "file");
    symlink(&secret, folder.0.join("link")).unwrap();
    symlink(&outside.0, folder.0.join("folder")).unwrap();
    symlink("sub/file", folder.0.join("inside")).unwrap();
    symlink("loop", folder.0.join("loop")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(folder.0.join("pipe")).status();
    assert!(pipe.unwrap().success());
    let (_program, address) = serve(&["--root", folder.path()]);
    let mut client = Client::new(address);
    let name = outside.0.file_name().unwrap().to_str().unwrap();
    for path in [
        format!("/../{name}/secret"),
        format!("/sub/../../{name}/secret"),
        format!("/%2e%2e/{name}/secret"),
        format!("/.%2E%2F{name}/secret"),
        format!("/sub/..%2f..%2f{name}%2fsecret"),
        format!("/{}", secret.to_str().unwrap().replace('/', "%2f")),
        "/link".into(),
        "/folder/secret".into(),
    ] {
        let response = client.get(&path, "");
        assert_eq!(response.status, 403, "{path}");
        assert!(!response.text().contains("secret"));
    }
    assert_eq!(client.get(&format!("/{}", secret.to_str().unwrap()), "").status, 404);
    assert_eq!(client.get("/inside", "").text(), "file");
    for path in ["/pipe", "/loop", &format!("/{}", "x".repeat(300))] {
        assert_eq!(client.get(path, "").status, 404, "{path}");
    }
    for path in ["/%", "/%4", "/%zz", "/a%00b"] {
        assert_eq!(client.get(path, "").status, 400, "{path}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new("http-unreadable");
    let file = folder.write("file", "content");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o000)).unwrap();
    let (_program, address) = serve(&["--root", folder.path()]);
    let mut client = Client::new(address);
    // Root may read all.
    let status = if std::fs::read(&file).is_ok() { 200 } else { 403 };
    assert_eq!(client.get("/file", "").status, status);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(client.get("/file", "").status, 404);
}

#[test]
fn the_access_log() {
    let (mut program, address) = serve(&["--log", "-"]);
    let mut client = Client::new(address);
    client.get("/plaintext", "");
    client.get("/none?\"q\"", "");
    talk(address, b"\x01\"\\\xff\r\n\r\n");
    let lines = [program.read_line(), program.read_line(), program.read_line()];
    let expected = [
        r#""GET /plaintext HTTP/1.1" 200 13"#,
        r#""GET /none?\"q\" HTTP/1.1" 404 14"#,
        r#""\x01\"\\\xff" 400 16"#,
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with("127.0.0.1 - - [") && line.contains(" +0000] "), "{line}");
        assert!(line.ends_with(expected), "{line}");
    }
    // Nobody reads the pipe any more, and its writer goes on all the same.
    client.get("/json", "");
    program.signal(libc::SIGTERM);
    let ended = program.end().assert_status(0);
    assert!(ended.stdout[0].ends_with(r#""GET /json HTTP/1.1" 200 27"#), "{ended:?}");

    let folder = Folder::new("http-log");
    let log = folder.write("log", "before\n");
    let (program, address) = serve(&["--log", log.to_str().unwrap()]);
    let mut client = Client::new(address);
    (0..1000).for_each(|_| drop(client.get("/plaintext", "")));
    program.signal(libc::SIGTERM);
    program.end().assert_status(0);
    let text = std::fs::read_to_string(log).unwrap();
    assert_eq!((text.lines().next(), text.lines().count()), (Some("before"), 1001));
}

#[test]
fn it_ends_in_order() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let (program, address) = serve(&["--drain", "30"]);
        let mut idle = Client::new(address);
        idle.get("/plaintext", "");
        let mut in_head = Client::new(address);
        in_head.send("GET /plaintext HTTP/1.1\r\nHo");
        let mut in_body = Client::new(address);
        in_body.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
        // So that the server has seen all of it.
        thread::sleep(Duration::from_millis(100));
        program.signal(signal);
        // At once, although others go on.
        idle.assert_closed();
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        in_head.send("st: a\r\n\r\n");
        let response = in_head.receive();
        assert_eq!((response.status, response.field("Connection")), (200, Some("close")));
        in_head.assert_closed();
        in_body.send("cd");
        let response = in_body.receive();
        assert_eq!((response.text(), response.field("Connection")), ("abcd", Some("close")));
        in_body.assert_closed();
        program.end().assert_status(0).assert_one_line(&["listening at"]);
    }
}

#[test]
fn requests_that_do_not_end_are_cut_off() {
    let folder = Folder::new("http-drain");
    folder.write_zeros("large", 64 << 20);
    let (program, address) = serve(&["--drain", "0.3", "--root", folder.path()]);
    let mut in_head = Client::new(address);
    in_head.send("GET /plaintext HTTP/1.1\r\nHo");
    let mut reader = Client::new(address);
    reader.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    reader.stream.read_exact(&mut [0; 1000]).unwrap();
    program.signal(libc::SIGTERM);
    program.end().assert_status(1).assert_stderr(&["cut off"]);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (program, address) = serve(&["--drain", "1000"]);
    let mut in_head = Client::new(address);
    in_head.send("GET /plaintext HTTP/1.1\r\nHo");
    thread::sleep(Duration::from_millis(100));
    program.signal(libc::SIGINT);
    until("it does not accept any more", || TcpStream::connect(address).is_err());
    program.signal(libc::SIGINT);
    program.end().assert_status(130);
}

#[test]
fn many_clients_at_once() {
    let (program, address) = serve(&[]);
    let clients: Vec<_> = (0..50)
        .map(|_| {
            thread::spawn(move || {
                let mut client = Client::new(address);
                for _ in 0..100 {
                    assert_eq!(client.get("/plaintext", "").text(), "Hello, World!");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    program.signal(libc::SIGTERM);
    program.end().assert_status(0);
}

#[test]
fn what_prevents_the_start_is_a_one_line_error() {
    let (_listener, address) = listen();
    let folder = Folder::new("http-start");
    let file = folder.write("file", "");
    let (address, file) = (address.to_string(), file.to_str().unwrap());
    let cases: [(&[&str], &[&str]); 6] = [
        (&[&address], &["cannot listen at", "in use"]),
        (&["192.0.2.1:80"], &["cannot listen at 192.0.2.1:80"]),
        (&["nonsense"], &["cannot listen at nonsense"]),
        (&["--root", "/none", "127.0.0.1:0"], &["cannot serve", "No such file"]),
        (&["--root", file, "127.0.0.1:0"], &["cannot serve"]),
        (&["--log", "/none/log", "127.0.0.1:0"], &["cannot write to", "No such file"]),
    ];
    for (args, words) in cases {
        run("http", args).assert_status(1).assert_one_line(words);
    }
    for args in [&["--wrong"][..], &["--idle"], &["--idle", "0"], &["--idle", "x"], &["a", "b"]] {
        run("http", args).assert_status(2).assert_stderr(&["usage: http"]);
    }
    let help = run("http", &["--help"]).assert_status(0);
    assert!(help.stdout[0].starts_with("usage: http"));
}
