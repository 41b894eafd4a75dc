"""Recording: the journal of one writer, its threads, console and system metrics."""
