// A key-value server with a protocol of lines, and a load of clients. Included twice: `root` is std, or gthread.

use std::collections::HashMap;

use root::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use root::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use root::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use root::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use root::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock};
use root::thread::{self, JoinHandle};
use root::time::{Duration, Instant};

/// How long a connection waits for a request before it looks whether the server is to end.
const PATIENCE: Duration = Duration::from_millis(20);

/// How much of the journal may be unwritten.
const JOURNAL: usize = 4;

// ---- the store --------------------------------------------------------------------------------

/// A change, in the order in which it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Change {
    Set(String, String),
    Delete(String),
}

#[derive(Default)]
struct Store {
    values: Mutex<HashMap<String, String>>,
    changed: Condvar,
    /// Those who are told of each change of a key that begins so.
    subscribers: RwLock<Vec<(String, Sender<String>)>>,
}

impl Store {
    /// Changes a value under the lock, which also orders the journal.
    fn change<T>(
        &self,
        journal: &SyncSender<Change>,
        change: impl FnOnce(&mut HashMap<String, String>) -> (T, Option<Change>),
    ) -> T {
        let mut values = self.values.lock().unwrap();
        let (result, change) = change(&mut values);
        if let Some(change) = change {
            if let Change::Set(key, value) = &change {
                self.publish(key, value);
            }
            // Waits with the lock held, as a program should not, and may.
            match journal.try_send(change) {
                Ok(()) => {}
                Err(TrySendError::Full(change)) => journal.send(change).unwrap(),
                Err(TrySendError::Disconnected(_)) => panic!("the journal ended too early"),
            }
            self.changed.notify_all();
        }
        result
    }

    fn publish(&self, key: &str, value: &str) {
        for (prefix, subscriber) in &*self.subscribers.read().unwrap() {
            if key.starts_with(prefix.as_str()) {
                // Those that have gone are not told.
                let _ = subscriber.send(format!("{key} {value}"));
            }
        }
    }

    fn get(&self, key: &str) -> Option<String> {
        self.values.lock().unwrap().get(key).cloned()
    }

    /// Waits until there is a value.
    fn wait_for(&self, key: &str, timeout: Duration) -> Option<String> {
        let values = self.values.lock().unwrap();
        let is_missing = |values: &mut HashMap<String, String>| !values.contains_key(key);
        let (values, _) = self.changed.wait_timeout_while(values, timeout, is_missing).unwrap();
        values.get(key).cloned()
    }
}

// ---- the server -------------------------------------------------------------------------------

struct Shared {
    store: Store,
    ends: AtomicBool,
    requests: AtomicU64,
    started: OnceLock<Instant>,
}

struct Server {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accepts: JoinHandle<usize>,
    journal: JoinHandle<Vec<Change>>,
}

impl Server {
    fn start(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            store: Store::default(),
            ends: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            started: OnceLock::new(),
        });
        let (changes, journal) = mpsc::sync_channel(JOURNAL);
        let journal = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || journal.into_iter().collect::<Vec<Change>>())?;
        let accepts = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_all(&listener, &shared, &changes)
        });
        Ok(Self { addr, shared, accepts, journal })
    }

    /// Ends the server, and returns how many connections there were, and all changes.
    fn end(self) -> (usize, Vec<Change>) {
        self.shared.ends.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.addr).unwrap());
        (self.accepts.join().unwrap(), self.journal.join().unwrap())
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>, changes: &SyncSender<Change>) -> usize {
    shared.started.get_or_init(Instant::now);
    let mut connections = Vec::new();
    for stream in listener.incoming() {
        if shared.ends.load(Ordering::Acquire) {
            break;
        }
        let stream = stream.unwrap();
        let (shared, changes) = (Arc::clone(shared), changes.clone());
        let name = format!("connection {}", connections.len());
        let serve = move || serve(stream, &shared, &changes);
        connections.push(thread::Builder::new().name(name).spawn(serve).unwrap());
    }
    let served = connections.len();
    for connection in connections {
        connection.join().unwrap().unwrap();
    }
    served
}

