//! The echo server.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::support::{Program, connect, example, listen, read_to_end, run};

#[test]
fn it_echoes() {
    let (_program, address) = Program::serve(example("echo", &["127.0.0.1:0"]));
    let mut stream = connect(address);
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut back = String::new();
    stream.read_to_string(&mut back).unwrap();
    assert_eq!(back, "hello");
}

#[test]
fn idle_connections_end() {
    let (program, address) = Program::serve(example("echo", &["--idle", "1", "127.0.0.1:0"]));
    let mut stream = connect(address);
    assert_eq!(read_to_end(&mut stream, false), b"");
    program.assert_is_quiet();
}

#[test]
fn a_port_in_use_is_a_one_line_error() {
    let (_listener, address) = listen();
    run("echo", &[&address.to_string()])
        .assert_status(1)
        .assert_one_line(&["cannot listen at", "in use"]);
}
