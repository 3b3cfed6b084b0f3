//! Services of the operating system: sleeping, forked processes, stderr, and facts about OS
//! threads.

pub(crate) mod fork;
pub(crate) mod parker;
pub(crate) mod sched_attr;
pub(crate) mod signals;
pub(crate) mod stderr;
pub(crate) mod thread_state;
pub(crate) mod tid;
#[cfg(feature = "io")]
pub(crate) mod wake_fd;
