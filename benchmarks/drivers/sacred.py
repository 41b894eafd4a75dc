"""Sacred with its FileStorageObserver. It has no reader: its JSON files are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from . import Body, Peer


class Sacred(Peer):
    """``log_scalar`` into a queue that a thread empties every ten seconds."""

    title = "Sacred"
    requirements = ("sacred==0.8.7",)
    extras = ("pandas==3.1.1",)
    module = "sacred"
    sizes: ClassVar[dict[str, str | None]] = {"rows-100000": "100000x5", "short": "100", "processes-64": "64x3000"}
    reader = "json.load of its files"
    notes = (
        "It keeps what is logged in a queue for up to ten seconds; a killed process loses it. Its `run` returns two "
        "seconds after the end at the latest, while a thread goes on writing; that is waited for. Its capture of git "
        "is off, as it would look at this project's repository."
    )

    def __init__(self, folder: Path) -> None:
        """Import it."""
        import sacred
        from sacred.observers import FileStorageObserver

        self.experiment, self.observer = sacred.Experiment, FileStorageObserver
        super().__init__(folder)

    def run(self, name: str, params: dict[str, Any], body: Body) -> None:
        """Record an experiment; a row is a scalar after the other, as it has no call for several."""
        experiment = self.experiment(name, save_git_info=False)
        experiment.observers.append(self.observer(self.folder))
        experiment.add_config(params)

        def main(_run: Any) -> None:
            log = _run.log_scalar

            def log_row(row: dict[str, float], step: int) -> None:
                for metric, value in row.items():
                    log(metric, value, step)

            body(log, log_row)

        main.__name__ = "main"
        experiment.main(main)
        run = experiment.run(options={"--loglevel": "ERROR"})
        run._heartbeat.join()  # it waits two seconds for its thread, which goes on writing

    def arrays(self) -> Any:
        """Read the metrics' file of the only run."""
        series = json.loads((self.folder / "1" / "metrics.json").read_bytes())["loss"]
        return series["steps"], series["values"]

    def frame(self) -> Any:
        """The same, as a table."""
        import pandas as pd

        return pd.DataFrame(json.loads((self.folder / "1" / "metrics.json").read_bytes())["loss"])

    def _rows(self, folders: list[Path]) -> list[dict[str, Any]]:
        rows = []
        for folder in folders:
            run = json.loads((folder / "run.json").read_bytes())
            config = json.loads((folder / "config.json").read_bytes())
            metrics = json.loads((folder / "metrics.json").read_bytes())
            last = {name: series["values"][-1] for name, series in metrics.items()}
            rows.append({"id": folder.name, "status": run["status"], **config, **last})
        return rows

    def _folders(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path.name.isdecimal()]

    def list_all(self) -> Any:
        """Read every run's files."""
        import pandas as pd

        return pd.DataFrame(self._rows(self._folders()))

    def search(self) -> Any:
        """Read every run's files and choose."""
        table = self.list_all()
        return table[(table.lr < 0.5) & (table.m0 < 0.5)]

    def compare(self) -> Any:
        """Read ten runs' files."""
        import pandas as pd

        return pd.DataFrame(self._rows([self.folder / str(n) for n in range(1, 11)]))


PEERS = {"sacred": Sacred}
