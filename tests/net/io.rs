//! `io`: pipes, the readiness of any descriptor, and bytes that are moved in the kernel.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use gthread::io::{self, PipeReader, PipeWriter, pipe, readable, writable};
use gthread::net::{TcpListener, TcpStream};
use gthread::{Runtime, go};
use gthread_tests::{Flag, LIMIT, LONG, SHORT, named_os_threads, runtime, watchdog, yield_until};

/// Runs a body on an OS thread, and on green threads with one and two workers.
fn everywhere(body: impl Fn() + Send + Sync) {
    watchdog(LIMIT, || {
        body();
        for workers in [1, 2] {
            runtime(workers).run(&body);
        }
    });
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + SHORT)
}

fn kind<T>(result: io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// More than all buffers on the way hold, and no two parts alike.
fn much() -> Arc<Vec<u8>> {
    Arc::new((0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect())
}

/// A file that is gone when it is closed.
fn file_with(bytes: &[u8]) -> File {
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("gthread-test-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    // SAFETY: F_GETFL only reads, of a descriptor that is open.
    unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_GETFL) & libc::O_NONBLOCK != 0 }
}

// ---- pipes ------------------------------------------------------------------------------------

#[test]
fn a_pipe_carries_bytes_and_ends() {
    everywhere(|| {
        let data = much();
        let (mut reader, mut writer) = pipe().unwrap();
        let sender = {
            let data = Arc::clone(&data);
            go!(move || writer.write_all(&data).unwrap())
        };
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == *data);
        sender.join().unwrap();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    });
}

#[test]
fn a_read_of_an_empty_pipe_waits() {
    everywhere(|| {
        let (reader, writer) = pipe().unwrap();
        let reads = go!(move || {
            let mut bufs = ([0; 2], [0; 5]);
            let mut both = [IoSliceMut::new(&mut bufs.0), IoSliceMut::new(&mut bufs.1)];
            let read = (&reader).read_vectored(&mut both).unwrap();
            (read, bufs)
        });
        gthread::sleep(SHORT);
        assert!(!reads.is_finished());
        let parts = [IoSlice::new(b"a"), IoSlice::new(b"bcd")];
        assert_eq!((&writer).write_vectored(&parts).unwrap(), 4);
        assert_eq!(reads.join().unwrap(), (4, (*b"ab", *b"cd\0\0\0")));
    });
}

#[test]
fn reads_and_writes_of_nothing_do_not_wait() {
    everywhere(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        assert_eq!(reader.read(&mut []).unwrap(), 0);
        assert_eq!(writer.write(&[]).unwrap(), 0);
        writer.flush().unwrap();
    });
}

