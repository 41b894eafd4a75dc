"""The error tree of the tracker.

    ExperimentError
    ├── ExperimentNotFoundError (LookupError)      no such experiment id in this root
    ├── MetricNotFoundError     (LookupError)      no such metric in this experiment
    ├── ArtifactNotFoundError   (LookupError)      no such artifact in this experiment
    ├── StoreNotFoundError      (FileNotFoundError) the root is missing or holds no experiments
    ├── StoreError              (OSError)          the root, a folder or the catalog cannot be used
    │   ├── StoreVersionError                      written by a newer release
    │   └── UnreadableError                        a folder of which no record of an experiment can be read
    ├── DamageError             (ValueError)       a file is damaged: names path and offset
    │   ├── JournalDamageError
    │   └── SegmentDamageError
    ├── ReproductionError       (RuntimeError)     an experiment cannot be laid out or run again
    ├── StateError              (RuntimeError)     the experiment is not in a state that allows the call
    └── InputError              (ValueError)       what came is not what is allowed
        ├── ConfigError                            config: cycle, colliding keys, unreadable file
        ├── MetricError                            metric name, value, step, epoch or context
        ├── ArtifactError                          artifact: missing, special file, unsafe name
        ├── BundleError                            file of an exported experiment: damaged, unsafe, or no such
        ├── UnsafePathError (OSError)              a recorded path leads out of its place, or is no regular file
        └── QueryError                             filter or text query; points at the character

Every message says what came, what is allowed and what to do next. ``FramewormWarning`` is the one category
of warning: something of ours failed or was refused while training goes on.
"""

import sys
import warnings

__all__ = [
    "ArtifactError",
    "ArtifactNotFoundError",
    "BundleError",
    "ConfigError",
    "DamageError",
    "ExperimentError",
    "ExperimentNotFoundError",
    "FramewormWarning",
    "InputError",
    "JournalDamageError",
    "MetricError",
    "MetricNotFoundError",
    "QueryError",
    "ReproductionError",
    "SegmentDamageError",
    "StateError",
    "StoreError",
    "StoreNotFoundError",
    "StoreVersionError",
    "UnreadableError",
    "UnsafePathError",
    "tell",
]


class FramewormWarning(UserWarning):
    """Something could not be recorded, or a value was refused; training goes on."""


def tell(message: str) -> None:
    """Warn of a trouble of ours; never raises, even where warnings are errors: training has to go on."""
    try:
        warnings.warn(message, FramewormWarning, stacklevel=3)
    except FramewormWarning:
        print(f"FramewormWarning: {message}", file=sys.stderr)


class ExperimentError(Exception):
    """Base of every error this package raises on purpose."""


class ExperimentNotFoundError(ExperimentError, LookupError):
    """No experiment of that id; ``suggestions`` holds the nearest ids."""

    def __init__(self, message: str, suggestions: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.suggestions = suggestions


class MetricNotFoundError(ExperimentError, LookupError):
    """No metric of that name in that experiment."""


class ArtifactNotFoundError(ExperimentError, LookupError):
    """No artifact of that name in that experiment."""


class StoreNotFoundError(ExperimentError, FileNotFoundError):
    """The root folder is missing, or holds no experiments."""


class StoreError(ExperimentError, OSError):
    """The root folder, an experiment's folder or the catalog cannot be used."""


class StoreVersionError(StoreError):
    """The store was written by a newer release than this one."""


class UnreadableError(StoreError):
    """A folder of which no record of an experiment can be read: it is damaged, or not one's."""


class DamageError(ExperimentError, ValueError):
    """A file of ours holds bytes that we never wrote there."""

    def __init__(self, path: object, offset: int, what: str) -> None:
        super().__init__(f"{path}: damaged at byte {offset}: {what}")
        self.path = str(path)
        self.offset = offset
        self.what = what


class JournalDamageError(DamageError):
    """A journal is damaged or is not a journal."""


class SegmentDamageError(DamageError):
    """A segment is damaged or is not a segment."""


class ReproductionError(ExperimentError, RuntimeError):
    """An experiment cannot be laid out or run again; the message says what is missing."""


class StateError(ExperimentError, RuntimeError):
    """The experiment is not in a state that allows this call."""


class InputError(ExperimentError, ValueError):
    """An argument is not of an allowed type or value."""


class ConfigError(InputError):
    """The configuration cannot be stored."""


class MetricError(InputError):
    """A metric's name, value, step, epoch or context is not allowed."""


class ArtifactError(InputError):
    """A file cannot be logged as an artifact."""


class BundleError(InputError):
    """A file is not the bundle of an experiment, or is damaged or unsafe."""


class UnsafePathError(InputError, OSError):
    """A path leads out of the folder it must lie in, or what lies there is no regular file; it was not touched."""


class QueryError(InputError):
    """A filter or a text query is not understood.

    Attributes:
        query: the text as given, or None for a dict filter.
        position: 0-based character of ``query`` where the trouble starts, or None.
    """

    def __init__(self, message: str, query: str | None = None, position: int | None = None) -> None:
        if query is not None and position is not None:
            message = f"{message}\n  {query}\n  {' ' * position}^"
        super().__init__(message)
        self.query = query
        self.position = position
