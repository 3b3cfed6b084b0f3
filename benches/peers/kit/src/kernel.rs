//! The sequential parts of the workloads, the same for every Rust contestant.
