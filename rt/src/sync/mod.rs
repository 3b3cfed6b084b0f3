//! Blocking synchronisation for green and OS threads alike. One primitive per file.

mod wait_group;

pub use wait_group::WaitGroup;
