//! Input and output that blocks the green thread and not its worker: [`std::io`], and what it lacks.
//!
//! All of `std::io`'s traits, types and functions are here, so that `use std::io` becomes
//! `use gthread::io`.

pub(crate) mod adopt;
pub(crate) mod descriptor;
mod nonblocking;
pub(crate) mod nowait;
pub(crate) mod off_worker;
pub(crate) mod options;
mod pipe;
pub(crate) mod readiness;
mod ready;
pub(crate) mod source;
mod splice;
mod stdio;
pub(crate) mod watched;

pub(crate) use off_worker::off_worker;
pub use stdio::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout};

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink,
    Split, Take, Write, WriterPanicked, empty, prelude, read_to_string, repeat, sink,
};

/// Copies everything from a reader to a writer: std's own function, which works with the types of this
/// crate. Between sockets, pipes and files [`splice`] and [`send_file`] are faster, and read the disk off
/// the worker.
#[doc(inline)]
pub use std::io::copy;

pub use crate::io::pipe::{PipeReader, PipeWriter, pipe};
pub use crate::io::ready::{readable, writable};
pub use crate::io::splice::{send_file, splice};
