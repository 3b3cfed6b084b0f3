//! Connections from several addresses of this machine.

use std::ffi::c_int;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;

use socket2::{Domain, Socket, Type};

/// How many addresses there are. A closed connection keeps its port for a second at least, and an
/// address has 28,000.
const SOURCES: u8 = 4;

/// Returns the address for the `nth` connection.
pub(crate) fn source(nth: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + (nth % usize::from(SOURCES)) as u8)
}

/// Connects from an address, at a port that the kernel chooses.
pub(crate) fn connect_from(source: Ipv4Addr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    choose_port_later(&socket)?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect(&to.into())?;
    Ok(socket.into())
}

/// Has `bind` choose no port, so that `connect` can choose one that is used for another peer.
fn choose_port_later(socket: &Socket) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: the option's value is the integer `on`, of the length that is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn connections_come_from_several_addresses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = listener.local_addr().unwrap();
        let streams = [0, 1].map(|nth| connect_from(source(nth), to).unwrap());
        let from = [(); 2].map(|()| listener.accept().unwrap().1);
        assert_ne!(from[0].ip(), from[1].ip());
        assert_eq!(from, streams.map(|stream| stream.local_addr().unwrap()));
    }
}
