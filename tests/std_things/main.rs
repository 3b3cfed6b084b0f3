//! Programs and things of std on green threads.

mod paths;
mod std_mutex;
mod std_thread;
mod things;
mod thread_locals;
