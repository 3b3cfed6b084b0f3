//! What a dump says of green threads: who, where, what for, how long, and their calls.

use std::time::Duration;

use gthread::channel::{self, Receiver};
use gthread::sync::WaitGroup;
use gthread::{Builder, RuntimeDump, ThreadDump, ThreadState, WorkerState};
use gthread_tests::{Flag, LIMIT, for_workers, hog_until, under_chaos, until, watchdog};

/// Dumps until all threads but `others` are parked.
fn dump_parked(runtime: &gthread::Runtime, parked: usize) -> RuntimeDump {
    loop {
        let dump = runtime.dump();
        let count =
            dump.threads.iter().filter(|thread| thread.state == ThreadState::Parked).count();
        if count == parked {
            return dump;
        }
        std::thread::yield_now();
    }
}

fn named<'a>(dump: &'a RuntimeDump, name: &str) -> &'a ThreadDump {
    let is = |thread: &&ThreadDump| thread.name.as_deref() == Some(name);
    dump.threads.iter().find(is).unwrap_or_else(|| panic!("no thread {name} in\n{dump}"))
}

/// The functions in a thread's calls, without their paths and types, which optimised builds do not know.
fn calls(thread: &ThreadDump) -> Vec<&str> {
    let functions = thread.backtrace.iter().filter_map(|frame| frame.function.as_deref());
    let without_types = functions.map(|function| function.split('<').next().unwrap_or(function));
    without_types.map(|function| function.rsplit("::").next().unwrap_or(function)).collect()
}

fn start<T: Send + 'static>(
    runtime: &gthread::Runtime,
    name: &str,
    f: impl FnOnce() -> T + Send + 'static,
) -> gthread::JoinHandle<T> {
    let builder = Builder::new().name(name.into());
    runtime.run(|| builder.spawn(f).unwrap())
}

#[test]
fn every_wait_is_named_with_its_place() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<u32>(0);
        let (full, not_read) = channel::bounded::<u32>(1);
        full.send(1).unwrap();
        let group = WaitGroup::new();
        group.add(1);
        type Wait = Box<dyn FnOnce() + Send>;
        let waits: [(&str, u32, Wait); 7] = [
            ("park", line!(), Box::new(|| gthread::park())),
            ("sleep", line!(), Box::new(|| gthread::sleep(Duration::from_secs(3600)))),
            ("recv", line!(), {
                let rx = rx.clone();
                Box::new(move || {
                    let _ = rx.recv();
                })
            }),
            ("send", line!(), {
                let full = full.clone();
                Box::new(move || {
                    let _ = full.send(2);
                })
            }),
            ("select", line!(), {
                let rx = rx.clone();
                Box::new(move || {
                    gthread::channel::select! { recv(rx) -> _ => {} }
                })
            }),
            ("wait group", line!(), {
                let group = group.clone();
                Box::new(move || group.wait())
            }),
            ("recv", line!(), {
                let rx = rx.clone();
                Box::new(move || {
                    let _ = rx.recv_timeout(Duration::from_secs(3600));
                })
            }),
        ];
        let count = waits.len();
        let mut expected = Vec::new();
        for (index, (reason, line, wait)) in waits.into_iter().enumerate() {
            let name = format!("{index} {reason}");
            drop(start(runtime, &name, wait));
            expected.push((name, reason, line));
        }
        let dump = dump_parked(runtime, count);
        for (name, reason, line) in expected {
            let thread = named(&dump, &name);
            let wait = thread.wait.unwrap();
            assert_eq!(wait.reason, reason);
            assert_eq!(wait.at.file, file!());
            assert!((line..line + 5).contains(&wait.at.line), "{name} at {}", wait.at);
            assert_eq!(thread.spawned_at.file, file!());
            assert_eq!(thread.worker, None);
            let stack = thread.stack.unwrap();
            assert!(stack.used > 0 && stack.used < stack.size, "{stack:?}");
            let calls = &thread.backtrace;
            let here = |line: u32| (wait.at.line..wait.at.line + 3).contains(&line);
            // The optimiser makes a jump of a last call.
            let shown = calls.iter().any(|call| call.line.is_some_and(here));
            assert!(shown || !cfg!(debug_assertions) && !calls.is_empty(), "{dump}");
        }
        drop((tx, not_read));
        group.done();
    });
}

