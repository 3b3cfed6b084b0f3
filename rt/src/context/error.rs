//! Why a context has ended.

use std::fmt;
use std::sync::Arc;

/// Why a context has ended. Go's `Canceled` and `DeadlineExceeded`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Error {
    /// It was cancelled, or one that it is derived from.
    Canceled,
    /// Its deadline has passed, or that of one that it is derived from.
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

/// What was given as the reason for the end of a context; shared by all that are derived from it.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;
