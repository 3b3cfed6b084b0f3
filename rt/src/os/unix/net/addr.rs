//! Addresses as std has them, and as system calls do.

use std::ffi::OsStr;
use std::io;
use std::mem::offset_of;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::slice;

use rustix::net::{AddressFamily, SocketAddrAny, SocketAddrUnix};

/// Returns the address for system calls.
pub(super) fn raw(addr: &SocketAddr) -> io::Result<SocketAddrUnix> {
    Ok(if let Some(path) = addr.as_pathname() {
        SocketAddrUnix::new(path)?
    } else if let Some(name) = addr.as_abstract_name() {
        SocketAddrUnix::new_abstract_name(name)?
    } else {
        SocketAddrUnix::new_unnamed()
    })
}

/// Returns the address of a sender. A path of 108 bytes, which std's type has and cannot be given,
/// becomes an unnamed address.
pub(super) fn of_sender(addr: Option<&SocketAddrAny>) -> io::Result<SocketAddr> {
    let unnamed = || SocketAddr::from_pathname("");
    let Some(addr) = addr else { return unnamed() };
    if addr.address_family() != AddressFamily::UNIX {
        let text = "the descriptor is not one of a Unix socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    match name(addr) {
        [0, name @ ..] => SocketAddr::from_abstract_name(name),
        path => {
            let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
            SocketAddr::from_pathname(OsStr::from_bytes(path)).or_else(|_| unnamed())
        }
    }
}

/// Returns the bytes behind the family. Not by rustix, which panics for a path that fills its
/// place.
fn name(addr: &SocketAddrAny) -> &[u8] {
    const START: usize = offset_of!(libc::sockaddr_un, sun_path);
    let len = (addr.addr_len() as usize).min(size_of::<libc::sockaddr_un>());
    // SAFETY: the kernel has written so many bytes of a `sockaddr_un`, unless they are fewer than
    // its family; then the slice is empty. They live as long as `addr`.
    unsafe {
        slice::from_raw_parts(addr.as_ptr().cast::<u8>().add(START), len.saturating_sub(START))
    }
}
