//! What is particular to an operating system, like [`std::os`].

pub mod unix;
