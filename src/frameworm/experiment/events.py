"""Events: what a journal or segment says of an experiment besides points, a class a kind; and ``metadata.json``.

``docs/formats/journal.md`` has the same kinds and keys as a table. Files are written by us and by others: an event is
checked once, when it is read, and what does not fit is damage of its file. Kinds and keys that this release does not
know are a newer release's, and are kept as they are.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, ClassVar

from frameworm.experiment.config import MAX_DEPTH, flatten, load_json
from frameworm.experiment.errors import ConfigError
from frameworm.experiment.model import ENDED, STATUSES, Artifact, ExperimentInfo, Note
from frameworm.experiment.records import (
    MAX_NESTING,
    MAX_TEXT,
    Either,
    Field,
    Flag,
    Integer,
    ListOf,
    Mapping,
    Number,
    Numbers,
    Record,
    Text,
    Texts,
    check_nesting,
    described,
    maybe,
    optional,
)

__all__ = ["Event", "Told", "decode", "facts_of", "parse"]

_ID = re.compile(r"exp_[0-9]{3,18}\Z")
MAX_TIME_MS = 253_370_764_800_000
"""The year 9999, less than which no calendar runs out of years in any time zone."""


_TAGS = 100_000
"""Most tags: each is a row of the catalog."""


def _time_ms() -> Integer:
    return Integer(0, MAX_TIME_MS)


def _size() -> Integer:
    return Integer(0)


def _reason() -> Text:
    return Text(2**30)  # an exception may say as much as a frame holds


class _Id(Text):
    def check(self, value: object) -> None:
        super().check(value)
        if not _ID.match(str(value)):
            raise ValueError(f"expected an id such as exp_001, got {described(value)}")


class _Config(Mapping):
    """A config, of which no two params have one name."""

    def check(self, value: object) -> None:
        super().check(value)
        try:
            flatten(value)  # type: ignore[arg-type]
        except ConfigError as error:
            raise ValueError(str(error)) from None


# ------------------------------------------------------------------------------- what is inside of several events


class _Fork(Record):
    experiment_id = Text()
    uid = Text()
    step = Integer()
    rewinds = maybe(Integer(0))


class _Parent(Record):
    relation = maybe(Text())
    experiment_id = maybe(Text())
    uid = maybe(Text())
    fork = optional(Mapping(_Fork))

    @classmethod
    def check(cls, raw: object) -> None:
        super().check(raw)
        assert isinstance(raw, dict)
        if raw.get("relation") == "fork":
            _Fork.check(raw)


class _Git(Record):
    root = maybe(Text())
    commit = maybe(Text())
    branch = maybe(Text())
    remote = maybe(Text())
    dirty = maybe(Flag())
    submodules_dirty = maybe(Texts())
    untracked = maybe(Texts())
    untracked_count = maybe(_size())
    patch = maybe(Text())
    patch_bytes = maybe(_size())
    patch_truncated = maybe(Either(Flag(), Texts()))
    patch_masked = maybe(Flag())
    hidden = maybe(Texts())
    refused = maybe(Text())
    error = maybe(Text())


class _CodeFile(Record):
    path = Text()
    digest = Text()
    size_bytes = maybe(_size())
    executable = maybe(Flag())
    masked = maybe(Flag())


class _LeftOut(Record):
    path = Text()
    size_bytes = maybe(_size())
    why = Text()
    digest = maybe(Text())


class _Notebook(Record):
    path = Text()
    digest = Text()
    cells = maybe(_size())
    masked = maybe(ListOf(Integer()))


class _Code(Record):
    kind = maybe(Text())
    root = maybe(Text())
    cwd = maybe(Text())
    script = maybe(Text())
    files = maybe(ListOf(_CodeFile))
    left_out = maybe(ListOf(_LeftOut))
    left_out_count = maybe(_size())
    notebook = maybe(Mapping(_Notebook))


class _ReadFile(Record):
    path = Text()
    size_bytes = _size()
    modified_ns = Integer()
    digest = maybe(Text())
    code = maybe(Flag())
    rewritten = maybe(Flag())


class _Reads(Record):
    files = maybe(ListOf(_ReadFile))
    written = maybe(Texts())
    variables = maybe(Mapping(values=Text()))
    unset = maybe(Texts())
    beside = maybe(Texts())
    whole = maybe(Flag())


class _Environment(Record):
    command = maybe(Either(Texts(), Text()))
    cwd = maybe(Text())
    stdin = maybe(Text())
    executable = maybe(Text())
    python_version = maybe(Text())
    python_implementation = maybe(Text())
    host = maybe(Text())
    user = maybe(Text())
    platform = maybe(Text())
    machine = maybe(Text())
    ordinal = maybe(Integer(0))
    variables = maybe(Mapping(values=Text()))
    reads = maybe(Mapping(_Reads))
    packages = maybe(Mapping(values=Text()))
    package_sources = maybe(Mapping(values=Mapping()))
    gpus = maybe(ListOf(Record))
    cpu_count = maybe(Integer(0))
    cpu_count_physical = maybe(Integer(0))
    cpu_count_usable = maybe(Integer(0))
    cpu_flags = maybe(Texts())
    memory_bytes = maybe(_size())


class _Randomness(Record):
    seed = maybe(Integer(high=2**64))
    deterministic = maybe(Flag())
    states = maybe(Mapping(values=Text()))
    hash_randomization = maybe(Flag())
    torch_threads = maybe(Integer(0))


class _Dataset(Record):
    name = Text()
    fingerprint = Text()
    kind = maybe(Text())
    path = maybe(Text())
    size_bytes = maybe(_size())


class _Use(Record):
    experiment_id = Text()
    uid = Text()
    artifact = Text()
    version = Integer()
    digest = Text()


class _About(Record):
    digest = maybe(Text())
    suffix = maybe(Text())
    size_bytes = maybe(_size())
    caption = maybe(Text())
    width = maybe(_size())
    height = maybe(_size())
    frames = maybe(_size())
    counts = maybe(Numbers())
    edges = maybe(Numbers())

    @classmethod
    def check(cls, raw: object) -> None:
        super().check(raw)
        assert isinstance(raw, dict)
        if raw.get("digest") is not None and (raw.get("suffix") is None or raw.get("size_bytes") is None):
            raise ValueError("a digest comes with suffix and size_bytes")


class _Artifact(Record):
    name = Text()
    path = Text()
    artifact_type = Text()
    version = Integer(0)
    size_bytes = _size()
    digest = Text()
    logged_ms = optional(_time_ms())


class _Note(Record):
    text = Text(MAX_TEXT)
    time_ms = _time_ms()


class _Alert(Record):
    title = Text()
    text = Text(MAX_TEXT)
    level = Text()
    rule = maybe(Text())


class _ToldAlert(_Alert):
    time_ms = _time_ms()


class _Rewind(Record):
    step = Integer()


class _ToldRewind(_Rewind):
    time_ms = _time_ms()


class _Writer(Record):
    host = maybe(Text())
    boot_id = maybe(Text())
    pid = maybe(Integer())
    process_start = maybe(Number())
    pid_namespace = maybe(Text())
    role = maybe(Text())
    uid = maybe(Text())


class _ToldWriter(_Writer):
    journal = Text()
    closed = Flag()
    heartbeat_ms = Integer()


class Told(Record):
    """What ``metadata.json`` tells: the fields of ``ExperimentInfo`` but ``path``, which is where it lies."""

    experiment_id = _Id()
    uid = Text()
    name = Text()
    project = optional(Text())
    description = optional(Text(MAX_TEXT))
    status = optional(Text(among={*STATUSES} - {"damaged"}))
    tags = optional(Texts(most=_TAGS))
    notes = optional(ListOf(_Note))
    config = optional(_Config())
    lossy_params = optional(Texts())
    created_ms = optional(_time_ms())
    updated_ms = optional(_time_ms())
    started_ms = maybe(_time_ms())
    ended_ms = maybe(_time_ms())
    duration_s = maybe(Number(0))
    artifacts = optional(ListOf(_Artifact))
    git = optional(Mapping(_Git))
    environment = optional(Mapping(_Environment))
    code = optional(Mapping(_Code))
    randomness = optional(Mapping(_Randomness))
    datasets = optional(ListOf(_Dataset))
    used = optional(ListOf(_Use))
    alerts = optional(ListOf(_ToldAlert))
    parent = optional(Mapping(_Parent))
    rewinds = optional(ListOf(_ToldRewind))
    reason = optional(_reason())
    writers = optional(ListOf(_ToldWriter))

    @classmethod
    def check(cls, raw: object) -> None:
        """See ``Record``."""
        super().check(raw)
        check_nesting(raw, MAX_DEPTH + 1)


_FIELDS = frozenset(field.name for field in fields(ExperimentInfo)) - {"path"}
_ARTIFACT_FIELDS = frozenset(field.name for field in fields(Artifact))


def facts_of(told: Told) -> dict[str, Any]:
    """Return the arguments of ``ExperimentInfo`` but ``path``."""
    facts = {name: tuple(value) if type(value) is list else value for name, value in told.items() if name in _FIELDS}
    facts["notes"] = tuple(Note(note["text"], note["time_ms"]) for note in told.get("notes", ()))
    facts["artifacts"] = tuple(map(artifact_of, told.get("artifacts", ())))
    return facts


def artifact_of(record: dict[str, Any]) -> Artifact:
    """Return the artifact that a checked record tells of."""
    return Artifact(**{name: value for name, value in record.items() if name in _ARTIFACT_FIELDS})


# ------------------------------------------------------------------------------------------------ the kinds


class Event(Record):
    """What every event has; of this class itself are those of kinds that this release does not know."""

    __slots__ = ()

    t = _time_ms()
    type = Text()

    nesting: ClassVar[int] = MAX_NESTING

    def __init_subclass__(cls, kind: str = "", nesting: int = MAX_NESTING) -> None:
        super().__init_subclass__()
        cls.nesting = nesting
        _KINDS[kind] = cls


_KINDS: dict[str, type[Event]] = {}


def parse(text: bytes) -> Event:
    """Return the event that is written there.

    Raises:
        ValueError: it is no JSON, or no release writes such a one; names the key, what came and what is allowed.
    """
    # So many brackets are no deeper nesting, and few events have more: to look into each takes as long as all else.
    return _event(load_json(text), shallow=text.count(b"{") + text.count(b"[") <= MAX_NESTING)


def decode(raw: object) -> Event:
    """Return the event that a JSON value is, as ``parse`` does."""
    return _event(raw, shallow=False)


def _event(raw: object, *, shallow: bool) -> Event:
    name = raw.get("type") if isinstance(raw, dict) else None
    kind = _KINDS.get(name, Event) if isinstance(name, str) else Event
    kind.check(raw)
    assert isinstance(raw, dict)
    if not shallow:
        check_nesting(raw, kind.nesting)
    return kind(raw)


class Open(Event, _Writer, kind="open"):
    """First event of every journal: who writes."""


class Series(Event, kind="series"):
    """Declares series: ``names[i]`` in ``context`` has id ``first + i``."""

    first = Integer(1)
    context = Text()
    names = Texts()


class Set(Event, kind="set"):
    """Declares a set: the ids of its series, in the order of a row's values."""

    id = Integer(1, 2**30 - 1)
    series = ListOf(Integer(1), fewest=1)


