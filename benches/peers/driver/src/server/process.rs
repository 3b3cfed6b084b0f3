//! A server's process.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::run;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(10);

/// A server that listens. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    port: u16,
    errors: Option<JoinHandle<String>>,
}

/// Returns a port at which nobody listens.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

impl Server {
    /// Starts it, and waits until it listens at the port.
    pub(crate) fn start(mut command: Command, port: u16) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            format!("{} does not start: {error}", command.get_program().to_string_lossy())
        })?;
        let errors = Some(run::collect(child.stderr.take().expect("it is piped")));
        let mut server = Self { child, port, errors };
        let start = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(how) = server.how_it_ended() {
                return Err(how);
            }
            if start.elapsed() > START {
                return Err(format!("does not listen after {} s", START.as_secs()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it, and returns what its client said. If the server has ended already, that is the reason.
    pub(crate) fn end<T>(mut self, result: Result<T, String>) -> Result<T, String> {
        match self.how_it_ended() {
            Some(how) => Err(format!("the server has ended: {how}")),
            None => result,
        }
    }

    fn how_it_ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok().flatten()?;
        Some(run::how(status, self.errors.take()?))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If that fails, it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn one_that_does_not_listen_tells_why() {
        let port = free_port().unwrap();
        let why = Server::start(shell("echo why >&2; exit 3"), port).unwrap_err();
        assert_eq!(why, "exit status: 3: why");
    }

    #[test]
    fn one_that_has_ended_is_the_reason() {
        // Another listens for it.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut server = Server::start(shell("kill -SEGV $$"), port).unwrap();
        while server.child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        let how = server.end::<()>(Err("no answer".into())).unwrap_err();
        assert_eq!(how, "the server has ended: segmentation fault");
    }

    #[test]
    fn one_that_listens_is_killed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server::start(shell("exec sleep 600"), port).unwrap();
        let process = format!("/proc/{}", server.id());
        assert_eq!(server.end(Ok(1)), Ok(1));
        assert!(!std::path::Path::new(&process).exists());
    }
}
