//! The program that fetches many URLs.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{
    Ended, Folder, Program, closed_address, example, example_with_descriptors, run, serve,
};

/// Returns the address of a server that answers each path as it is told, byte for byte.
fn server(answers: &[(&'static str, String)]) -> SocketAddr {
    let answers: Arc<HashMap<_, _>> = Arc::new(answers.iter().cloned().collect());
    serve(move |stream| {
        let path = read_request(&stream);
        let _ = (&stream).write_all(answers[path.as_str()].as_bytes());
    })
}

/// Reads the head of a request, and returns its path.
fn read_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let host = lines.take_while(|line| !line.is_empty()).find(|line| line.starts_with("Host: "));
    assert!(first.is_empty() || host.is_some(), "{first}");
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn response(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\n\r\n{body}")
}

fn redirection(to: &str) -> String {
    response(&format!("302 Found\r\nContent-Length: 0\r\nLocation: {to}"), "")
}

/// Fetches some paths of a server.
fn fetch(address: SocketAddr, options: &[&str], paths: &[&str]) -> Ended {
    let urls: Vec<_> = paths.iter().map(|path| format!("http://{address}{path}")).collect();
    let urls = urls.iter().map(String::as_str);
    run("fetch-all", &options.iter().copied().chain(urls).collect::<Vec<_>>())
}

/// Returns what was printed for each URL: status and bytes.
fn results(ended: &Ended) -> HashMap<&str, (u16, u64)> {
    let parse = |line| {
        let words: Vec<_> = str::split_whitespace(line).collect();
        let [status, bytes, time, url] = words[..] else { panic!("{line}") };
        assert!(time.parse::<u64>().is_ok(), "{line}");
        (url, (status.parse().unwrap(), bytes.parse().unwrap()))
    };
    ended.stdout.iter().map(|line| parse(line)).collect()
}

#[test]
fn bodies_of_all_kinds() {
    let address = server(&[
        ("/length", response("200 OK\r\nContent-Length: 5", "hello")),
        (
            "/chunked",
            response(
                "200 OK\r\nTransfer-Encoding: chunked",
                "3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n",
            ),
        ),
        ("/to-the-end", response("200 OK", "as long as it is")),
        ("/nothing", response("204 No Content", "")),
        (
            "/early",
            format!(
                "HTTP/1.1 103 Early Hints\r\n\r\n{}",
                response("200 OK\r\nContent-Length: 1", "x")
            ),
        ),
        ("/large", response("200 OK", &"x".repeat(5 << 20))),
    ]);
    let paths = ["/length", "/chunked", "/to-the-end", "/nothing", "/early", "/large"];
    let ended = fetch(address, &[], &paths).assert_status(0);
    let results = results(&ended);
    let expected = [(200, 5), (200, 13), (200, 16), (204, 0), (200, 1), (200, 5 << 20)];
    for (path, expected) in paths.iter().zip(expected) {
        assert_eq!(results[format!("http://{address}{path}").as_str()], expected, "{path}");
    }
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn redirections_are_followed() {
    let address = server(&[
        ("/a/b?q", redirection("c")),
        ("/a/c", redirection("../d?x=/../")),
        ("/d?x=/../", redirection("?e#fragment")),
        ("/d?e", redirection("/f")),
        ("/f", redirection("//HOST/g")),
        ("/g", response("200 OK\r\nContent-Length: 2", "ok")),
        ("/loop", redirection("/loop")),
        ("/secure", redirection("https://example.org/")),
        ("/bad", redirection("http://:x/")),
    ]);
    // The server does not know its address beforehand.
    let address = serve(move |stream| {
        let path = read_request(&stream);
        let mut behind = TcpStream::connect(address).unwrap();
        behind.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        behind.read_to_string(&mut answer).unwrap();
        let answer = answer.replace("HOST", &stream.local_addr().unwrap().to_string());
        let _ = (&stream).write_all(answer.as_bytes());
    });
    let ended = fetch(address, &[], &["/a/b?q"]).assert_status(0);
    assert_eq!(results(&ended)[format!("http://{address}/a/b?q").as_str()], (200, 2));
    fetch(address, &[], &["/loop"])
        .assert_status(1)
        .assert_stderr(&["/loop: redirected more than 5"]);
    fetch(address, &[], &["/secure"])
        .assert_status(1)
        .assert_stderr(&["only http:// is supported"]);
    fetch(address, &[], &["/bad"])
        .assert_status(1)
        .assert_stderr(&["redirected to \"http://:x/\""]);
}

#[test]
fn whatever_fails_is_a_line_and_the_exit_status() {
    let address = server(&[
        ("/ok", response("200 OK\r\nContent-Length: 2", "ok")),
        ("/missing", response("404 Not Found\r\nContent-Length: 4", "none")),
        ("/short", response("200 OK\r\nContent-Length: 10", "short")),
        ("/cut", response("200 OK\r\nTransfer-Encoding: chunked", "5\r\nab")),
        ("/bad-chunk", response("200 OK\r\nTransfer-Encoding: chunked", "zz\r\n")),
        ("/long-chunk", response("200 OK\r\nTransfer-Encoding: chunked", "1\r\nabc\r\n0\r\n\r\n")),
        ("/bad-length", response("200 OK\r\nContent-Length: many", "x")),
        ("/gzip", response("200 OK\r\nTransfer-Encoding: gzip", "x")),
        ("/garbage", "SSH-2.0-OpenSSH\r\n".repeat(3)),
        ("/huge-head", format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(100_000))),
        ("/empty", String::new()),
    ]);
    let cases = [
        ("/short", "ends early"),
        ("/cut", "ends early"),
        ("/bad-chunk", "malformed"),
        ("/long-chunk", "a chunk is longer than it says"),
        ("/bad-length", "its length is no number"),
        ("/gzip", "transfer coding"),
        ("/garbage", "malformed"),
        ("/huge-head", "its head is too long"),
        ("/empty", "ends early"),
    ];
    for (path, words) in cases {
        let ended = fetch(address, &[], &[path, "/ok"]).assert_status(1);
        assert_eq!(results(&ended).len(), 1);
        assert_eq!(ended.stderr.len(), 2, "{ended:#?}");
        ended.assert_stderr(&[
            &format!("fetch-all: http://{address}{path}: "),
            words,
            "1 of 2 failed",
        ]);
    }
    let ended = fetch(address, &[], &["/missing"]).assert_status(1);
    assert_eq!(results(&ended)[format!("http://{address}/missing").as_str()], (404, 4));

    let refused = format!("http://{}/", closed_address());
    let urls = [
        (refused.as_str(), "Connection refused"),
        ("https://localhost/", "only http:// is supported"),
        ("localhost", "no URL"),
        ("http://", "it has no host"),
        ("http://a:99999/", "there is no port"),
        ("http://[::1/", "a bracket is missing"),
        ("http://a b/", "must be encoded"),
        ("http://user@a/", "user names"),
        ("http://name.invalid/", "name.invalid"),
    ];
    for (url, words) in urls {
        run("fetch-all", &[url]).assert_status(1).assert_stderr(&[words, "1 of 1 failed"]);
    }
}

#[test]
fn a_server_that_does_not_answer_takes_no_longer_than_the_time_out() {
    let silent = serve(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
    let dripping = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    for address in [silent, dripping] {
        fetch(address, &["--timeout", "0.3"], &["/"])
            .assert_status(1)
            .assert_stderr(&["timed out after 0.3 s"]);
    }
}

#[test]
fn no_more_than_the_limit_at_once() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let address = serve({
        let most = Arc::clone(&most);
        move |stream| {
            read_request(&stream);
            most.fetch_max(1 + now.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
            thread::sleep(Duration::from_millis(20));
            now.fetch_sub(1, Ordering::SeqCst);
            let _ = (&stream).write_all(response("200 OK\r\nContent-Length: 1", "x").as_bytes());
        }
    });
    let ended = fetch(address, &["--in-flight", "4"], &["/"; 40]).assert_status(0);
    assert_eq!(ended.stdout.len(), 40);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most}");
}

#[test]
fn urls_from_a_list() {
    let address = server(&[("/ok", response("200 OK\r\nContent-Length: 2", "ok"))]);
    let url = format!("http://{address}/ok");
    let folder = Folder::new("fetch-list");
    let list = folder.write("list", format!("# a comment\n\n  {url}  \r\n{url}"));
    let list = list.to_str().unwrap();
    let ended = run("fetch-all", &["--from", list, &url]).assert_status(0);
    assert_eq!(ended.stdout.len(), 3);
    // Of stdin, which is empty here.
    run("fetch-all", &["--from", "-"]).assert_status(0);
    run("fetch-all", &["--from", "/none"])
        .assert_status(1)
        .assert_one_line(&["cannot read \"/none\": No such file"]);
    run("fetch-all", &["--from", folder.path()]).assert_status(1).assert_stderr(&["cannot read"]);
    let binary = folder.write("binary", b"http://\xff\xfe\n");
    run("fetch-all", &["--from", binary.to_str().unwrap()])
        .assert_status(1)
        .assert_stderr(&["cannot read"]);
}

#[test]
fn ctrl_c_cancels() {
    let (tx, reached) = std::sync::mpsc::channel();
    let address = serve(move |mut stream| {
        if read_request(&stream) == "/ok" {
            let _ = stream.write_all(response("200 OK\r\nContent-Length: 2", "ok").as_bytes());
        } else {
            tx.send(()).unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let urls = [format!("http://{address}/ok"), format!("http://{address}/never")];
    let mut program = Program::start(example("fetch-all", &[&urls[0], &urls[1]]));
    program.read_line();
    reached.recv().unwrap();
    let start = Instant::now();
    program.signal(libc::SIGINT);
    let ended = program.end();
    // It would wait for five seconds if the request went on.
    assert!(start.elapsed() < Duration::from_secs(4));
    ended.assert_status(130).assert_one_line(&["interrupted after 1 URLs"]);
}

#[test]
fn nobody_reads_the_output() {
    let address = server(&[("/ok", response("200 OK\r\nContent-Length: 2", "ok"))]);
    let url = format!("http://{address}/ok");
    let command = example("fetch-all", &[&url, &url]);
    Program::start_with_closed_stdout(command).end().assert_status(141);
}

#[test]
fn few_descriptors() {
    let address = server(&[("/ok", response("200 OK\r\nContent-Length: 2", "ok"))]);
    let url = format!("http://{address}/ok");
    let folder = Folder::new("fetch-descriptors");
    let list = folder.write("list", format!("{url}\n").repeat(300));
    let args = ["--in-flight", "200", "--from", list.to_str().unwrap()];
    let program = Program::start(example_with_descriptors(64, "fetch-all", &args));
    let ended = program.end().assert_status(0).assert_one_line(&["at most 24", "ulimit -n is 64"]);
    assert_eq!(ended.stdout.len(), 300);
}

#[test]
fn a_wrong_command_line() {
    let zero = ["--in-flight", "0", "http://a/"];
    for args in [&[][..], &["--wrong"], &["--timeout"], &["--timeout", "x", "http://a/"], &zero] {
        run("fetch-all", args).assert_status(2).assert_stderr(&["usage: fetch-all"]);
    }
    assert!(run("fetch-all", &["-h"]).assert_status(0).stdout[0].starts_with("usage: fetch-all"));
}