/// Serves one connection, until its client or the server ends.
fn serve(stream: TcpStream, shared: &Shared, changes: &SyncSender<Change>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    assert_eq!(stream.read_timeout()?, Some(PATIENCE));
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = BufWriter::new(stream);
    let mut line = Vec::new();
    loop {
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            // A part of a line stays where it is.
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if shared.ends.load(Ordering::Acquire) {
                    return writer.get_ref().shutdown(Shutdown::Both);
                }
                continue;
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        }
        shared.requests.fetch_add(1, Ordering::Relaxed);
        let request = String::from_utf8_lossy(&line).trim().to_owned();
        line.clear();
        match answer(&request, shared, changes) {
            Answer::Line(text) => writeln!(writer, "{text}")?,
            Answer::Events(events) => return send_events(writer, &events, shared),
            Answer::Bye => {
                writeln!(writer, "BYE")?;
                return writer.flush();
            }
        }
        // Answers to requests that came together go together.
        if reader.buffer().is_empty() {
            writer.flush()?;
        }
    }
}

enum Answer {
    Line(String),
    Events(Receiver<String>),
    Bye,
}

fn answer(request: &str, shared: &Shared, changes: &SyncSender<Change>) -> Answer {
    let store = &shared.store;
    let words: Vec<&str> = request.split(' ').collect();
    let value = |value: Option<String>| value.map_or("NONE".to_owned(), |v| format!("VALUE {v}"));
    Answer::Line(match *words {
        ["SET", key, new] => store.change(changes, |values| {
            let (key, new) = (key.to_owned(), new.to_owned());
            values.insert(key.clone(), new.clone());
            ("OK".to_owned(), Some(Change::Set(key, new)))
        }),
        ["ADD", key, number] => match number.parse::<i64>() {
            Err(error) => format!("ERROR {error}"),
            Ok(number) => store.change(changes, |values| {
                let old = values.get(key).and_then(|value| value.parse().ok()).unwrap_or(0);
                let new = (old + number).to_string();
                values.insert(key.to_owned(), new.clone());
                (format!("VALUE {new}"), Some(Change::Set(key.to_owned(), new)))
            }),
        },
        ["DEL", key] => store.change(changes, |values| match values.remove(key) {
            Some(old) => (format!("VALUE {old}"), Some(Change::Delete(key.to_owned()))),
            None => ("NONE".to_owned(), None),
        }),
        ["GET", key] => value(store.get(key)),
        ["WAIT", key, ms] => {
            let timeout = Duration::from_millis(ms.parse().unwrap_or(0));
            value(store.wait_for(key, timeout))
        }
        ["SUB", prefix] => {
            let (tx, rx) = mpsc::channel();
            tx.send("SUBSCRIBED".to_owned()).unwrap();
            store.subscribers.write().unwrap().push((prefix.to_owned(), tx));
            return Answer::Events(rx);
        }
        ["UPTIME"] => format!("VALUE {}", shared.started.wait().elapsed().as_nanos()),
        ["QUIT"] => return Answer::Bye,
        _ => format!("ERROR {request}"),
    })
}

