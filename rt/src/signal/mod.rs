//! Signals of the operating system, as values of a channel.