#[inline(never)]
fn outer(depth: u32, rx: &Receiver<()>) -> u32 {
    if depth > 0 { std::hint::black_box(outer(depth - 1, rx)) + 1 } else { inner(rx) }
}

#[inline(never)]
fn inner(rx: &Receiver<()>) -> u32 {
    let _ = rx.recv();
    std::hint::black_box(0)
}

#[test]
fn calls_are_those_of_the_thread_and_no_others() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded(0);
        let thread = start(runtime, "deep", move || outer(3, &rx));
        let dump = dump_parked(runtime, 1);
        let deep = named(&dump, "deep");
        let calls = calls(deep);
        assert_eq!(calls[1], "inner", "{calls:?}");
        // The optimiser makes a loop of some.
        let closure = calls.len() - 1;
        assert!(closure > 2 && calls[2..closure].iter().all(|&call| call == "outer"), "{calls:?}");
        let in_this_file = |file: &String| file.ends_with(file!());
        assert!(
            deep.backtrace[1..].iter().all(|call| call.file.as_ref().is_some_and(in_this_file))
        );
        // The thread was not disturbed.
        drop(tx);
        assert_eq!(thread.join().unwrap(), 3);
    });
}

#[test]
fn a_thread_on_a_temporary_stack_shows_all_its_calls() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded(0);
        let thread =
            start(runtime, "large", move || gthread::with_stack(8 << 20, || outer(1, &rx)));
        let dump = dump_parked(runtime, 1);
        let large = named(&dump, "large");
        assert!(large.stack.is_some_and(|stack| stack.temporary && stack.size >= 8 << 20));
        let calls = calls(large);
        assert_eq!(calls[1..3], ["inner", "outer"]);
        assert_eq!(calls[calls.len() - 2], "with_stack", "{calls:?}");
        drop(tx);
        assert_eq!(thread.join().unwrap(), 1);
    });
}

/// A thread that parks with no room left below it walks its stack all the same.
#[test]
fn a_full_stack_is_walked() {
    #[inline(never)]
    fn fill(room: usize, low: usize, rx: &Receiver<()>) -> usize {
        let frame = std::hint::black_box([0_u8; 64]);
        let here = frame.as_ptr() as usize;
        if here - low > room {
            std::hint::black_box(fill(room, low, rx)) + 1
        } else {
            inner(rx) as usize
        }
    }
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded(0);
        let thread = Builder::new().name("full".into()).stack_size(24 << 10);
        let thread = runtime.run(|| {
            thread.spawn(move || {
                let here = 0_u8;
                // The stack is 28 KiB with its guard, rounded up to 32; the end is some way down from here.
                let low =
                    (std::ptr::from_ref(std::hint::black_box(&here)) as usize & !0x7fff) + 4096;
                fill(6 << 10, low, &rx)
            })
        });
        let thread = thread.unwrap();
        let dump = dump_parked(runtime, 1);
        let full = named(&dump, "full");
        let stack = full.stack.unwrap();
        assert!(stack.size - stack.used < 7 << 10, "{stack:?}");
        assert!(calls(full).len() > 10);
        drop(tx);
        assert!(thread.join().unwrap() > 10);
    });
}

#[test]
fn time_is_that_of_the_wait() {
    for_workers(|runtime| {
        let old = runtime.spawn(gthread::park);
        dump_parked(runtime, 1);
        std::thread::sleep(Duration::from_millis(100));
        let young = runtime.spawn(gthread::park);
        let dump = dump_parked(runtime, 2);
        let waited = |index: usize| dump.threads[index].wait.unwrap().waited_ms;
        let (first, second) = (waited(0), waited(1));
        assert!(first >= 90, "{first} ms");
        // Both were asleep for the same time since, and the clock is at most that late.
        assert!(first - second >= 80, "{first} and {second} ms");
        old.thread().unpark();
        young.thread().unpark();
    });
}

#[test]
fn what_runs_is_named_and_its_worker() {
    for_workers(|runtime| {
        let (running, go_on) = (Flag::new(), Flag::new());
        let hog = start(runtime, "hog", {
            let (running, go_on) = (running.clone(), go_on.clone());
            move || {
                running.raise();
                hog_until(|| go_on.is_up());
            }
        });
        until(|| running.is_up());
        let dump = runtime.dump();
        let thread = named(&dump, "hog");
        assert_eq!(thread.state, ThreadState::Running);
        assert!(thread.backtrace.is_empty() && thread.wait.is_none());
        let worker = dump.workers[thread.worker.unwrap()];
        assert_eq!(worker.state, WorkerState::Inside);
        assert_eq!(worker.thread, Some(thread.id));
        go_on.raise();
        hog.join().unwrap();
        assert!(runtime.dump().threads.is_empty());
    });
}