/// netpoll's and tokio-core#117's case: HUP comes without IN.
#[test]
fn lesson_9_a_pipe_that_is_closed_wakes_its_reader_and_its_writer() {
    everywhere(|| {
        let (mut reader, writer) = pipe().unwrap();
        let reads = go!(move || reader.read(&mut [0]).unwrap());
        gthread::sleep(SHORT);
        drop(writer);
        assert_eq!(reads.join().unwrap(), 0);

        let (reader, mut writer) = pipe().unwrap();
        let writes = go!(move || loop {
            if let Err(error) = writer.write(&[0; 4096]) {
                break error.kind();
            }
        });
        gthread::sleep(SHORT);
        assert!(!writes.is_finished());
        drop(reader);
        assert_eq!(writes.join().unwrap(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn clones_are_the_same_end() {
    everywhere(|| {
        let (mut reader, writer) = pipe().unwrap();
        let mut other_writer = writer.try_clone().unwrap();
        let mut other_reader = reader.try_clone().unwrap();
        let reads = go!(move || other_reader.read_exact(&mut [0; 3]).unwrap());
        gthread::sleep(SHORT);
        other_writer.write_all(b"abc").unwrap();
        reads.join().unwrap();
        drop(writer);
        other_writer.write_all(b"d").unwrap();
        drop(other_writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "d");
    });
}

/// Two threads read one pipe: each byte goes to one of them, and both see the end.
#[test]
fn several_threads_read_one_pipe() {
    everywhere(|| {
        let (reader, mut writer) = pipe().unwrap();
        let reader = Arc::new(reader);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let reader = Arc::clone(&reader);
                go!(move || {
                    let (mut sum, mut buf) = (0, [0]);
                    while (&*reader).read(&mut buf).unwrap() > 0 {
                        sum += u32::from(buf[0]);
                    }
                    sum
                })
            })
            .collect();
        for n in 0..100 {
            writer.write_all(&[n]).unwrap();
            if n % 10 == 0 {
                gthread::sleep(Duration::from_micros(100));
            }
        }
        drop(writer);
        let sum: u32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert_eq!(sum, (0..100).sum());
    });
}

#[test]
fn lesson_13_ends_of_pipes_block_for_a_child_and_for_std() {
    everywhere(|| {
        let (from_child, to_parent) = pipe().unwrap();
        let (from_parent, mut to_child) = pipe().unwrap();
        // Both have waited.
        assert_eq!(kind(readable(&from_parent, soon())), Some(ErrorKind::TimedOut));
        for fd in [from_child.as_fd(), to_parent.as_fd(), from_parent.as_fd(), to_child.as_fd()] {
            assert!(!is_nonblocking(fd));
        }
        let mut child =
            Command::new("cat").stdin(from_parent).stdout(Stdio::from(to_parent)).spawn().unwrap();
        to_child.write_all(b"to a child and back").unwrap();
        drop(to_child);
        // std's, and ours again, by way of the descriptor.
        let from_child: std::io::PipeReader = from_child.into();
        let from_child = PipeReader::from(OwnedFd::from(from_child));
        let raw = from_child.into_raw_fd();
        // SAFETY: it was given up in the line before.
        let mut from_child = unsafe { PipeReader::from_raw_fd(raw) };
        let mut text = String::new();
        from_child.read_to_string(&mut text).unwrap();
        assert_eq!(text, "to a child and back");
        assert!(gthread::blocking(|| child.wait()).unwrap().success());
    });
}

/// Whatever descriptor an end is made of, it works: here one for which the kernel does not know how not
/// to block.
#[test]
fn an_end_may_be_made_of_a_terminal() {
    watchdog(LIMIT, || {
        let (mut main, mut side) = (0, 0);
        let (name, mode, size) = (std::ptr::null_mut(), std::ptr::null(), std::ptr::null());
        // SAFETY: the kernel writes the two descriptors; the rest may be null.
        let opened = unsafe { libc::openpty(&mut main, &mut side, name, mode, size) };
        assert_eq!(opened, 0);
        // SAFETY: they were opened in the line before.
        let (mut writer, mut reader) =
            unsafe { (PipeWriter::from_raw_fd(main), PipeReader::from_raw_fd(side)) };
        runtime(1).run(|| {
            let reads = go!(move || {
                let mut line = [0; 100];
                let read = reader.read(&mut line).unwrap();
                String::from_utf8_lossy(&line[..read]).into_owned()
            });
            gthread::sleep(SHORT);
            assert!(!reads.is_finished());
            writer.write_all(b"typed\n").unwrap();
            assert_eq!(reads.join().unwrap(), "typed\n");
        });
    });
}

#[test]
fn ends_print_as_stds() {
    let (reader, writer) = pipe().unwrap();
    let (of_reader, of_writer) = (format!("{reader:?}"), format!("{writer:?}"));
    assert_eq!(of_reader, format!("{:?}", std::io::PipeReader::from(reader)));
    assert_eq!(of_writer, format!("{:?}", std::io::PipeWriter::from(writer)));
}

// ---- readiness --------------------------------------------------------------------------------

#[test]
fn a_foreign_descriptor_is_waited_for() {
    everywhere(|| {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert_eq!(kind(readable(&ours, soon())), Some(ErrorKind::TimedOut));
        writable(&ours, None).unwrap();
        let waits = go!({
            let ours = ours.try_clone().unwrap();
            move || readable(&ours, None).unwrap()
        });
        gthread::sleep(SHORT);
        assert!(!waits.is_finished());
        theirs.write_all(b"!").unwrap();
        waits.join().unwrap();
        // It still is, until it is read.
        readable(&ours, soon()).unwrap();
        ours.read_exact(&mut [0]).unwrap();
        assert_eq!(kind(readable(&ours, soon())), Some(ErrorKind::TimedOut));
        // The end is something to read.
        drop(theirs);
        readable(&ours, None).unwrap();
        assert!(!is_nonblocking(&ours));
    });
}

#[test]
fn a_full_descriptor_is_waited_for() {
    everywhere(|| {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        while (&ours).write(&[0; 65536]).is_ok() {}
        assert_eq!(kind(writable(&ours, soon())), Some(ErrorKind::TimedOut));
        let reads = go!(move || {
            let mut buf = vec![0; 1 << 20];
            while !matches!(theirs.read(&mut buf), Ok(0) | Err(_)) {}
        });
        writable(&ours, None).unwrap();
        drop(ours);
        reads.join().unwrap();
    });
}

#[test]
fn a_deadline_that_has_passed_only_asks() {
    everywhere(|| {
        let (reader, mut writer) = pipe().unwrap();
        let now = Some(Instant::now());
        assert_eq!(kind(readable(&reader, now)), Some(ErrorKind::TimedOut));
        writable(&writer, now).unwrap();
        writer.write_all(b"!").unwrap();
        readable(&reader, now).unwrap();
    });
}

/// Each of several is woken, whether it waits on this descriptor or on the owner's behalf.
#[test]
fn several_threads_wait_for_one_descriptor() {
    everywhere(|| {
        let (client, mut server) = tcp_pair();
        let client = Arc::new(client);
        // Its owner waits, so that it is registered.
        let owner = go!({
            let client = Arc::clone(&client);
            move || (&*client).read(&mut [0; 10]).unwrap()
        });
        gthread::sleep(SHORT);
        let waits: Vec<_> = (0..4)
            .map(|n| {
                let client = Arc::clone(&client);
                go!(move || {
                    let deadline = (n % 2 == 0).then(|| Instant::now() + LONG);
                    readable(&*client, deadline).unwrap();
                })
            })
            .collect();
        gthread::sleep(SHORT);
        // The end wakes all, whatever is read.
        server.write_all(b"!").unwrap();
        server.shutdown(Shutdown::Write).unwrap();
        waits.into_iter().for_each(|waits| waits.join().unwrap());
        assert_eq!(owner.join().unwrap(), 1);
    });
}

/// The registration ends with the wait: the number may be another descriptor's right after.
#[test]
fn lesson_10_a_number_that_is_used_again() {
    everywhere(|| {
        let mut numbers = Vec::new();
        for round in 0..50 {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            numbers.push(ours.as_raw_fd());
            if round % 3 == 0 {
                assert_eq!(kind(readable(&ours, soon())), Some(ErrorKind::TimedOut));
                continue;
            }
            let waits = go!({
                let ours = ours.try_clone().unwrap();
                move || readable(&ours, None).unwrap()
            });
            gthread::yield_now();
            theirs.write_all(b"!").unwrap();
            waits.join().unwrap();
            assert_eq!((&ours).read(&mut [0; 2]).unwrap(), 1);
        }
    });
}

#[test]
fn lesson_14_what_is_always_ready_is_ready_at_once() {
    everywhere(|| {
        let past = Some(Instant::now());
        let file = file_with(b"");
        let null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        let directory = File::open("/").unwrap();
        for deadline in [None, past] {
            for file in [&file, &null, &directory] {
                readable(file, deadline).unwrap();
                writable(file, deadline).unwrap();
            }
        }
    });
}

#[test]
fn lesson_17_a_deadline_beyond_what_the_kernel_counts() {
    everywhere(|| {
        // In milliseconds, more than an `int` has; and more than an `i64` has nanoseconds, if it can be.
        let day = Duration::from_secs(24 * 3600);
        let far = [25 * day, 60 * day, 400 * 365 * day];
        for deadline in far.iter().filter_map(|&far| Instant::now().checked_add(far)) {
            let (reader, mut writer) = pipe().unwrap();
            let waits = go!(move || readable(&reader, Some(deadline)));
            gthread::sleep(SHORT);
            assert!(!waits.is_finished());
            writer.write_all(b"!").unwrap();
            waits.join().unwrap().unwrap();
        }
    });
}

/// The worker runs others while a thread waits for a descriptor.
#[test]
fn waiting_keeps_no_worker() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        runtime.run(|| {
            let pipes: Vec<_> = (0..100).map(|_| pipe().unwrap()).collect();
            let (readers, writers): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
            let waits: Vec<_> = readers
                .into_iter()
                .map(|mut reader| {
                    go!(move || {
                        readable(&reader, None).unwrap();
                        reader.read_exact(&mut [0]).unwrap();
                    })
                })
                .collect();
            for mut writer in writers {
                writer.write_all(b"!").unwrap();
            }
            waits.into_iter().for_each(|waits| waits.join().unwrap());
        });
        assert!(runtime.metrics().spare_workers < 10, "they took the worker's OS thread");
    });
}

