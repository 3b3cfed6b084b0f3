//! The system calls of stream sockets that do not block, and when one has left nothing.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsFd;

use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendFlags, recv, recvmsg, send, sendmsg,
};

/// The kernel refuses more buffers in one call.
pub(crate) const MOST_BUFFERS: usize = 1024;

const SEND: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

pub(crate) fn try_recv(socket: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buf, RecvFlags::DONTWAIT)?.0)
}

pub(crate) fn try_peek(socket: impl AsFd, buf: &mut [u8]) -> io::Result<usize> {
    Ok(recv(socket, buf, RecvFlags::DONTWAIT | RecvFlags::PEEK)?.0)
}

pub(crate) fn try_recv_vectored(
    socket: impl AsFd,
    bufs: &mut [IoSliceMut<'_>],
) -> io::Result<usize> {
    let mut control = RecvAncillaryBuffer::default();
    Ok(recvmsg(socket, bufs, &mut control, RecvFlags::DONTWAIT)?.bytes)
}

pub(crate) fn try_send(socket: impl AsFd, buf: &[u8]) -> io::Result<usize> {
    Ok(send(socket, buf, SEND)?)
}

pub(crate) fn try_send_vectored(socket: impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[..bufs.len().min(MOST_BUFFERS)];
    Ok(sendmsg(socket, bufs, &mut SendAncillaryBuffer::default(), SEND)?)
}

/// Returns `true` if a call that was asked for `asked` bytes has left nothing. After zero bytes there
/// is nothing more to come, and the next call says so again.
pub(crate) fn is_short(asked: usize, done: usize) -> bool {
    0 < done && done < asked
}

/// The bytes that vectored buffers ask for.
pub(crate) fn total(lens: impl Iterator<Item = usize>) -> usize {
    lens.fold(0, usize::saturating_add)
}
