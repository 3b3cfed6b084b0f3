import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;

/** How late threads are woken, from outside and by timers. */
final class Late {
    private Late() {}

    /** Sleeps until a moment of System.nanoTime. */
    static void sleepUntil(long due) throws InterruptedException {
        long left = due - System.nanoTime();
        if (left > 0) {
            Thread.sleep(Duration.ofNanos(left));
        }
    }

    /**
     * A platform thread wakes a virtual one that waits for a message, so many times, with pauses in which
     * the carriers fall asleep.
     */
    static Report wake(Job job) throws Exception {
        wake(job.size() / 2);
        var waits = wake(job.size());
        return new Report(1, waits.count()).with(waits);
    }

    private static Waits wake(int times) throws Exception {
        final var pause = Duration.ofNanos(300_000);
        final long last = Long.MIN_VALUE;
        var sent = new LinkedBlockingQueue<Long>();
        var woken = new FutureTask<>(() -> {
            var waits = new Waits();
            for (long moment; (moment = sent.take()) != last; ) {
                waits.add(System.nanoTime() - moment);
            }
            return waits;
        });
        Thread.startVirtualThread(woken);
        for (int i = 0; i < times; i++) {
            Thread.sleep(pause);
            sent.put(System.nanoTime());
        }
        sent.put(last);
        return woken.get();
    }

    /**
     * So many threads sleep at once, each until a moment of its own. They begin when all have started; the
     * first is due after four times as many microseconds as there are sleepers, the last after six times.
     */
    static Report timers(Job job) throws Exception {
        // Fewer, for the compiler to warm up.
        for (int i = 0; i < 3; i++) {
            sleepers(job.size() / 10);
        }
        return sleepers(job.size());
    }

    private static Report sleepers(int size) throws Exception {
        return Job.inVirtualThread(() -> {
            var opened = new Threads.Result();
            var door = new CountDownLatch(1);
            var ready = new CountDownLatch(size);
            var lateness = new long[size];
            var sleepers = new Thread[size];
            for (int i = 0; i < size; i++) {
                int id = i;
                sleepers[i] = Channels.start(() -> {
                    ready.countDown();
                    door.await();
                    long micros = 4L * size + Long.remainderUnsigned(Kernel.scramble(id), 2L * size);
                    long due = opened.value + 1000 * micros;
                    sleepUntil(due);
                    lateness[id] = System.nanoTime() - due;
                });
            }
            ready.await();
            long before = Process.cpuTime();
            opened.value = System.nanoTime();
            door.countDown();
            for (var sleeper : sleepers) {
                sleeper.join();
            }
            long cpu = Process.cpuTime() - before;
            var late = new Waits();
            for (long wait : lateness) {
                late.add(wait);
            }
            return new Report(1, late.count()).with("cpu", (double) cpu / size).with(late);
        });
    }
}
