//! Sockets that do not block for the time of a call.
//!
//! `splice` and `sendfile` have no flag that keeps a socket from blocking, unlike `recv` and `send`: they
//! look at `O_NONBLOCK` only. That belongs to the socket, not to one descriptor, and several threads may
//! copy from and to a socket at once. So they are counted, by the inode, which is the socket's; the first
//! one sets the flag, and the last one takes it away.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, Stat, fcntl_getfl, fcntl_setfl};

/// Device and inode.
type Socket = (u64, u64);

/// How many calls need each socket not to block.
static SOCKETS: Mutex<BTreeMap<Socket, usize>> = Mutex::new(BTreeMap::new());

fn sockets() -> MutexGuard<'static, BTreeMap<Socket, usize>> {
    SOCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps a socket from blocking.
pub(crate) struct Nonblocking<'fd> {
    fd: BorrowedFd<'fd>,
    socket: Socket,
}

impl<'fd> Nonblocking<'fd> {
    /// Returns nothing if the socket's owner has made it so already.
    pub(crate) fn enter(fd: BorrowedFd<'fd>, stat: &Stat) -> io::Result<Option<Self>> {
        let socket = (stat.st_dev, stat.st_ino);
        let mut sockets = sockets();
        if let Some(count) = sockets.get_mut(&socket) {
            *count += 1;
            return Ok(Some(Self { fd, socket }));
        }
        let flags = fcntl_getfl(fd)?;
        if flags.contains(OFlags::NONBLOCK) {
            return Ok(None);
        }
        fcntl_setfl(fd, flags | OFlags::NONBLOCK)?;
        sockets.insert(socket, 1);
        Ok(Some(Self { fd, socket }))
    }
}

impl Drop for Nonblocking<'_> {
    fn drop(&mut self) {
        let mut sockets = sockets();
        if let Some(count) = sockets.get_mut(&self.socket).filter(|count| **count > 1) {
            *count -= 1;
            return;
        }
        sockets.remove(&self.socket);
        if let Ok(flags) = fcntl_getfl(self.fd) {
            // It cannot fail for a descriptor that is open.
            let _ = fcntl_setfl(self.fd, flags - OFlags::NONBLOCK);
        }
    }
}
