//! The workloads with locks on OS threads, with parking_lot's. The number of workers means nothing here.

#[path = "../../blocking/locks.rs"]
mod locks;

use std::convert::Infallible;
use std::process::ExitCode;
use std::thread;

use peers_kit::Job;

fn main() -> ExitCode {
    peers_kit::main(&[
        ("mutex-alone", locks::mutex_alone),
        ("mutex-2", locks::mutex),
        ("mutex", locks::mutex),
        ("mutex-64", locks::mutex),
        ("mutex-work", locks::mutex_work),
        ("mutex-held", locks::mutex_held),
        ("read-alone", locks::read_alone),
        ("write-alone", locks::write_alone),
        ("rwlock", locks::rwlock),
        ("condvar", locks::condvar),
    ])
}

/// Where a workload runs: here.
struct Runtime;

impl Runtime {
    fn new(_: &Job) -> Self {
        Self
    }

    fn run<T>(&self, f: impl FnOnce() -> T) -> T {
        f()
    }
}

// Its locks, with std's signatures: they do not know poison.

#[derive(Default)]
struct Mutex<T>(parking_lot::Mutex<T>);

impl<T> Mutex<T> {
    fn new(data: T) -> Self {
        Self(parking_lot::Mutex::new(data))
    }

    #[inline]
    fn lock(&self) -> Result<parking_lot::MutexGuard<'_, T>, Infallible> {
        Ok(self.0.lock())
    }
}

#[derive(Default)]
struct RwLock<T>(parking_lot::RwLock<T>);

impl<T> RwLock<T> {
    #[inline]
    fn read(&self) -> Result<parking_lot::RwLockReadGuard<'_, T>, Infallible> {
        Ok(self.0.read())
    }

    #[inline]
    fn write(&self) -> Result<parking_lot::RwLockWriteGuard<'_, T>, Infallible> {
        Ok(self.0.write())
    }
}

struct Condvar(parking_lot::Condvar);

impl Condvar {
    fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    fn wait<'a, T>(
        &self,
        mut guard: parking_lot::MutexGuard<'a, T>,
    ) -> Result<parking_lot::MutexGuard<'a, T>, Infallible> {
        self.0.wait(&mut guard);
        Ok(guard)
    }

    fn notify_one(&self) {
        self.0.notify_one();
    }
}