// ---- moving bytes in the kernel ---------------------------------------------------------------

#[test]
fn copy_is_stds_and_takes_all() {
    everywhere(|| {
        let (mut reader, mut writer) = pipe().unwrap();
        let data = much();
        let copies = {
            let data = Arc::clone(&data);
            go!(move || io::copy(&mut &data[..], &mut writer).unwrap())
        };
        let mut copied = Vec::new();
        assert_eq!(io::copy(&mut reader, &mut copied).unwrap(), data.len() as u64);
        assert!(copied == *data);
        assert_eq!(copies.join().unwrap(), data.len() as u64);
    });
}

/// Sends `data` into one end, and splices from its other end to a second pair's.
fn relay(
    mut feed: impl Write + Send + 'static,
    from: impl AsFd + Send + 'static,
    to: impl AsFd + Send + 'static,
    mut drain: impl Read,
) {
    let data = much();
    let feeds = {
        let data = Arc::clone(&data);
        go!(move || feed.write_all(&data).unwrap())
    };
    let relays = go!(move || {
        let first = io::splice(&from, &to, Some(100_001)).unwrap();
        assert_eq!(first, 100_001);
        first + io::splice(&from, &to, None).unwrap()
    });
    let mut arrived = Vec::new();
    drain.read_to_end(&mut arrived).unwrap();
    assert!(arrived == *data);
    feeds.join().unwrap();
    assert_eq!(relays.join().unwrap(), data.len() as u64);
}

