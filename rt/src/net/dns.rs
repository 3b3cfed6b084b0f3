//! Look-ups of names.
//!
//! The system's resolver (`getaddrinfo`) blocks for as long as it likes, so it is called off the worker.
//! Each call takes an OS thread, so there is a limit on how many green threads are in it; others wait
//! for their turn as green threads do.
//!
//! [`ToSocketAddrs`] is a trait of our own, although std has one: of std's trait nobody can tell whether
//! it will look up a name. To leave the worker for each address that is known already would hand over
//! the work that waits there for nothing.

use std::io;
use std::iter;
use std::net::{
    self as std_net, IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
};
use std::option;
use std::panic::Location;
use std::slice;
use std::sync::{Arc, LazyLock};
use std::time::Instant;
use std::vec;

use crate::channel::{Receiver, Select, bounded, never};
use crate::sync::Semaphore;
use crate::thread::spawn::{self, Options};
use crate::wait::park::{self, blocking};

/// How many green threads look up names at once.
const AT_ONCE: usize = 64;

/// Permits to look up a name. (Lazy for loom only.)
static PERMITS: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE));

/// Converts to addresses, by a look-up if need be, like [`std::net::ToSocketAddrs`].
///
/// It is implemented for the same types, and does the same. But a name is looked up off the worker:
/// that parks green threads that wait for their turn, and lets other green threads run meanwhile. At
/// most 64 green threads look up names at once. What needs no look-up, such as `"127.0.0.1:80"` or an
/// address, is converted in place.
///
/// # Examples
///
/// ```
/// use gthread::net::{SocketAddr, ToSocketAddrs};
///
/// let mut addrs = gthread::run(|| "localhost:80".to_socket_addrs())?;
/// assert!(addrs.all(|addr| addr.port() == 80 && addr.ip().is_loopback()));
/// let addr = SocketAddr::from(([127, 0, 0, 1], 80));
/// assert_eq!("127.0.0.1:80".to_socket_addrs()?.next(), Some(addr));
/// # std::io::Result::Ok(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses. If a name was looked up, they are in the order in which they should be tried.
    type Iter: Iterator<Item = SocketAddr>;

    /// Converts to addresses.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if a string is no address, and no name with a port. Those of the look-up.
    fn to_socket_addrs(&self) -> io::Result<Self::Iter>;

    /// Returns the name that would have to be looked up, and the port.
    #[doc(hidden)]
    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        None
    }
}

/// Implements the trait for types that are an address.
macro_rules! addresses {
    ($($type:ty),*) => {$(
        impl ToSocketAddrs for $type {
            type Iter = option::IntoIter<SocketAddr>;

            fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
                std_net::ToSocketAddrs::to_socket_addrs(self)
            }
        }
    )*};
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for (&str, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.name_to_look_up() {
            Some((name, port)) => look_up(name, port),
            None => std_net::ToSocketAddrs::to_socket_addrs(self),
        }
    }

    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        let &(name, port) = self;
        name.parse::<IpAddr>().is_err().then_some((name, port))
    }
}

impl ToSocketAddrs for (String, u16) {
    type Iter = vec::IntoIter<SocketAddr>;

    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (&*self.0, self.1).to_socket_addrs()
    }

    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        let (name, port) = self;
        name.parse::<IpAddr>().is_err().then_some((name, *port))
    }
}

impl ToSocketAddrs for str {
    type Iter = vec::IntoIter<SocketAddr>;

    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self.name_to_look_up() {
            Some((name, port)) => look_up(name, port),
            // An address, or an error.
            None => std_net::ToSocketAddrs::to_socket_addrs(self),
        }
    }

    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        if self.parse::<SocketAddr>().is_ok() {
            return None;
        }
        let (name, port) = self.rsplit_once(':')?;
        Some((name, port.parse().ok()?))
    }
}

impl ToSocketAddrs for String {
    type Iter = vec::IntoIter<SocketAddr>;

    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }

    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        (**self).name_to_look_up()
    }
}

