import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Function;

/**
 * The workloads on virtual threads. The protocol is in ../README.md; how many carrier threads there are is
 * the JVM's option, which the driver gives, not an argument's.
 */
final class Main {
    /** A workload, which may throw: what goes wrong ends the process. */
    interface Workload {
        Report run(Job job) throws Exception;
    }

    private static final Map<String, Workload> WORKLOADS = new LinkedHashMap<>();

    static {
        WORKLOADS.put("spawn-one", Threads::spawnOne);
        WORKLOADS.put("spawn-many", Threads::spawnMany);
        WORKLOADS.put("burst", Threads::burst);
        WORKLOADS.put("yield", Threads::yields);
        WORKLOADS.put("mutex-2", Threads::mutex);
        WORKLOADS.put("mutex", Threads::mutex);
        WORKLOADS.put("mutex-64", Threads::mutex);
        WORKLOADS.put("mutex-work", Threads::mutexWork);
        WORKLOADS.put("fib", Forks::fib);
        WORKLOADS.put("quicksort", Forks::quicksort);
        WORKLOADS.put("matmul", Forks::matmul);
        WORKLOADS.put("skynet", Forks::skynet);
        WORKLOADS.put("queens", Forks::queens);
        WORKLOADS.put("ping-pong", Channels::pingPong);
        WORKLOADS.put("ring", Channels::ring);
        WORKLOADS.put("spsc", Channels::spsc);
        WORKLOADS.put("mpmc", Channels::mpmc);
        WORKLOADS.put("pipeline", Channels::pipeline);
        WORKLOADS.put("sieve", Channels::sieve);
        WORKLOADS.put("parked", Parked::parked);
        WORKLOADS.put("wake", Late::wake);
        WORKLOADS.put("timers", Late::timers);
        WORKLOADS.put("mix", Mix::mix);
        WORKLOADS.put("mix-hogs", Mix::mixHogs);
        WORKLOADS.put("turns-yield", Turns::besideYield);
        WORKLOADS.put("turns-talk", Turns::besideTalk);
        WORKLOADS.put("turns-crowd", Turns::besideCrowd);
        WORKLOADS.put("turns-fork", Turns::besideFork);
        WORKLOADS.put("turns-hogs", Turns::besideHogs);
    }

    public static void main(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("list")) {
            WORKLOADS.keySet().forEach(System.out::println);
        } else if (args.length == 4 && WORKLOADS.containsKey(args[0])) {
            var job = new Job(Integer.parseInt(args[2]), 1_000_000 * Long.parseLong(args[3]));
            System.out.println(WORKLOADS.get(args[0]).run(job));
            // Virtual threads that still wait do not keep the process.
        } else {
            System.err.println("arguments: list, or WORKLOAD WORKERS SIZE MILLIS");
            System.exit(2);
        }
    }
}
