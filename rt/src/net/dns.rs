//! Name look-ups, and dialing.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::wait::park::blocking;

/// Resolves addresses off the worker.
pub(crate) fn resolve(addrs: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    blocking(|| addrs.to_socket_addrs())
}