/// Where they wait is where the iterator is made, also if std asks for the next one.
#[test]
fn a_wait_in_an_iterator_is_where_that_was_made() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<u32>(0);
        type Wait = Box<dyn FnOnce(Receiver<u32>) + Send>;
        let waits: [(u32, Wait); 6] = [
            (line!(), Box::new(|rx| assert_eq!(rx.iter().sum::<u32>(), 0))),
            (line!(), Box::new(|rx| rx.iter().filter(|n| *n > 1).for_each(drop))),
            (line!(), Box::new(|rx| assert_eq!(rx.into_iter().max(), None))),
            (line!(), Box::new(|rx| for _ in &rx {})),
            (line!(), Box::new(|rx| for _ in rx {})),
            (line!(), Box::new(|rx| Vec::new().extend(rx))),
        ];
        let count = waits.len() - 1;
        let mut expected = Vec::new();
        for (line, wait) in waits.into_iter().take(count) {
            let rx = rx.clone();
            drop(start(runtime, &line.to_string(), move || wait(rx)));
            expected.push(line);
        }
        let dump = dump_parked(runtime, count);
        for line in expected {
            let at = named(&dump, &line.to_string()).wait.unwrap().at;
            assert_eq!((at.file, at.line), (file!(), line), "{dump}");
        }
        drop(tx);
    });
}

/// OS threads that wait in gthread are in a dump of everything, with their place, as are those that a green thread blocks: those
/// show what the green thread waits for.
#[test]
fn os_threads_that_wait_are_named() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<u32>(0);
        let (name, ends) = (format!("waits {:?}", std::thread::current().id()), Flag::new());
        let parks = runtime.spawn(gthread::park);
        let unparks = parks.thread().clone();
        let line = line!() + 4;
        std::thread::scope(|s| {
            let builder = std::thread::Builder::new().name(name.clone());
            let waits = builder.spawn_scoped(s, || {
                let _ = rx.recv();
                let _ = rx.recv_timeout(Duration::from_secs(3600));
                runtime.run(|| gthread::blocking(|| rx.recv())).unwrap_err();
                parks.join().unwrap();
                ends.raise();
            });
            waits.unwrap();
            let wait = |nth: u32, reason: &str| loop {
                let dump = gthread::dump();
                let found = dump.os_threads.iter().find(|t| t.name.as_deref() == Some(&*name));
                if let Some(found) = found.filter(|thread| thread.wait.at.line == line + nth) {
                    assert_eq!((found.wait.reason, found.wait.at.file), (reason, file!()));
                    assert!(found.os_id > 0 && dump.to_string().contains(&name), "{dump}");
                    break (dump.clone(), found.clone());
                }
                std::thread::yield_now();
            };
            wait(0, "recv");
            tx.send(1).unwrap();
            wait(1, "recv");
            tx.send(2).unwrap();
            let (mut dump, found) = wait(2, "run");
            let id_of_run = found.wait.thread.unwrap();
            let blocks = loop {
                // One that is just beginning or going on may be missing.
                let blocks = dump.threads().find(|thread| thread.id == id_of_run);
                if let Some(blocks) = blocks.filter(|thread| thread.wait.is_some()) {
                    break blocks.clone();
                }
                dump = gthread::dump();
            };
            assert_eq!(blocks.state, ThreadState::Blocked);
            assert_eq!(
                (blocks.wait.unwrap().reason, blocks.wait.unwrap().at.line),
                ("recv", line + 2)
            );
            assert!(dump.to_string().contains(" is blocking worker "), "{dump}");
            // Its worker is not said to wait beside.
            assert!(dump.os_threads.iter().all(|thread| thread.wait.at != blocks.wait.unwrap().at));
            drop(tx);
            let (_, found) = wait(3, "join");
            let joined = runtime.dump().threads[0].id;
            assert_eq!(found.wait.thread, Some(joined));
            unparks.unpark();
        });
        assert!(ends.is_up());
        assert!(gthread::dump().os_threads.iter().all(|t| t.name.as_deref() != Some(&*name)));
    });
}

