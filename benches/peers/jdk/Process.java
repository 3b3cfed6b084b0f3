import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the process takes of the machine. */
final class Process {
    private Process() {}

    private static final long GIVE_BACK_LIMIT = 5_000_000_000L;

    /** Its memory, page tables too, in bytes. */
    static long memory() throws IOException {
        long kib = 0;
        for (var line : Files.readAllLines(Path.of("/proc/self/status"))) {
            if (line.startsWith("VmRSS:") || line.startsWith("VmPTE:")) {
                kib += Long.parseLong(line.split("\\s+")[1]);
            }
        }
        return kib << 10;
    }

    /** How many maps of memory it has. */
    static long maps() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/maps")).size();
    }

    /** The nanoseconds that processors have spent on it. */
    static long cpuTime() {
        var system = ManagementFactory.getOperatingSystemMXBean();
        return ((com.sun.management.OperatingSystemMXBean) system).getProcessCpuTime();
    }

    /** The milliseconds until memory is under a twentieth of the peak, or infinity. */
    static double givenBack(long before, long peak) throws Exception {
        long start = System.nanoTime();
        while (System.nanoTime() - start < GIVE_BACK_LIMIT) {
            long now = memory();
            peak = Math.max(peak, now);
            if (now - before < (peak - before) / 20) {
                return (System.nanoTime() - start) / 1e6;
            }
            Thread.sleep(5);
        }
        return Double.POSITIVE_INFINITY;
    }
}
