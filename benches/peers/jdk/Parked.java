import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;

/** So many threads that wait at once. */
final class Parked {
    private Parked() {}

    /** Threads that wait for a door to open. */
    private static final class Wave {
        final CountDownLatch door = new CountDownLatch(1);
        final AtomicInteger parked = new AtomicInteger();
        final AtomicInteger woken = new AtomicInteger();
        final Thread[] threads;
        /** From the first's start until all have run. */
        final long start;

        /** Starts them, and returns when all wait. */
        Wave(int size) {
            threads = new Thread[size];
            long begin = System.nanoTime();
            for (int i = 0; i < size; i++) {
                threads[i] = Channels.start(() -> {
                    parked.incrementAndGet();
                    door.await();
                    woken.incrementAndGet();
                });
            }
            while (parked.get() < size) {
                Thread.yield();
            }
            start = System.nanoTime() - begin;
        }

        /** Wakes them, and gives how long it took until all had ended. */
        long end() throws InterruptedException {
            long begin = System.nanoTime();
            door.countDown();
            for (var thread : threads) {
                thread.join();
            }
            return System.nanoTime() - begin;
        }
    }

    /**
     * Starts threads that all wait for one latch, looks at what memory they take, and wakes them. Does so
     * again, and looks how long the memory takes to go back to the system.
     */
    static Report parked(Job job) throws Exception {
        return Job.inVirtualThread(() -> {
            int size = job.size();
            // Some for the compiler to warm up.
            new Wave(size / 50).end();
            new Wave(size / 50).end();

            long before = Process.memory();
            var first = new Wave(size);
            long parked = Process.memory();
            long maps = Process.maps();
            long wake = first.end();

            var again = new Wave(size);
            long peak = Math.max(parked, Process.memory());
            again.end();
            return new Report(1, first.woken.get() + again.woken.get())
                    .with("start", (double) first.start / size)
                    .with("wake", (double) wake / size)
                    .with("bytes", (double) (parked - before) / size)
                    .with("maps", maps)
                    .with("start-again", (double) again.start / size)
                    .with("given-back", Process.givenBack(before, peak));
        });
    }
}
