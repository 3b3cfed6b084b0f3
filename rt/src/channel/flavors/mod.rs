//! The flavors of channels.

pub(crate) mod array;
pub(crate) mod array_slots;
pub(crate) mod buffer;
pub(crate) mod buffered;
pub(crate) mod done;
pub(crate) mod list;
pub(crate) mod promise;
pub(crate) mod rendezvous;
pub(crate) mod timer;
pub(crate) mod zero;
