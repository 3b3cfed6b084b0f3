//! Which processes run on which cores.

use std::io;
use std::mem;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// A core for the server, and one for its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    server: usize,
    client: usize,
}

impl Cores {
    /// Chooses from the cores that this process may use.
    pub(crate) fn of_this_process() -> Self {
        let set = allowed();
        // SAFETY: the set is whole, and `core` is less than its size.
        let is_allowed = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
        let mut cores = (0..libc::CPU_SETSIZE as usize).filter(is_allowed);
        let server = cores.next().unwrap_or(0);
        Self { server, client: cores.next().unwrap_or(server) }
    }

    pub(crate) fn is_one(self) -> bool {
        self.server == self.client
    }

    pub(crate) fn pin_server(self, command: &mut Command) {
        pin(command, self.server);
    }

    pub(crate) fn pin_client(self, command: &mut Command) {
        pin(command, self.client);
    }
}

fn allowed() -> libc::cpu_set_t {
    // SAFETY: a set of bits may be zero.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is a set to be written, of the size that is given. If the call fails it is empty.
    unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    set
}

/// Has a process run on one core, from its beginning.
fn pin(command: &mut Command, core: usize) {
    // SAFETY: a set of bits may be zero.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the set is whole, and `core` is less than its size.
    unsafe { libc::CPU_SET(core, &mut set) };
    let pin = move || {
        // SAFETY: `set` is a set of the size that is given.
        match unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `pin` makes one system call, allocates nothing and takes no lock.
    unsafe { command.pre_exec(pin) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_bound_to_one_core() {
        let cores = Cores::of_this_process();
        for (pin, core) in [
            (Cores::pin_server as fn(Cores, &mut Command), cores.server),
            (Cores::pin_client, cores.client),
        ] {
            let mut command = Command::new("grep");
            command.args(["Cpus_allowed_list", "/proc/self/status"]);
            pin(cores, &mut command);
            let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
            assert_eq!(output.split_whitespace().last(), Some(&*core.to_string()));
        }
    }
}
