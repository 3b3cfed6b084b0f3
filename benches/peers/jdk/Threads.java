import java.util.concurrent.locks.ReentrantLock;

/** Starting, joining, yielding, locking. */
final class Threads {
    private Threads() {}

    /** A thread's result, which is there when it is joined. */
    static final class Result {
        long value;
    }

    static Report spawnOne(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            long sum = 0;
            for (long i = 0; i < n; i++) {
                long value = i;
                var result = new Result();
                Thread.startVirtualThread(() -> result.value = value).join();
                sum += result.value;
            }
            return sum;
        }));
    }

    static Report spawnMany(Job job) throws Exception {
        return job.repeat(n -> many(job.size(), n));
    }

    /** From a platform thread, so many at a time. */
    static Report burst(Job job) throws Exception {
        return job.repeatHere(n -> many(job.size(), n));
    }

    private static Job.Timed many(int size, long n) throws Exception {
        return Job.time(() -> {
            long sum = 0;
            var threads = new Thread[size];
            var results = new long[size];
            for (long repetition = 0; repetition < n; repetition++) {
                for (int i = 0; i < size; i++) {
                    int id = i;
                    threads[i] = Thread.startVirtualThread(() -> results[id] = id);
                }
                for (int i = 0; i < size; i++) {
                    threads[i].join();
                    sum += results[i];
                }
            }
            return sum;
        });
    }

    static Report yields(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            var others = new Result();
            var other = Thread.startVirtualThread(() -> others.value = half(n / 2));
            long mine = half(n - n / 2);
            other.join();
            return mine + others.value;
        }));
    }

    private static long half(long n) {
        long count = 0;
        for (; count < n; count++) {
            Thread.yield();
        }
        return count;
    }

    static Report mutex(Job job) throws Exception {
        return contend(job, 0, 0);
    }

    /** They compute, for a little while with the lock and for a longer one without. */
    static Report mutexWork(Job job) throws Exception {
        return contend(job, Kernel.LOCKED, Kernel.UNLOCKED);
    }

    private static Report contend(Job job, int locked, int unlocked) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            var lock = new ReentrantLock();
            var count = new Result();
            var threads = new Thread[job.size()];
            for (int id = 0; id < threads.length; id++) {
                long share = n / threads.length + (id < n % threads.length ? 1 : 0);
                threads[id] = Thread.startVirtualThread(() -> {
                    for (long i = 0; i < share; i++) {
                        lock.lock();
                        try {
                            Kernel.steps(locked);
                            count.value++;
                        } finally {
                            lock.unlock();
                        }
                        Kernel.steps(unlocked);
                    }
                });
            }
            for (var thread : threads) {
                thread.join();
            }
            return count.value;
        }));
    }
}
