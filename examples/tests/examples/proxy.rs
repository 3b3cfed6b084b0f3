//! The TCP proxy.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use crate::support::{
    Program, closed_address, connect, example, example_with_descriptors, listen, read_some,
    read_to_end, run, serve, until,
};

/// Both ways to move the bytes.
const WAYS: [&[&str]; 2] = [&[], &["--splice"]];

/// Starts the proxy in front of a target.
fn proxy(target: SocketAddr, options: &[&str]) -> (Program, SocketAddr) {
    let target = target.to_string();
    Program::serve(example("proxy", &[options, &["127.0.0.1:0", &target]].concat()))
}

/// Returns the address of a server that echoes.
fn echo() -> SocketAddr {
    serve(|mut stream| {
        let mut reader = stream.try_clone().unwrap();
        let _ = std::io::copy(&mut reader, &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    })
}

#[test]
fn bytes_pass_both_ways_and_are_counted() {
    for way in WAYS {
        let (mut program, address) = proxy(echo(), way);
        let data: Vec<u8> = (0..8 << 20).map(|n: u32| (n % 251) as u8).collect();
        let mut stream = connect(address);
        let mut writer = stream.try_clone().unwrap();
        let sent = data.clone();
        let sender = thread::spawn(move || {
            writer.write_all(&sent).unwrap();
            // Half of the connection ends, and the other half goes on.
            writer.shutdown(Shutdown::Write).unwrap();
        });
        assert!(read_to_end(&mut stream, false) == data);
        sender.join().unwrap();
        let line = program.read_to("bytes up");
        assert!(line.contains("8388608 bytes up, 8388608 bytes down"), "{line}");
        program.signal(libc::SIGTERM);
        program.end().assert_status(0);
    }
}

#[test]
fn small_messages_pass_at_once() {
    for way in WAYS {
        let (_program, address) = proxy(echo(), way);
        let mut stream = connect(address);
        for n in 0..200_u8 {
            stream.write_all(&[n]).unwrap();
            let mut back = [0];
            stream.read_exact(&mut back).unwrap();
            assert_eq!(back, [n]);
        }
    }
}

#[test]
fn the_end_of_either_side_is_passed_on() {
    for way in WAYS {
        // The server ends first, and hears what the client says afterwards.
        let (listener, target) = listen();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"bye").unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            read_to_end(&mut stream, false)
        });
        let (program, address) = proxy(target, way);
        let mut stream = connect(address);
        assert_eq!(read_to_end(&mut stream, false), b"bye");
        program.assert_is_quiet();
        stream.write_all(b"late").unwrap();
        drop(stream);
        assert_eq!(server.join().unwrap(), b"late");
    }
}

#[test]
fn a_target_that_does_not_answer_is_a_one_line_error() {
    let target = closed_address();
    let (mut program, address) = proxy(target, &[]);
    assert_eq!(read_to_end(&mut connect(address), true), b"");
    let line = program.read_to("cannot connect");
    assert!(line.contains(&format!("cannot connect to {target}: Connection refused")), "{line}");
    program.signal(libc::SIGTERM);
    program.end().assert_status(0);

    // A queue that is full: connecting waits, until the time is over.
    let (listener, target) = listen();
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&target, Duration::from_millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 10_000, "the queue is never full");
    }
    let (mut program, address) = proxy(target, &["--connect-time", "0.2"]);
    assert_eq!(read_to_end(&mut connect(address), true), b"");
    assert!(program.read_to("cannot connect").contains("timed out"));
    drop(listener);
}

#[test]
fn a_target_that_resets_ends_the_connection() {
    let target = serve(|stream| {
        // Closed with unread bytes, which is a reset.
        let _ = stream.peek(&mut [0; 1]);
    });
    for way in WAYS {
        let (program, address) = proxy(target, way);
        let quiet = program.descriptors();
        for _ in 0..20 {
            let mut stream = connect(address);
            stream.write_all(&[1; 1000]).unwrap();
            read_to_end(&mut stream, true);
        }
        until("all is closed", || program.descriptors() <= quiet + 4);
        program.assert_is_quiet();
    }
}