#[test]
fn bytes_are_spliced_between_sockets() {
    everywhere(|| {
        let ((feed, from), (to, drain)) = (tcp_pair(), tcp_pair());
        relay(feed, from, to, drain);
    });
}

#[test]
fn bytes_are_spliced_between_pipes() {
    everywhere(|| {
        let ((from, feed), (drain, to)) = (pipe().unwrap(), pipe().unwrap());
        relay(feed, from, to, drain);
    });
}

#[test]
fn bytes_are_spliced_from_a_pipe_to_a_socket_and_back() {
    everywhere(|| {
        let ((from, feed), (to, drain)) = (pipe().unwrap(), tcp_pair());
        relay(feed, from, to, drain);
        let ((feed, from), (drain, to)) = (tcp_pair(), pipe().unwrap());
        relay(feed, from, to, drain);
    });
}

/// Both directions of a connection at once, as a proxy does: they share its sockets.
#[test]
fn both_directions_at_once() {
    everywhere(|| {
        let ((near, a), (b, far)) = (tcp_pair(), tcp_pair());
        let (a, b) = (Arc::new(a), Arc::new(b));
        let forward = {
            let (a, b) = (Arc::clone(&a), Arc::clone(&b));
            go!(move || {
                let moved = io::splice(&*a, &*b, None).unwrap();
                b.shutdown(Shutdown::Write).unwrap();
                moved
            })
        };
        let back = {
            let (a, b) = (Arc::clone(&a), Arc::clone(&b));
            go!(move || {
                let moved = io::splice(&*b, &*a, None).unwrap();
                a.shutdown(Shutdown::Write).unwrap();
                moved
            })
        };
        let echo = go!(move || {
            let mut all = Vec::new();
            (&far).read_to_end(&mut all).unwrap();
            // The way back goes on although the other has ended.
            (&far).write_all(&all).unwrap();
        });
        let data = much();
        let sends = {
            let (data, near) = (Arc::clone(&data), near.try_clone().unwrap());
            go!(move || {
                (&near).write_all(&data).unwrap();
                near.shutdown(Shutdown::Write).unwrap();
            })
        };
        let mut returned = Vec::new();
        (&near).read_to_end(&mut returned).unwrap();
        assert!(returned == *data);
        sends.join().unwrap();
        echo.join().unwrap();
        assert_eq!(forward.join().unwrap() + back.join().unwrap(), 2 * data.len() as u64);
        assert!(!is_nonblocking(&*a) && !is_nonblocking(&*b), "the flag was left behind");
    });
}

