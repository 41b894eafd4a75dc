"""Laying out: the code of an experiment as it was when it started, in a folder of its own."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.paths import absolute_of, open_inside, parts_of, place_inside, read_regular
from frameworm.experiment.provenance.code import CODE, CODE_SUFFIXES, file_digest, kept_digest
from frameworm.experiment.provenance.notebook import NOTEBOOK_NAME, SCRIPT_NAME
from frameworm.experiment.provenance.patch import PATCH_NAME, read_patch
from frameworm.experiment.reproduction.lending import Lender
from frameworm.experiment.reproduction.report import Part, Remark
from frameworm.experiment.reproduction.repository import GitError, Repository
from frameworm.experiment.secrets import MASK
from frameworm.experiment.storage.folder import PROVENANCE

MIRROR = "files"
"""Folder of a layout in which all lies as it lay on the machine where it was recorded."""
GIT = "git"
"""Folder in ``provenance`` of an imported experiment: the commits that it needs, as bundles named by them."""


@dataclass(slots=True)
class Layout:
    """Where an experiment is laid out.

    Attributes:
        folder: all of it.
        root: the recorded top of the code.
        project: where that lies today.
        tree: the top of the code as it is laid out.
        cwd: the working folder.
        moved: recorded paths, and what they are here; the longest first.
        remarks: what was found.
        unproven: why the code may not be what ran, a sentence each.
        lender: puts copies of what was not recorded into it.
        repositories: that of ``tree``, in git, and those of its submodules, each after the one that holds it.
        lent: links of the code in whose places copies lie, by their paths in ``tree``.
    """

    folder: Path
    root: Path
    project: Path
    tree: Path
    cwd: Path
    moved: list[tuple[str, str]] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    lender: Lender = field(init=False)
    repositories: list[Repository] = field(default_factory=list)
    lent: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lender = Lender(self.folder)

    def say(self, part: Part, kind: Any, text: str, key: str = "") -> None:
        """Add a remark."""
        self.remarks.append(Remark(part, kind, text, key))

    def doubt(self, text: str, key: str = "") -> None:
        """Add a remark that the code is not, or may not be, what ran."""
        self.say("code", "differs", text, key)
        self.unproven.append(text)

    def place(self, path: Path) -> Path | None:
        """Return where a recorded path is here; None if it is not among what was moved.

        Raises:
            UnsafePathError: it would be outside of the layout.
        """
        for old, new in self.moved:
            if path.is_relative_to(old):
                inner = path.relative_to(old).as_posix()
                return Path(new) if inner == "." else self.inside(Path(new), inner)
        return None

    def inside(self, top: Path, path: object) -> Path:
        """Return the place of a recorded path below a folder of the layout.

        Raises:
            UnsafePathError: it is not below it, or is git's.
        """
        place = top.joinpath(*parts_of(path))
        return place if self.lender.is_shared(place) else place_inside(top, path, git=True)

    def mirrored(self, path: Path) -> Path:
        """Return the place of a recorded absolute path that the program reaches by a relative one.

        All lies in the layout as it lay where it was recorded, so that ``../data`` leads to what it led to.
        """
        return self.folder.joinpath(MIRROR, *path.parts[1:])

    def translate(self, text: str) -> str:
        """Return a text such as a word of the command line with recorded paths replaced by those here."""
        for old, new in self.moved:
            pattern = rf"(?<![^=:,;\s'\"\[(]){re.escape(old)}(?=$|[/:,;\s'\"\])])"
            translated = re.sub(pattern, lambda _, new=new: new, text)  # type: ignore[misc]
            if translated != text:
                return translated
        return text

    def today(self, path: Path) -> Path:
        """Return where a recorded path is now: of the project, or beside it, where that lies today."""
        beside = Path(os.path.normpath(self.project / os.path.relpath(path, self.root)))
        return beside if path.is_relative_to(self.root) or not path.exists() else path

    def lend(self, source: Path, place: Path) -> None:
        """Put a copy of a file or folder into the layout, unseen by git.

        Raises:
            ReproductionError: it is too large to be copied.
        """
        if self.lender.is_shared(place):
            return
        self.lender.lend(source, place)
        for repository in reversed(self.repositories):
            if place.is_relative_to(repository.folder):
                repository.exclude([place.relative_to(repository.folder).as_posix()])
                break


def lay_out(
    info: ExperimentInfo, exp_dir: Path, folder: Path, *, project: Path | None = None, share: bool = False
) -> Layout:
    """Lay out the code of an experiment.

    Args:
        info: what is recorded.
        exp_dir: the experiment's folder.
        folder: an empty one.
        project: where the top of the code lies today, if not where it was.
        share: whether what is too large to be copied may be used where it lies.

    Raises:
        UnsafePathError: a recorded path leads out of the layout; nothing outside of it was touched.
        ReproductionError: no code was recorded, or it cannot be had any more.
    """
    top = info.git.get("root") or info.code.get("root")
    if not top or not info.code:
        why = f" ({info.git['error']})" if info.git.get("error") else ""
        why = why or (" (its process was gone before it was taken)" if info.status in ("crashed", "killed") else "")
        raise ReproductionError(f"{info.experiment_id} has no record of its code{why}; it cannot be laid out")
    if project is not None and not project.is_dir():
        raise ReproductionError(f"--project {project}: no such folder; name the one that the code lies in today")
    check_paths(info)
    root = absolute_of(top)
    tree = folder.joinpath(MIRROR, *root.parts[1:])
    tree.mkdir(parents=True)
    layout = Layout(folder, root, root if project is None else project.absolute(), tree, tree)
    layout.lender.share = share
    layout.moved.append((str(root), str(tree)))
    if info.git.get("root"):
        _from_git(info, exp_dir, layout)
    _settle_links(layout)
    _stored_files(info, exp_dir, layout)
    if info.code.get("notebook"):
        _notebook(info, exp_dir, layout)
    _left_out(info, layout)
    _working_folder(info, layout)
    return layout


def check_paths(info: ExperimentInfo) -> None:
    """Refuse a record with a path that leads out of its place, before anything is laid out.

    Raises:
        UnsafePathError: says which.
    """
    nowhere = Path("/nowhere")
    for one in (*info.code.get("files", ()), *info.code.get("left_out", ())):
        _recorded(nowhere, one["path"])
    for text in (info.git.get("root"), info.code.get("root"), info.environment.get("stdin")):
        if text:
            absolute_of(text)
    for text in (info.code.get("cwd"), info.code.get("script")):
        if text and text != ".":
            _recorded(nowhere, text)
    for dataset in info.datasets:
        if dataset.get("path"):
            absolute_of(dataset["path"])


def _recorded(top: Path, path: object) -> Path:
    """Return the place of a path that is recorded relative to the top of the code, or absolute if it is outside."""
    absolute = isinstance(path, str) and path.startswith("/")
    return absolute_of(path) if absolute else place_inside(top, path, git=True)


def _from_git(info: ExperimentInfo, exp_dir: Path, layout: Layout) -> None:
    git = info.git
    commit: str | None = git.get("commit")
    repository = Repository(layout.tree, commit)
    layout.repositories.append(repository)
    if git.get("error"):
        layout.doubt(f"git could not say all when it was recorded: {git['error']}")
    bundles = exp_dir / PROVENANCE / GIT
    found = ""
    if commit is not None:
        places = [layout.project, Path(".")]
        try:
            found = repository.obtain(places, bundles / f"{commit}.bundle", git.get("remote"))
        except GitError as error:
            raise ReproductionError(f"{error}; --project says where the project lies today, if it was moved") from error
    repository.check_out(git.get("remote"))
    patch = _patch(info, exp_dir, layout)
    if patch:
        try:
            repository.apply(patch)
        except GitError as error:
            why = "secrets were masked in them, and " if git.get("patch_masked") else ""
            raise ReproductionError(
                f"the uncommitted changes of {info.experiment_id} do not apply to its commit: {why}{error}"
            ) from error
    _submodules(repository, layout.project, bundles, layout)
    for path in repository.fill_large_files():
        layout.doubt(f"{path}: its content is in Git LFS and not here; run `git lfs fetch` in {layout.project}", path)
    for path in git.get("submodules_dirty", ()):
        layout.doubt(f"submodule {path} had changes of its own, which were not recorded", path)
    if commit is not None:
        layout.say("code", "same", f"commit {commit[:10]} from {found}", commit)
    if patch:
        layout.say("code", "same", f"uncommitted changes of {_files(patch.count(b'diff --git '))}", PATCH_NAME)


def _patch(info: ExperimentInfo, exp_dir: Path, layout: Layout) -> bytes:
    """Return the uncommitted changes; with secrets where they can still be had."""
    git = info.git
    if not git.get("patch"):
        return b""
    try:
        patch = read_regular(exp_dir / PROVENANCE / PATCH_NAME)
    except OSError as error:
        raise ReproductionError(f"the uncommitted changes of {info.experiment_id} are gone: {error}") from error
    if git.get("patch_truncated"):
        layout.doubt("the uncommitted changes were too large to be recorded whole; the rest is missing")
    if len(patch) != git.get("patch_bytes", len(patch)):
        layout.doubt(f"{PATCH_NAME} is not what was recorded: {len(patch)} bytes instead of {git['patch_bytes']}")
    if git.get("patch_masked"):
        whole = read_patch(layout.project, git.get("commit"))
        if whole is not None and whole[1] == patch:
            return whole[0]
        where = ", ".join(_masked_files(patch)) or "removed lines"
        layout.doubt(f"secrets were masked in the uncommitted changes of {where}: the code laid out has *** for them")
    return patch


def _masked_files(patch: bytes) -> list[str]:
    """Return the files in whose new lines a secret was masked."""
    found = []
    for part in patch.split(b"diff --git ")[1:]:
        name, *lines = part.partition(b"\n+++ ")[2].split(b"\n")
        if any(line.startswith(b"+") and MASK.encode() in line for line in lines):
            found.append(name.decode("utf-8", "replace").strip('"\t').removeprefix("b/"))
    return found


def _submodules(repository: Repository, place: Path, bundles: Path, layout: Layout) -> None:
    for path, (commit, url) in repository.submodules().items():
        inner = Repository(place_inside(repository.folder, path, git=True), commit)
        try:
            inner.obtain([place / path], bundles / f"{commit}.bundle", url)
        except GitError as error:
            layout.doubt(f"submodule {path} is not to be had: {error}", path)
            continue
        inner.check_out(url)
        layout.repositories.append(inner)
        layout.say("code", "same", f"submodule {path} at {commit[:10]}", path)
        _submodules(inner, place / path, bundles, layout)


def _settle_links(layout: Layout) -> None:
    """Have no link of the code lead out of the layout: in its place comes a copy of what it leads to today.

    Otherwise the program would write to the original.
    """
    top = os.path.realpath(layout.tree)
    for folder, folders, names in os.walk(layout.tree):
        if ".git" in folders:
            folders.remove(".git")
        for link in (Path(folder, name) for name in sorted((*folders, *names)) if Path(folder, name).is_symlink()):
            if not Path(os.path.realpath(link)).is_relative_to(top):
                _settle_link(link, layout)


def _settle_link(link: Path, layout: Layout) -> None:
    path = link.relative_to(layout.tree).as_posix()
    leads_to = Path(os.path.normpath(layout.root / path / ".." / os.readlink(link)))  # where it was recorded
    within = layout.tree / leads_to.relative_to(layout.root) if leads_to.is_relative_to(layout.root) else link
    if within != link and os.path.lexists(within):
        link.unlink()
        link.symlink_to(os.path.relpath(within, link.parent))
    else:
        source = layout.today(leads_to)
        if source.is_file() or source.is_dir():
            layout.lend(source, link)
            layout.say("data", "unknown", f"{path} is a link to {leads_to}; a copy of that as it is today", path)
        else:
            link.unlink()
            layout.say("data", "differs", f"{path} is a link to {leads_to}, which is not there", path)
    layout.lent.append(path)
    for repository in reversed(layout.repositories):
        if link.is_relative_to(repository.folder):
            repository.overlook(link.relative_to(repository.folder).as_posix())
            break


def _stored_files(info: ExperimentInfo, exp_dir: Path, layout: Layout) -> None:
    stored = exp_dir / PROVENANCE / CODE
    files = info.code.get("files", ())
    if info.code.get("notebook"):
        files = [file for file in files if file["path"] != SCRIPT_NAME]  # never was a file
    for file, target in [(file, layout.inside(layout.tree, file["path"])) for file in files]:
        path = file["path"]
        try:
            with open(open_inside(stored, path), "rb") as kept:
                content = kept.read()
        except OSError as error:
            raise ReproductionError(f"{path} cannot be laid out: {error}; frameworm doctor tells more") from error
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if digest != file["digest"]:
            layout.doubt(f"{path} is not what was recorded: {PROVENANCE}/{CODE}/{path} was changed", path)
        elif file.get("masked"):
            today = layout.project / path
            if today.is_file() and kept_digest(today) == digest:
                content = today.read_bytes()
            else:
                layout.doubt(f"{path}: secrets were masked in it; the code laid out has *** in their places", path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.write_bytes(content)
        target.chmod(0o755 if file.get("executable") else 0o644)
    if files:
        what = "that git did not know" if layout.repositories else "that the program imported"
        layout.say("code", "same", f"{_files(len(files))} {what}")


def _notebook(info: ExperimentInfo, exp_dir: Path, layout: Layout) -> None:
    """Lay out the recorded cells beside the code, of which they are no file."""
    try:
        with open(open_inside(exp_dir / PROVENANCE, NOTEBOOK_NAME), "rb") as kept:
            content = kept.read()
    except OSError as error:
        raise ReproductionError(f"the recorded cells cannot be laid out: {error}") from error
    notebook = info.code["notebook"]
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != notebook["digest"]:
        layout.doubt(f"the cells are not what was recorded: {PROVENANCE}/{NOTEBOOK_NAME} was changed", NOTEBOOK_NAME)
    if notebook.get("masked"):
        which = ", ".join(f"In [{number}]" for number in notebook["masked"])
        layout.doubt(f"secrets were masked in {which}: the cells laid out have *** in their places", NOTEBOOK_NAME)
    place = layout.folder / NOTEBOOK_NAME
    place.write_bytes(content)
    layout.moved.append((str(exp_dir / PROVENANCE / NOTEBOOK_NAME), str(place)))
    layout.moved.sort(key=lambda pair: -len(pair[0]))
    number = notebook.get("cells") or 0
    layout.say("code", "same", f"{number:,} cell{'' if number == 1 else 's'} of a notebook", NOTEBOOK_NAME)


def _files(number: int) -> str:
    return f"{number:,} file{'' if number == 1 else 's'}"


def _left_out(info: ExperimentInfo, layout: Layout) -> None:
    """Take today's version of what was too large to be stored, or is a link."""
    for one in info.code.get("left_out", ()):
        path, why = one["path"], one["why"]
        today = layout.project / path  # an absolute path stays as it is
        target = None if os.path.isabs(path) else layout.inside(layout.tree, path)
        if not today.exists():
            layout.doubt(f"{path} was not stored ({why}) and is gone", path)
            continue
        if one.get("digest") and today.is_file() and file_digest(today) == one["digest"]:
            layout.say("code", "same", f"{path} was not stored ({why}); not changed since", path)
        elif today.suffix in CODE_SUFFIXES:
            layout.doubt(f"{path} was not stored ({why}); today's is used", path)
        else:
            layout.say("code", "unknown", f"{path} was not stored ({why}); today's is used", path)
        if target is not None and not target.exists() and (today.is_file() or today.is_dir()):
            layout.lend(today, target)


def _working_folder(info: ExperimentInfo, layout: Layout) -> None:
    recorded = info.code.get("cwd") or "."
    if os.path.isabs(recorded):
        layout.cwd = layout.mirrored(absolute_of(recorded))
        layout.cwd.mkdir(parents=True, exist_ok=True)
        layout.moved.append((recorded, str(layout.cwd)))
        layout.moved.sort(key=lambda pair: -len(pair[0]))
    else:
        layout.cwd = layout.inside(layout.tree, recorded) if recorded != "." else layout.tree
        layout.cwd.mkdir(parents=True, exist_ok=True)
