//! `fork()` in a process that has a runtime.
//!
//! Apart from other tests, whose memory and open pipes a fork would copy.

mod child;
mod parent;
