//! Runtimes: how they start, what they are told, what stops them, how they end.

mod dropped;
mod dropped_in_flight;
mod environment;
mod limits;
mod passed_over;
mod run;
mod scale;
mod signals;
mod start_anywhere;