impl<'a> ToSocketAddrs for &'a [SocketAddr] {
    type Iter = iter::Cloned<slice::Iter<'a, SocketAddr>>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.iter().cloned())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    type Iter = T::Iter;

    #[track_caller]
    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        (**self).to_socket_addrs()
    }

    fn name_to_look_up(&self) -> Option<(&str, u16)> {
        (**self).name_to_look_up()
    }
}

/// Returns the addresses of a host, in the order in which they should be tried: the system's resolver,
/// called off the worker, without a port.
///
/// Waits until `deadline` at most. The resolver cannot be stopped, so it then goes on without this
/// thread. At most 64 green threads look up names at once. A host that is an address is returned at
/// once.
///
/// Parks the green thread, a suspension point, or blocks the OS thread.
///
/// # Errors
///
/// Those of the resolver; `TimedOut` after the deadline.
///
/// # Examples
///
/// ```
/// let addrs = gthread::run(|| gthread::net::lookup_host("localhost", None))?;
/// assert!(!addrs.is_empty() && addrs.iter().all(|addr| addr.is_loopback()));
/// # std::io::Result::Ok(())
/// ```
#[track_caller]
pub fn lookup_host(host: &str, deadline: Option<Instant>) -> io::Result<Vec<IpAddr>> {
    if let Ok(addr) = host.parse() {
        return Ok(vec![addr]);
    }
    let addrs = match deadline {
        None => look_up(host, 0)?,
        Some(_) => look_up_until(host, 0, deadline, &never::<()>())?.expect("never disconnected"),
    };
    Ok(addrs.map(|addr| addr.ip()).collect())
}

/// Converts to addresses, off the worker if a name has to be looked up.
#[track_caller]
pub(crate) fn resolve(addrs: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    addrs.to_socket_addrs()
}

/// Asks the system's resolver.
#[track_caller]
fn look_up(name: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    // Others have an OS thread that blocks in any case.
    let _permit = if park::is_green() { Some(PERMITS.acquire()) } else { None };
    ask_resolver(name, port)
}

// Not inlined: std reads `errno`, whose address is another after a wait, and the compiler may compute it
// once.
#[inline(never)]
fn ask_resolver(name: &str, port: u16) -> io::Result<vec::IntoIter<SocketAddr>> {
    blocking(|| std_net::ToSocketAddrs::to_socket_addrs(&(name, port)))
}

/// As [`look_up`], but gives up at the deadline, or returns nothing when `done` is disconnected.
///
/// # Errors
///
/// `TimedOut` after the deadline; those of [`look_up`], and of starting a thread.
#[track_caller]
pub(crate) fn look_up_until<D>(
    name: &str,
    port: u16,
    deadline: Option<Instant>,
    done: &Receiver<D>,
) -> io::Result<Option<vec::IntoIter<SocketAddr>>> {
    let site = Location::caller();
    let (result, results) = bounded(1);
    // Those that nobody waits for any more do not hold up the others.
    let wanted = Arc::new(());
    let is_wanted = Arc::downgrade(&wanted);
    let name = name.to_owned();
    let run = move || {
        let _permit = park::is_green().then(|| PERMITS.acquire());
        if is_wanted.strong_count() > 0 {
            let _ = result.send(ask_resolver(&name, port));
        }
    };
    // In the default runtime, since it may be in the resolver for longer than another one exists.
    //
    // SAFETY: the closure and its result are `Send` and `'static`, so they may be sent and borrow
    // nothing.
    drop(unsafe { spawn::start_in_default(Options::new(site), run) }?);
    let mut select = Select::new_biased();
    let is_there = select.recv(&results);
    select.recv(done);
    let selected = match deadline {
        None => select.select(),
        Some(at) => select.select_deadline(at).map_err(|_| io::ErrorKind::TimedOut)?,
    };
    if selected.index() == is_there {
        let result = selected.recv(&results);
        return result.expect("sent while it is wanted").map(Some);
    }
    let _ = selected.recv(done);
    Ok(None)
}
