//! The reasons why a context has ended.

use std::fmt;
use std::sync::Arc;

/// The reason why a context has ended. Go's `Canceled` and `DeadlineExceeded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// The context, or one that it is derived from, was cancelled.
    Canceled,
    /// The deadline of the context, or of one that it is derived from, has passed.
    DeadlineExceeded,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Canceled => "context canceled",
            Self::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl std::error::Error for Error {}

/// The cause that was given for the end of a context; shared by all contexts derived from it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;
