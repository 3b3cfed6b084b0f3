//! Sockets, descriptors and look-ups: std's behaviour, and what is beyond std.
#![cfg(target_os = "linux")]

mod dial;
mod io;
mod lessons;
mod poller;
mod std_program;
mod tcp;
mod udp;
mod unix;
