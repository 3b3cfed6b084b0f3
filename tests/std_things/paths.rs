//! Every stable item of `std::thread`, `std::sync` and `std::time` has its path here too, and those of
//! `std::io` and `std::net` that stand for what blocks. The same list is compiled for both, so it names
//! nothing that std does not have.

/// Names all items below a root.
macro_rules! name_all {
    ($root:ident) => {
        #[allow(deprecated, unused_imports, reason = "to be named is all")]
        mod names {
            mod thread {
                use ::$root::thread::{
                    AccessError, Builder, JoinHandle, LocalKey, Result, Scope, ScopedJoinHandle,
                    Thread, ThreadId, available_parallelism, current, panicking, park,
                    park_timeout, park_timeout_ms, scope, sleep, sleep_ms, spawn, yield_now,
                };
            }

            mod sync {
                use ::$root::sync::atomic::{
                    AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicPtr,
                    AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering,
                    compiler_fence, fence, spin_loop_hint,
                };
                use ::$root::sync::mpsc::{
                    IntoIter, Iter, Receiver, RecvError, RecvTimeoutError, SendError, Sender,
                    SyncSender, TryIter, TryRecvError, TrySendError, channel, sync_channel,
                };
                use ::$root::sync::{
                    Arc, Barrier, BarrierWaitResult, Condvar, LazyLock, LockResult, Mutex,
                    MutexGuard, ONCE_INIT, Once, OnceLock, OnceState, PoisonError, RwLock,
                    RwLockReadGuard, RwLockWriteGuard, TryLockError, TryLockResult,
                    WaitTimeoutResult, Weak, atomic, mpsc,
                };
            }

            mod time {
                use ::$root::time::{
                    Duration, Instant, SystemTime, SystemTimeError, TryFromFloatSecsError,
                    UNIX_EPOCH,
                };
            }

            #[cfg(target_os = "linux")]
            mod io {
                use ::$root::io::prelude::*;
                use ::$root::io::{
                    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind,
                    IntoInnerError, IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, PipeReader,
                    PipeWriter, Read, Repeat, Result, Seek, SeekFrom, Sink, Split, Take, Write,
                    WriterPanicked, copy, empty, pipe, read_to_string, repeat, sink,
                };
            }

            #[cfg(target_os = "linux")]
            mod net {
                use ::$root::net::{
                    AddrParseError, Incoming, IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr,
                    SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
                };
                use ::$root::os::unix::net as unix;
                use unix::{Incoming as UnixIncoming, SocketAddr as UnixAddr, UnixDatagram};
                use unix::{UnixListener, UnixStream};
            }
        }
    };
}

mod of_std {
    name_all!(std);
}

mod of_gthread {
    name_all!(gthread);
}

/// Types that never wait are std's own, so that values go from code that was moved to code that was not.
#[test]
fn what_never_waits_is_stds() {
    fn same<T>(_: fn(T), _: fn(T)) {}
    fn same_of<T>() -> fn(T) {
        |_| ()
    }
    same(same_of::<gthread::sync::Arc<u8>>(), same_of::<std::sync::Arc<u8>>());
    same(same_of::<gthread::sync::Weak<u8>>(), same_of::<std::sync::Weak<u8>>());
    same(same_of::<gthread::sync::LockResult<u8>>(), same_of::<std::sync::LockResult<u8>>());
    same(same_of::<gthread::sync::TryLockResult<u8>>(), same_of::<std::sync::TryLockResult<u8>>());
    same(
        same_of::<gthread::sync::mpsc::SendError<u8>>(),
        same_of::<std::sync::mpsc::SendError<u8>>(),
    );
    same(same_of::<gthread::time::Instant>(), same_of::<std::time::Instant>());
    same(same_of::<gthread::time::SystemTime>(), same_of::<std::time::SystemTime>());
    same(same_of::<gthread::thread::Result<u8>>(), same_of::<std::thread::Result<u8>>());
}

#[test]
fn the_clock_goes_on() {
    let start = gthread::time::now();
    gthread::time::sleep(gthread::time::Duration::from_millis(2));
    let slept = gthread::time::now() - start;
    assert!(slept >= gthread::time::Duration::from_millis(2));
    gthread::time::sleep_until(start + 2 * slept);
    assert!(gthread::time::now() >= start + 2 * slept);
    assert!(gthread::time::UNIX_EPOCH.elapsed().is_ok());
}
