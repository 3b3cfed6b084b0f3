//! Names as they are written in texts.

use std::fmt::{self, Display, Formatter};

/// Displays a thread's or a runtime's name in quotes, and on one line whatever it contains.
/// Allocates nothing.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_debug())
    }
}