#[test]
fn what_blocks_is_named() {
    for_workers(|runtime| {
        let (blocked, go_on) = (Flag::new(), Flag::new());
        let thread = start(runtime, "blocks", {
            let (blocked, go_on) = (blocked.clone(), go_on.clone());
            move || {
                gthread::blocking(|| {
                    blocked.raise();
                    until(|| go_on.is_up());
                });
            }
        });
        until(|| blocked.is_up());
        let dump = runtime.dump();
        assert_eq!(named(&dump, "blocks").state, ThreadState::Blocked);
        go_on.raise();
        thread.join().unwrap();
    });
}

#[test]
fn new_and_runnable_threads_are_told_apart() {
    if under_chaos("the order of parent and child") {
        return;
    }
    watchdog(LIMIT, || {
        let dump = loop {
            let ours = gthread::Runtime::builder().workers(1).name("ours").build().unwrap();
            let dump = ours.run(|| {
                // Child first: it runs until it yields, then the parent goes on.
                let yields = Builder::new().name("yields".into());
                let yields = yields.spawn(gthread::yield_now).unwrap();
                let queued = Builder::new().name("queued".into());
                let queued = queued.queued(true).spawn(|| ()).unwrap();
                let dump = gthread::dump();
                yields.join().unwrap();
                queued.join().unwrap();
                dump
            });
            // Other tests have runtimes too.
            let dump = dump.runtimes.into_iter().find(|runtime| runtime.name == "ours").unwrap();
            // If the machine stalls the worker before it dumps, a spare comes, and runs them.
            if dump.workers.len() == 1 {
                break dump;
            }
        };
        let dump = &dump;
        assert_eq!(named(dump, "yields").state, ThreadState::Runnable);
        assert_eq!(named(dump, "queued").state, ThreadState::New);
        // And the one that dumps.
        assert_eq!(dump.threads.iter().filter(|t| t.state == ThreadState::Running).count(), 1);
        assert_eq!(dump.threads.len(), 3);
    });
}

#[test]
fn a_join_names_its_thread_and_a_circle_of_joins_is_found() {
    for_workers(|runtime| {
        let (to_a, from_b) = channel::bounded::<gthread::JoinHandle<()>>(1);
        let (to_b, from_a) = channel::bounded::<gthread::JoinHandle<()>>(1);
        let a = start(runtime, "a", move || from_b.recv().unwrap().join().unwrap());
        let b = start(runtime, "b", move || from_a.recv().unwrap().join().unwrap());
        let waits = start(runtime, "waits", || gthread::park());
        let waits_thread = waits.thread().clone();
        let joins = start(runtime, "joins", move || waits.join().unwrap());
        to_a.send(b).unwrap();
        to_b.send(a).unwrap();
        let text = loop {
            let dump = gthread::dump();
            let all = dump.cycles();
            if let Some(cycle) = all.iter().find(|cycle| cycle[0].name.as_deref() == Some("a")) {
                assert_eq!(cycle.len(), 2);
                assert_eq!(cycle[1].name.as_deref(), Some("b"));
                break dump.to_string();
            }
        };
        assert!(text.contains("waits to join"), "{text}");
        let dump = dump_parked(runtime, 4);
        let waits = named(&dump, "waits").id;
        assert_eq!(named(&dump, "joins").wait.unwrap().thread, Some(waits));
        waits_thread.unpark();
        joins.join().unwrap();
    });
}

