// threadfin, a thread pool of crates.io, with `gthread::channel` for `crossbeam_channel`: see build.rs.
#![allow(warnings, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/threadfin/lib.rs"));

/// The lines that were changed, and where.
pub const CHANGED: &str = include_str!(concat!(env!("OUT_DIR"), "/changed.txt"));
