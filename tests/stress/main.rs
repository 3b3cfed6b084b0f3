//! Everything at once, by chance, for a while: `GTHREAD_STRESS_SECS`.

mod all;
mod alone;
mod context;
mod mix;
mod net;
mod select;
mod sync;
mod time;
