"""What a check of a store found: values that the doctor makes and the command line shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Severity = Literal["damage", "wrong", "leftover"]
SEVERITIES: tuple[Severity, ...] = ("damage", "wrong", "leftover")
"""Bytes cannot be read; two things that should agree do not, nothing is lost; remains that do no harm."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be.

    Attributes:
        experiment_id: whose it is; None for what belongs to the whole root.
        kind: a short name of what was found, for programs.
        severity: ``damage``, ``wrong`` or ``leftover``, see ``SEVERITIES``.
        path: the file or folder, relative to the root.
        offset: the byte where it starts; None where no byte is meant.
        what: what is wrong.
        remedy: what mends it.
        repair: what ``--repair`` does; None where it can do nothing.
        mended: whether it was mended meanwhile.
    """

    experiment_id: str | None
    kind: str
    severity: Severity
    path: str
    offset: int | None
    what: str
    remedy: str
    repair: Callable[[], object] | None = field(default=None, compare=False, repr=False)
    mended: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Report:
    """What a check of a root found.

    Attributes:
        root_dir: the root.
        experiments: how many experiments were looked into.
        running: ids of those that were running: they are checked, and never touched.
        size_bytes: bytes read.
        free_numbers: numbers that no experiment has, though they are taken: deleted, or never made. That is as it
            should be: an id is never given twice.
        findings: what was found, the mended ones among them.
    """

    root_dir: Path
    experiments: int = 0
    running: list[str] = field(default_factory=list)
    size_bytes: int = 0
    free_numbers: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether nothing is left that is not as it should be."""
        return all(finding.mended for finding in self.findings)
