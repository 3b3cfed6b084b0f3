//! `gthread::signal`. Each test in a process of its own: signals are the process's.

use std::io::ErrorKind;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gthread::channel::{RecvTimeoutError, TryRecvError, select};
use gthread::go;
use gthread::signal::{self, Signal};
use gthread_tests::{
    Flag, LONG, for_each_of, is_child, os_thread_names, test_path, until, yield_until,
};

use crate::alone;

/// Runs a test's body alone: named as the function that it stands in.
macro_rules! alone {
    ($name:ident, $body:expr) => {
        #[test]
        fn $name() {
            alone(&test_path!(stringify!($name)), &[], $body);
        }
    };
}

/// Sends a signal to the process.
fn send(signal: Signal) {
    // SAFETY: has no preconditions.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal.as_raw()) }, 0);
}

/// Sends a signal to this thread, which has handled it when this returns.
fn raise(signal: Signal) {
    // SAFETY: has no preconditions.
    assert_eq!(unsafe { libc::raise(signal.as_raw()) }, 0);
}

fn action(signal: Signal) -> libc::sighandler_t {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: no new action is passed, and there is a place for the old one.
    let result = unsafe { libc::sigaction(signal.as_raw(), std::ptr::null(), action.as_mut_ptr()) };
    assert_eq!(result, 0);
    // SAFETY: the call has succeeded, so it has written the action.
    unsafe { action.assume_init() }.sa_sigaction
}

alone!(a_signal_is_received, || {
    for_each_of(&[1, 2], |runtime| {
        let signals = signal::notify(&[Signal::USER1, Signal::USER2]).unwrap();
        let (first, second) = (signals.clone(), signals);
        // On a green thread that waits already, and then on this OS thread.
        let waiter = runtime.spawn(move || first.recv());
        std::thread::sleep(Duration::from_millis(1));
        raise(Signal::USER1);
        assert_eq!(waiter.join().unwrap(), Ok(Signal::USER1));
        raise(Signal::USER2);
        assert_eq!(second.recv(), Ok(Signal::USER2));
        assert_eq!(second.try_recv(), Err(TryRecvError::Empty));
    });
    let threads = os_thread_names().into_iter().filter(|name| name == "gthread-signal");
    assert_eq!(threads.count(), 1);
});

alone!(each_receiver_gets_each_signal, || {
    let receivers = [(); 3].map(|()| signal::notify(&[Signal::USER1]).unwrap());
    let other = signal::notify(&[Signal::USER2]).unwrap();
    raise(Signal::USER1);
    for receiver in &receivers {
        assert_eq!(receiver.recv(), Ok(Signal::USER1));
    }
    assert!(other.is_empty());
});

alone!(a_select_waits_for_signals, || {
    for_each_of(&[1, 2], |runtime| {
        let stop = signal::notify(&[Signal::TERMINATE]).unwrap();
        runtime.run(|| {
            let waits = Flag::new();
            let (waiting, _never) = (waits.clone(), ());
            let waiter = go!(move || {
                waiting.raise();
                select! {
                    recv(stop) -> signal => signal.unwrap(),
                    recv(gthread::channel::after(LONG)) -> _ => unreachable!(),
                }
            });
            yield_until(|| waits.is_up());
            raise(Signal::TERMINATE);
            assert_eq!(waiter.join().unwrap(), Signal::TERMINATE);
        });
    });
});

alone!(ctrl_c_is_received, || {
    let interrupted = signal::ctrl_c().unwrap();
    raise(Signal::INTERRUPT);
    assert_eq!(interrupted.recv(), Ok(()));
    // It holds one. What another receiver has got has been sent to this one.
    let witness = signal::notify(&[Signal::INTERRUPT]).unwrap();
    for _ in 0..10 {
        raise(Signal::INTERRUPT);
        assert_eq!(witness.recv(), Ok(Signal::INTERRUPT));
    }
    assert_eq!(interrupted.recv(), Ok(()));
    assert_eq!(interrupted.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
});

// All that a channel cannot hold is lost, and only that: other channels get it.
alone!(a_full_receiver_loses_signals, || {
    let idle = signal::notify(&[Signal::USER1]).unwrap();
    let busy = signal::notify(&[Signal::USER1]).unwrap();
    for _ in 0..200 {
        raise(Signal::USER1);
        assert_eq!(busy.recv(), Ok(Signal::USER1));
    }
    assert_eq!(Some(idle.len()), idle.capacity());
    assert!(idle.len() < 200);
});

// Signals of different kinds are never lost by quick succession. Their handlers do not interrupt each
// other, for which the stack of a handler would be too small.
alone!(kinds_do_not_displace_each_other, || {
    let signals = signal::notify(&[Signal::USER1, Signal::USER2, Signal::HANGUP]).unwrap();
    for _ in 0..1000 {
        send(Signal::USER1);
        send(Signal::USER2);
        send(Signal::HANGUP);
        let mut three = [(); 3].map(|()| signals.recv().unwrap());
        three.sort();
        assert_eq!(three, [Signal::HANGUP, Signal::USER1, Signal::USER2]);
    }
});

alone!(the_last_receiver_restores_the_action, || {
    for (signal, before) in [
        (Signal::USER1, libc::SIG_DFL),
        // Rust programs ignore it.
        (Signal::PIPE, libc::SIG_IGN),
        (Signal::WINDOW_CHANGE, libc::SIG_DFL),
    ] {
        assert_eq!(action(signal), before);
        for _ in 0..3 {
            let first = signal::notify(&[signal]).unwrap();
            let second = signal::notify(&[Signal::USER2, signal]).unwrap();
            assert_ne!(action(signal), before);
            let clone = second.clone();
            drop((first, second));
            assert_ne!(action(signal), before);
            raise(signal);
            assert_eq!(clone.recv(), Ok(signal));
            drop(clone);
            assert_eq!(action(signal), before);
        }
    }
    // Dropped with signals in it.
    let receiver = signal::notify(&[Signal::USER1]).unwrap();
    raise(Signal::USER1);
    until(|| !receiver.is_empty());
    drop(receiver);
    assert_eq!(action(Signal::USER1), libc::SIG_DFL);
    // Those before are not received again.
    let receiver = signal::notify(&[Signal::USER1]).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(20)), Err(RecvTimeoutError::Timeout));
});

