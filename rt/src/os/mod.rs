//! What is particular to an operating system, like [`std::os`].

#[cfg(any(target_os = "android", target_os = "linux"))]
pub mod linux;
pub mod unix;
