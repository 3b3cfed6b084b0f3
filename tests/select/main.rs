//! `Select` and `select!`: what is chosen, what is ready, what is left behind.

mod fair;
mod list;
mod macro_bodies;
mod macro_many;
mod macros;
mod operation;
mod promises;
mod ready;
mod rendezvous;
mod wait;