#[test]
fn idle_connections_end_but_not_one_way_traffic() {
    // Sends to the client for more than the idle time, which sends nothing itself.
    let target = serve(|mut stream| {
        for _ in 0..20 {
            thread::sleep(Duration::from_millis(50));
            if stream.write_all(b"x").is_err() {
                return;
            }
        }
        // Then nothing, for ever.
        let _ = stream.read(&mut [0; 1]);
    });
    for way in WAYS {
        let options = [way, &["--idle", "0.4"]].concat();
        let (mut program, address) = proxy(target, &options);
        let mut stream = connect(address);
        assert_eq!(read_to_end(&mut stream, true), [b'x'; 20]);
        assert!(program.read_to("bytes up").contains("idle for too long"));
    }
}

#[test]
fn a_client_that_takes_nothing_ends_by_the_idle_time() {
    let target = serve(|mut stream| while stream.write_all(&[7; 64 << 10]).is_ok() {});
    for way in WAYS {
        let options = [way, &["--idle", "0.5"]].concat();
        let (mut program, address) = proxy(target, &options);
        let stream = connect(address);
        assert!(program.read_to("bytes up").contains("idle for too long"));
        program.assert_is_quiet();
        drop(stream);
    }
}

#[test]
fn connections_beyond_the_limit_wait() {
    let (_program, address) = proxy(echo(), &["--connections", "1"]);
    let mut first = connect(address);
    first.write_all(b"1").unwrap();
    first.read_exact(&mut [0]).unwrap();
    let mut second = connect(address);
    second.write_all(b"2").unwrap();
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = read_some(&mut second, &mut [0]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    drop(first);
    second.set_read_timeout(Some(crate::support::LIMIT)).unwrap();
    second.read_exact(&mut [0]).unwrap();
}

#[test]
fn few_descriptors() {
    let target = echo().to_string();
    let args = ["--splice", "127.0.0.1:0", &target];
    let (program, address) = Program::serve(example_with_descriptors(64, "proxy", &args));
    let streams: Vec<_> = (0..100).map(|_| connect(address)).collect();
    program.assert_is_quiet();
    // Each gets its turn when others end.
    for mut stream in streams {
        stream.write_all(b"x").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream, false), b"x");
    }
    program.signal(libc::SIGTERM);
    program.end().assert_status(0).assert_stderr(&["at most 8 connections", "ulimit -n is 64"]);
}

#[test]
fn it_ends_in_order() {
    let (program, address) = proxy(echo(), &["--connections", "1"]);
    let mut stream = connect(address);
    stream.write_all(b"1").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    // Also while no more connections are accepted, because there are too many.
    program.signal(libc::SIGTERM);
    until("it does not accept any more", || TcpStream::connect(address).is_err());
    stream.write_all(b"2").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    drop(stream);
    program.end().assert_status(0).assert_stderr(&["2 bytes up, 2 bytes down"]);

    for way in WAYS {
        let options = [way, &["--drain", "0.2"]].concat();
        let (program, address) = proxy(echo(), &options);
        let mut stream = connect(address);
        stream.write_all(b"1").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        program.signal(libc::SIGINT);
        assert_eq!(read_to_end(&mut stream, true), b"");
        program.end().assert_status(1).assert_stderr(&["cut off"]);
    }

    let (program, address) = proxy(echo(), &["--drain", "1000"]);
    let mut stream = connect(address);
    stream.write_all(b"1").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    program.signal(libc::SIGINT);
    until("it does not accept any more", || TcpStream::connect(address).is_err());
    program.signal(libc::SIGINT);
    program.end().assert_status(130);
}

#[test]
fn what_prevents_the_start_is_a_one_line_error() {
    let (_listener, address) = listen();
    let address = address.to_string();
    run("proxy", &[&address, "127.0.0.1:1"])
        .assert_status(1)
        .assert_one_line(&["cannot listen at", "in use"]);
    run("proxy", &["nonsense", "127.0.0.1:1"])
        .assert_status(1)
        .assert_one_line(&["cannot listen at nonsense"]);
    let idle = ["--idle", "-1", "127.0.0.1:0", "b"];
    for args in [&["--wrong"][..], &["127.0.0.1:0"], &[], &["a", "b", "c"], &idle] {
        run("proxy", args).assert_status(2).assert_stderr(&["usage: proxy"]);
    }
    assert!(run("proxy", &["-h"]).assert_status(0).stdout[0].starts_with("usage: proxy"));
}
