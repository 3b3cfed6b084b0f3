//! Green threads from start to end: builders, handles, scopes, variables, panics.

mod auto_traits;
mod builder;
mod extremes;
mod green_local;
mod green_local_drops;
mod handle;
mod join_handle;
mod join_timeout;
mod os_thread_end;
mod panics;
mod panics_deep;
mod park;
mod pinned;
mod same_traits;
mod scope;
mod yielding;
