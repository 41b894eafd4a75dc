"""What an ``ExperimentManager`` does to run experiments again and to carry them elsewhere."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frameworm.experiment.errors import ExperimentNotFoundError

if TYPE_CHECKING:
    from frameworm.experiment.reproduction.bundle import Exported
    from frameworm.experiment.reproduction.report import Reproduction
    from frameworm.experiment.reproduction.run import Watcher
    from frameworm.experiment.reproduction.unbundle import Imported


class Reproducer(ABC):
    """The part of ``ExperimentManager`` that reproduces, exports and imports."""

    @property
    @abstractmethod
    def root_dir(self) -> Path:
        """The folder of experiments, absolute."""

    @abstractmethod
    def folders_of(self, experiment_ids: Iterable[str]) -> list[Path]:
        """Return the folders of experiments."""

    def reproduce(
        self,
        experiment_id: str,
        *,
        settings: Mapping[str, Any] | None = None,
        venv: bool = False,
        project: str | os.PathLike[str] | None = None,
        links: Iterable[str] = (),
        share_large: bool = False,
        trust: bool = False,
        strict: bool = False,
        keep: bool = False,
        watcher: Watcher | None = None,
    ) -> Reproduction:
        """Lay an experiment out, run its command again as a new experiment, and compare the two bit for bit.

        The code is laid out in a temporary folder: commit, uncommitted changes, untracked files. Data is looked for
        where it was, its fingerprint compared, and a copy given to the program. Recorded variables, umask, time zone
        and standard input are set again, and the random generators begin in their recorded states. This executes the
        recorded program.

        Args:
            experiment_id: id or uid.
            settings: config values to change, by dotted key. They reach programs that read ``exp.config``; those that
                read their command line only if it names the same key (``training.lr=0.1``, ``--training.lr 0.1``).
            venv: run it in a virtual environment made from its list of packages, instead of this interpreter.
            project: where the code's folder lies today, if it was moved: of it are used git's objects and data.
            links: paths in the project that were not recorded, to be lent to the program as they are today.
            share_large: let the program use what is too large to be copied (1 GiB in all) where it lies, so that it
                could change it; else that is an error.
            trust: run it also if this user did not record it here: if it was imported, copied from somebody else, or
                changed. Of the recorded variables only those of an allow-list are set then.
            strict: refuse if the code cannot be proved to be what ran.
            keep: do not remove the folder in the end.
            watcher: told how it goes.

        Returns:
            the verdict, and what differed.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
            StateError: it is running.
            ReproductionError: it cannot be laid out or run; says what is missing. Or it is not this user's own, and
                was not trusted; says what it would run.
        """
        from frameworm.experiment.reproduction.run import reproduce

        (folder,) = self.folders_of([experiment_id])
        return reproduce(
            folder,
            self._folder_of_uid,
            settings=settings,
            venv=venv,
            project=None if project is None else Path(project),
            links=tuple(links),
            share_large=share_large,
            trust=trust,
            strict=strict,
            keep=keep,
            watcher=watcher,
        )

    def export(
        self, experiment_id: str, path: str | os.PathLike[str], *, artifacts: bool = True, data: bool = False
    ) -> Exported:
        """Write an experiment to one file, with the commit it ran on: all that another machine needs to reproduce it.

        Of a fork the experiments whose points it inherits are in it too, as complete as itself.

        Args:
            experiment_id: id or uid.
            path: the file, ``….zip``; must not exist.
            artifacts: artifacts and checkpoints too.
            data: the files of its datasets too, where they are unchanged.

        Returns:
            what was written, and what could not be.

        Raises:
            ExperimentNotFoundError: no experiment has this id or uid; suggests the nearest.
            StateError: it is running, or one that it inherits from.
            StoreError: the file cannot be written, or is there already.
        """
        from frameworm.experiment.reproduction.bundle import export

        (folder,) = self.folders_of([experiment_id])
        return export(folder, Path(path), artifacts=artifacts, data=data)

    def import_bundle(self, path: str | os.PathLike[str]) -> Imported:
        """Take in an experiment from a file that ``export`` wrote, under a new id and its old uid.

        Nothing of it is executed or unpickled; every byte is compared with the digests in the file. Experiments whose
        points it inherits are taken in before it, unless they are here.

        Args:
            path: the file.

        Returns:
            its new id and folder.

        Raises:
            BundleError: the file is not such a one, damaged, or unsafe; nothing was taken in.
            StateError: the experiment is here already.
            StoreError: the root cannot be written.
        """
        from frameworm.experiment.reproduction.unbundle import import_bundle

        return import_bundle(self.root_dir, Path(path), self._folder_of_uid)

    def _folder_of_uid(self, uid: str) -> Path | None:
        try:
            return self.folders_of([uid])[0]
        except ExperimentNotFoundError:
            return None