class Create(Event, kind="create"):
    """The experiment is made."""

    experiment_id = _Id()
    uid = Text()
    name = Text()
    project = Text()
    description = Text(MAX_TEXT)


class StatusEvent(Event, kind="status"):
    """It began or ended; an end tells how long the session took, by the monotonic clock."""

    status = Text(among={"pending", "running", *ENDED})
    reason = optional(_reason())
    duration_s = optional(Number(0))

    @classmethod
    def check(cls, raw: object) -> None:
        """See ``Record``."""
        super().check(raw)
        assert isinstance(raw, dict)
        if raw["status"] != "running" and "duration_s" not in raw:
            raise ValueError("duration_s: is missing")


class ConfigEvent(Event, kind="config", nesting=MAX_DEPTH + 1):
    """The config, or a part to merge into it; ``lossy`` names the params of which only a description could be kept."""

    config = _Config()
    lossy = Texts()
    merge = Flag()


class Tags(Event, kind="tags"):
    """All tags."""

    tags = Texts(most=_TAGS)


class Snapshot(Event, kind="snapshot", nesting=MAX_DEPTH + 2):
    """What metadata.json told, where a repair found the events before it damaged."""

    info = Mapping(Told)


class TagsEdit(Event, kind="tags_edit"):
    """Tags are taken away, then others added."""

    add = Texts(most=_TAGS)
    remove = Texts(most=_TAGS)


