//! The workloads: what they are called, how large they are, what they must compute, what is to be reached.
//! Loads of servers are workloads too, which another program measures.

use crate::expected::{
    fibonacci, placements, product_checksum, solutions, sorted_checksum, sum_below, sum_of_primes,
};

/// One workload.
pub(crate) struct Workload {
    /// Its name in the protocol.
    pub(crate) name: &'static str,
    /// What it does, as the page calls it.
    pub(crate) title: &'static str,
    /// How large it is; how large with `--quick`; and at most for OS threads.
    sizes: [u64; 3],
    /// The checksum, from size and repetitions.
    pub(crate) checksum: fn(u64, u64) -> u64,
    pub(crate) figures: &'static [Figure],
    /// How a server is loaded, if it is one that is measured.
    pub(crate) load: Option<Load>,
}

/// How a server is loaded.
pub(crate) struct Load {
    /// The server's name in the protocol.
    pub(crate) server: &'static str,
    /// The server that it is compared with, under the same load.
    pub(crate) without: Option<&'static str>,
    /// Connections that are busy.
    pub(crate) connections: u64,
    pub(crate) client: Client,
}

/// What loads a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Connections that are kept, on which messages of 64 bytes are echoed.
    Echo,
    /// A connection for each of these messages.
    Churn,
    /// Kept connections, beside idle ones: as many as the workload's size.
    BesideIdle,
    /// wrk, which speaks HTTP.
    Wrk,
}

/// Something that a workload measures.
pub(crate) struct Figure {
    /// Its name in the protocol.
    pub(crate) name: &'static str,
    /// What it is, as the page calls it.
    pub(crate) title: &'static str,
    pub(crate) unit: Unit,
    /// What it is divided by, from the size: operations in a repetition.
    pub(crate) per: fn(u64) -> f64,
    /// What gthread is to reach, with one worker and with two.
    pub(crate) target: Option<[f64; 2]>,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanoseconds,
    Milliseconds,
    Bytes,
    Count,
    PerSecond,
    Thousands,
    /// So many for each of something else.
    Each,
    /// So many times something else.
    Times,
}

impl Workload {
    /// The size for a contestant.
    pub(crate) fn size(&self, quick: bool, on_os_threads: bool) -> u64 {
        let [size, quick_size, on_os_threads_at_most] = self.sizes;
        let size = if quick { quick_size } else { size };
        if on_os_threads { size.min(on_os_threads_at_most) } else { size }
    }

    /// How much memory a run with this size takes at least, in bytes, where that is much.
    pub(crate) fn memory(&self, size: u64) -> usize {
        match self.name {
            "parked" | "timers" => size as usize * (5 << 10),
            _ => 0,
        }
    }

    /// Returns `true` if it is a load of a server.
    pub(crate) fn is_server(&self) -> bool {
        self.load.is_some()
    }

    /// Whether it measures one thing: the time of an operation.
    pub(crate) fn is_time(&self) -> bool {
        self.figures.len() == 1
    }

    /// Whether it measures a part that runtimes are made of.
    pub(crate) fn is_floor(&self) -> bool {
        self.name.starts_with("floor-")
    }

    /// The figures of waits, ascending, if it has them.
    pub(crate) fn waits(&self) -> Option<&'static [Figure]> {
        self.figures
            .first_chunk::<4>()
            .filter(|first| first[0].name == P50.name)
            .map(|first| &first[..])
    }

    /// Returns `true` if it measures this.
    pub(crate) fn measures(&self, figure: &Figure) -> bool {
        self.figures.iter().any(|one| one.name == figure.name)
    }

    /// What is most telling of what it measures.
    pub(crate) fn headline(&self) -> &Figure {
        &self.figures[0]
    }

    /// The same size for all, and another with `--quick`.
    const fn sized(mut self, size: u64, quick: u64) -> Self {
        self.sizes = [size, quick, size];
        self
    }

    /// Other figures.
    const fn measuring(mut self, figures: &'static [Figure]) -> Self {
        self.figures = figures;
        self
    }

    /// The same load of another server too.
    const fn compared_with(mut self, server: &'static str) -> Self {
        self.load.as_mut().expect("it is a server's").without = Some(server);
        self
    }

    /// A smaller size for OS threads.
    const fn on_os_threads(mut self, most: u64) -> Self {
        self.sizes[2] = most;
        self
    }
}

