"""The doctor: looks into every file of a root, says what is wrong where, and mends what can be mended.

Nothing is ever deleted that is not there a second time, compared record by record. A damaged original is kept below
``.frameworm/damaged/`` after all of it that can be read was written anew. A running experiment is looked at, and
never touched.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Container, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from frameworm.experiment.errors import StoreError
from frameworm.experiment.keeping.files import check_files
from frameworm.experiment.keeping.findings import Finding, Report
from frameworm.experiment.keeping.index import Index
from frameworm.experiment.keeping.logs import check_logs
from frameworm.experiment.keeping.trash import EMPTYING, TRASH
from frameworm.experiment.keeping.ward import Ward, is_busy, is_old, kept_name
from frameworm.experiment.provenance.plan import check_changeable
from frameworm.experiment.query.read import ExperimentReader
from frameworm.experiment.storage.folder import HIDDEN, LOGS, experiment_folders, id_of
from frameworm.experiment.storage.schema import Entry, is_stale

_MAKING = re.compile(r"making-\d+\Z")


def examine(root: Path, *, repair: bool = False, advance: Callable[[int], object] = lambda size_bytes: None) -> Report:
    """Check a root, and mend it if asked.

    Args:
        root: the folder of experiments.
        repair: mend what can be mended without losing anything.
        advance: told how many bytes were read since it was last called; see ``size_bytes``.

    Raises:
        StoreNotFoundError: there is no such folder.
        StoreError: it was to be mended and cannot be written.
    """
    if repair:
        check_changeable(root)
    folders = experiment_folders(root)
    report = Report(root)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    if repair and not os.access(root, os.W_OK | os.X_OK):
        raise StoreError(f"{root} cannot be written: it can be checked, and not mended")

    def count(size_bytes: int) -> None:
        report.size_bytes += size_bytes
        advance(size_bytes)

    _settle(report, partial(_check_root, root, stamp, folders), repair)
    index = Index(root)
    taken: dict[int, str] = {}
    for name, number in sorted(folders.items(), key=lambda item: (item[1], item[0])):
        if not (root / name).is_dir():
            continue
        if number in taken:
            report.findings.append(_same_id(root, name, taken[number], max(folders.values()) + 1))
            continue
        taken[number] = name
        ward = Ward(root, root / name, id_of(number), stamp, count)
        _settle(report, partial(_check_experiment, ward), repair)
        report.experiments += 1
        if ward.busy:
            report.running.append(ward.label)
        index.look_at(name, None if ward.busy else _entry(ward))
    report.free_numbers = _free_numbers(root, set(taken))
    index.finish()
    if repair:
        index.mend()
    report.findings += index.findings
    return report


def size_bytes(root: Path) -> int:
    """Return about how many bytes ``examine`` will read, for a progress bar."""
    total = 0
    for name in experiment_folders(root):
        for parent, _, files in os.walk(root / name):
            for file in files:
                with suppress(OSError):
                    total += os.lstat(os.path.join(parent, file)).st_size
    return total


def _settle(report: Report, check: Callable[[], Iterator[Finding]], repair: bool) -> None:
    """Check, mend, and check again until nothing more can be mended; note all that was found."""
    found = list(check())
    seen = dict.fromkeys(found)
    tried: dict[Finding, str] = {}
    while repair and (next_ := _next(found, tried)):
        for finding in next_:
            assert finding.repair is not None
            tried[finding] = ""
            try:
                finding.repair()
            except (OSError, ValueError) as error:  # this one stays, and says why; the others are mended
                tried[finding] = f"; mending it failed: {error}"
        found = list(check())
        seen |= dict.fromkeys(found)
    left = set(found)
    for finding in seen:
        # Where mending failed and all is well now, somebody else did it.
        what = finding.what + (tried.get(finding, "") if finding in left else "")
        report.findings.append(replace(finding, what=what, mended=finding not in left))


def _next(found: list[Finding], tried: Container[Finding]) -> list[Finding]:
    """Return what to mend next: one by one, as mending one changes what is true of another; harmless remains last."""
    mendable = [finding for finding in found if finding.repair is not None and finding not in tried]
    for severity in ("damage", "wrong"):
        if worst := [finding for finding in mendable if finding.severity == severity]:
            return worst[:1]
    return mendable


def _check_experiment(ward: Ward) -> Iterator[Finding]:
    try:
        ward.reader = ExperimentReader(ward.folder)
        ward.busy = is_busy(ward.reader)
    except (StoreError, OSError, ValueError, KeyError, TypeError) as error:
        ward.reader = None
        yield ward.finding(
            "unreadable", "damage", ward.folder, f"cannot be read: {error}", "bring its logs/ back from a copy"
        )
    if (ward.folder / LOGS).is_dir():
        yield from check_logs(ward)
    elif ward.reader is not None:
        yield ward.finding("logs-lost", "damage", ward.logs, "is not there", "bring it back from a copy")
    yield from check_files(ward)


def _entry(ward: Ward) -> Entry | None:
    """Return what the catalog should know of an experiment."""
    if ward.reader is None:
        return None
    info = replace(ward.reader.info, experiment_id=ward.label)
    try:
        return Entry(info, ward.reader.summaries(), is_stale(info))
    except (OSError, ValueError):
        return None


def _check_root(root: Path, stamp: str, folders: dict[str, int]) -> Iterator[Finding]:
    """Find what crashes left behind outside of experiments."""
    hidden = root / HIDDEN
    for path in sorted(hidden.iterdir()) if hidden.is_dir() else ():
        if _MAKING.match(path.name) and is_old(path):
            yield Finding(
                None,
                "half-made",
                "leftover",
                os.path.relpath(path, root),
                None,
                "an experiment whose process died while making it; nothing was recorded in it yet",
                "set aside",
                partial(_set_aside, root, stamp, path),
            )
    trash = hidden / TRASH
    for path in sorted(trash.iterdir()) if trash.is_dir() else ():
        if path.name.startswith(EMPTYING):
            yield Finding(
                None,
                "half-deleted",
                "leftover",
                os.path.relpath(path, root),
                None,
                "was being removed from the trash for good when its process died",
                "frameworm trash empty goes on with it",
            )


def _set_aside(root: Path, stamp: str, path: Path) -> None:
    path.rename(kept_name(root, stamp, path))


def _same_id(root: Path, name: str, first: str, free: int) -> Finding:
    number = experiment_folders(root)[name]
    return Finding(
        id_of(number),
        "same-id",
        "wrong",
        name,
        None,
        f"has the id of {first}; only that one is listed",
        f"rename one to a free number: mv {name} {id_of(free)}{name[len(id_of(number)) :]}",
    )


def _free_numbers(root: Path, taken: set[int]) -> list[int]:
    try:
        claims = {int(name) for name in os.listdir(root / HIDDEN / "ids") if name.isdecimal()}
    except OSError:
        return []
    return sorted(claims - taken)
