//! [`std::net`] for green threads: sockets whose operations block the green thread, and not its worker.

pub(crate) mod datagram_ops;
mod dial;
mod dns;
pub(crate) mod stream_ops;
mod tcp;
mod udp;

pub use std::net::{
    AddrParseError, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6,
};

pub use dial::Dialer;
pub use dns::{ToSocketAddrs, lookup_host};
pub use tcp::{Incoming, TcpListener, TcpStream};
pub use udp::UdpSocket;
