//! Name look-ups, and dialing.