/// A workload of operations that are timed.
const fn timed(
    name: &'static str,
    title: &'static str,
    checksum: fn(u64, u64) -> u64,
    figures: &'static [Figure],
) -> Workload {
    assert!(figures.len() == 1);
    several(name, title, checksum, figures)
}

/// A workload of which several things are measured.
const fn several(
    name: &'static str,
    title: &'static str,
    checksum: fn(u64, u64) -> u64,
    figures: &'static [Figure],
) -> Workload {
    Workload { name, title, sizes: [1; 3], checksum, figures, load: None }
}

/// A load of a server, with so many connections that are busy.
const fn served(
    name: &'static str,
    title: &'static str,
    server: &'static str,
    client: Client,
    connections: u64,
) -> Workload {
    Workload {
        name,
        title,
        sizes: [connections; 3],
        checksum: |_, requests| requests,
        figures: SERVED,
        load: Some(Load { server, without: None, connections, client }),
    }
}

/// The time of an operation, of which a repetition has as many as `per` says.
const fn time(per: fn(u64) -> f64, target: Option<[f64; 2]>) -> Figure {
    Figure { per, target, ..figure("ns", "time", Unit::Nanoseconds) }
}

const fn figure(name: &'static str, title: &'static str, unit: Unit) -> Figure {
    Figure { name, title, unit, per: one, target: None }
}

/// The figures of waits.
pub(crate) const P50: Figure = figure("p50", "p50", Unit::Nanoseconds);
pub(crate) const P99: Figure = figure("p99", "p99", Unit::Nanoseconds);
const P999: Figure = figure("p99.9", "p99.9", Unit::Nanoseconds);
const WORST: Figure = figure("worst", "worst", Unit::Nanoseconds);
const WAITS: &[Figure] = &[P50, P99, P999, WORST];

const FLOOR: &[Figure] = &[time(one, None)];

/// What the servers are compared by.
pub(crate) const PER_CPU_SECOND: Figure =
    figure("per-cpu-second", "requests per server CPU second", Unit::Thousands);
pub(crate) const PER_SECOND: Figure = figure("per-second", "requests per second", Unit::Thousands);
/// What is counted in a run of its own.
const CALLS: Figure = figure("calls", "system calls per request", Unit::Each);
const EPOLL_CTL: Figure = figure("epoll_ctl", "epoll_ctl per request", Unit::Each);
/// Clients' waits, ascending.
pub(crate) const ANSWERS: [Figure; 2] = [P50, P99];
const SERVED: &[Figure] = &[PER_CPU_SECOND, PER_SECOND, P50, P99, CALLS, EPOLL_CTL];
const SERVED_BESIDE_IDLE: &[Figure] = &[
    PER_CPU_SECOND,
    PER_SECOND,
    P50,
    P99,
    figure("bytes", "bytes per idle connection", Unit::Bytes),
    figure("ratio", "CPU time per request, to that of the 50 alone", Unit::Times),
    CALLS,
    EPOLL_CTL,
];
/// Its processor time is that of what computes.
const SERVED_BESIDE: &[Figure] = &[P99, P50, PER_SECOND, CALLS, EPOLL_CTL];
const SERVED_TIME_OUTS: &[Figure] = &[
    PER_CPU_SECOND,
    PER_SECOND,
    P50,
    P99,
    figure("ratio", "CPU time per request, to that without", Unit::Times),
    CALLS,
    EPOLL_CTL,
];

fn one(_: u64) -> f64 {
    1.0
}

fn size(size: u64) -> f64 {
    size as f64
}

/// Calls of the naive recursion that fork.
fn fib_forks(size: u64) -> f64 {
    (fibonacci(size + 1) - 1) as f64
}

/// Boards beyond the empty one, each of which is a thread.
fn boards(size: u64) -> f64 {
    placements(size) as f64
}

/// The checksum of the waits for turns: how many threads ended that were measured.
fn probes(_: u64, _: u64) -> u64 {
    4
}

/// The checksum of the mixes: how many requests a hundred threads serve, one in 10 ms each.
fn requests(millis: u64, _: u64) -> u64 {
    100 * (millis / 10)
}

