//! What is particular to Linux, like [`std::os::linux`].

/// Sockets, like [`std::os::linux::net`].
pub mod net {
    pub use std::os::linux::net::SocketAddrExt;
}
