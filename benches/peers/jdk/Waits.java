/** A histogram of times in nanoseconds, as in ../kit/src/waits.rs. */
final class Waits {
    /** Buckets for each power of two: a percentile is at most a 32nd too high. */
    private static final int STEPS = 32;

    private final long[] buckets = new long[(64 - 5 + 1) * STEPS];
    private long count;
    private long worst;

    void add(long wait) {
        wait = Math.max(wait, 0);
        buckets[bucket(wait)]++;
        count++;
        worst = Math.max(worst, wait);
    }

    void merge(Waits other) {
        for (int i = 0; i < buckets.length; i++) {
            buckets[i] += other.buckets[i];
        }
        count += other.count;
        worst = Math.max(worst, other.worst);
    }

    long count() {
        return count;
    }

    long worst() {
        return worst;
    }

    /** What such a share of the waits does not exceed, rounded up to a bucket's end. */
    long percentile(double share) {
        long rank = Math.max((long) Math.ceil(count * share), 1);
        long below = 0;
        for (int bucket = 0; bucket < buckets.length; bucket++) {
            below += buckets[bucket];
            if (below >= rank) {
                return Math.min(lastOf(bucket), worst);
            }
        }
        return worst;
    }

    private static int bucket(long wait) {
        if (wait < STEPS) {
            return (int) wait;
        }
        int shift = Long.numberOfLeadingZeros(STEPS) - Long.numberOfLeadingZeros(wait);
        return shift * STEPS + (int) (wait >>> shift);
    }

    /** The longest wait that a bucket counts. */
    private static long lastOf(int bucket) {
        if (bucket < 2 * STEPS) {
            return bucket;
        }
        int shift = bucket / STEPS - 1;
        return ((long) (bucket % STEPS + STEPS + 1) << shift) - 1;
    }
}
