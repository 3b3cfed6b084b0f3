//! `select!` and `select_biased!`.
//!
//! The expansion has three steps. `@parse` takes the arms apart one by one. `@bind` evaluates the
//! ends of the channels in nested matches, so that temporaries live as long as they are needed.
//! `@run` selects and completes. Each step of `@bind` is a separate expansion, so by hygiene its
//! variable differs from those of the other steps, though they have the same name.

/// Waits for one of several channel operations, and performs it.
///
/// ```text
/// select! {
///     recv(receiver) -> pattern => expression,
///     send(sender, message) -> pattern => expression,
///     default => expression,              // or default(timeout)
/// }
/// ```
///
/// An arm is ready if its operation would not block. An operation on a disconnected channel is
/// ready too, and completes with an error. Of several ready arms one is chosen at random. If none
/// is ready, the thread waits. With a `default` arm it does not wait, or not longer than the given
/// timeout (a [`Duration`](std::time::Duration)), and then chooses the `default` arm.
///
/// The pattern is bound to the operation's result. The expression of the chosen arm, and its
/// message, are evaluated; those of the other arms are not. An arm that is not chosen neither takes
/// nor loses a value. The semantics are those of crossbeam-channel's macro of this name, and of
/// Go's `select`.
///
/// Parks a green thread, which is a suspension point; blocks an OS thread.
///
/// # Examples
///
/// ```
/// use gthread::channel::{bounded, never, select, unbounded};
/// use std::time::Duration;
///
/// let (numbers, rx) = unbounded();
/// let (_done, done_rx) = bounded::<()>(0);
/// numbers.send(4).unwrap();
///
/// let got = select! {
///     recv(rx) -> number => number.unwrap(),
///     recv(done_rx) -> _ => 0,
/// };
/// assert_eq!(got, 4);
///
/// // An arm that may be switched off: `never()` is what a nil channel is in Go.
/// let enabled = false;
/// select! {
///     recv(if enabled { rx } else { never() }) -> number => unreachable!("{number:?}"),
///     default(Duration::from_millis(1)) => {}
/// }
/// ```
#[doc(inline)]
pub use crate::__gthread_select as select;

/// Like [`select!`], but chooses the first of several ready arms.
///
/// # Examples
///
/// ```
/// use gthread::channel::{select_biased, unbounded};
///
/// let (urgent, urgent_rx) = unbounded();
/// let (other, other_rx) = unbounded();
/// other.send(1).unwrap();
/// urgent.send(2).unwrap();
/// select_biased! {
///     recv(urgent_rx) -> n => assert_eq!(n, Ok(2)),
///     recv(other_rx) -> _ => unreachable!(),
/// }
/// ```
#[doc(inline)]
pub use crate::__gthread_select_biased as select_biased;

