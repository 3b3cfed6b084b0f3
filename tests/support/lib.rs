//! What the tests share: watchdogs, runtimes of several sizes, seeds, drop counts, subprocesses.
//!
//! Nothing here sleeps and hopes: [`until`] and its kin wait for an event, however long it takes, and
//! the [`Watchdog`] decides that it takes too long.

use std::fmt::Display;
use std::io::{BufRead, Write};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use gthread::Runtime;

mod must_not_compile;
#[cfg(doctest)]
mod pages;
mod ways;

/// What tests of channels name them by: one line to point their OS ways at another implementation,
/// to see that what they ask for is crossbeam-channel's behaviour.
pub use gthread::channel;
pub use ways::{CAPACITIES, LONG, Peer, SHORT, Scope, ScopedPeer, Way, full, make};

/// How long a test may take before it counts as hung. Long: the machine may be busy with other tests.
pub const LIMIT: Duration = Duration::from_secs(40);

// ---- watchdog ---------------------------------------------------------------------------------

/// Aborts the process, with a report on what its threads were doing, OS and green, if it lives too long.
#[must_use = "the watchdog watches while the guard lives"]
#[derive(Debug)]
pub struct Watchdog {
    ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watchdog {
    /// Watches from now on. `what` is what the report says was under way, beside the test's name.
    pub fn new(limit: Duration, what: impl Display) -> Self {
        let test = std::thread::current().name().unwrap_or("?").to_owned();
        let what = format!("{test}: {what}");
        let ended = Arc::new((Mutex::new(false), Condvar::new()));
        let watched = Arc::clone(&ended);
        let thread = std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                let (ended, changed) = &*watched;
                let (ended, _) = changed
                    .wait_timeout_while(ended.lock().unwrap(), limit, |ended| !*ended)
                    .unwrap();
                if !*ended {
                    report_hang(&what, limit);
                    std::process::abort();
                }
            })
            .unwrap();
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let (ended, changed) = &*self.ended;
        *ended.lock().unwrap() = true;
        changed.notify_all();
        // Joined so that no test finds a thread of another one.
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Writes past libtest's capture, which would keep the report to itself when the process aborts.
fn report_hang(what: &str, limit: Duration) {
    let mut report = format!("\nHANG after {limit:?}: {what}\n");
    match SEED.load(Ordering::Relaxed) {
        0 => {}
        seed => report += &format!("seed: GTHREAD_TEST_SEED={seed}\n"),
    }
    report += &format!(
        "OS threads of process {} (id, name, state, user+system ticks, waits in):\n",
        std::process::id()
    );
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (comm, stat, wchan) = (read("comm"), read("stat"), read("wchan"));
        // The name stands in parentheses and may hold spaces: fields count from behind it.
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let field = |n: usize| fields.get(n).copied().unwrap_or("?");
        let (name, id) = (comm.trim(), task.file_name());
        let (state, user, system) = (field(0), field(11), field(12));
        report += &format!("  {} {name:20} {state} {user}+{system} {wchan}\n", id.display());
    }
    report += "for stacks: run the test alone under gdb, `thread apply all bt`; or keep the core\n";
    let _ = std::io::stderr().write_all(report.as_bytes());
    // Last, and not for long: whatever hangs may hang this too.
    let dumped = Arc::new(AtomicBool::new(false));
    let dumps = Arc::clone(&dumped);
    let _ = std::thread::Builder::new().name("dump".into()).spawn(move || {
        let _ = write!(std::io::stderr(), "\n{}", gthread::dump());
        dumps.store(true, Ordering::Release);
    });
    let patience = Instant::now() + Duration::from_secs(10);
    while !dumped.load(Ordering::Acquire) && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs `body` under a [`Watchdog`].
pub fn watchdog<T>(limit: Duration, body: impl FnOnce() -> T) -> T {
    let _watchdog = Watchdog::new(limit, "did not end");
    body()
}

// ---- runtimes ---------------------------------------------------------------------------------

/// A runtime with so many workers.
pub fn runtime(workers: usize) -> Runtime {
    Runtime::builder().workers(workers).build().unwrap()
}

/// Runs `body` with runtimes of 1, 2 and 8 workers, each under a watchdog, and drops each.
pub fn for_workers(body: impl Fn(&Runtime)) {
    for_each_of(&[1, 2, 8], body);
}

/// Runs `body` with a runtime for each number of workers, each under a watchdog, and drops each.
pub fn for_each_of(workers: &[usize], body: impl Fn(&Runtime)) {
    for &workers in workers {
        let _watchdog = Watchdog::new(LIMIT, format_args!("{workers} workers"));
        println!("{workers} workers");
        let runtime = runtime(workers);
        body(&runtime);
    }
}

/// Gives what `body` gives with a runtime of one worker, which was the only one to run anything: what it then
/// says of turns and counts is exact.
///
/// A machine that stalls the worker for some 10 ms has sysmon cover for it: tasks are moved away, and a
/// spare goes on with them. Then `body` has said nothing, and is asked again. A runtime in which that
/// always happens ends in the watchdog.
pub fn unhelped<T>(body: impl Fn(&Runtime) -> T) -> T {
    let _watchdog = Watchdog::new(LIMIT, "one worker was never left alone");
    loop {
        let runtime = runtime(1);
        let result = body(&runtime);
        let metrics = runtime.metrics();
        if metrics.takeovers == 0 && metrics.spare_workers == 0 {
            return result;
        }
        println!("helped: {} takeovers, {} spares", metrics.takeovers, metrics.spare_workers);
    }
}

// ---- waiting for events -----------------------------------------------------------------------

/// Blocks the OS thread until `event`.
pub fn until(event: impl Fn() -> bool) {
    while !event() {
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Lets other green threads run until `event`.
pub fn yield_until(event: impl Fn() -> bool) {
    while !event() {
        gthread::yield_now();
    }
}

/// Keeps the OS thread busy until `event`: what a green thread should not do, and some will.
pub fn hog_until(event: impl Fn() -> bool) {
    while !event() {
        std::hint::spin_loop();
    }
}

/// Lets what is runnable run, some hundred times.
pub fn yield_often() {
    for _ in 0..200 {
        gthread::yield_now();
    }
}

/// A flag that threads share: raised once.
#[derive(Clone, Debug, Default)]
pub struct Flag(Arc<AtomicBool>);

impl Flag {
    /// A flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises it.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

// ---- counting drops ---------------------------------------------------------------------------

/// Counts how many of its [`Token`]s were dropped.
#[derive(Clone, Debug, Default)]
pub struct Drops(Arc<AtomicUsize>);

impl Drops {
    /// A count of zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// A value that counts when dropped.
    pub fn token(&self) -> Token {
        Token(self.clone())
    }

    /// Tokens dropped so far.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// A value whose drops are counted.
#[derive(Debug)]
pub struct Token(Drops);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

// ---- chance -----------------------------------------------------------------------------------

/// The latest seed, for the watchdog's report.
static SEED: AtomicU64 = AtomicU64::new(0);

/// A new seed, printed; `GTHREAD_TEST_SEED` if that is set.
pub fn seed() -> u64 {
    let seed = match std::env::var("GTHREAD_TEST_SEED") {
        Ok(seed) => seed.parse().expect("GTHREAD_TEST_SEED is a number"),
        Err(_) => {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            Random::new(since.as_nanos() as u64).next() | 1
        }
    };
    SEED.store(seed, Ordering::Relaxed);
    println!("seed: GTHREAD_TEST_SEED={seed}");
    seed
}

/// How long a stress test runs: `GTHREAD_STRESS_SECS`, or one second.
pub fn stress_time() -> Duration {
    let seconds = std::env::var("GTHREAD_STRESS_SECS");
    let seconds = seconds.map_or(1.0, |s| s.parse().expect("GTHREAD_STRESS_SECS is a number"));
    Duration::from_secs_f64(seconds)
}

/// Runs `round` with runtimes of 1, 2 and 8 workers in turn (`GTHREAD_STRESS_WORKERS`: with that many
/// alone), until the time is over.
pub fn stress(mut round: impl FnMut(&Runtime, &mut Random)) {
    let seed = seed();
    let mut random = Random::new(seed);
    // Other tests have seeds too.
    let what = format_args!("did not end; its seed: GTHREAD_TEST_SEED={seed}");
    let _watchdog = Watchdog::new(LIMIT + stress_time(), what);
    let end = Instant::now() + stress_time();
    let runtimes: Vec<_> = match std::env::var("GTHREAD_STRESS_WORKERS") {
        Ok(workers) => vec![runtime(workers.parse().expect("a number of workers"))],
        Err(_) => [1, 2, 8].map(runtime).into(),
    };
    for (n, runtime) in runtimes.iter().cycle().enumerate() {
        if n >= runtimes.len() && Instant::now() >= end {
            break;
        }
        round(runtime, &mut random);
    }
}

/// Pseudo-random numbers (splitmix64). Clones go on with the same ones: fork instead.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another sequence, for another thread.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    /// Any number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A duration below so many microseconds.
    pub fn micros(&mut self, limit: u64) -> Duration {
        Duration::from_nanos(self.below(limit * 1000))
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

// ---- subprocesses -----------------------------------------------------------------------------

const CHILD: &str = "GTHREAD_TEST_CHILD";

/// Whether this is the subprocess that [`test_command`] started.
pub fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// The name of a test of the calling module as libtest knows it: with the modules that it is in.
#[macro_export]
macro_rules! test_path {
    ($name:expr) => {
        $crate::test_path(module_path!(), $name)
    };
}

/// The name of a test of `module` as libtest knows it. See [`test_path!`](crate::test_path!).
pub fn test_path(module: &str, name: &str) -> String {
    // Without the crate.
    let modules = module.split_once("::").map_or(String::new(), |(_, rest)| format!("{rest}::"));
    modules + name
}

/// The command that runs one test of this test binary in a subprocess, where [`is_child`] is true.
pub fn test_command(path: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([path, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    command
}

/// Runs the test `name` of the calling module in a subprocess, with these environment variables and no
/// other of gthread's.
#[macro_export]
macro_rules! rerun {
    ($name:expr, $variables:expr $(,)?) => {
        $crate::rerun(&$crate::test_path!($name), $variables)
    };
}

/// Runs a test of this test binary in a subprocess. See [`rerun!`](crate::rerun!).
pub fn rerun(path: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = test_command(path);
    for (variable, _) in std::env::vars_os() {
        let ours = variable.to_string_lossy().starts_with("GTHREAD_");
        if ours && variable != CHILD {
            command.env_remove(variable);
        }
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    // Also of a test that is to fail.
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("running 1 test"), "no test {path}: {stdout}");
    output
}

/// What a process wrote to stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that a subprocess passed its test.
pub fn assert_passed(output: &Output) {
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{stdout}\n{}", output.status, stderr(output));
    assert!(stdout.contains("1 passed"), "no test of that name: {stdout}");
}

// ---- the process ------------------------------------------------------------------------------

/// OS threads of this process.
pub fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// The OS threads of this process: ids and names.
pub fn named_os_threads() -> impl Iterator<Item = (i64, String)> {
    std::fs::read_dir("/proc/self/task").unwrap().flatten().filter_map(|task| {
        // A thread may end between the two reads.
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
    })
}

/// Names of the OS threads of this process.
pub fn os_thread_names() -> Vec<String> {
    named_os_threads().map(|(_, name)| name).collect()
}

/// The calling OS thread's id, read anew at every call.
#[inline(never)]
pub fn os_thread_id() -> i64 {
    // SAFETY: gettid has no preconditions.
    i64::from(unsafe { libc::gettid() })
}

/// Whether the OS thread of this id sleeps in the kernel.
pub fn is_asleep(id: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|fields| fields.starts_with('S'))
}

/// CPU time that this process has used, of all threads.
pub fn cpu_time() -> Duration {
    read_clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Computes, on one OS thread, until that has used so much CPU time.
pub fn compute(time: Duration) {
    let used = || read_clock(libc::CLOCK_THREAD_CPUTIME_ID);
    let end = used() + time;
    hog_until(|| used() >= end);
}

fn read_clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a place for the answer.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(result, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How often threads of this process have gone to sleep so far.
pub fn times_slept() -> i64 {
    // SAFETY: all fields are integers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is a place for the answer.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }, 0);
    usage.ru_nvcsw
}

/// Reads lines of a child up to one that contains `word`.
pub fn read_to(from: &mut impl BufRead, word: &str) -> String {
    let mut text = String::new();
    while !text.contains(word) {
        assert_ne!(from.read_line(&mut text).unwrap(), 0, "no {word:?} in {text}");
    }
    text
}

/// Whether `GTHREAD_CHAOS` is set.
pub fn is_chaos() -> bool {
    std::env::var_os("GTHREAD_CHAOS").is_some_and(|seed| seed != "0")
}

/// Whether it is, so that a test of `what` has nothing to test: it says so.
pub fn under_chaos(what: impl Display) -> bool {
    let chaos = is_chaos();
    if chaos {
        println!("not under chaos: {what}");
    }
    chaos
}

/// Bytes of this process in memory, now and at most so far.
pub fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// Uses so many bytes of the stack, by recursion; gives the depth.
pub fn use_stack(bytes: usize) -> usize {
    #[inline(never)]
    fn descend(from: usize, bytes: usize) -> usize {
        let frame = std::hint::black_box([1_u8; 256]);
        let here = std::ptr::from_ref(&frame) as usize;
        if from - here >= bytes { 1 } else { usize::from(frame[7]) + descend(from, bytes) }
    }
    let frame = 0_u8;
    descend(std::ptr::from_ref(std::hint::black_box(&frame)) as usize, bytes)
}

/// How long `f` takes.
pub fn time(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}
