import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicBoolean;

/** How long runnable threads wait for their turn. */
final class Turns {
    private Turns() {}

    private static final int PROBES = 4;

    /** Starts what the probes run beside, until the flag is set. */
    interface Others {
        void start(AtomicBoolean stop);
    }

    /** Measures threads that only yield, beside others, for so many milliseconds, after a try to warm up. */
    private static Report turns(Job job, Others others) throws Exception {
        turnsOnce(job, others);
        return turnsOnce(job, others);
    }

    private static Report turnsOnce(Job job, Others others) throws Exception {
        var stop = new AtomicBoolean();
        others.start(stop);
        var waited = new Waits[PROBES];
        var probes = new Thread[PROBES];
        for (int i = 0; i < PROBES; i++) {
            var waits = waited[i] = new Waits();
            long started = System.nanoTime();
            probes[i] = Thread.startVirtualThread(() -> {
                long runnable = started;
                while (true) {
                    waits.add(System.nanoTime() - runnable);
                    if (stop.get()) {
                        return;
                    }
                    runnable = System.nanoTime();
                    Thread.yield();
                }
            });
        }
        Thread.sleep(job.size());
        stop.set(true);
        var all = new Waits();
        for (int i = 0; i < PROBES; i++) {
            probes[i].join();
            all.merge(waited[i]);
        }
        return new Report(1, PROBES).with(all);
    }

    static Report besideYield(Job job) throws Exception {
        return turns(job, stop -> {
            for (int i = 0; i < 100; i++) {
                Thread.startVirtualThread(() -> {
                    while (!stop.get()) {
                        Thread.yield();
                    }
                });
            }
        });
    }

    static Report besideTalk(Job job) throws Exception {
        return turns(job, stop -> {
            for (int i = 0; i < 8; i++) {
                var ping = new SynchronousQueue<Boolean>();
                var pong = new SynchronousQueue<Boolean>();
                Channels.start(() -> {
                    while (!stop.get()) {
                        ping.put(true);
                        pong.take();
                    }
                    ping.put(false);
                });
                Channels.start(() -> {
                    while (ping.take()) {
                        pong.put(true);
                    }
                });
            }
        });
    }

    static Report besideCrowd(Job job) throws Exception {
        return turns(job, stop -> {
            var values = new ArrayBlockingQueue<Boolean>(1024);
            for (int i = 0; i < 4; i++) {
                Channels.start(() -> {
                    while (!stop.get()) {
                        values.put(true);
                    }
                    values.put(false);
                });
                Channels.start(() -> {
                    while (values.take()) {}
                });
            }
        });
    }

    private static void fork(int depth) {
        if (depth > 0) {
            var thread = Thread.startVirtualThread(() -> fork(depth - 1));
            fork(depth - 1);
            Forks.join(thread);
        }
    }

    static Report besideFork(Job job) throws Exception {
        return turns(job, stop -> {
            for (int i = 0; i < 2; i++) {
                Thread.startVirtualThread(() -> {
                    while (!stop.get()) {
                        fork(15);
                    }
                });
            }
        });
    }

    static Report besideHogs(Job job) throws Exception {
        return turns(job, stop -> {
            for (int i = 0; i < 2; i++) {
                Thread.startVirtualThread(() -> {
                    while (!stop.get()) {
                        Kernel.burn(20_000_000);
                        Thread.yield();
                    }
                });
            }
        });
    }
}
