//! The scheduler: what runs next and where, and what it counts.

mod blocking;
mod chaos;
mod child_first;
mod continuation_stolen;
mod fork_join;
mod metrics;
mod no_switch;
mod sharing;
mod starvation;