/// Tells a subscriber of events until the server ends.
fn send_events(
    mut writer: BufWriter<TcpStream>,
    events: &Receiver<String>,
    shared: &Shared,
) -> io::Result<()> {
    while !shared.ends.load(Ordering::Acquire) {
        match events.recv_timeout(PATIENCE) {
            Ok(event) => {
                writeln!(writer, "{event}")?;
                for event in events.try_iter() {
                    writeln!(writer, "{event}")?;
                }
                writer.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    for event in events.try_iter() {
        writeln!(writer, "{event}")?;
    }
    writer.flush()
}

// ---- the clients ------------------------------------------------------------------------------

struct Client {
    reader: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Client {
    fn connect(addr: SocketAddr) -> io::Result<Self> {
        let writer = TcpStream::connect_timeout(&addr, Duration::from_secs(20))?;
        writer.set_write_timeout(Some(Duration::from_secs(20)))?;
        Ok(Self { reader: BufReader::new(writer.try_clone()?), writer })
    }

    fn send(&mut self, request: &str) -> io::Result<()> {
        self.writer.write_all(format!("{request}\n").as_bytes())
    }

    fn receive(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn ask(&mut self, request: &str) -> String {
        self.send(request).unwrap();
        self.receive().unwrap()
    }
}

/// One client of the load. All begin together.
fn load(client: usize, rounds: usize, addr: SocketAddr, start: &Barrier) -> (usize, Duration) {
    let mut connection = Client::connect(addr).unwrap();
    let is_leader = start.wait().is_leader();
    let began = Instant::now();
    let mut asked = usize::from(is_leader);
    if is_leader {
        assert_eq!(connection.ask("SET started yes"), "OK");
    } else {
        assert_eq!(connection.ask("WAIT started 30000"), "VALUE yes");
        asked += 1;
    }
    let key = format!("client-{client}");
    for round in 0..rounds {
        // Several requests on their way at once, and a line in two pieces.
        connection.send(&format!("SET {key} {round}\nGET {key}\nADD total 1")).unwrap();
        connection.writer.write_all(format!("ADD total-{client} ").as_bytes()).unwrap();
        if round % 10 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        connection.send("2").unwrap();
        assert_eq!(connection.receive().unwrap(), "OK");
        assert_eq!(connection.receive().unwrap(), format!("VALUE {round}"));
        let total = connection.receive().unwrap();
        assert!(total.strip_prefix("VALUE ").unwrap().parse::<usize>().unwrap() > round);
        assert_eq!(connection.receive().unwrap(), format!("VALUE {}", 2 * (round + 1)));
        asked += 4;
    }
    assert_eq!(connection.ask(&format!("DEL total-{client}")), format!("VALUE {}", 2 * rounds));
    assert_eq!(connection.ask("GET nothing"), "NONE");
    assert_eq!(connection.ask("WAIT nothing 3"), "NONE");
    assert_eq!(connection.ask("NONSENSE"), "ERROR NONSENSE");
    assert!(connection.ask("ADD total many").starts_with("ERROR "));
    assert!(connection.ask("UPTIME").starts_with("VALUE "));
    assert_eq!(connection.ask("QUIT"), "BYE");
    assert_eq!(connection.reader.read(&mut [0]).unwrap(), 0);
    (asked + 7, began.elapsed())
}

/// Reads events until the server ends.
fn subscribe(addr: SocketAddr, subscribed: &SyncSender<()>) -> Vec<String> {
    let mut connection = Client::connect(addr).unwrap();
    assert_eq!(connection.ask("SUB client-0"), "SUBSCRIBED");
    subscribed.send(()).unwrap();
    let mut events = Vec::new();
    while let Ok(event) = connection.receive() {
        events.push(event);
    }
    events
}

pub(crate) fn serve_and_load(clients: usize, rounds: usize) {
    let server = Server::start(("127.0.0.1", 0)).unwrap();
    let addr = server.addr;
    // One that says nothing, and is there to the end.
    let idle = Client::connect(addr).unwrap();
    let (tell, subscribed) = mpsc::sync_channel(0);
    let subscriber = thread::spawn(move || subscribe(addr, &tell));
    subscribed.recv().unwrap();

    let start = Barrier::new(clients);
    let (results, all_results) = mpsc::channel();
    thread::scope(|scope| {
        for client in 0..clients {
            let (results, start) = (results.clone(), &start);
            scope.spawn(move || results.send(load(client, rounds, addr, start)).unwrap());
        }
    });
    drop(results);
    let all_results: Vec<(usize, Duration)> = all_results.into_iter().collect();
    assert_eq!(all_results.len(), clients);
    let asked: usize = all_results.iter().map(|(asked, _)| asked).sum();

    let shared = Arc::clone(&server.shared);
    let slowest = all_results.iter().map(|&(_, took)| took).max().unwrap();
    assert!(slowest <= shared.started.get().unwrap().elapsed());
    let (served, journal) = server.end();
    assert_eq!(served, clients + 2);
    // The subscriber has asked once.
    assert_eq!(shared.requests.load(Ordering::Relaxed) as usize, asked + 1);
    drop(idle);

    // The journal, replayed, is the store.
    let mut replayed = HashMap::new();
    let mut events = Vec::new();
    for change in &journal {
        match change {
            Change::Set(key, value) => {
                if key.starts_with("client-0") {
                    events.push(format!("{key} {value}"));
                }
                replayed.insert(key.clone(), value.clone());
            }
            Change::Delete(key) => _ = replayed.remove(key),
        }
    }
    let values = shared.store.values.lock().unwrap();
    assert_eq!(*values, replayed);
    assert_eq!(values["total"], (clients * rounds).to_string());
    assert_eq!(values.len(), clients + 2);
    assert_eq!(subscriber.join().unwrap(), events);
}
