//! Input and output that blocks the green thread and not its worker: [`std::io`], and what it lacks.
//!
//! All of `std::io`'s traits, types and functions are here, so that `use std::io` becomes
//! `use gthread::io`.

pub(crate) mod adopt;
pub(crate) mod descriptor;
pub(crate) mod off_worker;
pub(crate) mod options;
pub(crate) mod readiness;
pub(crate) mod source;
mod stdio;
pub(crate) mod watched;

pub(crate) use off_worker::off_worker;
pub use stdio::{Stderr, StderrLock, Stdin, StdinLock, Stdout, StdoutLock, stderr, stdin, stdout};

pub use std::io::{
    BufRead, BufReader, BufWriter, Bytes, Chain, Cursor, Empty, Error, ErrorKind, IntoInnerError,
    IoSlice, IoSliceMut, IsTerminal, LineWriter, Lines, Read, Repeat, Result, Seek, SeekFrom, Sink,
    Split, Take, Write, empty, prelude, read_to_string, repeat, sink,
};