/// A socket does not block until the last of those who use it has ended.
#[test]
fn sockets_block_again_in_the_end() {
    everywhere(|| {
        let ((feed, a), (b, drain)) = (tcp_pair(), tcp_pair());
        let (a, b) = (Arc::new(a), Arc::new(b));
        let splice = |from: &Arc<TcpStream>, to: &Arc<TcpStream>| {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            go!(move || io::splice(&*from, &*to, None).unwrap())
        };
        let (forward, back) = (splice(&a, &b), splice(&b, &a));
        for (mut near, mut far) in [(&feed, &drain), (&drain, &feed)] {
            near.write_all(b"!").unwrap();
            far.read_exact(&mut [0]).unwrap();
        }
        feed.shutdown(Shutdown::Write).unwrap();
        assert_eq!(forward.join().unwrap(), 1);
        assert!(is_nonblocking(&*a) && is_nonblocking(&*b), "the other still needs it");
        drain.shutdown(Shutdown::Write).unwrap();
        assert_eq!(back.join().unwrap(), 1);
        assert!(!is_nonblocking(&*a) && !is_nonblocking(&*b));
    });
}

#[test]
fn files_are_spliced_and_moved_on() {
    everywhere(|| {
        let from = file_with(b"0123456789");
        let (mut reader, writer) = pipe().unwrap();
        assert_eq!(io::splice(&from, &writer, Some(4)).unwrap(), 4);
        let mut to = file_with(b"");
        assert_eq!(io::splice(&from, &to, None).unwrap(), 6);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        to.rewind().unwrap();
        to.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0123456789");
    });
}

/// The kernel splices into no file that is appended to, and from no directory.
#[test]
fn what_the_kernel_refuses_is_read_and_written() {
    everywhere(|| {
        let data = much();
        let to = file_with(b"begin ");
        // SAFETY: F_SETFL of a descriptor that is open.
        let set = unsafe { libc::fcntl(to.as_raw_fd(), libc::F_SETFL, libc::O_APPEND) };
        assert_eq!(set, 0);
        let (from, mut feed) = pipe().unwrap();
        let feeds = {
            let data = Arc::clone(&data);
            go!(move || feed.write_all(&data).unwrap())
        };
        assert_eq!(io::splice(&from, &to, None).unwrap(), data.len() as u64);
        feeds.join().unwrap();
        // Through the pipe in the middle, too.
        let (near, far) = tcp_pair();
        let feeds = go!(move || (&near).write_all(b" end").unwrap());
        assert_eq!(io::splice(&far, &to, None).unwrap(), 4);
        feeds.join().unwrap();
        let mut all = Vec::new();
        (&to).seek(SeekFrom::Start(0)).unwrap();
        (&to).read_to_end(&mut all).unwrap();
        assert!(all == [b"begin ", &data[..], b" end"].concat());

        let directory = File::open("/").unwrap();
        assert!(io::splice(&directory, &to, None).is_err());
        // What is neither file nor socket nor pipe.
        let zero = File::open("/dev/zero").unwrap();
        let null = OpenOptions::new().write(true).open("/dev/null").unwrap();
        assert_eq!(io::splice(&zero, &null, Some(200_000)).unwrap(), 200_000);
        assert_eq!(io::splice(&null, &to, Some(0)).unwrap(), 0);
    });
}

