import java.util.Arrays;

/**
 * What the command line asks for.
 *
 * @param size how large the workload is; what that means is the workload's
 * @param sample nanoseconds that one sample should take
 */
record Job(int size, long sample) {
    /** How many samples are taken; their median is reported. */
    private static final int SAMPLES = 5;
    /** For how many samples' time the compiler may warm up. */
    private static final int WARM_UP = 10;

    /** Time taken, in nanoseconds, and what was computed meanwhile. */
    record Timed(long taken, long checksum) {
        static Timed since(long start, long checksum) {
            return new Timed(System.nanoTime() - start, checksum);
        }
    }

    /** Something that is repeated n times. */
    interface Repetitions {
        Timed run(long n) throws Exception;
    }

    /** Something that gives a checksum. */
    interface Sum {
        long run() throws Exception;
    }

    /** Times something. */
    static Timed time(Sum sum) throws Exception {
        long start = System.nanoTime();
        long checksum = sum.run();
        return Timed.since(start, checksum);
    }

    /** Runs something in a virtual thread, and waits for it. */
    static <T> T inVirtualThread(java.util.concurrent.Callable<T> body) throws Exception {
        var task = new java.util.concurrent.FutureTask<>(body);
        Thread.startVirtualThread(task);
        return task.get();
    }

    /**
     * Runs something n times, in a virtual thread, with an n that makes it take about as long as a sample
     * should, and reports the time of one repetition.
     */
    Report repeat(Repetitions repetitions) throws Exception {
        return repeatHere(n -> inVirtualThread(() -> repetitions.run(n)));
    }

    /** As {@link #repeat}, but on the thread that calls. */
    Report repeatHere(Repetitions repetitions) throws Exception {
        // Finding the number warms up as well.
        long n = 1;
        for (long warm = 0; ; ) {
            long taken = Math.max(repetitions.run(n).taken(), 1);
            warm += taken;
            if (taken > sample / 2 && warm > WARM_UP * sample) {
                break;
            }
            double growth = Math.clamp((double) sample / taken, 0.5, 10.0);
            n = (long) Math.ceil(n * growth);
        }

        Timed first = repetitions.run(n);
        long[] times = new long[SAMPLES];
        times[0] = first.taken();
        int taken = 1;
        // What cannot be repeated faster than this has few samples.
        for (long sum = first.taken(); taken < SAMPLES && sum < 10 * sample; taken++) {
            Timed next = repetitions.run(n);
            if (next.checksum() != first.checksum()) {
                throw new IllegalStateException("two samples differ");
            }
            times[taken] = next.taken();
            sum += next.taken();
        }
        Arrays.sort(times, 0, taken);
        return new Report(n, first.checksum())
                .with("ns", (double) times[taken / 2] / n)
                .with("min", (double) times[0] / n);
    }
}
