//! Green threads under the names that the suites know threads by.

use std::thread::Result;

pub use gthread::{
    current, park, park_timeout, sleep, spawn, yield_now, Builder, JoinHandle, Thread,
};

/// `crossbeam_utils::thread::scope`, whose closures get the scope, on [`gthread::scope`].
///
/// # Errors
///
/// If a thread panicked and was not joined, or `f` did. (crossbeam's lets a panic of `f` go on.)
pub fn scope<'env, R>(f: impl for<'scope> FnOnce(Scope<'scope, 'env>) -> R) -> Result<R> {
    let run = || gthread::scope(|scope| f(Scope(scope)));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run))
}

/// A scope that knows crossbeam's way to spawn.
#[derive(Clone, Copy)]
pub struct Scope<'scope, 'env: 'scope>(&'scope gthread::Scope<'scope, 'env>);

impl<'scope, 'env> Scope<'scope, 'env> {
    pub fn spawn<F, T>(self, f: F) -> gthread::ScopedJoinHandle<'scope, T>
    where
        F: FnOnce(Self) -> T + Send + 'scope,
        T: Send + 'scope,
    {
        self.0.spawn(move || f(self))
    }
}
