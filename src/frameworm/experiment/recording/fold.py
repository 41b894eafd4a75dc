"""Folding: an experiment's events, in order, make its ``ExperimentInfo``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from frameworm.experiment.config import merge
from frameworm.experiment.model import Artifact, ExperimentInfo, Note

_ARTIFACT_FIELDS = frozenset(f.name for f in fields(Artifact))


class Fold:
    """What the events said so far; a later event wins. Not thread-safe.

    Attributes:
        session_ms: when the latest session began, Unix ms.
        active_s: how long the sessions before it took, by their monotonic clocks.
    """

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._artifacts: dict[str, Artifact] = {}
        self._notes: list[Note] = []
        self.session_ms = 0
        self.active_s = 0.0

    @property
    def begun(self) -> bool:
        """Whether the event that creates an experiment was among them."""
        return "experiment_id" in self._fields

    def apply(self, event: dict[str, Any]) -> None:
        """Take one event into account; kinds that say nothing of the experiment are passed over."""
        handler = getattr(self, f"_on_{event['type']}", None)
        if handler is not None:
            handler(event)
            self._fields["updated_ms"] = max(self._fields.get("updated_ms", 0), event["t"])

    def info(self, path: Path, writers: tuple[dict[str, Any], ...] = ()) -> ExperimentInfo:
        """Return the experiment as the events so far describe it."""
        return ExperimentInfo(
            path=path,
            writers=writers,
            artifacts=tuple(self._artifacts.values()),
            notes=tuple(self._notes),
            **self._fields,
        )

    def _on_create(self, event: dict[str, Any]) -> None:
        for name in ("experiment_id", "uid", "name", "project", "description"):
            self._fields[name] = event[name]
        self._fields["created_ms"] = event["t"]

    def _on_config(self, event: dict[str, Any]) -> None:
        old, lossy = self._fields.get("config", {}), event["lossy"]
        if event["merge"]:
            self._fields["config"] = merge(old, event["config"])
            lossy = [*self._fields.get("lossy_params", ()), *lossy]
        else:
            self._fields["config"] = event["config"]
        self._fields["lossy_params"] = tuple(dict.fromkeys(lossy))

    def _on_tags(self, event: dict[str, Any]) -> None:
        self._fields["tags"] = tuple(event["tags"])

    def _on_note(self, event: dict[str, Any]) -> None:
        self._notes.append(Note(event["text"], event["t"]))

    def _on_artifact(self, event: dict[str, Any]) -> None:
        artifact = Artifact(**{key: value for key, value in event.items() if key in _ARTIFACT_FIELDS})
        self._artifacts[artifact.path] = artifact

    def _on_git(self, event: dict[str, Any]) -> None:
        self._fields["git"] = event["git"]

    def _on_environment(self, event: dict[str, Any]) -> None:
        self._fields["environment"] = {**self._fields.get("environment", {}), **event["environment"]}

    def _on_status(self, event: dict[str, Any]) -> None:
        self._fields["status"] = event["status"]
        self._fields["reason"] = event.get("reason", "")
        if event["status"] == "running":
            self._fields.setdefault("started_ms", event["t"])
            self._fields["ended_ms"] = None
            self.session_ms = event["t"]
        else:
            self.active_s += event["duration_s"]
            self._fields["ended_ms"] = event["t"]
            self._fields["duration_s"] = self.active_s
