//! `gthread::fs`.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gthread::fs::{self, DirBuilder, File, FileTimes, OpenOptions};
use gthread::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink,
};
use gthread::{Runtime, go};
use gthread_tests::{
    Flag, LIMIT, Way, every_way, for_each_of, os_threads, runtime, test_path, time, until, watchdog,
};

use crate::{Dir, alone};

every_way!(
    a_file_is_written_and_read,
    a_file_is_read_in_pieces,
    positions_and_places,
    vectored,
    options_are_stds,
    directories,
    many_entries,
    links,
    what_a_file_is,
    errors_are_stds,
    conversions_keep_the_descriptor,
    clones_share_the_position,
    one_file_serves_many_threads,
    lesson_14_files_and_devices_are_always_ready,
    a_fifo_parks_its_reader,
);

fn a_file_is_written_and_read(_: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    fs::write(&path, "one\ntwo\n").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\n");
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    let copy = dir.path("copy");
    assert_eq!(fs::copy(&path, &copy).unwrap(), 8);
    let moved = dir.path("moved");
    fs::rename(&copy, &moved).unwrap();
    assert!(!fs::exists(&copy).unwrap() && fs::exists(&moved).unwrap());
    assert_eq!(fs::read(&moved).unwrap(), b"one\ntwo\n");
    fs::remove_file(&moved).unwrap();
    assert_eq!(fs::read(&moved).unwrap_err().kind(), ErrorKind::NotFound);
}

/// More than the page cache, or a read ahead, gives at once.
fn a_file_is_read_in_pieces(_: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut file = File::create(&path).unwrap();
    for piece in bytes.chunks(70_001) {
        file.write_all(piece).unwrap();
    }
    file.sync_all().unwrap();
    // SAFETY: the descriptor is open, and the call touches no memory. Best effort: the file need not be
    // in the page cache afterwards, so that reads have to go off the worker.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    let mut file = File::open(&path).unwrap();
    let mut read = Vec::new();
    let mut piece = vec![0; 4097];
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            n => read.extend_from_slice(&piece[..n]),
        }
    }
    assert!(read == bytes, "{} bytes of {}", read.len(), bytes.len());
    // At the end it stays.
    assert_eq!(file.read(&mut piece).unwrap(), 0);
    file.rewind().unwrap();
    let mut all = Vec::new();
    assert_eq!(file.read_to_end(&mut all).unwrap(), bytes.len());
    assert!(all == bytes);
    assert_eq!(file.read(&mut []).unwrap(), 0);
}

fn positions_and_places(_: Way) {
    let dir = Dir::new();
    let mut file = File::create_new(dir.path("file")).unwrap();
    file.write_all(b"0123456789").unwrap();
    assert_eq!(file.stream_position().unwrap(), 10);
    file.write_all_at(b"ab", 3).unwrap();
    assert_eq!(file.stream_position().unwrap(), 10, "places do not move the position");
    let mut two = [0; 2];
    file.read_exact_at(&mut two, 2).unwrap();
    assert_eq!(&two, b"2a");
    assert_eq!(file.read_at(&mut two, 9).unwrap(), 1);
    assert_eq!(file.read_at(&mut two, 10).unwrap(), 0);
    let error = file.read_exact_at(&mut two, 9).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
    assert_eq!(file.seek(SeekFrom::Current(-1)).unwrap(), 6);
    let mut rest = String::new();
    assert_eq!(file.read_to_string(&mut rest).unwrap(), 4);
    assert_eq!(rest, "6789");
    assert_eq!(file.seek(SeekFrom::Start(1)).unwrap(), 1);
    file.set_len(3).unwrap();
    let mut rest = Vec::new();
    (&file).read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"12");
    assert!(file.seek(SeekFrom::Current(-100)).is_err());
}

fn vectored(_: Way) {
    let dir = Dir::new();
    let mut file = File::create_new(dir.path("file")).unwrap();
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(file.write_vectored(&slices).unwrap(), 5);
    file.flush().unwrap();
    file.rewind().unwrap();
    let (mut one, mut more) = ([0; 1], [0; 9]);
    let read = file.read_vectored(&mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut more)]);
    assert_eq!(read.unwrap(), 5);
    assert_eq!((&one, &more[..4]), (b"a", b"bcde".as_slice()));
}

