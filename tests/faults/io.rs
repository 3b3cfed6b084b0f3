//! Sockets, and what waiting for them needs.

use std::io::{self, ErrorKind, Read, Write};

use gthread::go;
use gthread::net::{TcpListener, TcpStream};
use gthread_tests::runtime;

use crate::alone;
use crate::filter::{Filtered, filter};

fn refuse(call: libc::c_long, error: i32) {
    filter(call, None, libc::SECCOMP_RET_ERRNO | error as u32, Filtered::Process);
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A read that has to wait is refused, and says why; what need not wait goes on; nothing is lost.
fn refused_to_wait(text: &str, kind: ErrorKind) {
    let (mut client, mut server) = std_pair();
    let mut threads = Vec::new();
    let error: io::Error = server.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(text), "{error}");
    for _ in 0..3 {
        client.write_all(b"x").unwrap();
        let mut server = server.try_clone().unwrap();
        threads.push(go!(move || server.read_exact(&mut [0]).unwrap()));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(server.read(&mut [0]).is_err());
}

/// A pair that was made without waiting.
fn std_pair() -> (TcpStream, TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client.into(), server.into())
}

#[test]
fn epoll_is_refused() {
    alone("io::epoll_is_refused", &[], || {
        refuse(libc::SYS_epoll_create1, libc::EMFILE);
        refused_to_wait("ulimit -n", io::Error::from_raw_os_error(libc::EMFILE).kind());
        runtime(1).run(|| {
            refused_to_wait("ulimit -n", io::Error::from_raw_os_error(libc::EMFILE).kind());
        });
    });
}

#[test]
fn an_eventfd_is_refused() {
    alone("io::an_eventfd_is_refused", &[], || {
        refuse(libc::SYS_eventfd2, libc::ENFILE);
        refused_to_wait("fs.file-max", io::Error::from_raw_os_error(libc::ENFILE).kind());
    });
}

#[test]
fn a_registration_is_refused() {
    alone("io::a_registration_is_refused", &[], || {
        runtime(2).run(|| {
            // One that is registered already, and goes on.
            let (mut client, mut server) = pair();
            let reads = go!(move || {
                let mut all = Vec::new();
                server.read_to_end(&mut all).unwrap();
                all.len()
            });
            gthread::sleep(std::time::Duration::from_millis(5));
            refuse(libc::SYS_epoll_ctl, libc::ENOSPC);
            refused_to_wait("max_user_watches", ErrorKind::StorageFull);
            client.write_all(&[0; 1000]).unwrap();
            drop(client);
            assert_eq!(reads.join().unwrap(), 1000);
        });
    });
}

/// Accepting what was given up goes on to the next, and not for ever.
#[test]
fn connections_are_aborted() {
    alone("io::connections_are_aborted", &[], || {
        runtime(1).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            refuse(libc::SYS_accept4, libc::ECONNABORTED);
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::ConnectionAborted);
        });
    });
}

#[test]
fn sockets_are_refused() {
    alone("io::sockets_are_refused", &[], || {
        runtime(1).run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let addr = listener.local_addr().unwrap();
            refuse(libc::SYS_socket, libc::EMFILE);
            let error = TcpStream::connect(addr).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            let error = TcpListener::bind("127.0.0.1:0").unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        });
    });
}
