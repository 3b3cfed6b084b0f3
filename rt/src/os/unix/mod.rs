//! What is particular to Unix, like [`std::os::unix`].

pub mod net;
