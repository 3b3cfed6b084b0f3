//! What is particular to Unix, like [`std::os::unix`].

pub mod fs;
pub mod net;
pub mod process;
