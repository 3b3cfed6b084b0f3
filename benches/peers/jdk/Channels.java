import java.util.ArrayList;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.SynchronousQueue;

/** Threads that talk over blocking queues. These cannot be closed: a negative number is the last. */
final class Channels {
    private Channels() {}

    private static final long LAST = -1;

    /** What a thread does that may be interrupted, which ends it. */
    interface Body {
        void run() throws InterruptedException;
    }

    static Thread start(Body body) {
        return Thread.startVirtualThread(() -> {
            try {
                body.run();
            } catch (InterruptedException e) {
                // The end of it.
            }
        });
    }

    static Report pingPong(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            var ping = new SynchronousQueue<Long>();
            var pong = new SynchronousQueue<Long>();
            start(() -> {
                for (long i; (i = ping.take()) != LAST; ) {
                    pong.put(i);
                }
            });
            long sum = 0;
            for (long i = 0; i < n; i++) {
                ping.put(i);
                sum += pong.take();
            }
            ping.put(LAST);
            return sum;
        }));
    }

    static Report ring(Job job) throws Exception {
        return job.repeat(laps -> {
            var first = new SynchronousQueue<Long>();
            var last = first;
            var links = new ArrayList<Thread>();
            for (int i = 1; i < job.size(); i++) {
                var inlet = last;
                var outlet = new SynchronousQueue<Long>();
                last = outlet;
                links.add(start(() -> {
                    while (true) {
                        outlet.put(inlet.take() + 1);
                    }
                }));
            }
            long start = System.nanoTime();
            long token = 0;
            for (long lap = 0; lap < laps; lap++) {
                first.put(token + 1);
                token = last.take();
            }
            var timed = Job.Timed.since(start, token);
            links.forEach(Thread::interrupt);
            return timed;
        });
    }

    static Report spsc(Job job) throws Exception {
        return crowd(job, 1);
    }

    static Report mpmc(Job job) throws Exception {
        return crowd(job, 4);
    }

    /** So many producers and as many consumers. */
    private static Report crowd(Job job, int each) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            var values = new ArrayBlockingQueue<Long>(job.size());
            var producers = new Thread[each];
            var consumers = new Thread[each];
            var sums = new long[each];
            for (int i = 0; i < each; i++) {
                int id = i;
                producers[id] = start(() -> {
                    for (long value = id; value < n; value += each) {
                        values.put(value);
                    }
                });
                consumers[id] = start(() -> {
                    long sum = 0;
                    for (long value; (value = values.take()) != LAST; ) {
                        sum += value;
                    }
                    sums[id] = sum;
                });
            }
            for (var producer : producers) {
                producer.join();
            }
            long sum = 0;
            for (int i = 0; i < each; i++) {
                values.put(LAST);
            }
            for (int i = 0; i < each; i++) {
                consumers[i].join();
                sum += sums[i];
            }
            return sum;
        }));
    }

    /** A producer and a consumer that compute. */
    static Report pipeline(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            var values = new ArrayBlockingQueue<Long>(job.size());
            start(() -> {
                for (long value = 0; value < n; value++) {
                    Kernel.steps(Kernel.STAGE);
                    values.put(value);
                }
                values.put(LAST);
            });
            var sum = new long[1];
            var consumer = start(() -> {
                for (long value; (value = values.take()) != LAST; ) {
                    Kernel.steps(Kernel.STAGE);
                    sum[0] += value;
                }
            });
            consumer.join();
            return sum[0];
        }));
    }

    /** The sum of the first so many primes. */
    private static long primes(int count) throws InterruptedException {
        var threads = new ArrayList<Thread>();
        BlockingQueue<Long> numbers = new SynchronousQueue<>();
        var first = numbers;
        threads.add(start(() -> {
            for (long n = 2; ; n++) {
                first.put(n);
            }
        }));
        long sum = 0;
        for (int i = 0; i < count; i++) {
            var unfiltered = numbers;
            long prime = unfiltered.take();
            sum += prime;
            var filtered = new SynchronousQueue<Long>();
            numbers = filtered;
            threads.add(start(() -> {
                while (true) {
                    long n = unfiltered.take();
                    if (n % prime != 0) {
                        filtered.put(n);
                    }
                }
            }));
        }
        threads.forEach(Thread::interrupt);
        return sum;
    }

    static Report sieve(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            long sum = 0;
            for (long i = 0; i < n; i++) {
                sum += primes(job.size());
            }
            return sum;
        }));
    }
}