#[test]
fn a_lock_names_its_holder_and_a_circle_of_locks_and_joins_is_found() {
    use gthread::sync::{Mutex, RwLock};
    use std::sync::Arc;
    for_workers(|runtime| {
        let (one, two) = (Arc::new(Mutex::new(())), Arc::new(RwLock::new(())));
        let (to_a, from_b) = channel::bounded::<gthread::JoinHandle<()>>(1);
        // "a" has the mutex and joins "b", which has the other lock, and "c" waits for that.
        let holds = Flag::new();
        let a = start(runtime, "a", {
            let (one, holds) = (Arc::clone(&one), holds.clone());
            move || {
                let _one = one.lock().unwrap();
                holds.raise();
                from_b.recv().unwrap().join().unwrap();
            }
        });
        until(|| holds.is_up());
        let has_two = Flag::new();
        let b = start(runtime, "b", {
            let (one, two, has_two) = (Arc::clone(&one), Arc::clone(&two), has_two.clone());
            move || {
                let _two = gthread::with_stack(1 << 20, || two.write().unwrap());
                has_two.raise();
                drop(one.lock().unwrap());
            }
        });
        until(|| has_two.is_up());
        let c = start(runtime, "c", {
            let two = Arc::clone(&two);
            move || drop(two.read().unwrap())
        });
        to_a.send(b).unwrap();
        let dump = dump_parked(runtime, 3);
        let (a_id, b_id) = (named(&dump, "a").id, named(&dump, "b").id);
        let wait = named(&dump, "b").wait.unwrap();
        assert_eq!((wait.reason, wait.thread), ("lock", Some(a_id)));
        let lock = wait.lock.unwrap();
        assert_eq!((lock.kind, lock.held), ("Mutex", true));
        let wait = named(&dump, "c").wait.unwrap();
        assert_eq!(wait.lock.unwrap().kind, "RwLock");
        // It was locked on another stack of b's, which is gone.
        assert!(wait.thread.is_none_or(|thread| thread == b_id));
        let all = gthread::dump();
        let cycles = all.cycles();
        let ids = |cycle: &Vec<&ThreadDump>| cycle.iter().map(|t| t.id).collect::<Vec<_>>();
        assert!(cycles.iter().any(|cycle| ids(cycle) == [a_id, b_id]), "{all}");
        let expected = format!(
            "thread {a_id} 'a' waits to join thread {b_id} 'b', which waits for the Mutex at {:#x} \
             that thread {a_id} has",
            lock.address
        );
        assert!(all.to_string().contains(&expected), "{all}");
        drop((a, c));
    });
}

#[test]
fn a_lock_that_an_os_thread_has_says_so() {
    use gthread::sync::Mutex;
    use std::sync::Arc;
    for_workers(|runtime| {
        let lock = Arc::new(Mutex::new(()));
        let held = lock.lock().unwrap();
        let waits = start(runtime, "waits", {
            let lock = Arc::clone(&lock);
            move || drop(lock.lock().unwrap())
        });
        let dump = dump_parked(runtime, 1);
        let wait = named(&dump, "waits").wait.unwrap();
        assert!(wait.thread.is_none() && wait.lock.unwrap().held);
        assert!(dump.to_string().contains("that an OS thread seems to have"), "{dump}");
        drop(held);
        waits.join().unwrap();
    });
}

#[test]
fn the_text_says_once_what_is_alike() {
    for_workers(|runtime| {
        let (tx, rx) = channel::bounded::<()>(0);
        for _ in 0..100 {
            let rx = rx.clone();
            drop(runtime.spawn(move || {
                let _ = rx.recv();
            }));
        }
        let text = dump_parked(runtime, 100).to_string();
        assert!(text.contains("100 green threads (100 parked)"), "{text}");
        assert_eq!(text.matches("parked in recv").count(), 1, "{text}");
        assert!(text.contains("and 95 more are each parked in recv"), "{text}");
        drop(tx);
    });
}

#[test]
fn json_has_all_of_it() {
    for_workers(|runtime| {
        let thread = start(runtime, "parks", gthread::park);
        let dump = dump_parked(runtime, 1);
        let json = serde_json::to_value(&dump).unwrap();
        let parks = &json["threads"][0];
        assert_eq!(parks["name"], "parks");
        assert_eq!(parks["state"], "parked");
        assert_eq!(parks["wait"]["reason"], "park");
        assert_eq!(parks["spawned_at"]["file"], file!());
        assert!(parks["id"].is_u64() && parks["stack"]["used"].is_u64());
        assert!(parks["backtrace"].as_array().is_some_and(|frames| !frames.is_empty()));
        assert!(json["workers"].as_array().is_some_and(|all| all[0]["state"].is_string()));
        thread.thread().unpark();
        thread.join().unwrap();
    });
}

#[test]
fn a_runtime_that_is_gone_is_in_no_dump() {
    watchdog(LIMIT, || {
        let build = || gthread::Runtime::builder().workers(1).name("short-lived").build().unwrap();
        let runtime = build();
        drop(runtime.spawn(gthread::park));
        let is_there = || gthread::dump().runtimes.iter().any(|r| r.name == "short-lived");
        assert!(is_there());
        drop(runtime);
        assert!(!is_there());
    });
}