class Name(Event, kind="name"):
    """Another name."""

    name = Text()


class Description(Event, kind="description"):
    """Another description."""

    description = Text(MAX_TEXT)


class NoteEvent(Event, kind="note"):
    """A note is added."""

    text = Text(MAX_TEXT)


class ArtifactEvent(Event, _Artifact, kind="artifact"):
    """A file was stored."""


class ArtifactsRemoved(Event, kind="artifacts_removed"):
    """Files were moved to the trash."""

    paths = Texts()


class ArtifactsRestored(Event, kind="artifacts_restored"):
    """Files are back."""

    paths = Texts()


class GitEvent(Event, kind="git"):
    """Commit, branch, dirty and so on."""

    git = Mapping(_Git)


class EnvironmentEvent(Event, kind="environment"):
    """Keys found so far; later ones are added."""

    environment = Mapping(_Environment)


class CodeEvent(Event, kind="code"):
    """What ``provenance/code`` holds."""

    code = Mapping(_Code)


class RandomnessEvent(Event, kind="randomness"):
    """Digests of what ``provenance/random.json`` holds."""

    randomness = Mapping(_Randomness)


class DatasetEvent(Event, kind="dataset"):
    """The fingerprint of some data."""

    dataset = Mapping(_Dataset)


class UseEvent(Event, kind="use"):
    """An artifact of another experiment was read."""

    use = Mapping(_Use)


