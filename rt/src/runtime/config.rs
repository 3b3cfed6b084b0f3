//! What a scheduler is started with: as a builder was told, else as the environment says, else as the machine is.
//! Nothing else reads the environment.

use std::hash::BuildHasher;
use std::io::{self, Write as _};
use std::sync::{LazyLock, Once};
use std::thread;

use gthread_arch::stacks::{GuardConfig, GuardKind, SizeClass, StackError};

use crate::task::header::ABOVE_STACK;

/// Address space of a green thread's stack if nobody says otherwise, guard included.
const DEFAULT_STACK: usize = 256 << 10;

/// What a scheduler is started with.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) workers: u32,
    /// How many OS threads there may be beyond the workers, in the places of those that are blocked.
    pub(crate) max_spares: usize,
    /// The size of stacks that are not asked for by size.
    pub(crate) class: SizeClass,
    pub(crate) guard: GuardConfig,
    /// Notes how much of its stack each thread used.
    pub(crate) profile_stacks: bool,
    pub(crate) detection: Detection,
    /// SIGQUIT makes a dump.
    pub(crate) on_sigquit: bool,
    /// What happens if threads are left when the runtime is dropped.
    pub(crate) leaks: Leaks,
    /// Panic messages name the green thread.
    pub(crate) name_panics: bool,
    /// Workers and sysmon ask the kernel for shorter slices.
    pub(crate) short_slices: bool,
    /// Chaos, and its seed.
    pub(crate) chaos: Option<u64>,
    /// Worker OS threads are called this, a dash, and their number.
    pub(crate) name: String,
}

/// Whether deadlocks are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detection {
    /// A deadlock ends the process.
    On,
    /// It is a panic in all who wait.
    Panic,
    Off,
    /// All the time while it is quiet: to test the looking.
    Eager,
}

/// What a [`Runtime`](crate::Runtime) does when it is dropped while green threads of it have not ended: they are
/// leaked, with all they own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Leaks {
    /// Nothing.
    Ignore,
    /// Prints to stderr how many there are, where they were spawned, and where they wait for what.
    #[default]
    Print,
    /// Prints that with their calls, and panics: so that a test fails. (Not while unwinding.)
    Panic,
}

/// What a `RuntimeBuilder` was told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) workers: Option<usize>,
    pub(crate) max_spares: Option<usize>,
    pub(crate) stack_size: Option<usize>,
    pub(crate) guard_size: Option<usize>,
    pub(crate) profile_stacks: Option<bool>,
    pub(crate) detect_deadlocks: Option<bool>,
    /// It is a test's: a deadlock is a panic if nothing else is said.
    pub(crate) for_test: bool,
    pub(crate) leaks: Option<Leaks>,
    pub(crate) name_panics: Option<bool>,
    pub(crate) short_slices: bool,
    pub(crate) chaos: Option<u64>,
    pub(crate) name: Option<String>,
}

impl Config {
    /// What the builder was told, else the environment, else the machine.
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
        let guard = guard(wishes.guard_size)?;
        let stack_size = match wishes.stack_size {
            Some(bytes) => Some(bytes),
            None => from_env("GTHREAD_STACK_SIZE")?,
        };
        let class = match stack_size {
            // At least half of it is stack, however large the guard.
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

/// How stacks are guarded: as asked for, else as the environment says.
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

/// So many spares are allowed if nobody says otherwise.
const USUAL_SPARES: usize = 1024;

/// More than this cannot be counted, together with the workers (`idle`).
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

/// The seed that `GTHREAD_CHAOS` asks for, one for the process: zero for none. Says which, once.
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
        // Not with the macro: of that a test that passes shows nothing, and another may be the one that fails.
        SAID.call_once(|| {
            let _ =
                writeln!(io::stderr(), "gthread: chaos, GTHREAD_CHAOS={seed} repeats its choices");
        });
    }
    Ok(seed)
}

/// One of some values, by what they are called in the environment; the first if nothing is said.
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

/// No smaller stack is given than this many usable bytes: room for the control block, a closure, and
/// the frames of a panic that is caught and printed.
const MIN_STACK: usize = 24 << 10;

/// The class of stacks with `bytes` to use, at least.
pub(crate) fn class_of(bytes: usize, guard: usize) -> Result<SizeClass, StackError> {
    SizeClass::of_usable(bytes.max(MIN_STACK), guard + ABOVE_STACK)
}
