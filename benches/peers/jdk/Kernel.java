import java.util.Arrays;

/** The sequential parts of the workloads, as in ../kit/src/kernel.rs. */
final class Kernel {
    private Kernel() {}

    /** How many numbers are sorted at a time. */
    static final int SORTED_AT_ONCE = 512;
    /** How many rows of a product are computed at a time. */
    static final int ROWS_AT_ONCE = 4;

    /** Keeps what is burnt from being optimised away. */
    private static volatile long burnt;

    /** A step of a generator of numbers that look random. */
    static long scramble(long n) {
        n *= 0x9e3779b97f4a7c15L;
        n = (n ^ n >>> 32) * 0xd6e8feb86659fd93L;
        return n ^ n >>> 32;
    }

    /** Steps of a turn in which a lock is held, and of the rest of it. */
    static final int LOCKED = 10;
    static final int UNLOCKED = 100;

    /** Steps that a stage of a pipeline takes for a value. */
    static final int STAGE = 1000;

    /** Computes so many steps. */
    static void steps(int count) {
        long n = 1;
        for (int i = 0; i < count; i++) {
            n = scramble(n + 1);
        }
        if (n == 0) {
            burnt++;
        }
    }

    /** Computes for so many nanoseconds, and gives how many steps that were. */
    static long burn(long time) {
        final int betweenLooks = 1000;
        long steps = 0;
        long n = 1;
        for (long start = System.nanoTime(); System.nanoTime() - start < time; steps += betweenLooks) {
            for (int i = 0; i < betweenLooks; i++) {
                n = scramble(n + 1);
            }
        }
        if (n == 0) {
            burnt++;
        }
        return steps;
    }

    /** The numbers to be sorted. Java has no unsigned ones: their order is that of the unsigned. */
    static long[] numbers(int count) {
        long[] numbers = new long[count];
        Arrays.setAll(numbers, i -> flip(scramble(i + 1)));
        return numbers;
    }

    /** Between an unsigned number and the signed one with the same place in the order. */
    private static long flip(long n) {
        return n ^ Long.MIN_VALUE;
    }

    /** Moves what is small before what is large, and gives where the large begins. */
    static int partition(long[] numbers, int from, int to) {
        int low = from;
        int high = to - 1;
        long a = numbers[low];
        long b = numbers[(low + high) / 2];
        long c = numbers[high];
        long pivot = Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
        while (true) {
            while (numbers[low] < pivot) {
                low++;
            }
            while (numbers[high] > pivot) {
                high--;
            }
            if (low >= high) {
                return high + 1;
            }
            long swapped = numbers[low];
            numbers[low++] = numbers[high];
            numbers[high--] = swapped;
        }
    }

    /** Depends on every number and its place. */
    static long checksum(long[] numbers) {
        long sum = 0;
        for (int i = 0; i < numbers.length; i++) {
            sum += flip(numbers[i]) * (i + 1);
        }
        return sum;
    }

    static long checksum(double[] numbers) {
        long sum = 0;
        for (int i = 0; i < numbers.length; i++) {
            sum += (long) numbers[i] * (i + 1);
        }
        return sum;
    }

    /** Two square matrices to be multiplied. */
    static final class Factors {
        final int size;
        private final double[] left;
        private final double[] right;

        Factors(int size) {
            this.size = size;
            left = entries(1);
            right = entries(2);
        }

        private double[] entries(long seed) {
            double[] entries = new double[size * size];
            Arrays.setAll(entries, at -> Long.remainderUnsigned(scramble(at + seed), 10));
            return entries;
        }

        /** Computes so many rows of the product, from the first given one on. */
        void multiply(double[] product, int first, int count) {
            for (int row = first; row < first + count; row++) {
                Arrays.fill(product, row * size, (row + 1) * size, 0);
                for (int k = 0; k < size; k++) {
                    double factor = left[row * size + k];
                    for (int i = 0; i < size; i++) {
                        product[row * size + i] += factor * right[k * size + i];
                    }
                }
            }
        }
    }

    /**
     * A chess board with some queens on its first rows: a bit for each column, and what the queens attack
     * on the next row, down and in the two slanting directions.
     */
    record Board(int all, int columns, int left, int right) {
        Board(int size) {
            this((1 << size) - 1, 0, 0, 0);
        }

        boolean isFull() {
            return columns == all;
        }

        /** A bit for each column where a queen is not attacked. */
        int free() {
            return all & ~(columns | left | right);
        }

        /** The board with one queen more. */
        Board with(int queen) {
            return new Board(all, columns | queen, (left | queen) << 1, (right | queen) >>> 1);
        }
    }
}