fn options_are_stds(_: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    let open =
        |set: fn(&mut OpenOptions) -> &mut OpenOptions| set(&mut File::options()).open(&path);
    assert_eq!(open(|o| o.read(true)).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(open(|o| o).unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut file = open(|o| o.write(true).create_new(true).mode(0o640)).unwrap();
    file.write_all(b"one").unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(file.read(&mut [0]).unwrap_err().raw_os_error(), Some(libc::EBADF));
    let exists = open(|o| o.write(true).create_new(true)).unwrap_err();
    assert_eq!(exists.kind(), ErrorKind::AlreadyExists);
    open(|o| o.append(true)).unwrap().write_all(b"two").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"onetwo");
    open(|o| o.write(true)).unwrap().write_all(b"TWO").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"TWOtwo");
    let truncated = open(|o| o.write(true).create(true).truncate(true)).unwrap();
    assert_eq!(truncated.metadata().unwrap().len(), 0);
    let flags = open(|o| o.read(true).custom_flags(libc::O_DIRECTORY)).unwrap_err();
    assert_eq!(flags.raw_os_error(), Some(libc::ENOTDIR));
}

fn directories(_: Way) {
    let dir = Dir::new();
    let deep = dir.path("a/b/c");
    assert_eq!(fs::create_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir_all(&deep).unwrap();
    let private = dir.path("private");
    DirBuilder::new().mode(0o700).create(&private).unwrap();
    assert_eq!(fs::metadata(&private).unwrap().permissions().mode() & 0o777, 0o700);
    DirBuilder::new().recursive(true).create(dir.path("x/y")).unwrap();
    fs::write(deep.join("file"), "").unwrap();
    assert_eq!(fs::remove_dir(&deep).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
    fs::remove_dir(&private).unwrap();
    fs::remove_dir_all(dir.path("a")).unwrap();
    let mut names: Vec<_> =
        fs::read_dir(&dir.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["x"]);
    let canonical = fs::canonicalize(dir.path("x/../x/y/..")).unwrap();
    assert_eq!(canonical, std::fs::canonicalize(dir.path("x")).unwrap());
}

/// More than are read at a time.
fn many_entries(_: Way) {
    let dir = Dir::new();
    let mut expected: Vec<PathBuf> = (0..300).map(|n| dir.path(format!("file {n:03}"))).collect();
    for path in &expected {
        std::fs::write(path, "x").unwrap();
    }
    std::fs::create_dir(dir.path("sub")).unwrap();
    expected.push(dir.path("sub"));
    let mut entries = fs::read_dir(&dir.0).unwrap();
    let mut found: Vec<_> = entries
        .by_ref()
        .map(|entry| {
            let entry = entry.unwrap();
            let (kind, metadata) = (entry.file_type().unwrap(), entry.metadata().unwrap());
            assert_eq!(kind, metadata.file_type());
            assert_eq!(entry.ino(), metadata.ino());
            assert_eq!(kind.is_dir(), entry.file_name() == "sub");
            assert!(format!("{entry:?}").contains("DirEntry"));
            entry.path()
        })
        .collect();
    assert!(entries.next().is_none());
    found.sort();
    assert_eq!(found, expected);
}

fn links(_: Way) {
    let dir = Dir::new();
    let (file, hard, soft) = (dir.path("file"), dir.path("hard"), dir.path("soft"));
    fs::write(&file, "text").unwrap();
    fs::hard_link(&file, &hard).unwrap();
    symlink("file", &soft).unwrap();
    assert_eq!(fs::read_link(&soft).unwrap(), PathBuf::from("file"));
    assert_eq!(fs::metadata(&soft).unwrap().nlink(), 2);
    assert!(fs::symlink_metadata(&soft).unwrap().is_symlink());
    assert_eq!(fs::canonicalize(&soft).unwrap(), std::fs::canonicalize(&file).unwrap());
    fs::remove_file(&file).unwrap();
    fs::remove_file(&hard).unwrap();
    assert!(!fs::exists(&soft).unwrap(), "the link leads nowhere");
    #[expect(deprecated, reason = "it is there, as in std")]
    fs::soft_link("x", dir.path("other")).unwrap();
}

fn what_a_file_is(_: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    let file = File::create(&path).unwrap();
    let times = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_007);
    file.set_times(FileTimes::new().set_accessed(times).set_modified(times)).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.accessed().unwrap(), metadata.modified().unwrap()), (times, times));
    file.set_modified(times + Duration::from_secs(1)).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().modified().unwrap(), times);
    let mut permissions = metadata.permissions();
    permissions.set_mode(0o600);
    file.set_permissions(permissions.clone()).unwrap();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    assert!(fs::metadata(&path).unwrap().permissions().readonly());
    file.sync_data().unwrap();
    assert!(!file.is_terminal());
    let text = format!("{file:?}");
    assert!(text.contains("File") && text.contains("write: true"), "{text}");
}

