//! Tasks, the control blocks of green threads: creation, states, references and waits. Nothing here
//! knows the runtime.

pub(crate) mod after;
pub(crate) mod cell;
pub(crate) mod cpu_bound;
pub(crate) mod debugger;
pub(crate) mod entry;
pub(crate) mod header;
pub(crate) mod id;
pub(crate) mod join_state;
pub(crate) mod locals;
pub(crate) mod lock_owner;
pub(crate) mod os_thread;
pub(crate) mod owner;
pub(crate) mod prefetch;
pub(crate) mod refs;
pub(crate) mod remote_call;
pub(crate) mod stack_job;
pub(crate) mod switch_request;
pub(crate) mod wait_info;
pub(crate) mod wait_note;
pub(crate) mod wait_state;
