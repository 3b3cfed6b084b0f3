//! What a runtime counts, for programs of different kinds: how often work had to be shared, and what that took.
//!
//! ```console
//! $ cargo run --release --example metrics            # as many workers as processors
//! $ cargo run --release --example metrics -- 8
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use gthread::{Metrics, Runtime, channel, go};

fn main() -> ExitCode {
    let workers = match std::env::args().nth(1).map(|word| word.parse()) {
        None => None,
        Some(Ok(workers)) => Some(workers),
        Some(Err(error)) => {
            eprintln!("the argument is a number of workers: {error}");
            return ExitCode::from(2);
        }
    };
    println!(
        "{:28} {:>9} {:>10} {:>8} {:>8} {:>9} {:>12} {:>8} {:>8} {:>8}",
        "program",
        "time",
        "switches",
        "searches",
        "steals",
        "takeovers",
        "publications",
        "sleeps",
        "wakes",
        "injected"
    );
    let programs: [(&str, fn()); 5] = [
        ("fork-join, 250,000 forks", || assert_eq!(fib(25), 75_025)),
        ("spawn and join, 100,000", || {
            (0..100_000).for_each(|n| assert_eq!(go!(move || n).join().unwrap(), n));
        }),
        ("ping-pong, 100,000 rounds", || ping_pong(100_000)),
        ("64 jobs of a millisecond", || {
            let jobs: Vec<_> = (0..64).map(|_| go!(|| busy(Duration::from_millis(1)))).collect();
            jobs.into_iter().for_each(|job| job.join().unwrap());
        }),
        ("1,000 sleepers", || {
            let sleepers: Vec<_> =
                (0..1000).map(|_| go!(|| gthread::sleep(Duration::from_millis(10)))).collect();
            sleepers.into_iter().for_each(|sleeper| sleeper.join().unwrap());
        }),
    ];
    for (name, program) in programs {
        let mut builder = Runtime::builder();
        if let Some(workers) = workers {
            builder = builder.workers(workers);
        }
        let runtime = match builder.build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("no runtime: {error}");
                return ExitCode::FAILURE;
            }
        };
        let start = Instant::now();
        runtime.run(program);
        show(name, start.elapsed(), &runtime.metrics());
    }
    ExitCode::SUCCESS
}

fn show(name: &str, time: Duration, metrics: &Metrics) {
    let time = format!("{:.1} ms", time.as_secs_f64() * 1e3);
    let Metrics {
        task_switches,
        searches,
        steals,
        takeovers,
        publications,
        sleeps,
        wakes,
        injected,
        ..
    } = metrics;
    println!(
        "{name:28} {time:>9} {task_switches:10} {searches:8} {steals:8} {takeovers:9} {publications:12} {sleeps:8} {wakes:8} {injected:8}"
    );
}

fn fib(n: u32) -> u32 {
    if n < 2 {
        return n;
    }
    let (a, b) = gthread::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

fn ping_pong(rounds: u32) {
    let (ping, pings) = channel::bounded(0);
    let (pong, pongs) = channel::bounded(0);
    let player = go!(move || pings.iter().for_each(|n| pong.send(n).unwrap()));
    for n in 0..rounds {
        ping.send(n).unwrap();
        assert_eq!(pongs.recv(), Ok(n));
    }
    drop(ping);
    player.join().unwrap();
}

fn busy(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}