fn errors_are_stds(_: Way) {
    let dir = Dir::new();
    let path = dir.path("nothing");
    let pairs: [(io::Result<()>, io::Result<()>); 8] = [
        (File::open(&path).map(drop), std::fs::File::open(&path).map(drop)),
        (fs::read_dir(&path).map(drop), std::fs::read_dir(&path).map(drop)),
        (fs::remove_file(&path), std::fs::remove_file(&path)),
        (fs::remove_dir(&path), std::fs::remove_dir(&path)),
        (fs::metadata(&path).map(drop), std::fs::metadata(&path).map(drop)),
        (fs::read_link(&dir.0).map(drop), std::fs::read_link(&dir.0).map(drop)),
        (fs::copy(&dir.0, &path).map(drop), std::fs::copy(&dir.0, &path).map(drop)),
        (fs::read("a\0b").map(drop), std::fs::read("a\0b").map(drop)),
    ];
    for (ours, stds) in pairs {
        let (ours, stds) = (ours.unwrap_err(), stds.unwrap_err());
        assert_eq!((ours.kind(), ours.to_string()), (stds.kind(), stds.to_string()));
    }
    // A directory can be opened, and not read.
    let error = File::open(&dir.0).unwrap().read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::IsADirectory);
}

fn conversions_keep_the_descriptor(_: Way) {
    let dir = Dir::new();
    let mut file = File::create_new(dir.path("file")).unwrap();
    file.write_all(b"text").unwrap();
    let fd = file.as_raw_fd();
    let file = std::fs::File::from(file);
    assert_eq!(file.as_raw_fd(), fd);
    let file = OwnedFd::from(File::from(file));
    let raw = File::from(file).into_raw_fd();
    assert_eq!(raw, fd);
    // SAFETY: the descriptor is open, and nothing else owns it.
    let mut file = unsafe { File::from_raw_fd(raw) };
    assert_eq!(file.as_fd().as_raw_fd(), fd);
    file.rewind().unwrap();
    assert_eq!(io::read_to_string(&file).unwrap(), "text");
    file.rewind().unwrap();
    let output = gthread::process::Command::new("cat").stdin(file).output().unwrap();
    assert_eq!(output.stdout, b"text");
}

fn clones_share_the_position(_: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    fs::write(&path, "abcd").unwrap();
    let mut file = File::open(&path).unwrap();
    let mut clone = file.try_clone().unwrap();
    let mut two = [0; 2];
    file.read_exact(&mut two).unwrap();
    clone.read_exact(&mut two).unwrap();
    assert_eq!(&two, b"cd");
}

fn one_file_serves_many_threads(on: Way) {
    let dir = Dir::new();
    let path = dir.path("file");
    let bytes: Vec<u8> = (0..1 << 16).map(|n: u32| (n >> 8) as u8).collect();
    fs::write(&path, &bytes).unwrap();
    let file = Arc::new(File::open(&path).unwrap());
    let peers: Vec<_> = (0..8_u64)
        .map(|peer| {
            let file = Arc::clone(&file);
            on.spawn(move || {
                for turn in 0..64 {
                    let block = (peer * 31 + turn * 7) % 256;
                    let mut read = [0; 256];
                    file.read_exact_at(&mut read, block * 256).unwrap();
                    assert_eq!(read, [block as u8; 256]);
                }
            })
        })
        .collect();
    peers.into_iter().for_each(|peer| peer.join());
}

