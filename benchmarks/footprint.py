"""What a peer costs before it records anything: the time of its import, and its size installed."""

from __future__ import annotations

import json
from collections.abc import Sequence

from benchmarks.drivers import peer_class
from benchmarks.environments import INSTALLED as STAMP
from benchmarks.environments import InstallError, environment_of
from benchmarks.harness import FailedError, Harness
from benchmarks.results import Result

IMPORT, INSTALLED = "import", "installed"
BARE, NUMPY = "python", "numpy"
"""Names under which a bare interpreter and NumPy stand among the peers."""


def measure_import(harness: Harness, peers: Sequence[str], rounds: int) -> None:
    """Time ``python -c 'import …'``, whole processes, each peer in turn."""
    statements = {BARE: "pass", NUMPY: "import numpy"}
    pythons = {name: harness.python("frameworm") for name in statements}
    for name in peers:
        peer = peer_class(name)
        if peer.module and _first(name, peers):
            try:
                pythons[name] = harness.python(name)
            except InstallError:
                continue
            statements[name] = f"import {peer.module}"
    results = {name: Result(IMPORT, name, "1") for name in statements}
    for number in range(rounds + 1):
        for name, statement in statements.items():
            try:
                environment = {} if name in (BARE, NUMPY) else peer_class(name).environment
                took = harness.command([str(pythons[name]), "-c", statement], 60, environment)
            except FailedError as error:
                results[name].failure = str(error)
                continue
            if number:  # the first one fills the page cache
                results[name].rounds.append({"import_s": took})
    for result in results.values():
        harness.results.put(result)


def note_sizes(harness: Harness, peers: Sequence[str]) -> None:
    """Note what pip installed for each peer."""
    for name in peers:
        try:
            harness.python(name)
        except InstallError as error:
            harness.results.put(Result(INSTALLED, name, "1", failure=str(error)))
            continue
        stamp = environment_of(name, harness.cache) / STAMP
        if stamp.exists() and _first(name, peers):
            found = json.loads(stamp.read_text())
            figures = {"size_mib": found["size_mib"], "distributions": found["distributions"]}
            harness.results.put(Result(INSTALLED, name, "1", [figures]))


def _first(name: str, peers: Sequence[str]) -> bool:
    """Return whether a peer is the first of those that share its driver and so its environment."""
    return next(one for one in peers if one.split("-")[0] == name.split("-")[0]) == name