#[test]
fn splicing_ends_when_a_socket_is_shut_down_or_gone() {
    everywhere(|| {
        let ((_feed, from), (to, drain)) = (tcp_pair(), tcp_pair());
        let from = Arc::new(from);
        let splices = {
            let from = Arc::clone(&from);
            go!(move || io::splice(&*from, &to, None))
        };
        gthread::sleep(SHORT);
        from.shutdown(Shutdown::Both).unwrap();
        assert_eq!(splices.join().unwrap().unwrap(), 0);
        drop(drain);

        let ((feed, from), (to, drain)) = (tcp_pair(), tcp_pair());
        drop(drain);
        let feeds = go!(move || while (&feed).write(&[0; 4096]).is_ok() {});
        let error = io::splice(&from, &to, None).unwrap_err().kind();
        assert!(matches!(error, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error:?}");
        drop(from);
        feeds.join().unwrap();
    });
}

#[test]
fn a_range_of_a_file_is_sent() {
    everywhere(|| {
        let data = much();
        let file = Arc::new(file_with(&data));
        let size = data.len() as u64;
        // To sockets with `sendfile`, to others without.
        let (socket, mut from_socket) = tcp_pair();
        let (mut from_pipe, pipe_end) = pipe().unwrap();
        let sends = {
            let file = Arc::clone(&file);
            go!(move || {
                let mut sent = Vec::new();
                for to in [socket.as_fd(), pipe_end.as_fd()] {
                    sent.push(io::send_file(&file, to, ..10).unwrap());
                    sent.push(io::send_file(&file, to, 5..=7).unwrap());
                    sent.push(io::send_file(&file, to, ..).unwrap());
                    sent.push(io::send_file(&file, to, size - 3..size + 1000).unwrap());
                    sent.push(io::send_file(&file, to, size + 5..).unwrap());
                }
                sent
            })
        };
        let expected = [&data[..10], &data[5..8], &data[..], &data[data.len() - 3..]].concat();
        let mut arrived = vec![0; expected.len()];
        from_socket.read_exact(&mut arrived).unwrap();
        assert!(arrived == expected);
        arrived.fill(0);
        from_pipe.read_exact(&mut arrived).unwrap();
        assert!(arrived == expected);
        assert_eq!(sends.join().unwrap(), [10, 3, size, 3, 0].repeat(2));
        assert_eq!((&*file).stream_position().unwrap(), 0, "the position was used");
        // Files that are made up have no size.
        let (socket, mut end) = tcp_pair();
        let status = File::open("/proc/self/status").unwrap();
        assert!(io::send_file(&status, &socket, ..).unwrap() > 100);
        drop(socket);
        let mut text = String::new();
        end.read_to_string(&mut text).unwrap();
        assert!(text.starts_with("Name:"), "{text}");
    });
}

/// The processor time, in ticks of 10 ms, that the OS threads of a runtime have used.
fn ticks_of(name: &str) -> u64 {
    let ticks = |id| {
        let stat = std::fs::read_to_string(format!("/proc/self/task/{id}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').map(str::to_owned).collect();
        Some(fields[11].parse::<u64>().ok()? + fields[12].parse::<u64>().ok()?)
    };
    let ours = named_os_threads().filter(|(_, thread)| thread.starts_with(name));
    ours.filter_map(|(id, _)| ticks(id)).sum()
}

/// Go#61530: `splice` says "would block" because the pipe is full, the socket is readable, and waiting
/// for it is no waiting.
#[test]
fn lesson_18_splicing_into_a_full_pipe_does_not_spin() {
    watchdog(LIMIT, || {
        let runtime = Runtime::builder().workers(1).name("full").build().unwrap();
        runtime.run(|| {
            let (feed, from) = tcp_pair();
            let (mut drain, to) = pipe().unwrap();
            let feeds = go!(move || (&feed).write_all(&vec![1; 3_000_000]).unwrap());
            let done = Flag::new();
            let splices = go!({
                let done = done.clone();
                move || {
                    let moved = io::splice(&from, &to, Some(3_000_000)).unwrap();
                    done.raise();
                    moved
                }
            });
            gthread::sleep(Duration::from_millis(20));
            let before = ticks_of("full");
            gthread::sleep(Duration::from_millis(300));
            let used = ticks_of("full") - before;
            assert!(!done.is_up(), "a pipe holds less");
            assert!(used <= 3, "{used} of 30 ticks of waiting were computed");
            drain.read_exact(&mut vec![0; 3_000_000]).unwrap();
            feeds.join().unwrap();
            assert_eq!(splices.join().unwrap(), 3_000_000);
        });
    });
}

/// Go#75304: the kernel keeps the last segment back for 200 ms, in the hope of more.
#[test]
fn lesson_18_the_end_of_a_file_is_not_held_back() {
    everywhere(|| {
        let file = file_with(&vec![7; 100_001]);
        let size = 100_001;
        let fastest = (0..10).map(|round| {
            let (socket, mut end) = tcp_pair();
            let mut buf = vec![0; size];
            let reads = go!(move || {
                end.read_exact(&mut buf).unwrap();
                (Instant::now(), end)
            });
            let start = Instant::now();
            let sent = match round % 3 {
                0 => io::send_file(&file, &socket, ..).unwrap(),
                1 => io::send_file(&file, &socket, ..1 << 30).unwrap(),
                _ => {
                    (&file).rewind().unwrap();
                    io::splice(&file, &socket, None).unwrap()
                }
            };
            assert_eq!(sent, size as u64);
            let (arrived, _end) = reads.join().unwrap();
            // The connection is open until here: its end would have sent the rest.
            drop(socket);
            (round % 3, arrived.saturating_duration_since(start))
        });
        let mut best = [Duration::MAX; 3];
        for (way, took) in fastest {
            best[way] = best[way].min(took);
        }
        assert!(best.iter().all(|&took| took < Duration::from_millis(150)), "{best:?}");
    });
}

/// A splice that waits takes nothing from the worker, although its sockets block for others.
#[test]
fn splicing_keeps_no_worker() {
    watchdog(LIMIT, || {
        let runtime = runtime(1);
        runtime.run(|| {
            let ends: Vec<_> = (0..30).map(|_| (tcp_pair(), tcp_pair())).collect();
            let mut outer = Vec::new();
            let mut splices = Vec::new();
            for ((feed, from), (to, drain)) in ends {
                outer.push((feed, drain));
                splices.push(go!(move || io::splice(&from, &to, None).unwrap()));
            }
            let ready = Flag::new();
            go!({
                let ready = ready.clone();
                move || ready.raise()
            });
            yield_until(|| ready.is_up());
            for (feed, drain) in &outer {
                (&*feed).write_all(b"through").unwrap();
                let mut buf = [0; 7];
                (&*drain).read_exact(&mut buf).unwrap();
                assert_eq!(&buf, b"through");
            }
            drop(outer);
            assert!(splices.into_iter().all(|splice| splice.join().unwrap() == 7));
        });
        assert!(runtime.metrics().spare_workers < 10, "they took the worker's OS thread");
    });
}