/// epoll refuses them with `EPERM` (asio#111).
fn lesson_14_files_and_devices_are_always_ready(_: Way) {
    let mut null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
    assert_eq!(null.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(null.write(&[1; 100_000]).unwrap(), 100_000);
    let mut zero = [1; 9000];
    File::open("/dev/zero").unwrap().read_exact(&mut zero).unwrap();
    assert_eq!(zero, [0; 9000]);
    let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    assert_eq!(full.write(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
    // Some file systems have no reads without waiting.
    let mut status = String::new();
    File::open("/proc/self/status").unwrap().read_to_string(&mut status).unwrap();
    assert!(status.contains("VmRSS"));
    let mut first = [0; 5];
    File::open("/proc/self/status").unwrap().read_exact(&mut first).unwrap();
    assert_eq!(&first, b"Name:");
    let entries = File::open("/").unwrap();
    assert!(entries.metadata().unwrap().is_dir());
}

fn a_fifo_parks_its_reader(on: Way) {
    let dir = Dir::new();
    let fifo = dir.fifo("fifo");
    // For both directions, so that opening does not wait for another.
    let both = |path| OpenOptions::new().read(true).write(true).open(path).unwrap();
    let (mut reader, mut writer) = (both(&fifo), both(&fifo));
    let peer = on.spawn(move || {
        let mut read = [0; 4];
        reader.read_exact(&mut read).unwrap();
        read
    });
    on.lull();
    assert!(!peer.is_finished());
    writer.write_all(b"pi").unwrap();
    on.lull();
    writer.write_all(b"pe").unwrap();
    assert_eq!(&peer.join(), b"pipe");
    // If the user wants no waiting, there is none.
    let mut reader =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    assert_eq!(reader.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// Threads that wait for pipes are no OS threads.
#[test]
fn many_readers_of_fifos_need_no_os_thread() {
    let path = test_path!("many_readers_of_fifos_need_no_os_thread");
    alone(&path, &[], || {
        let dir = Dir::new();
        let runtime = runtime(1);
        let before = os_threads();
        let both = |path| OpenOptions::new().read(true).write(true).open(path).unwrap();
        let fifos: Vec<_> = (0..50).map(|n| both(dir.fifo(&n.to_string()))).collect();
        let readers: Vec<_> = fifos
            .iter()
            .map(|fifo| {
                let mut reader = fifo.try_clone().unwrap();
                runtime.spawn(move || {
                    let mut byte = [0; 1];
                    reader.read_exact(&mut byte).unwrap();
                    byte
                })
            })
            .collect();
        runtime.run(gthread_tests::yield_often);
        assert!(os_threads() <= before + 1, "{} OS threads", os_threads());
        fifos.into_iter().for_each(|mut fifo| fifo.write_all(b"x").unwrap());
        readers.into_iter().for_each(|reader| assert_eq!(&reader.join().unwrap(), b"x"));
    });
}

/// A thread that is blocked in a call of the file system keeps no other from running.
#[test]
fn an_operation_that_blocks_stalls_no_other() {
    for_each_of(&[1, 2], |runtime| {
        let dir = Dir::new();
        let fifo = dir.fifo("fifo");
        let opened = fifo.clone();
        runtime.run(|| {
            // Opening waits for a writer.
            let reader = go!(move || fs::read(opened).unwrap());
            let others: Vec<_> = (0..100).map(|n| go!(move || n)).collect();
            let sum: u32 = others.into_iter().map(|other| other.join().unwrap()).sum();
            assert_eq!(sum, 4950);
            assert!(!reader.is_finished());
            fs::write(&fifo, "text").unwrap();
            assert_eq!(reader.join().unwrap(), b"text");
        });
    });
}

/// Writes a byte into the FIFO and closes it, if it has a reader.
fn feed(fifo: &PathBuf) -> bool {
    let mut options = std::fs::OpenOptions::new();
    match options.write(true).custom_flags(libc::O_NONBLOCK).open(fifo) {
        Ok(mut file) => file.write_all(b"x").is_ok(),
        Err(error) => {
            assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
            false
        }
    }
}

#[test]
fn so_many_block_at_once() {
    let path = test_path!("so_many_block_at_once");
    alone(&path, &[("GTHREAD_BLOCKING_IO", "3")], || {
        const READERS: usize = 30;
        let dir = Dir::new();
        let runtime = runtime(1);
        let before = os_threads();
        let fifos: Vec<_> = (0..READERS).map(|n| dir.fifo(&n.to_string())).collect();
        let readers: Vec<_> = fifos
            .iter()
            .map(|fifo| {
                let fifo = fifo.clone();
                runtime.spawn(move || fs::read(fifo).unwrap())
            })
            .collect();
        // Others run meanwhile.
        assert_eq!(runtime.spawn(|| 1).join().unwrap(), 1);
        // The worker, three that are blocked, and one that stands in.
        assert!(os_threads() <= before + 4, "{} OS threads", os_threads());
        let mut hungry = fifos;
        while !hungry.is_empty() {
            hungry.retain(|fifo| !feed(fifo));
            std::thread::sleep(Duration::from_millis(1));
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), b"x");
        }
        assert!(os_threads() <= before + 4, "{} OS threads", os_threads());
    });
}

#[test]
fn a_wrong_number_is_an_error() {
    let path = test_path!("a_wrong_number_is_an_error");
    for value in ["0", "many", "32769"] {
        alone(&path, &[("GTHREAD_BLOCKING_IO", value)], || {
            let error = Runtime::builder().build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("GTHREAD_BLOCKING_IO must be"), "{error}");
        });
    }
}

/// jdk#18598: a buffered read of what is in memory must not cost a change of threads. The bound is
/// generous: it shows that there is none.
#[test]
fn lesson_28_buffered_file_reads_stay_cheap() {
    let dir = Dir::new();
    let path = dir.path("file");
    fs::write(&path, vec![7; 1 << 20]).unwrap();
    let read_all = |file: &mut dyn Read| {
        let mut block = [0; 4096];
        let mut bytes = 0;
        while let n @ 1.. = file.read(&mut block).unwrap() {
            bytes += n;
        }
        assert_eq!(bytes, 1 << 20);
    };
    watchdog(LIMIT, || {
        let runtime = runtime(2);
        let stds =
            (0..30).map(|_| time(|| read_all(&mut std::fs::File::open(&path).unwrap()))).min();
        let ours = runtime.run(|| {
            // There is always other work, which another worker would be woken for.
            let stop = Flag::new();
            let stopped = stop.clone();
            let other = go!(move || {
                while !stopped.is_up() {
                    gthread::sleep(Duration::from_micros(100));
                }
            });
            let best = (0..30).map(|_| time(|| read_all(&mut File::open(&path).unwrap()))).min();
            stop.raise();
            other.join().unwrap();
            best
        });
        let (stds, ours) = (stds.unwrap(), ours.unwrap());
        println!("1 MiB in blocks of 4 KiB: std {stds:?}, gthread {ours:?}");
        assert!(ours < 10 * stds, "{ours:?}, std {stds:?}");
    });
}

/// Files, and buffers around them, may cross an unwinding, as in std.
#[test]
fn auto_traits_are_stds() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    check::<File>();
    check::<OpenOptions>();
    check::<DirBuilder>();
    check::<fs::ReadDir>();
    check::<fs::DirEntry>();
}

#[test]
fn many_files_at_once() {
    for_each_of(&[1, 2], |runtime| {
        let dir = Dir::new();
        runtime.run(|| {
            let threads: Vec<_> = (0..200)
                .map(|n| {
                    let path = dir.path(n.to_string());
                    go!(move || {
                        fs::write(&path, n.to_string()).unwrap();
                        let text = fs::read_to_string(&path).unwrap();
                        fs::remove_file(&path).unwrap();
                        text.parse::<u32>().unwrap()
                    })
                })
                .collect();
            let sum: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
            assert_eq!(sum, 19_900);
        });
        until(|| fs::read_dir(&dir.0).unwrap().next().is_none());
    });
}
