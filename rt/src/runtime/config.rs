//! The configuration of a runtime: from its builder, or else from the environment, or else from the
//! machine. Nothing else reads the environment.

use std::hash::BuildHasher;
use std::io::{self, Write as _};
use std::sync::{LazyLock, Once};
use std::thread;

use gthread_arch::stacks::{GuardConfig, GuardKind, SizeClass, StackError};

use crate::task::header::ABOVE_STACK;

/// The default address space of a green thread's stack, including its guard.
const DEFAULT_STACK: usize = 256 << 10;

/// The configuration of a runtime.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workers: u32,
    /// The most OS threads beyond the workers, which run in the places of blocked ones.
    pub(crate) max_spares: usize,
    /// The size class of stacks for which no size is given.
    pub(crate) class: SizeClass,
    pub(crate) guard: GuardConfig,
    /// Whether to record how much of its stack each thread has used.
    pub(crate) profile_stacks: bool,
    pub(crate) detection: Detection,
    /// Whether SIGQUIT prints a dump.
    pub(crate) on_sigquit: bool,
    /// What to do if threads are left when the runtime is dropped.
    pub(crate) leaks: Leaks,
    /// Whether panic messages name the green thread.
    pub(crate) name_panics: bool,
    /// Whether workers and sysmon ask the kernel for shorter time slices.
    pub(crate) short_slices: bool,
    /// The seed of chaos, if chaos is on.
    pub(crate) chaos: Option<u64>,
    /// The name of the runtime. Its workers' OS threads are called this, a dash, and their number.
    pub(crate) name: String,
}

/// How deadlocks are detected, and their consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detection {
    /// A deadlock ends the process.
    On,
    /// A deadlock is a panic in the threads that wait.
    Panic,
    Off,
    /// Like `On`, but looks all the time while no worker runs. For tests of the detection.
    Eager,
}

/// What a [`Runtime`](crate::Runtime) does if some of its green threads have not ended when it is
/// dropped. In any case these threads are leaked, with all they own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Leaks {
    /// Does nothing.
    Ignore,
    /// Prints to stderr how many there are, where they were spawned, and where and for what they
    /// wait.
    #[default]
    Print,
    /// Prints the same with their call stacks, and panics, so that a test fails. Does not panic
    /// while the thread unwinds.
    Panic,
}

/// The settings of a `RuntimeBuilder`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) workers: Option<usize>,
    pub(crate) max_spares: Option<usize>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) guard_size: Option<usize>,
    pub(crate) profile_stacks: Option<bool>,
    pub(crate) detect_deadlocks: Option<bool>,
    /// The runtime is for a test: by default a deadlock is a panic.
    pub(crate) for_test: bool,
    pub(crate) leaks: Option<Leaks>,
    pub(crate) name_panics: Option<bool>,
    pub(crate) short_slices: bool,
    pub(crate) chaos: Option<u64>,
    pub(crate) name: Option<String>,
}

impl Config {
    /// Creates the configuration from the settings, or else from the environment, or else from the
    /// machine.
    pub(crate) fn new(wishes: Wishes) -> io::Result<Self> {
        let workers = match wishes.workers {
            Some(workers) => workers,
            None => match from_env("GTHREAD_WORKERS")? {
                Some(workers) => workers,
                None => thread::available_parallelism().map_or(1, usize::from),
            },
        };
        let workers = match u32::try_from(workers) {
            Ok(workers @ 1..=MAX_WORKERS) => workers,
            _ => {
                return Err(invalid(format!(
                    "the workers of a runtime (RuntimeBuilder::workers, else GTHREAD_WORKERS) must be \
                     1 to {MAX_WORKERS}, not {workers}"
                )));
            }
        };
        let max_spares = match wishes.max_spares {
            Some(spares) => spares,
            None => from_env("GTHREAD_MAX_SPARES")?.unwrap_or(USUAL_SPARES),
        };
        if !(1..=MAX_SPARES).contains(&max_spares) {
            return Err(invalid(format!("max_spares must be 1 to {MAX_SPARES}, not {max_spares}")));
        }
        blocking_io()?;
        let guard = guard(wishes.guard_size)?;
        let stack_size = match wishes.stack_size {
            Some(bytes) => Some(bytes),
            None => from_env("GTHREAD_STACK_SIZE")?,
        };
        let class = match stack_size {
            // At least half of the address space is stack, however large the guard.
            None => SizeClass::of_size(DEFAULT_STACK.max(2 * guard.size()))?,
            Some(bytes) => class_of(bytes, guard.size())?,
        };
        let profile_stacks = match wishes.profile_stacks {
            Some(profile) => profile,
            None => choice_from_env("GTHREAD_STACK_PROFILE", &[("0", false), ("1", true)])?,
        };
        let detection = detection(&wishes)?;
        let on_sigquit = choice_from_env("GTHREAD_DUMP", &[("never", false), ("sigquit", true)])?;
        let leaks = match wishes.leaks {
            Some(leaks) => leaks,
            None => {
                let ways =
                    [("print", Leaks::Print), ("panic", Leaks::Panic), ("ignore", Leaks::Ignore)];
                choice_from_env("GTHREAD_LEAKS", &ways)?
            }
        };
        let name_panics = match wishes.name_panics {
            Some(name_panics) => name_panics,
            None => choice_from_env("GTHREAD_NAME_PANICS", &[("1", true), ("0", false)])?,
        };
        let chaos = match wishes.chaos {
            Some(seed) => seed,
            None => chaos_from_env()?,
        };
        let name = wishes.name.unwrap_or_else(|| "gthread".into());
        if name.contains('\0') {
            return Err(invalid(format!(
                "a runtime's name must not contain a NUL byte, since its OS threads are named after it: {name:?}"
            )));
        }
        Ok(Self {
            workers,
            max_spares,
            class,
            guard,
            profile_stacks,
            detection,
            on_sigquit,
            leaks,
            name_panics,
            short_slices: wishes.short_slices,
            chaos: (chaos != 0).then_some(chaos),
            name,
        })
    }
}

