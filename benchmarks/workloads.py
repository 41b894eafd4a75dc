"""What is measured: each workload's size, and the columns that the report makes of its figures."""

from __future__ import annotations

from typing import NamedTuple


class Column(NamedTuple):
    """A figure in the report.

    Attributes:
        key: its name in the results.
        title: head of the column, with the unit.
        scale: what the figure is multiplied by to be in that unit.
        more_is_better: for rates.
        extrapolate: the figure grows with the size; a peer that did less is extrapolated to the full size.
    """

    key: str
    title: str
    scale: float = 1.0
    more_is_better: bool = False
    extrapolate: bool = False


class Workload(NamedTuple):
    """One thing measured.

    Attributes:
        name: as on the command line; what stands before the dash names the group.
        title: head of its table.
        runs: which function of ``drive.py``, or ``engine.<module>.<function>`` for what only frameworm is asked.
        size: numbers joined by ``x``.
        quick: the same for ``--quick``.
        columns: the first is the one that is compared and drawn.
        fill: the workload that records what this one reads.
        text: what the reader has to know.
        rounds: at least so often for frameworm and the floor, which are quick.
        once: one round is all there is time for; frameworm and the floor get as many as ``rounds`` says.
        own: only frameworm is asked.
    """

    name: str
    title: str
    runs: str
    size: str
    quick: str
    columns: tuple[Column, ...]
    fill: str = ""
    text: str = ""
    rounds: int = 0
    once: bool = False
    own: bool = False

    def full(self, quick: bool) -> str:
        """Return the size to run."""
        return self.quick if quick else self.size


DURABLE = Column("durable_s", "until durable, s", extrapolate=True)
MEMORY = Column("memory_mib", "memory, MiB")
BYTES = Column("bytes_per_point", "bytes a point")
ROWS = (
    Column("metric_ns", "a metric, ns"),
    DURABLE,
    Column("points_per_s", "points/s until durable", more_is_better=True),
    BYTES,
    MEMORY,
)
READ = (
    Column("arrays_ms", "to arrays, ms", extrapolate=True),
    Column("frame_ms", "to a DataFrame, ms", extrapolate=True),
    Column("chart_ms", "to 1,000 points, ms", extrapolate=True),
)
CALLS = (
    Column("p50_us", "p50, µs"),
    Column("p99_us", "p99, µs"),
    Column("p999_us", "p99.9, µs"),
    Column("max_us", "longest, µs"),
)
STALLED = (
    Column("p50_us", "p50, ms", 1e-3),
    Column("p99_us", "p99, ms", 1e-3),
    Column("max_us", "longest, ms", 1e-3),
    Column("ended_s", "end(), s"),
    Column("points", "points"),
    Column("lost", "lost"),
)
CATALOG = (
    Column("list_ms", "list all, ms"),
    Column("newest_ms", "list the newest 20, ms"),
    Column("search_ms", "search, ms"),
    Column("compare_ms", "compare 10, ms"),
    Column("list_sqlite_ms", "list: SQLite alone, ms"),
    Column("search_sqlite_ms", "search: SQLite alone, ms"),
    Column("compare_sqlite_ms", "compare: SQLite alone, ms"),
    Column("list_first_ms", "first list of a process, ms"),
    Column("bytes_each", "KiB each", 1 / 1024),
)
STORE = (
    Column("list_ms", "list, ms", extrapolate=True),
    Column("search_ms", "search, ms", extrapolate=True),
    Column("compare_ms", "compare 10, ms"),
)
MANY = (
    Column("logged_per_s", "points/s logged", more_is_better=True),
    Column("durable_per_s", "points/s until durable", more_is_better=True),
    Column("errors", "errors"),
    Column("calls_cpu_s", "CPU of the calls, s"),
    Column("beside_cpu_s", "CPU beside them, s"),
)

SHARES = (
    Column("sqlite3", "SQLite, %", 100),
    Column("sqlalchemy", "SQLAlchemy, %", 100),
    Column("pandas", "pandas, %", 100),
    Column("numpy", "NumPy, %", 100),
    Column("pcodec", "pcodec, %", 100),
    Column("json", "json, %", 100),
    Column("frameworm", "frameworm, %", 100),
    Column("others", "others, %", 100),
)

