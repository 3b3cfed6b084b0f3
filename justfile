# Everyday commands. `just` lists them; CONTRIBUTING.md says what each finds.

set positional-arguments

# Lists the recipes.
default:
    @just --list

# Compiles everything, tests and examples too.
check:
    cargo check --locked --workspace --all-targets

# All tests and doc tests, except models and suites.
test *args:
    cargo test --locked "$@"

# Format, clippy, layering.
lint:
    cargo fmt --all --check
    cargo clippy --locked --workspace --all-targets -- -D warnings
    tools/layering

# Formats.
fix:
    cargo fmt --all

# The API documentation.
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

# The models of the state machines; one at a time, because loom maps and unmaps stacks all the time.
loom *args:
    RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --locked --release --target-dir target/loom -p gthread --lib -- --test-threads=1 "$@"

# Tests of other crates, on gthread.
suites:
    cargo test --locked --release -p gthread-suites

# The tests in random order, each task as a rule on another OS thread than before.
chaos seed="random":
    GTHREAD_CHAOS="$1" cargo test --locked -p gthread-tests --tests

# The stress tests: seconds for each, number of workers.
stress secs="60" workers="8":
    GTHREAD_STRESS_SECS="$1" GTHREAD_STRESS_WORKERS="$2" cargo test --locked --release -p gthread-tests --test stress -- --test-threads=16

# AddressSanitizer; needs a nightly toolchain.
asan *args:
    tools/asan "$@"

# ThreadSanitizer, an experiment; needs a nightly toolchain.
tsan *args:
    tools/tsan "$@"

# Against std::thread; on a machine that does nothing else.
bench *args:
    cargo bench "$@"

# Against Go, the JDK, tokio, may and rayon; on a machine that does nothing else.
peers *args:
    cargo peers "$@"

# Licences, sources and advisories of the dependencies; needs cargo-deny.
deny:
    cargo deny --locked --workspace check

# Everything that must hold before a change lands.
ci:
    .ci/run

# The long checks: sanitizers, stress, random programs.
nightly:
    .ci/nightly
