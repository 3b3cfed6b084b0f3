//! [`std::fs`] off the workers.