/// All of them, in the order of the page.
pub(crate) const ALL: &[Workload] = &[
    timed("spawn-one", "spawn one, join it", |_, n| sum_below(n), &[time(one, Some([30.0, 40.0]))]),
    timed(
        "spawn-many",
        "spawn 1,000, join all; each",
        |size, n| sum_below(size).wrapping_mul(n),
        &[time(size, Some([40.0, 40.0]))],
    )
    .sized(1000, 1000),
    timed(
        "burst",
        "10,000 started from outside, joined; each",
        |size, n| sum_below(size).wrapping_mul(n),
        &[time(size, None)],
    )
    .sized(10_000, 10_000),
    timed(
        "fib",
        "fork-join fib(25), a fork",
        |size, n| fibonacci(size).wrapping_mul(n),
        &[time(fib_forks, Some([30.0, 17.0]))],
    )
    .sized(25, 25)
    .on_os_threads(15),
    timed(
        "skynet",
        "skynet, 1,000,000 leaves; each",
        |size, n| sum_below(size).wrapping_mul(n),
        &[time(size, Some([150.0, 90.0]))],
    )
    .sized(1_000_000, 100_000),
    timed(
        "queens",
        "10 queens, a thread for each board; each",
        |size, n| solutions(size).wrapping_mul(n),
        &[time(boards, None)],
    )
    .sized(10, 10),
    timed(
        "quicksort",
        "quicksort of 1,000,000 numbers",
        |size, n| sorted_checksum(size).wrapping_mul(n),
        &[time(one, None)],
    )
    .sized(1_000_000, 1_000_000),
    timed(
        "matmul",
        "product of two 256 × 256 matrices",
        |size, _| product_checksum(size),
        &[time(one, None)],
    )
    .sized(256, 256),
    timed(
        "ping-pong",
        "unbuffered ping-pong, a round trip",
        |_, n| sum_below(n),
        &[time(one, Some([80.0, 90.0]))],
    ),
    timed(
        "ring",
        "503-thread ring, a hop",
        |size, laps| size * laps,
        &[time(size, Some([40.0, 45.0]))],
    )
    .sized(503, 503),
    timed(
        "spsc",
        "one producer, one consumer, buffer 1,024; a value",
        |_, n| sum_below(n),
        &[time(one, Some([15.0, 20.0]))],
    )
    .sized(1024, 1024),
    timed(
        "mpmc",
        "4 producers, 4 consumers, buffer 1,024; a value",
        |_, n| sum_below(n),
        &[time(one, Some([15.0, 30.0]))],
    )
    .sized(1024, 1024),
    timed(
        "pipeline",
        "a producer and a consumer that compute, buffer 128; a value",
        |_, n| sum_below(n),
        &[time(one, None)],
    )
    .sized(128, 128),
    timed(
        "select",
        "select over 4 channels, a value",
        |_, n| sum_below(n),
        &[time(one, Some([90.0, 100.0]))],
    )
    .sized(4, 4),
    timed(
        "sieve",
        "prime sieve, the first 800",
        |size, n| sum_of_primes(size).wrapping_mul(n),
        &[time(one, Some([20e6, 16e6]))],
    )
    .sized(800, 800),
    timed("yield", "yield", |_, n| n, &[time(one, Some([12.0, 12.0]))]),
    timed("mutex-alone", "mutex, uncontended; lock and unlock", |_, n| n, &[time(one, None)]),
    timed("mutex-2", "mutex, 2 contenders", |_, n| n, &[time(one, None)]).sized(2, 2),
    timed("mutex", "mutex, 8 contenders", |_, n| n, &[time(one, Some([10.0, 20.0]))]).sized(8, 8),
    timed("mutex-64", "mutex, 64 contenders", |_, n| n, &[time(one, None)]).sized(64, 64),
    timed("mutex-work", "mutex, 8 that compute in between; a turn", |_, n| n, &[time(one, None)])
        .sized(8, 8),
    timed("mutex-held", "mutex held over a yield, 8 contenders", |_, n| n, &[time(one, None)])
        .sized(8, 8),
    timed("read-alone", "rwlock, uncontended; a read", |_, n| n, &[time(one, None)]),
    timed("write-alone", "rwlock, uncontended; a write", |_, n| n, &[time(one, None)]),
    timed("rwlock", "rwlock, 8 contenders, 1 in 16 writes", |_, n| n, &[time(one, None)])
        .sized(8, 8),
    timed("condvar", "condvar ping-pong, a round trip", |_, n| n, &[time(one, None)]),
    several(
        "parked",
        "1,000,000 parked (10,000 OS threads)",
        |size, _| 2 * size,
        &[
            figure("start", "start, each", Unit::Nanoseconds),
            figure("wake", "wake, each", Unit::Nanoseconds),
            Figure { target: Some([4700.0, 4700.0]), ..figure("bytes", "bytes each", Unit::Bytes) },
            figure("maps", "memory maps", Unit::Count),
            figure("start-again", "start again, each", Unit::Nanoseconds),
            figure("given-back", "memory given back", Unit::Milliseconds),
        ],
    )
    .sized(1_000_000, 100_000)
    .on_os_threads(10_000),
    several("wake", "woken by an OS thread, from idle", |size, _| size, WAITS).sized(2000, 500),
    several(
        "timers",
        "1,000,000 sleepers: how late",
        |size, _| size,
        &[P50, P99, P999, WORST, figure("cpu", "processor time, each", Unit::Nanoseconds)],
    )
    .sized(1_000_000, 100_000),
    several(
        "mix",
        "short tasks beside long ones that yield every ms",
        requests,
        &[P50, P99, P999, WORST, figure("work", "steps of the long ones", Unit::PerSecond)],
    )
    .sized(1000, 300),
    several(
        "mix-hogs",
        "short tasks beside long ones that yield every 50 ms",
        requests,
        &[P50, P99, P999, WORST, figure("work", "steps of the long ones", Unit::PerSecond)],
    )
    .sized(1000, 300),
    several("turns-yield", "a turn beside 100 that yield", probes, WAITS).sized(500, 200),
    several("turns-talk", "a turn beside 8 unbuffered ping-pongs", probes, WAITS).sized(500, 200),
    several("turns-crowd", "a turn beside 4 producers, 4 consumers", probes, WAITS).sized(500, 200),
    several("turns-fork", "a turn beside 2 that fork and join", probes, WAITS).sized(500, 200),
    several("turns-hogs", "a turn beside 2 that compute for 20 ms", probes, WAITS).sized(500, 200),
    timed("floor-rmw", "an uncontended atomic read-modify-write", |_, n| n, FLOOR),
    timed("floor-fence", "a store and a sequentially consistent fence", |_, n| n, FLOOR),
    timed("floor-deque", "push to and pop from a crossbeam deque", |_, n| sum_below(n), FLOOR),
    timed("floor-switch", "resume and suspend a corosensei coroutine", |_, n| sum_below(n), FLOOR),
    timed(
        "floor-fiber",
        "create, run and finish a coroutine on a pooled stack",
        |_, n| sum_below(n),
        FLOOR,
    ),
    timed(
        "floor-page",
        "to have the kernel back a page of a stack, of 1,000,000",
        |size, _| size,
        FLOOR,
    )
    .sized(1_000_000, 100_000),
    timed(
        "floor-wake",
        "an OS thread that sleeps is woken by another, median",
        |size, _| size,
        FLOOR,
    )
    .sized(2000, 300),
];

/// The loads of servers, in the order of the page.
pub(crate) const SERVERS: &[Workload] = &[
    served("echo-1", "echo, 1 connection", "echo", Client::Echo, 1),
    served("echo-50", "echo, 50 connections", "echo", Client::Echo, 50),
    served("echo-1000", "echo, 1,000 connections", "echo", Client::Echo, 1000),
    served("http", "HTTP plaintext, 64 connections", "http", Client::Wrk, 64),
    served("churn", "a connection for each echo, 50 at a time", "echo", Client::Churn, 50),
    served("idle", "echo, 50 connections beside 10,000 idle", "echo", Client::BesideIdle, 50)
        .measuring(SERVED_BESIDE_IDLE)
        .sized(10_000, 10_000),
    served(
        "beside",
        "echo, 50, beside a CPU-bound thread per worker",
        "echo-beside",
        Client::Echo,
        50,
    )
    .measuring(SERVED_BESIDE),
    served(
        "time-outs",
        "echo, 50, a time-out set on every request",
        "echo-time-outs",
        Client::Echo,
        50,
    )
    .measuring(SERVED_TIME_OUTS)
    .compared_with("echo"),
];
