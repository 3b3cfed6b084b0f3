//! What the machine's memory is like before a contestant runs.

use std::hint;

/// Uses so many bytes for a moment. In a virtual machine, a page that was not used lately costs whoever uses
/// it first, and that should not be whoever happens to run first, or after one that needs less.
pub(crate) fn touch(bytes: usize) {
    drop(hint::black_box(vec![1_u8; bytes]));
}