class MediaEvent(Event, kind="media"):
    """An image, a sound, … was logged."""

    media = Text()
    name = Text()
    context = Text()
    step = Integer()
    epoch = maybe(Integer(-(2**31), 2**31 - 1))
    about = Mapping(_About)


class AlertEvent(Event, _Alert, kind="alert"):
    """``alert()`` was called, or a rule of the dashboard found something."""


class ParentEvent(Event, kind="parent"):
    """What this one reproduces or forks."""

    parent = Mapping(_Parent)


class RewindEvent(Event, _Rewind, kind="rewind"):
    """What was logged past this step, in all journals before this one, is shown no more."""


class Heartbeat(Event, kind="heartbeat"):
    """The writer lives."""


class Check(Event, kind="check"):
    """crc32 of the file's bytes from ``start`` up to ``end``."""

    start = Integer(0, key="from")
    end = Integer(0, key="to")
    crc = Integer(0, 2**32 - 1)


class Dropped(Event, kind="dropped"):
    """So many records were lost while the disk refused writes and memory ran out."""

    records = Integer(0)


class Close(Event, kind="close"):
    """Last event: the writer closed the journal in order."""


class SourceEvent(Event, kind="source"):
    """In a segment: the events behind it are those of this journal."""

    journal = Text()
    heartbeat_ms = Integer()


class _Sum(Field[list[Any]]):
    """Position of a series, sum of its values, time of its first point."""

    def check(self, value: object) -> None:
        if not isinstance(value, list) or list(map(type, value)) != [int, float, int]:
            raise ValueError(f"expected a position, a sum and a time, got {described(value)}")
        for number in value[::2]:
            Integer().check(number)


class Sums(Event, kind="sums"):
    """In a merged segment: of some series the sum, added up as their sources' were, and the first time."""

    sums = ListOf(_Sum())
