//! Channels: what sends, receives and timers do, on OS threads, on green threads, and between both.

mod after;
mod blocking;
mod cancelled;
mod close;
mod crowd;
mod disconnect;
mod drops;
mod introspection;
mod iter;
mod order;
mod rendezvous;
mod tick;
mod timeout;
mod values;
