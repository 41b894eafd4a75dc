"""A process that records what it is told to, call by call, until it is told to end or is killed.

Tests that draw their calls at random, such as the comparison with a model, have one of these do the recording, so
that it can be killed and forked. It is forked from a server that has imported everything: 10 ms, not 300.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from faults.child import PATIENCE_S

if TYPE_CHECKING:
    from frameworm.experiment import Experiment

_QUIET: dict[str, Any] = {"capture_console": False, "system_metrics_s": 0}


class Worker:
    """The near side: ``call`` has the process do something and returns when it has been done."""

    def __init__(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["faults.worker", "frameworm.experiment.experiment", "frameworm.experiment.manager"]
        )
        self._connection, far = context.Pipe()
        self.process = context.Process(target=_serve, args=(far,), daemon=True)
        self.process.start()
        far.close()

    def call(self, name: str, *arguments: Any) -> Any:
        """Do something; see ``_Session``.

        Raises:
            Exception: what the process raised.
            AssertionError: it does not answer.
        """
        self._connection.send((name, arguments))
        assert self._connection.poll(PATIENCE_S), f"{name}{arguments} does not come back"
        error, result = self._connection.recv()
        if error is not None:
            raise error
        return result

    def kill(self) -> None:
        """Kill -9; returns when it is gone."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self._connection.close()


class _Session:
    """The far side: one experiment at a time."""

    exp: Experiment

    def begin(self, root: str, name: str) -> str:
        from frameworm.experiment import Experiment

        self.exp = Experiment(name, {"name": name}, root_dir=root, **_QUIET).start()
        return self.exp.experiment_id

    def resume(self, root: str, experiment_id: str) -> None:
        from frameworm.experiment import Experiment

        self.exp = Experiment.resume(experiment_id, root, **_QUIET)

    def attach(self, root: str, experiment_id: str) -> None:
        from frameworm.experiment import Experiment

        self.exp = Experiment.attach(experiment_id, root)

    def do(self, method: str, *arguments: Any) -> None:
        getattr(self.exp, method)(*arguments)

    def fork(self, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        """Have a forked child make some calls and be gone without any farewell."""
        pid = os.fork()
        if not pid:
            for method, arguments in calls:
                self.do(method, *arguments)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0


def _serve(connection: Connection) -> None:
    import warnings

    warnings.simplefilter("error")
    session = _Session()
    while True:
        try:
            name, arguments = connection.recv()
        except EOFError:
            os._exit(0)
        try:
            connection.send((None, getattr(session, name)(*arguments)))
        except Exception as error:
            connection.send((error, None))
