"""Inputs: is the data that an experiment read still the same, and is it where the laid-out program looks for it?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import InputError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import absolute_of, is_gits
from frameworm.experiment.provenance.data import fingerprint
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.storage.artifacts import artifact_path
from frameworm.experiment.storage.folder import PROVENANCE, read_metadata

DATA = "data"
"""Folder in ``provenance`` of an imported experiment: the data that came with it, named by fingerprint."""


def check_inputs(info: ExperimentInfo, exp_dir: Path, layout: Layout, folder_of: Callable[[str], Path | None]) -> None:
    """Look for every dataset and used artifact, compare them with the record, and lend data to the layout.

    What differs, or is gone, is said in ``layout.remarks``, and used as it is today.

    Args:
        info: what is recorded.
        exp_dir: the experiment's folder, which may hold data that came with it.
        layout: where the code is.
        folder_of: returns the folder of a uid, None if it is not here.
    """
    by_path = {dataset["path"]: dataset for dataset in info.datasets if dataset.get("path")}
    for dataset in by_path.values():
        _check_dataset(dataset, exp_dir, layout)
    elsewhere = [dataset["name"] for dataset in info.datasets if not dataset.get("path")]
    if elsewhere:
        layout.say("data", "unknown", f"{_names(elsewhere)}: known by fingerprint only, compared when it has run")
    for use in info.used:
        _check_use(use, folder_of(use["uid"]), layout)
    if not info.datasets and not info.used:
        layout.say("data", "unknown", "no data was recorded (exp.log_dataset), so nobody can say if it is the same")


def _check_dataset(dataset: dict[str, Any], exp_dir: Path, layout: Layout) -> None:
    name, recorded, path = dataset["name"], dataset["fingerprint"], absolute_of(dataset["path"])
    if any(is_gits(part) for part in path.parts):
        layout.say("data", "unknown", f"{name} is git's own; the code laid out has a repository of its own", name)
        return
    place = layout.place(path)
    if place is None and ".." in Path(dataset["path"]).parts:  # the program says where it is from its working folder
        place = layout.mirrored(path)
    today = layout.today(path)
    bundled = exp_dir / PROVENANCE / data_name(recorded)
    if place is not None and place.exists() and _found(place) == recorded:
        layout.say("data", "same", f"{name}: same fingerprint, from the code", name)
        return
    source = next((one for one in (today, bundled) if _found(one) == recorded), None)
    if source is None:
        source = today
        if not today.exists():
            moved = "" if layout.project.exists() else "; --project says where the project lies today, if it was moved"
            layout.say("data", "differs", f"{name} is gone: {today} is not there{moved}", name)
            return
        now = _found(today) or "not readable"
        layout.say("data", "differs", f"{name} has changed: {_short(recorded)} was recorded, now {_short(now)}", name)
    else:
        layout.say("data", "same", f"{name}: same fingerprint", name)
    if place is None and source != path:
        place = layout.folder / DATA / data_name(recorded).removeprefix(f"{DATA}/") / path.name
        layout.moved.insert(0, (str(path), str(place)))
    if place is not None:
        _put(source, place, layout)


def _put(source: Path, place: Path, layout: Layout) -> None:
    """Lend data where the program looks for it; of a folder that the code has in part, what it lacks."""
    if place.is_dir() and not place.is_symlink() and source.is_dir():
        for file in sorted(source.rglob("*")):
            target = layout.inside(place, file.relative_to(source).as_posix())
            if file.is_file() and (not target.exists() or target.read_bytes() != file.read_bytes()):
                layout.lend(file, target)
    else:
        layout.lend(source, place)


def _found(path: Path) -> str | None:
    """Return the fingerprint of what is at a path, None if nothing can be read there."""
    try:
        return str(fingerprint(path)["fingerprint"])
    except InputError:
        return None


def _check_use(use: dict[str, Any], folder: Path | None, layout: Layout) -> None:
    name = f"{use['artifact']} of {use['experiment_id']}"
    if folder is None:
        layout.say(
            "data", "differs", f"{name} is gone: its experiment is not in this root", f"artifact {use['artifact']}"
        )
        return
    for artifact in read_metadata(folder).artifacts:
        if artifact.name == use["artifact"] and artifact.version == use["version"]:
            file = artifact_path(folder, artifact)
            same = artifact.digest == use["digest"] and file.is_file() and _sha256(file) == use["digest"]
            kind, what = ("same", "same digest") if same else ("differs", "is gone or was changed")
            layout.say("data", kind, f"{name}: {what}", f"artifact {use['artifact']}")
            return
    layout.say("data", "differs", f"{name} is not recorded there any more", f"artifact {use['artifact']}")


def data_name(fingerprint: str) -> str:
    """Return the path in ``provenance`` under which data travels: its fingerprint's hexadecimal digits."""
    return f"{DATA}/{re.sub(r'[^0-9a-f]', '', fingerprint.rpartition(':')[2]) or 'unknown'}"


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _short(digest: str) -> str:
    algorithm, colon, rest = digest.partition(":")
    return f"{algorithm}:{rest[:8]}…" if colon else digest


def _names(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
