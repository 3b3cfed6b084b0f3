//! Whole programs of channels, selects, locks and threads: known ones, and random ones against a model.

mod channel_model;
mod channels;
mod random;
mod selects;