WORKLOADS = (
    Workload(
        "latency",
        "One scalar a call: how long a call takes",
        "latency",
        "100000",
        "2000",
        CALLS,
        text="Each call is timed by itself; reading the clock, about 0.05 µs, is in every figure, the floor's too. "
        "The first call comes a second after the start, when what is captured at the start is over; in the next "
        "table it comes at once.",
        rounds=5,
    ),
    Workload(
        "scalar",
        "One scalar a call: 100,000 calls until all is durable",
        "scalar",
        "100000",
        "2000",
        (
            DURABLE,
            Column("call_us", "a call, µs"),
            Column("points_per_s", "points/s until durable", more_is_better=True),
            BYTES,
            MEMORY,
        ),
        text="Durable: the experiment is ended, and every file of it fsynced, by the peer or else by the harness. "
        "Memory: the peak of the process and its children over what it was after importing and one small experiment. "
        "Bytes hold all that an experiment leaves, divided by its points.",
        rounds=5,
    ),
    Workload("rows-20", "A dict of 20 metrics a call, 10,000 calls", "rows", "20x10000", "20x200", ROWS, rounds=5),
    Workload("rows-10000", "A dict of 10,000 metrics a call, 100 calls", "rows", "10000x100", "1000x3", ROWS, rounds=5),
    Workload(
        "rows-100000", "A dict of 100,000 metrics a call, 10 calls", "rows", "100000x10", "2000x2", ROWS,
        text="Not asked of those whose one call would take a quarter of a minute or more.",
    ),
    Workload(
        "short",
        "Short experiments: 10 params, 5 metrics × 10 steps, start to end",
        "short",
        "1000",
        "3",
        (
            Column("each_ms", "each, ms"),
            Column("median_ms", "median of them, ms"),
            Column("kib_each", "KiB each"),
        ),
        text="One after the other in one process; the first, which imports and makes tables, is not counted.",
    ),
    Workload(
        "start",
        "The first experiment of a process",
        "start",
        "1",
        "1",
        (
            Column("start_ms", "started, ms"),
            Column("first_log_ms", "first point logged, ms"),
            Column("whole_ms", "ended, ms"),
            Column("imported_s", "import before that, ms", 1e3),
        ),
        text="A new process each time; counted from the call that makes the experiment, after the import.",
        rounds=5,
    ),
    Workload(
        "processes-8",
        "8 processes at once, an experiment each, 10,000 points each",
        "processes",
        "8x10000",
        "2x500",
        MANY,
        text="All have started when the first may log. Logged: until the last call of the last process returned.",
    ),
    Workload(
        "processes-64", "64 processes at once, an experiment each, 10,000 points each", "processes", "64x10000",
        "3x500", MANY,
        rounds=3, once=True,
    ),
    Workload("read-100k", "Reading a series of 100,000 points", "read", "100000", "2000", READ, "fill_read"),
    Workload("read-1m", "Reading a series of 1,000,000 points", "read", "1000000", "3000", READ, "fill_read"),
    Workload(
        "store",
        "1,000 short experiments: list, search, compare",
        "store",
        "1000",
        "12",
        STORE,
        "fill_store",
        text="Search: one condition on a param, one on the last value of a metric. Everything is opened anew at "
        "each call; the first call of the process is not counted.",
    ),
    Workload(
        "read-100m",
        "Reading a series of 100,000,000 points",
        "read",
        "100000000",
        "5000",
        READ,
        "engine.long_series.fill",
        text="48 segments written by the engine's own calls.",
        once=True,
        own=True,
    ),
    *(
        Workload(
            f"catalog-{n}",
            f"{n:,} experiments",
            "engine.catalog.measure",
            str(n),
            str(n // 50),
            CATALOG,
            "engine.catalog.fill",
            text="Experiments of 50 params and 20 metrics, entered by the catalog's own calls; one manager, as in a "
            "notebook. The search has four conditions. SQLite alone: the same statements, put to it by `sqlite3`, and "
            "all that they answer fetched as tuples.",
            own=True,
        )
        for n in (1_000, 10_000, 100_000)
    ),
    Workload(
        "sealed",
        "Sealed",
        "engine.sealed.measure",
        "1000000",
        "5000",
        (
            Column("loss_bytes", "noisy float32 loss, bytes a point"),
            Column("cosine_bytes", "cosine schedule, bytes a point"),
            Column("accuracy_bytes", "rounded accuracy, bytes a point"),
            Column("few_per_s", "sealing one series, M points/s of a core", 1e-6),
            Column("few_wall_per_s", "the same by the clock on the wall", 1e-6),
            Column("few_libraries", "of it pcodec, zlib and fsync, %", 100),
            Column("many_per_s", "sealing 100,000 series × 10, M points/s of a core", 1e-6),
            Column("many_wall_per_s", "the same by the clock on the wall", 1e-6),
            Column("many_libraries", "of it pcodec, zlib and fsync, %", 100),
        ),
        text="A million points with steps and times in milliseconds, without loss. Sealing reads the journal, checks "
        "it, and writes and fsyncs the segment.",
        own=True,
    ),
    Workload(
        "sealing",
        "`log_metric` while its full journals are sealed beside it",
        "engine.sealing.measure",
        "6000000",
        "5000",
        (*CALLS, Column("ended_s", "end(), s")),
        own=True,
    ),
    Workload(
        "busy",
        "`log_metric` while the catalog is locked, a reader reads, segments are written and synced, and a core spins",
        "engine.busy.measure",
        "1000000",
        "5000",
        CALLS,
        own=True,
    ),
    Workload(
        "call-parts",
        "What a call of `log_metric` is made of",
        "engine.parts.call",
        "100000",
        "2000",
        (
            Column("whole_us", "the call, µs"),
            Column("write_us", "`os.write` of 32 bytes, µs"),
            Column("pack_us", "packing them, µs"),
            Column("time_us", "the time, µs"),
            Column("rest_us", "what is left, µs"),
        ),
        text="Medians, without the time that reading the clock takes. The write is what survives `kill -9`.",
        rounds=5,
        own=True,
    ),
    Workload(
        "short-parts",
        "What a short experiment waits for",
        "engine.parts.short",
        "300",
        "3",
        (
            Column("inside_ms", "in this repository, each, ms"),
            Column("outside_ms", "outside of any, each, ms"),
            Column("cpu_ms", "of that CPU, ms"),
            Column("git_ms", "`git status` alone, ms"),
            Column("files_ms", "its files alone, two fsynced, ms"),
        ),
        text="Each asks git for the commit and what differs from it, and ends only when it has the answer. The rest is "
        "Python's: events and metadata as JSON, the config as YAML, the segment, the catalog.",
        own=True,
    ),
    Workload(
        "start-parts",
        "What the first experiment of a process waits for until it has started",
        "engine.parts.start",
        "2",
        "2",
        (
            Column("first_ms", "the first started, ms"),
            Column("imports_ms", "of that imports, ms"),
            Column("second_ms", "the second started, ms"),
        ),
        text="The imports are those of the thread that waits: YAML, for `config.yaml`, and what asks for the state of "
        "the random generators.",
        rounds=5,
        own=True,
    ),
    *(
        Workload(
            f"profile-{name}",
            title,
            f"engine.shares.{name}",
            size,
            quick,
            SHARES,
            fill,
            text="Shares of the time under Python's profiler, which makes Python's calls dearer than those into C. "
            "What is written in C counts for the library that calls it, unless its name tells another.",
            own=True,
        )
        for name, title, size, quick, fill in (
            ("compare", "comparing 10 of 10,000 experiments", "10000", "200", "engine.catalog.fill"),
            ("chart", "1,000,000 points to 1,000", "1000000", "5000", "fill_read"),
        )
    ),
    *(
        Workload(
            f"stall-{name}",
            title,
            "engine.stall.measure",
            way,
            way,
            STALLED,
            text="A call is one write to the kernel's memory; a background thread puts it on the disk. So a stalled "
            "disk is felt only where the kernel or the file system makes the write itself wait, and then the call "
            "waits as long: losing nothing comes before waiting nothing. One call a millisecond for five seconds.",
            once=True,
            own=True,
        )
        for way, name, title in (
            ("1", "fsync", "`fsync` takes 2 s"),
            ("2", "write", "every write takes 20 ms, as on a slow mount"),
            ("3", "freeze", "the file system is frozen for 2 s, as for a snapshot"),
            ("4", "throttle", "the disk takes 64 KiB/s"),
        )
    ),
)  # fmt: skip

GROUPS = {
    "catalog": "Many experiments",
    "profile": "What the time of two questions goes to",
    "stall": "When the disk stalls: what a call of `log_metric` waits",
}
"""Heads of the tables that hold a group of workloads, a row each."""


def chosen(names: tuple[str, ...]) -> list[Workload]:
    """Return the workloads of these names or groups; all if none is named.

    Raises:
        ValueError: there is none of that name; lists those there are.
    """
    for name in names:
        if not any(name in (one.name, one.name.split("-")[0]) for one in WORKLOADS):
            raise ValueError(f"no workload {name!r}; there are {', '.join(one.name for one in WORKLOADS)}")
    return [one for one in WORKLOADS if not names or one.name in names or one.name.split("-")[0] in names]
