//! Sleeping, and waits that end by themselves.

mod sleep;
mod sleep_until;
mod timed_out;
