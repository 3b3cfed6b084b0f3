//! The examples, as their users run them: each test starts a program and talks to it on loopback.
//!
//! What must not happen is a panic, a hang or a loop that spins, whatever the other side does.
//! Every wait here has a limit, and every program that was started is ended with the test.
#![cfg(target_os = "linux")]

mod echo;
mod fetch_all;
mod http;
mod proxy;
mod support;
