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
        self._removed: dict[str, Artifact] = {}
        self._notes: list[Note] = []
        self.session_ms = 0
        self.active_s = 0.0

    @property
    def begun(self) -> bool:
        """Whether the event that creates an experiment was among them."""
        return "experiment_id" in self._fields

    def apply(self, event: dict[str, Any]) -> None:
        """Take one event into account; kinds that say nothing of the experiment are passed over.

        Args:
            event: one of our own, or as ``events.decode`` returned it.

        Raises:
            ConfigError: it changes a config that does not have such a section.
        """
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

    def _on_snapshot(self, event: dict[str, Any]) -> None:
        """Begin with what metadata.json told, where the events before were lost."""
        from frameworm.experiment.events import facts_of

        facts = facts_of(event["info"])
        self._notes = list(facts.pop("notes"))
        self._artifacts = {artifact.path: artifact for artifact in facts.pop("artifacts")}
        self._fields = {name: value for name, value in facts.items() if name != "writers"}
        self.active_s = facts.get("duration_s") or 0.0

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

    def _on_tags_edit(self, event: dict[str, Any]) -> None:
        kept = [tag for tag in self._fields.get("tags", ()) if tag not in event["remove"]]
        self._fields["tags"] = tuple(dict.fromkeys([*kept, *event["add"]]))

    def _on_name(self, event: dict[str, Any]) -> None:
        self._fields["name"] = event["name"]

    def _on_description(self, event: dict[str, Any]) -> None:
        self._fields["description"] = event["description"]

    def _on_note(self, event: dict[str, Any]) -> None:
        self._notes.append(Note(event["text"], event["t"]))

    def _on_artifact(self, event: dict[str, Any]) -> None:
        artifact = Artifact(**{key: value for key, value in event.items() if key in _ARTIFACT_FIELDS})
        self._artifacts[artifact.path] = artifact

    def _on_artifacts_removed(self, event: dict[str, Any]) -> None:
        self._removed |= {path: self._artifacts.pop(path) for path in event["paths"] if path in self._artifacts}

    def _on_artifacts_restored(self, event: dict[str, Any]) -> None:
        self._artifacts |= {path: self._removed.pop(path) for path in event["paths"] if path in self._removed}

    def _on_git(self, event: dict[str, Any]) -> None:
        self._fields["git"] = event["git"]

    def _on_code(self, event: dict[str, Any]) -> None:
        self._fields["code"] = event["code"]

    def _on_randomness(self, event: dict[str, Any]) -> None:
        self._fields["randomness"] = {**self._fields.get("randomness", {}), **event["randomness"]}

    def _on_dataset(self, event: dict[str, Any]) -> None:
        self._fields["datasets"] = (*self._fields.get("datasets", ()), event["dataset"])

    def _on_use(self, event: dict[str, Any]) -> None:
        self._fields["used"] = (*self._fields.get("used", ()), event["use"])

    def _on_alert(self, event: dict[str, Any]) -> None:
        alert = {key: event[key] for key in ("title", "text", "level")}
        alert |= {"time_ms": event["t"], "rule": event.get("rule", "")}
        self._fields["alerts"] = (*self._fields.get("alerts", ()), alert)

    def _on_parent(self, event: dict[str, Any]) -> None:
        self._fields["parent"] = event["parent"]

    def _on_rewind(self, event: dict[str, Any]) -> None:
        rewind = {"step": event["step"], "time_ms": event["t"]}
        self._fields["rewinds"] = (*self._fields.get("rewinds", ()), rewind)

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
