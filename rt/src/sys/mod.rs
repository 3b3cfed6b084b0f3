//! What the runtime asks the operating system for: sleeping, forked processes, stderr, facts of OS threads.

pub(crate) mod fork;
pub(crate) mod parker;
pub(crate) mod sched_attr;
pub(crate) mod stderr;
pub(crate) mod thread_state;
pub(crate) mod tid;
