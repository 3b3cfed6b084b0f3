//! [`std::process`], whose children a green thread waits for without blocking its worker.
//!
//! [`Child::wait`] waits for the child's pidfd in the poller, and the pipes to and from a child are
//! waited for there too. So a thousand children need no OS thread. Everything works on OS threads as
//! well, as in std.
//!
//! What does not block is std's own, like [`Stdio`] and [`ExitStatus`].
//!
//! # Examples
//!
//! ```
//! use gthread::process::Command;
//!
//! gthread::run(|| {
//!     let output = Command::new("echo").arg("green").output()?;
//!     assert_eq!(output.stdout, b"green\n");
//!     std::io::Result::Ok(())
//! })?;
//! # std::io::Result::Ok(())
//! ```

mod child;
mod command;
mod pipes;

pub use std::process::{
    CommandArgs, CommandEnvs, ExitCode, ExitStatus, Output, Stdio, Termination, abort, exit, id,
};

pub use child::Child;
pub use command::Command;
pub use pipes::{ChildStderr, ChildStdin, ChildStdout};
