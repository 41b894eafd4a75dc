"""Sealing: a closed journal becomes one immutable, compressed segment of the same name.

Run as a program, ``python -m frameworm.experiment.recording.seal LOGS_DIR JOURNAL…``, it seals beside a running
training, at low priority, so that compressing takes no time from it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from frameworm.experiment.config import dump_json
from frameworm.experiment.errors import JournalDamageError
from frameworm.experiment.recording.journal import WriterName
from frameworm.experiment.recording.journal_reader import read_journal


def seal(logs_dir: Path, name: WriterName) -> None:
    """Seal one journal whose writer has closed it, and remove it.

    The segment is on the disk before the journal goes, and readers take the segment where both are: a crash in
    between loses and doubles nothing, and sealing again is harmless.

    Raises:
        JournalDamageError: the journal is damaged; it stays as it is.
        OSError: the disk refused; the journal stays.
    """
    path = logs_dir / name.journal
    try:
        size = -1
        while size != path.stat().st_size:
            # Once more if a record has come since that was on its way when the writer let go of the file.
            size = path.stat().st_size
            _write(path, logs_dir / name.segment)
    except FileNotFoundError:
        if (logs_dir / name.segment).exists():
            return
        raise
    path.unlink(missing_ok=True)


def _write(journal: Path, segment: Path) -> None:
    from frameworm.experiment.storage.segment import write_segment

    contents = read_journal(journal)
    if contents.damage:
        first = contents.damage[0]
        raise JournalDamageError(journal, first.offset, f"{first.what}; it is kept as it is, and not sealed")
    index, points = contents.columns()
    write_segment(
        segment,
        keys=contents.keys,
        index=index,
        epochs=points.epochs,
        steps=points.steps,
        times_ms=points.times_ms,
        values=points.values,
        events=b"".join(dump_json(event).encode() + b"\n" for event in contents.events if event["type"] != "check"),
        sources=[journal.name],
    )


def main(arguments: list[str]) -> None:
    """Seal the journals named; the first argument is their folder."""
    os.nice(10)
    for journal in arguments[1:]:
        name = WriterName.parse(journal)
        if name is None:
            raise SystemExit(f"{journal}: not the name of a journal")
        seal(Path(arguments[0]), name)


if __name__ == "__main__":
    main(sys.argv[1:])
