import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** Threads that wait for a moment and then do a little, beside some that compute. */
final class Mix {
    private Mix() {}

    private static final int SHORT = 100;
    private static final int LONG = 4;
    private static final long PERIOD = 10_000_000;
    private static final long WORK = 10_000;

    /** Long computations that yield after every millisecond. */
    static Report mix(Job job) throws Exception {
        return shortBesideLong(job, 1_000_000);
    }

    /** Long computations that seldom yield. */
    static Report mixHogs(Job job) throws Exception {
        return shortBesideLong(job, 50_000_000);
    }

    /**
     * For so many milliseconds, threads that each wait for a moment and then do a little, beside some that
     * compute all the time, until the last of the others is done. A wait is from that moment until the little is done.
     * Those that compute stop after ten times as long, so that the others do not wait for ever.
     */
    private static Report shortBesideLong(Job job, long burst) throws Exception {
        // The compiler warms up.
        Kernel.burn(100_000_000);
        var left = new AtomicInteger(SHORT);
        var steps = new AtomicLong();
        int requests = job.size() / 10;
        long start = System.nanoTime();
        long limit = start + 10 * PERIOD * requests;
        var waited = new Waits[SHORT];
        var served = new Thread[SHORT];
        for (int i = 0; i < SHORT; i++) {
            int id = i;
            waited[id] = new Waits();
            served[id] = Channels.start(() -> {
                for (int request = 1; request <= requests; request++) {
                    long due = start + PERIOD * request + PERIOD * id / SHORT;
                    Late.sleepUntil(due);
                    Kernel.burn(WORK);
                    waited[id].add(System.nanoTime() - due);
                }
                // Not by whoever joins this: it may have to wait for its turn much longer.
                left.decrementAndGet();
            });
        }
        var computed = new Thread[LONG];
        for (int i = 0; i < LONG; i++) {
            computed[i] = Channels.start(() -> {
                while (left.get() > 0 && System.nanoTime() < limit) {
                    steps.addAndGet(Kernel.burn(burst));
                    Thread.yield();
                }
            });
        }
        for (var thread : served) {
            thread.join();
        }
        for (var thread : computed) {
            thread.join();
        }
        double rate = steps.get() / ((System.nanoTime() - start) / 1e9);
        var all = new Waits();
        for (var waits : waited) {
            all.merge(waits);
        }
        return new Report(1, all.count()).with(all).with("work", rate);
    }
}
