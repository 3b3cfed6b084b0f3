//! The examples of the pages: compiled and run as doc tests.

#[doc = include_str!("../../README.md")]
mod readme {}

#[doc = include_str!("../../docs/channels.md")]
mod channels {}

#[doc = include_str!("../../docs/from-go.md")]
mod from_go {}

#[doc = include_str!("../../docs/from-std.md")]
mod from_std {}
