import java.util.concurrent.SynchronousQueue;

/** Fork and join. */
final class Forks {
    private Forks() {}

    static void join(Thread thread) {
        try {
            thread.join();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    private static long fib(int n) {
        if (n < 2) {
            return n;
        }
        var a = new Threads.Result();
        var thread = Thread.startVirtualThread(() -> a.value = fib(n - 1));
        long b = fib(n - 2);
        join(thread);
        return a.value + b;
    }

    static Report fib(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            long sum = 0;
            for (long i = 0; i < n; i++) {
                sum += fib(job.size());
            }
            return sum;
        }));
    }

    private static final int CHILDREN = 10;

    private static void node(SynchronousQueue<Long> parent, long first, long leaves) {
        try {
            if (leaves == 1) {
                parent.put(first);
                return;
            }
            var parts = new SynchronousQueue<Long>();
            long share = leaves / CHILDREN;
            for (long child = 0; child < CHILDREN; child++) {
                long from = first + child * share;
                Thread.startVirtualThread(() -> node(parts, from, share));
            }
            long sum = 0;
            for (int child = 0; child < CHILDREN; child++) {
                sum += parts.take();
            }
            parent.put(sum);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    static Report skynet(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            long sum = 0;
            var result = new SynchronousQueue<Long>();
            for (long i = 0; i < n; i++) {
                Thread.startVirtualThread(() -> node(result, 0, job.size()));
                sum += result.take();
            }
            return sum;
        }));
    }

    /** In how many ways the board can be filled. */
    private static long ways(Kernel.Board board) {
        if (board.isFull()) {
            return 1;
        }
        int children = Integer.bitCount(board.free());
        var threads = new Thread[children];
        var parts = new long[children];
        int free = board.free();
        for (int i = 0; i < children; i++) {
            int id = i;
            var next = board.with(free & -free);
            threads[i] = Thread.startVirtualThread(() -> parts[id] = ways(next));
            free &= free - 1;
        }
        long sum = 0;
        for (int i = 0; i < children; i++) {
            join(threads[i]);
            sum += parts[i];
        }
        return sum;
    }

    static Report queens(Job job) throws Exception {
        return job.repeat(n -> Job.time(() -> {
            long sum = 0;
            for (long i = 0; i < n; i++) {
                sum += ways(new Kernel.Board(job.size()));
            }
            return sum;
        }));
    }

    private static void sort(long[] numbers, int from, int to) {
        if (to - from <= Kernel.SORTED_AT_ONCE) {
            java.util.Arrays.sort(numbers, from, to);
            return;
        }
        int middle = Kernel.partition(numbers, from, to);
        var thread = Thread.startVirtualThread(() -> sort(numbers, from, middle));
        sort(numbers, middle, to);
        join(thread);
    }

    static Report quicksort(Job job) throws Exception {
        var unsorted = Kernel.numbers(job.size());
        return job.repeat(n -> {
            long taken = 0;
            long checksum = 0;
            for (long i = 0; i < n; i++) {
                var numbers = unsorted.clone();
                long start = System.nanoTime();
                sort(numbers, 0, numbers.length);
                taken += System.nanoTime() - start;
                checksum += Kernel.checksum(numbers);
            }
            return new Job.Timed(taken, checksum);
        });
    }

    private static void multiply(Kernel.Factors factors, double[] product, int first, int count) {
        if (count <= Kernel.ROWS_AT_ONCE) {
            factors.multiply(product, first, count);
            return;
        }
        int half = count / 2;
        var thread = Thread.startVirtualThread(() -> multiply(factors, product, first, half));
        multiply(factors, product, first + half, count - half);
        join(thread);
    }

    static Report matmul(Job job) throws Exception {
        var factors = new Kernel.Factors(job.size());
        var product = new double[job.size() * job.size()];
        return job.repeat(n -> {
            long start = System.nanoTime();
            for (long i = 0; i < n; i++) {
                multiply(factors, product, 0, factors.size);
            }
            return Job.Timed.since(start, Kernel.checksum(product));
        });
    }
}
