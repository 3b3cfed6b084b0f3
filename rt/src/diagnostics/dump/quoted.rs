//! Names as texts have them.

use std::fmt::{self, Display, Formatter};

/// A thread's or a runtime's name, in quotes, and in one line whatever is in it. Allocates nothing.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "'{}'", self.0.escape_debug())
    }
}