/// After that the signal has its effect.
#[test]
fn a_signal_without_receivers_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let path = test_path!("a_signal_without_receivers_ends_the_process");
    if is_child() {
        let receiver = signal::notify(&[Signal::TERMINATE]).unwrap();
        raise(Signal::TERMINATE);
        assert_eq!(receiver.recv(), Ok(Signal::TERMINATE));
        drop(receiver);
        raise(Signal::TERMINATE);
        std::thread::sleep(LONG);
    }
    let output = gthread_tests::rerun(&path, &[]);
    assert_eq!(output.status.signal(), Some(libc::SIGTERM));
}

alone!(a_closed_channel_counts_as_dropped, || {
    let receiver = signal::notify(&[Signal::USER1]).unwrap();
    raise(Signal::USER1);
    until(|| !receiver.is_empty());
    assert!(receiver.close());
    assert_eq!(action(Signal::USER1), libc::SIG_DFL);
    assert_eq!(receiver.recv(), Ok(Signal::USER1));
    assert!(receiver.recv().is_err());
});

alone!(a_handler_of_the_program_comes_back, || {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handler(_: libc::c_int) {
        CALLS.fetch_add(1, Ordering::SeqCst);
    }
    let handler = handler as *const () as usize;
    // SAFETY: the handler does only what a signal handler may do.
    unsafe { libc::signal(libc::SIGUSR1, handler) };
    let receiver = signal::notify(&[Signal::USER1]).unwrap();
    raise(Signal::USER1);
    assert_eq!(receiver.recv(), Ok(Signal::USER1));
    assert_eq!(CALLS.load(Ordering::SeqCst), 0);
    drop(receiver);
    raise(Signal::USER1);
    until(|| CALLS.load(Ordering::SeqCst) == 1);
    // A handler that the program installs meanwhile stays.
    let receiver = signal::notify(&[Signal::USER2]).unwrap();
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGUSR2, handler) };
    drop(receiver);
    assert_eq!(action(Signal::USER2), handler);
});

#[test]
fn what_cannot_be_received_is_an_error() {
    let refused = |signals: &[Signal], part: &str| {
        let error = signal::notify(signals).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    for signal in [Signal::KILL, Signal::STOP] {
        refused(&[Signal::URGENT, signal], "cannot be handled");
    }
    for signal in [Signal::SEGMENTATION, Signal::BUS, Signal::FLOATING_POINT, Signal::ILLEGAL] {
        refused(&[signal], signal.to_string().as_str());
    }
    for number in [0, -1, 65, 1 << 20] {
        refused(&[Signal::from_raw(number)], "there is no");
    }
    // glibc keeps it for itself.
    let error = signal::notify(&[Signal::URGENT, Signal::from_raw(32)]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    refused(&[], "no signals");
    // Nothing is left of those that were fine.
    assert_eq!(action(Signal::URGENT), libc::SIG_DFL);
}

alone!(quit_belongs_to_the_dumps, || {
    let receiver = signal::notify(&[Signal::QUIT]).unwrap();
    let error = gthread::dump_on_sigquit().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    raise(Signal::QUIT);
    assert_eq!(receiver.recv(), Ok(Signal::QUIT));
    drop(receiver);
    gthread::dump_on_sigquit().unwrap();
    gthread::dump_on_sigquit().unwrap();
    let error = signal::notify(&[Signal::QUIT]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("SIGQUIT prints a dump"), "{error}");
});

alone!(real_time_signals_are_received, || {
    let signal = Signal::from_raw(libc::SIGRTMIN());
    let receiver = signal::notify(&[signal]).unwrap();
    raise(signal);
    assert_eq!(receiver.recv(), Ok(signal));
    assert_eq!(signal.to_string(), format!("signal {}", libc::SIGRTMIN()));
});

// Many receivers come and go while signals arrive: none ends the process, and each that is awaited
// comes.
alone!(receivers_come_and_go, || {
    for_each_of(&[1, 2], |runtime| {
        let kept = signal::notify(&[Signal::USER1]).unwrap();
        let stop = Flag::new();
        let sender = {
            let stop = stop.clone();
            std::thread::spawn(move || {
                while !stop.is_up() {
                    raise(Signal::USER1);
                    std::thread::yield_now();
                }
            })
        };
        runtime.run(|| {
            let threads: Vec<_> = (0..8)
                .map(|_| {
                    go!(|| {
                        for _ in 0..50 {
                            let receiver = signal::notify(&[Signal::USER1]).unwrap();
                            assert_eq!(receiver.recv(), Ok(Signal::USER1));
                        }
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        stop.raise();
        sender.join().unwrap();
        drop(kept);
    });
});

#[test]
fn names_and_numbers() {
    assert_eq!(Signal::INTERRUPT.as_raw(), libc::SIGINT);
    assert_eq!(format!("{:?} {}", Signal::CHILD, Signal::TERMINATE), "SIGCHLD SIGTERM");
    assert_eq!(format!("{:?}", Signal::from_raw(99)), "Signal(99)");
}
