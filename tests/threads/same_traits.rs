//! Every public type has the auto traits, and the common ones, of the type of std or of crossbeam that it stands for: a
//! program that changes its `use` lines compiles as before. It may have more, but for `Send` and `Sync`, which are
//! promises.

use std::cell::Cell;
use std::fmt::{Debug, Display};
use std::hash::Hash;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

/// Whether a type has a trait: an inherent constant, which is there if it has, goes before that of the trait, which
/// is always there.
macro_rules! has {
    ($type:ty: $($bound:tt)+) => {{
        struct Of<T: ?Sized>(PhantomData<T>);
        #[allow(dead_code, reason = "if the type has the trait")]
        trait Lacks {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Lacks for Of<T> {}
        #[allow(dead_code, reason = "if the type lacks the trait")]
        impl<T: ?Sized + $($bound)+> Of<T> {
            const HAS: bool = true;
        }
        <Of<$type>>::HAS
    }};
}

/// The traits that a type has.
macro_rules! traits {
    ($type:ty) => {
        [
            ("Send", has!($type: Send)),
            ("Sync", has!($type: Sync)),
            ("Unpin", has!($type: Unpin)),
            ("UnwindSafe", has!($type: UnwindSafe)),
            ("RefUnwindSafe", has!($type: RefUnwindSafe)),
            ("Debug", has!($type: Debug)),
            ("Display", has!($type: Display)),
            ("Error", has!($type: std::error::Error)),
            ("Clone", has!($type: Clone)),
            ("Copy", has!($type: Copy)),
            ("Default", has!($type: Default)),
            ("PartialEq", has!($type: PartialEq)),
            ("Eq", has!($type: Eq)),
            ("PartialOrd", has!($type: PartialOrd)),
            ("Hash", has!($type: Hash)),
            ("Iterator", has!($type: Iterator)),
            ("IntoIterator", has!($type: IntoIterator)),
        ]
    };
}

/// Notes what a type lacks that another has, and what it promises beyond that.
macro_rules! compare {
    ($found:ident; $ours:ty, $other:ty) => {
        for ((name, ours), (_, other)) in traits!($ours).into_iter().zip(traits!($other)) {
            let is_promise = matches!(name, "Send" | "Sync");
            if (other && !ours) || (ours != other && is_promise) {
                $found.push(format!("{}: {name} is {ours}, not {other}", stringify!($ours)));
            }
        }
    };
}

/// [`compare!`], with several types for a parameter.
macro_rules! compare_of {
    ($found:ident; $name:ident: $ours:ty, $other:ty) => {
        compare_of!(@each $found; $name: $ours, $other; u8, Cell<u8>, Rc<u8>, &'static Cell<u8>,
            &'static mut u8, std::sync::MutexGuard<'static, u8>, Box<dyn FnMut() + Send>);
    };
    (@each $found:ident; $name:ident: $ours:ty, $other:ty; $($type:ty),*) => {
        $({
            type $name = $type;
            let mut found = Vec::new();
            compare!(found; $ours, $other);
            $found.extend(found.into_iter().map(|found| format!("{found}, of {}", stringify!($type))));
        })*
    };
}

#[test]
fn threads_are_like_stds() {
    let mut found = Vec::<String>::new();
    compare!(found; gthread::Thread, std::thread::Thread);
    compare!(found; gthread::ThreadId, std::thread::ThreadId);
    compare!(found; gthread::Builder, std::thread::Builder);
    compare!(found; gthread::Scope<'static, 'static>, std::thread::Scope<'static, 'static>);
    compare!(found; gthread::AccessError, std::thread::AccessError);
    compare_of!(found; T: gthread::JoinHandle<T>, std::thread::JoinHandle<T>);
    // Of results that are `Send`: there are no others.
    compare_of!(@each found; T: gthread::ScopedJoinHandle<'static, T>,
        std::thread::ScopedJoinHandle<'static, T>; u8, Cell<u8>, &'static mut u8);
    compare_of!(found; T: gthread::LocalKey<T>, std::thread::LocalKey<T>);
    assert_eq!(found, [""; 0]);
}

#[test]
fn locks_are_like_stds() {
    use gthread::sync as ours;
    use std::sync as other;
    let mut found = Vec::<String>::new();
    compare!(found; ours::Barrier, other::Barrier);
    compare!(found; ours::BarrierWaitResult, other::BarrierWaitResult);
    compare!(found; ours::Condvar, other::Condvar);
    compare!(found; ours::WaitTimeoutResult, other::WaitTimeoutResult);
    compare!(found; ours::Once, other::Once);
    compare!(found; ours::OnceState, other::OnceState);
    compare_of!(found; T: ours::Mutex<T>, other::Mutex<T>);
    compare_of!(found; T: ours::MutexGuard<'static, T>, other::MutexGuard<'static, T>);
    compare_of!(found; T: ours::RwLock<T>, other::RwLock<T>);
    compare_of!(found; T: ours::RwLockReadGuard<'static, T>, other::RwLockReadGuard<'static, T>);
    compare_of!(found; T: ours::RwLockWriteGuard<'static, T>, other::RwLockWriteGuard<'static, T>);
    compare_of!(found; T: ours::OnceLock<T>, other::OnceLock<T>);
    compare_of!(found; T: ours::LazyLock<T>, other::LazyLock<T>);
    compare_of!(found; F: ours::LazyLock<u8, F>, other::LazyLock<u8, F>);
    assert_eq!(found, [""; 0]);
}

#[test]
fn channels_of_one_receiver_are_like_stds() {
    use gthread::sync::mpsc as ours;
    use std::sync::mpsc as other;
    let mut found = Vec::<String>::new();
    compare_of!(found; T: ours::Sender<T>, other::Sender<T>);
    compare_of!(found; T: ours::SyncSender<T>, other::SyncSender<T>);
    compare_of!(found; T: ours::Receiver<T>, other::Receiver<T>);
    compare_of!(found; T: &'static ours::Receiver<T>, &'static other::Receiver<T>);
    compare_of!(found; T: ours::Iter<'static, T>, other::Iter<'static, T>);
    compare_of!(found; T: ours::TryIter<'static, T>, other::TryIter<'static, T>);
    compare_of!(found; T: ours::IntoIter<T>, other::IntoIter<T>);
    assert_eq!(found, [""; 0]);
}

#[test]
#[cfg(target_os = "linux")]
fn pipes_are_like_stds() {
    let mut found = Vec::<String>::new();
    compare!(found; gthread::io::PipeReader, std::io::PipeReader);
    compare!(found; gthread::io::PipeWriter, std::io::PipeWriter);
    assert_eq!(found, [""; 0]);
}

#[test]
fn channels_are_like_crossbeams() {
    use crossbeam_channel as other;
    use gthread::channel as ours;
    let mut found = Vec::<String>::new();
    compare!(found; ours::Select<'static>, other::Select<'static>);
    compare!(found; ours::SelectedOperation<'static>, other::SelectedOperation<'static>);
    compare_of!(found; T: ours::Sender<T>, other::Sender<T>);
    compare_of!(found; T: ours::Receiver<T>, other::Receiver<T>);
    compare_of!(found; T: &'static ours::Receiver<T>, &'static other::Receiver<T>);
    compare_of!(found; T: ours::Iter<'static, T>, other::Iter<'static, T>);
    compare_of!(found; T: ours::TryIter<'static, T>, other::TryIter<'static, T>);
    compare_of!(found; T: ours::IntoIter<T>, other::IntoIter<T>);
    assert_eq!(found, [""; 0]);
}

#[test]
fn what_std_lacks_is_like_its_kin() {
    let mut found = Vec::<String>::new();
    compare!(found; gthread::sync::WaitGroup, crossbeam_utils::sync::WaitGroup);
    assert_eq!(found, [""; 0]);

    fn may_go_anywhere<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Debug>() {}
    may_go_anywhere::<gthread::Runtime>();
    may_go_anywhere::<gthread::RuntimeBuilder>();
    may_go_anywhere::<gthread::ErrGroup<Cell<u8>>>();
    may_go_anywhere::<gthread::context::Context>();
    may_go_anywhere::<gthread::context::CancelGuard>();
    may_go_anywhere::<gthread::context::AfterFunc>();
    may_go_anywhere::<gthread::context::Error>();
    may_go_anywhere::<gthread::sync::WaitGroup>();
    may_go_anywhere::<gthread::sync::Semaphore>();
    may_go_anywhere::<gthread::sync::SemaphorePermit<'static>>();
    may_go_anywhere::<(gthread::Dump, gthread::RuntimeDump, gthread::ThreadDump, gthread::WaitDump)>(
    );
    may_go_anywhere::<(
        gthread::WorkerDump,
        gthread::StackDump,
        gthread::FrameDump,
        gthread::LockDump,
    )>();
    may_go_anywhere::<(gthread::Place, gthread::ThreadState, gthread::WorkerState)>();
    may_go_anywhere::<(gthread::Metrics, gthread::WorkerMetrics, gthread::StackSite, gthread::Leaks)>(
    );
}
