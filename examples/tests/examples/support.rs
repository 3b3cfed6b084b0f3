//! Programs that a test starts, and clients and servers that misbehave.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// How long any single thing may take. Long: the machine may be busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Returns the executable of an example.
///
/// Cargo builds examples together with tests, unless only some targets are asked for. A program
/// that is older than its source would be a test of something else.
fn executable(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let built = program.metadata().and_then(|metadata| metadata.modified());
    let built = built.unwrap_or(SystemTime::UNIX_EPOCH);
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [source.join(name), source.join(format!("{name}.rs"))] {
        let files = match file.read_dir() {
            Ok(files) => files.map(|file| file.unwrap().path()).collect(),
            Err(_) => vec![file],
        };
        for file in files {
            let changed = file.metadata().and_then(|metadata| metadata.modified());
            assert!(
                changed.is_err() || changed.unwrap() <= built,
                "the example {name} is not up to date: cargo build -p gthread-examples --examples"
            );
        }
    }
    program
}

/// A program that was started. It is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// The lines of stderr that were read.
    seen: Vec<String>,
}

/// Returns the command that runs an example.
pub(crate) fn example(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(executable(name));
    command.args(args);
    command
}

/// Returns the command that runs an example with a limit on its descriptors, which it cannot raise.
pub(crate) fn example_with_descriptors(limit: u32, name: &str, args: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""));
    command.arg(executable(name)).args(args);
    command
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        // Under chaos the runtime says so, and with which seed.
        let lines = lines.filter(|line| !line.starts_with("gthread: chaos"));
        let _ = lines.map(|line| tx.send(line)).take_while(Result::is_ok).count();
    });
    rx
}

impl Program {
    /// Starts a command.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped());
        Self::start_with_stdout(command)
    }

    /// Starts a command whose output nobody reads.
    pub(crate) fn start_with_closed_stdout(mut command: Command) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer);
        Self::start_with_stdout(command)
    }

    fn start_with_stdout(mut command: Command) -> Self {
        // A group of its own, so that a signal for it does not reach the tests.
        let piped = command.stdin(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut child = piped.spawn().unwrap();
        let stdout = match child.stdout.take() {
            Some(stdout) => lines_of(stdout),
            None => lines_of(std::io::empty()),
        };
        let stderr = lines_of(child.stderr.take().unwrap());
        Self { child, stdout, stderr, seen: Vec::new() }
    }

    /// Starts an example that serves, and returns its address too.
    pub(crate) fn serve(command: Command) -> (Self, SocketAddr) {
        let mut program = Self::start(command);
        let line = program.read_to("listening at ");
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        (program, address)
    }

    /// Reads stderr to a line that contains `word`, and returns the line.
    pub(crate) fn read_to(&mut self, word: &str) -> String {
        let end = Instant::now() + LIMIT;
        loop {
            match self.stderr.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(word) {
                        return line;
                    }
                }
                Err(error) => panic!("no line with {word:?} ({error}): {:#?}", self.seen),
            }
        }
    }

    /// Returns the next line of stdout.
    pub(crate) fn read_line(&mut self) -> String {
        self.stdout.recv_timeout(LIMIT).unwrap()
    }

    pub(crate) fn signal(&self, signal: i32) {
        // SAFETY: the call reads no memory. The child was not waited for, so its number is its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0);
    }

    /// Returns the processor time that the program has used.
    fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 =
            [11, 12].map(|field: usize| fields[field].parse::<u64>().unwrap()).iter().sum();
        // A hundred ticks in a second, on every Linux.
        Duration::from_millis(10 * ticks)
    }

    /// Asserts that the program does not spin: that it uses hardly any processor time for a while.
    pub(crate) fn assert_is_quiet(&self) {
        let before = self.cpu_time();
        let time = Duration::from_millis(500);
        thread::sleep(time);
        let used = self.cpu_time() - before;
        assert!(used < time / 2, "it used {used:?} in {time:?}");
    }

    /// Returns the number of descriptors that the program has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    fn wait(&mut self) -> ExitStatus {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it does not end; stderr so far: {:#?}", self.rest());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn rest(&mut self) -> &[String] {
        self.seen.extend(self.stderr.try_iter());
        &self.seen
    }

    /// Waits for the end of the program.
    pub(crate) fn end(mut self) -> Ended {
        let status = self.wait();
        let drain = |lines: &Receiver<String>| {
            let mut all = Vec::new();
            loop {
                match lines.recv_timeout(LIMIT) {
                    Ok(line) => all.push(line),
                    Err(RecvTimeoutError::Disconnected) => return all,
                    Err(RecvTimeoutError::Timeout) => panic!("the output does not end: {all:#?}"),
                }
            }
        };
        let stdout = drain(&self.stdout);
        let mut stderr = std::mem::take(&mut self.seen);
        stderr.extend(drain(&self.stderr));
        assert!(!stderr.iter().any(|line| line.contains("panicked")), "{stderr:#?}");
        Ended { status, stdout, stderr }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("stderr of the program: {:#?}", self.rest());
        }
    }
}

/// How a program has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
}

impl Ended {
    pub(crate) fn assert_status(self, status: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(status),
            "signal {:?}: {self:#?}",
            self.status.signal()
        );
        self
    }

    /// Asserts that the program printed one line on stderr, with these words.
    pub(crate) fn assert_one_line(self, words: &[&str]) -> Self {
        assert_eq!(self.stderr.len(), 1, "{self:#?}");
        self.assert_stderr(words)
    }

    /// Asserts that these words are on stderr.
    pub(crate) fn assert_stderr(self, words: &[&str]) -> Self {
        let text = self.stderr.join("\n");
        words.iter().for_each(|word| assert!(text.contains(word), "no {word:?}: {self:#?}"));
        self
    }
}

/// Runs an example to its end.
pub(crate) fn run(name: &str, args: &[&str]) -> Ended {
    Program::start(example(name, args)).end()
}

/// Connects, with limits on all waits.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, LIMIT).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.set_write_timeout(Some(LIMIT)).unwrap();
    stream
}

/// Reads what is there, and waits for it. A wait with a limit may be interrupted, also by a process
/// that is stopped and goes on; std leaves that to the caller.
pub(crate) fn read_some(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads to the end. A reset counts as one if `or_reset` is set.
pub(crate) fn read_to_end(stream: &mut TcpStream, or_reset: bool) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if or_reset && error.kind() == ErrorKind::ConnectionReset => {}
        result => drop(result.unwrap()),
    }
    all
}

/// Listens at a free port.
pub(crate) fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Returns an address at which nobody listens.
pub(crate) fn closed_address() -> SocketAddr {
    listen().1
}

/// Serves connections in threads, for as long as the tests run.
pub(crate) fn serve(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> SocketAddr {
    let (listener, address) = listen();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    address
}

/// An empty directory, which is removed when this is dropped.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("gthread-examples-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Makes a file that takes no room on the disk.
    pub(crate) fn write_zeros(&self, name: &str, len: u64) {
        std::fs::File::create(self.0.join(name)).unwrap().set_len(len).unwrap();
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Waits for a condition.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Sends, and returns what comes back to the end.
pub(crate) fn talk(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(address);
    stream.write_all(request).unwrap();
    read_to_end(&mut stream, false)
}
