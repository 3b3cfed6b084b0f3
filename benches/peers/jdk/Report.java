/** The line that is printed. */
final class Report {
    private final StringBuilder line = new StringBuilder();

    Report(long repetitions, long checksum) {
        line.append("reps ").append(repetitions);
        line.append(" checksum ").append(Long.toUnsignedString(checksum));
    }

    /** Adds a figure. */
    Report with(String name, double figure) {
        line.append(' ').append(name).append(' ').append(Double.isInfinite(figure) ? "inf" : figure);
        return this;
    }

    /** Adds what is to be known about waits. */
    Report with(Waits waits) {
        return with("p50", waits.percentile(0.5))
                .with("p99", waits.percentile(0.99))
                .with("p99.9", waits.percentile(0.999))
                .with("worst", waits.worst());
    }

    @Override
    public String toString() {
        return line.toString();
    }
}