fn detection(wishes: &Wishes) -> io::Result<Detection> {
    if wishes.detect_deadlocks == Some(false) {
        return Ok(Detection::Off);
    }
    let mut ways = [
        ("on", Detection::On),
        ("panic", Detection::Panic),
        ("off", Detection::Off),
        ("eager", Detection::Eager),
    ];
    if wishes.for_test {
        ways.swap(0, 1);
    }
    match choice_from_env("GTHREAD_DEADLOCK", &ways)? {
        Detection::Off if wishes.detect_deadlocks == Some(true) => Ok(Detection::On),
        said => Ok(said),
    }
}

/// Returns how many operations on files may block OS threads at once. This holds for the whole
/// process.
pub(crate) fn blocking_io() -> io::Result<usize> {
    const NAME: &str = "GTHREAD_BLOCKING_IO";
    match from_env(NAME)?.unwrap_or(USUAL_BLOCKING_IO) {
        number @ 1..=MAX_SPARES => Ok(number),
        number => Err(invalid(format!("{NAME} must be 1 to {MAX_SPARES}, not {number}"))),
    }
}

/// The default for `GTHREAD_BLOCKING_IO`: like tokio's default for blocking threads.
pub(crate) const USUAL_BLOCKING_IO: usize = 512;

/// Returns how to guard stacks: with a guard of `size`, or else as the environment says.
pub(crate) fn guard(size: Option<usize>) -> io::Result<GuardConfig> {
    let kinds = [("auto", GuardKind::Auto), ("mprotect", GuardKind::Mprotect)];
    let kind = choice_from_env("GTHREAD_GUARD", &kinds)?;
    let size = match size {
        Some(bytes) => bytes,
        None => from_env("GTHREAD_GUARD_SIZE")?.unwrap_or(0),
    };
    let mut guard = GuardConfig::new(kind).at_least(size)?;
    guard.max_maps = from_env("GTHREAD_MAX_MAPS")?;
    Ok(guard)
}

/// More workers than this are a mistake.
const MAX_WORKERS: u32 = 1024;

/// The default for `max_spares`.
const USUAL_SPARES: usize = 1024;

/// `Idle` cannot count more than this in addition to the workers.
const MAX_SPARES: usize = 32_768;

fn from_env(name: &str) -> io::Result<Option<usize>> {
    match std::env::var(name) {
        Ok(value) => match value.trim().parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(invalid(format!("{name} must be a positive number, not {value:?}"))),
        },
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(invalid(format!("{name}: {error}"))),
    }
}

/// Returns the seed that `GTHREAD_CHAOS` asks for, or zero if it asks for none. A random seed is
/// the same for the whole process. Prints the seed, once.
fn chaos_from_env() -> io::Result<u64> {
    const NAME: &str = "GTHREAD_CHAOS";
    static RANDOM: LazyLock<u64> =
        LazyLock::new(|| std::hash::RandomState::new().hash_one(NAME) | 1);
    static SAID: Once = Once::new();
    let seed = match std::env::var(NAME).as_deref().map(str::trim) {
        Err(std::env::VarError::NotPresent) => 0,
        Ok("random") => *RANDOM,
        Ok(seed) => seed
            .parse()
            .map_err(|_| invalid(format!("{NAME} must be a number or \"random\", not {seed:?}")))?,
        Err(error) => return Err(invalid(format!("{NAME}: {error}"))),
    };
    if seed != 0 {
        // Not with `eprintln!`: the test harness shows its output only for the test that printed
        // it, and only if that fails. Another test may be the one that fails.
        SAID.call_once(|| {
            let _ =
                writeln!(io::stderr(), "gthread: chaos, GTHREAD_CHAOS={seed} repeats its choices");
        });
    }
    Ok(seed)
}

/// Returns the value to which the environment variable `name` is set, or the first one if it is not
/// set.
fn choice_from_env<T: Copy>(name: &str, values: &[(&str, T)]) -> io::Result<T> {
    let said = match std::env::var(name) {
        Ok(said) => said,
        Err(std::env::VarError::NotPresent) => return Ok(values[0].1),
        Err(error) => return Err(invalid(format!("{name}: {error}"))),
    };
    let value = values.iter().find(|(value, _)| said.trim() == *value);
    value.map(|&(_, value)| value).ok_or_else(|| {
        let names: Vec<_> = values.iter().map(|(value, _)| *value).collect();
        invalid(format!("{name} must be {}, not {said:?}", names.join(" or ")))
    })
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// The least usable bytes of a stack: enough for the frames of a panic that is caught and printed.
/// The control block and the closure are not part of them ([`ABOVE_STACK`]).
const MIN_STACK: usize = 24 << 10;

/// Returns the smallest class of stacks with at least `bytes` usable bytes.
pub(crate) fn class_of(bytes: usize, guard: usize) -> Result<SizeClass, StackError> {
    SizeClass::of_usable(bytes.max(MIN_STACK), guard + ABOVE_STACK)
}
