//! What may be sent and shared, and what may cross a `catch_unwind`. What may not is in the
//! `compile_fail` examples of this package's library.

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};

use gthread::sync::WaitGroup;
use gthread::{
    Builder, JoinHandle, Metrics, Runtime, RuntimeBuilder, Scope, ScopedJoinHandle, Thread,
    ThreadId, channel,
};

type NotSend = std::rc::Rc<()>;
type NotSync = std::cell::Cell<u8>;

fn send_sync_debug<T: Send + Sync + Debug>() {}
fn unwind_safe<T: UnwindSafe + RefUnwindSafe>() {}
fn clone_hash<T: Clone + Copy + Eq + std::hash::Hash>() {}
fn default_clone<T: Default + Clone>() {}

/// Checked by the compiler.
#[test]
fn types_are_send_and_sync() {
    send_sync_debug::<Runtime>();
    send_sync_debug::<RuntimeBuilder>();
    send_sync_debug::<Metrics>();
    send_sync_debug::<Builder>();
    send_sync_debug::<Thread>();
    send_sync_debug::<ThreadId>();
    send_sync_debug::<WaitGroup>();
    // As std's, whatever the result is: it was `Send` when the thread was started.
    send_sync_debug::<JoinHandle<u8>>();
    send_sync_debug::<JoinHandle<NotSync>>();
    send_sync_debug::<JoinHandle<NotSend>>();
    send_sync_debug::<ScopedJoinHandle<'_, u8>>();
    send_sync_debug::<Scope<'_, '_>>();
    // Values pass through, so they need be `Send` only.
    send_sync_debug::<channel::Sender<NotSync>>();
    send_sync_debug::<channel::Receiver<NotSync>>();
    unwind_safe::<channel::Sender<NotSync>>();
    unwind_safe::<channel::Receiver<NotSync>>();
    send_sync_debug::<channel::Select<'_>>();
    default_clone::<channel::Select<'_>>();
    clone_hash::<ThreadId>();
    default_clone::<WaitGroup>();
}

/// The errors are crossbeam-channel's own types, so they convert and print as those.
#[test]
fn errors_are_errors() {
    fn error<T: std::error::Error + Send>(error: T) -> String {
        error.to_string()
    }
    let (tx, rx) = channel::bounded::<u8>(1);
    assert!(error(rx.try_recv().unwrap_err()).contains("empty"));
    tx.send(1).unwrap();
    assert!(error(tx.try_send(2).unwrap_err()).contains("full"));
    drop(rx);
    assert!(error(tx.send(3).unwrap_err()).contains("disconnected"));
}