#[doc(hidden)]
#[macro_export]
macro_rules! __gthread_select {
    ($($arms:tt)*) => { $crate::__gthread_select_arms!(@parse false [] [] $($arms)*) };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __gthread_select_biased {
    ($($arms:tt)*) => { $crate::__gthread_select_arms!(@parse true [] [] $($arms)*) };
}

/// The steps. `@parse biased [arms] [default] rest…`; a parsed arm is
/// `[recv (end) () (pattern) (body)]` or `[send (end) (message) (pattern) (body)]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __gthread_select_arms {
    // All arms are parsed.
    (@parse $biased:tt [] []) => {
        ::std::compile_error!("empty `select!` block")
    };
    (@parse $biased:tt $arms:tt $default:tt) => {
        $crate::__gthread_select_arms!(@bind $biased [] (0) $default $arms)
    };

    // The body of an arm: a block, which needs no comma before the next arm; or an expression,
    // which may be the last one, and may begin with a block.
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $body:block, $($rest:tt)*) => {
        $crate::__gthread_select_arms!(
            @arm $biased $arms $default $operation $ends ($pattern) ($body) $($rest)*)
    };
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $body:block) => {
        $crate::__gthread_select_arms!(
            @arm $biased $arms $default $operation $ends ($pattern) ($body))
    };
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $body:block $next:ident $($rest:tt)*) => {
        $crate::__gthread_select_arms!(
            @arm $biased $arms $default $operation $ends ($pattern) ($body) $next $($rest)*)
    };
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $body:expr, $($rest:tt)*) => {
        $crate::__gthread_select_arms!(
            @arm $biased $arms $default $operation $ends ($pattern) ($body) $($rest)*)
    };
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $body:expr) => {
        $crate::__gthread_select_arms!(
            @arm $biased $arms $default $operation $ends ($pattern) ($body))
    };
    (@parse $biased:tt $arms:tt $default:tt default => $($rest:tt)*) => {
        $crate::__gthread_select_arms!(@parse $biased $arms $default default() => $($rest)*)
    };
    (@parse $biased:tt $arms:tt []
        default($($timeout:expr)? $(,)?) => $body:block, $($rest:tt)*) => {
        $crate::__gthread_select_arms!(@parse $biased $arms [($($timeout)?) ($body)] $($rest)*)
    };
    (@parse $biased:tt $arms:tt []
        default($($timeout:expr)? $(,)?) => $body:block) => {
        $crate::__gthread_select_arms!(@parse $biased $arms [($($timeout)?) ($body)])
    };
    (@parse $biased:tt $arms:tt []
        default($($timeout:expr)? $(,)?) => $body:block $next:ident $($rest:tt)*) => {
        $crate::__gthread_select_arms!(@parse $biased $arms [($($timeout)?) ($body)] $next $($rest)*)
    };
    (@parse $biased:tt $arms:tt []
        default($($timeout:expr)? $(,)?) => $body:expr, $($rest:tt)*) => {
        $crate::__gthread_select_arms!(@parse $biased $arms [($($timeout)?) ($body)] $($rest)*)
    };
    (@parse $biased:tt $arms:tt [] default($($timeout:expr)? $(,)?) => $body:expr) => {
        $crate::__gthread_select_arms!(@parse $biased $arms [($($timeout)?) ($body)])
    };

    // The part before the pattern.
    (@arm $biased:tt [$($arms:tt)*] $default:tt
        recv ($end:expr $(,)?) $pattern:tt $body:tt $($rest:tt)*) => {
        $crate::__gthread_select_arms!(
            @parse $biased [$($arms)* [recv ($end) () $pattern $body]] $default $($rest)*)
    };
    (@arm $biased:tt [$($arms:tt)*] $default:tt
        send ($end:expr, $message:expr $(,)?) $pattern:tt $body:tt $($rest:tt)*) => {
        $crate::__gthread_select_arms!(
            @parse $biased [$($arms)* [send ($end) ($message) $pattern $body]] $default $($rest)*)
    };
    (@arm $biased:tt $arms:tt $default:tt recv $ends:tt $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "expected one receiver in `recv", ::std::stringify!($ends), "` of `select!`"))
    };
    (@arm $biased:tt $arms:tt $default:tt send $ends:tt $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "expected a sender and a message in `send", ::std::stringify!($ends), "` of `select!`"))
    };
    (@arm $biased:tt $arms:tt $default:tt $operation:ident $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "expected `recv(…)`, `send(…)` or `default` in `select!`, found `",
            ::std::stringify!($operation), "`"))
    };

    // Errors for an arm that has not been parsed.
    (@parse $biased:tt $arms:tt [$($default:tt)+] default($($timeout:tt)*) => $($rest:tt)*) => {
        ::std::compile_error!("there can be only one `default` in a `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt default($($timeout:tt)*) => ) => {
        ::std::compile_error!("expected an expression after `default(…) =>` in `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt default($($timeout:tt)*) => $($rest:tt)*) => {
        ::std::compile_error!(
            "expected `default` or `default(timeout)`, and `,` between the arms of `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt default $($rest:tt)*) => {
        ::std::compile_error!("expected `=>` after `default` or `default(timeout)` in `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt $operation:ident $ends:tt -> $pattern:pat => ) => {
        ::std::compile_error!("expected an expression after `=>` in `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt
        $operation:ident $ends:tt -> $pattern:pat => $($rest:tt)*) => {
        ::std::compile_error!("expected `,` between the arms of `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt $operation:ident $ends:tt -> $pattern:pat) => {
        ::std::compile_error!(::std::concat!(
            "expected `=>` and an expression after `", ::std::stringify!($operation),
            "(…) -> pattern` in `select!`"))
    };
    (@parse $biased:tt $arms:tt $default:tt $operation:ident ($($end:tt)*) $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "expected `-> pattern => expression` after `", ::std::stringify!($operation),
            "(…)` in `select!`"))
    };
    (@parse $biased:tt $arms:tt $default:tt recv $($rest:tt)*) => {
        ::std::compile_error!("expected `recv(receiver) -> pattern => expression` in `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt send $($rest:tt)*) => {
        ::std::compile_error!("expected `send(sender, message) -> pattern => expression` in `select!`")
    };
    (@parse $biased:tt $arms:tt $default:tt $other:tt $($rest:tt)*) => {
        ::std::compile_error!(::std::concat!(
            "expected `recv(…)`, `send(…)` or `default` in `select!`, found `",
            ::std::stringify!($other), "`"))
    };

    // Evaluate the ends, in order. `bound` collects the arms with variables for them.
    (@bind $biased:tt [$($bound:tt)*] ($n:expr) $default:tt
        [[recv ($end:expr) $message:tt $pattern:tt $body:tt] $($arms:tt)*]) => {
        match &$end {
            end => {
                let end: &$crate::channel::Receiver<_> = end;
                $crate::__gthread_select_arms!(
                    @bind $biased [$($bound)* [recv end ($n) $message $pattern $body]] ($n + 1)
                    $default [$($arms)*])
            }
        }
    };
    (@bind $biased:tt [$($bound:tt)*] ($n:expr) $default:tt
        [[send ($end:expr) $message:tt $pattern:tt $body:tt] $($arms:tt)*]) => {
        match &$end {
            end => {
                let end: &$crate::channel::Sender<_> = end;
                $crate::__gthread_select_arms!(
                    @bind $biased [$($bound)* [send end ($n) $message $pattern $body]] ($n + 1)
                    $default [$($arms)*])
            }
        }
    };

    // All ends are bound: select, complete, and run the body.
    (@bind $biased:tt [$([$operation:ident $end:ident ($n:expr) $($arm:tt)*])*] $count:tt
        [$(($($timeout:expr)?) ($default:expr))?] []) => {{
        let cases = [$($crate::channel::macro_support::$operation($end, $n)),*];
        let mut selection = $crate::channel::macro_support::Selection::new(&cases);
        $crate::__gthread_select_arms!(
            @run selection $biased [$(($($timeout)?) ($default))?] $([$operation $end ($n) $($arm)*])*)
    }};
    (@run $selection:ident $biased:tt [] $($arms:tt)*) => {{
        let selected = $selection.select($biased);
        $crate::__gthread_select_arms!(@complete $selection selected $($arms)*)
    }};
    (@run $selection:ident $biased:tt [() ($default:expr)] $($arms:tt)*) => {
        match $selection.try_select($biased) {
            ::std::option::Option::Some(selected) => {
                $crate::__gthread_select_arms!(@complete $selection selected $($arms)*)
            }
            ::std::option::Option::None => {
                ::std::mem::drop($selection);
                $default
            }
        }
    };
    (@run $selection:ident $biased:tt [($timeout:expr) ($default:expr)] $($arms:tt)*) => {
        match $selection.select_timeout($timeout, $biased) {
            ::std::option::Option::Some(selected) => {
                $crate::__gthread_select_arms!(@complete $selection selected $($arms)*)
            }
            ::std::option::Option::None => {
                ::std::mem::drop($selection);
                $default
            }
        }
    };
    (@complete $selection:ident $selected:ident
        $([$operation:ident $end:ident ($n:expr) ($($message:expr)?) ($pattern:pat) ($body:expr)])*) => {
        $(if $selected == $n {
            let result = $selection.$operation($end $(, $message)?);
            // The borrows of the selection end here.
            ::std::mem::drop($selection);
            let $pattern = result;
            $body
        } else)* {
            ::std::unreachable!("select chose an operation that is not there")
        }
    };
}
