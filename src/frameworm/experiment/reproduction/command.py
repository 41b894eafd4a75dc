"""The command line of an experiment, to be run again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from frameworm.experiment.errors import InputError, ReproductionError
from frameworm.experiment.model import ExperimentInfo
from frameworm.experiment.provenance.notebook import NOTEBOOK_NAME
from frameworm.experiment.reproduction.layout import Layout
from frameworm.experiment.secrets import MASK
from frameworm.experiment.storage.folder import PROVENANCE

RUNNER = "frameworm.experiment.reproduction.cells"
"""The module that runs recorded cells."""
_NOTEBOOK = re.compile(r"ipykernel|colab_kernel|jupyter")
# Options of the interpreter that take a word of their own.
_WITH_VALUE = ("-X", "-W", "--check-hash-based-pycs")


def parse_settings(words: list[str] | tuple[str, ...]) -> dict[str, Any]:
    """Return config values given as ``training.lr=0.01``: JSON where it is JSON, else text.

    Raises:
        InputError: there is no ``=``, or nothing before it.
    """
    settings = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.strip():
            raise InputError(f"--set {word!r}: expected KEY=VALUE, such as training.lr=0.01")
        try:
            settings[key.strip()] = json.loads(text)
        except ValueError:
            settings[key.strip()] = text
    return settings


def recorded_command(info: ExperimentInfo) -> list[str]:
    """Return the recorded command line, its interpreter first; of a notebook the one that runs its cells again.

    Raises:
        ReproductionError: there is none, or it cannot be run again: a prompt of plain Python, one of many ranks, a
            masked secret.
    """
    label = info.experiment_id
    command = info.environment.get("command")
    if not isinstance(command, list) or not command:
        raise ReproductionError(f"{label} has no record of its command line")
    if info.code.get("notebook"):
        return [command[0], "-m", RUNNER, str(info.path / PROVENANCE / NOTEBOOK_NAME)]
    if any(_NOTEBOOK.search(word) for word in command[1:6]):
        raise ReproductionError(f"{label} was recorded in a notebook, and its cells were not; run it once more")
    stdin = str(info.environment.get("stdin") or "")
    if _reads_program(command[1:]) and (not stdin or stdin.endswith(" (deleted)")):
        raise ReproductionError(
            f"{label} was recorded at a prompt, or its program was piped into Python: what was typed or piped is not "
            "recorded; save the program to a file, and run that"
        )
    variables = info.environment.get("variables") or {}
    worlds = [str(variables.get(name, "1")) for name in ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE")]
    world = next((one for one in worlds if one.isdecimal() and int(one) > 1), "")
    if world:
        raise ReproductionError(
            f"{label} was recorded by one of {world} processes of a launcher, which is not recorded; run the launcher "
            f"again and compare with `frameworm diff {label} …`"
        )
    masked = [number for number, word in enumerate(command) if MASK in word]
    if masked:
        raise ReproductionError(
            f"word {masked[0] + 1} of the command line held a secret, which was not recorded: {' '.join(command)}; "
            "give secrets by environment variables"
        )
    return list(command)


def command_here(command: list[str], python: str, settings: Mapping[str, Any], layout: Layout) -> list[str]:
    """Return a recorded command line as it is to be run: with this interpreter, from where the code is laid out.

    Where it names config values that are changed (``training.lr=0.1``, ``--training.lr 0.1``), these are replaced.
    """
    here = [layout.translate(word) for word in command[1:]]
    program = Path(command[0])
    for i, word in enumerate(here):  # a console script beside the interpreter, which may be another today
        if i == _script_at(here) and Path(word).is_absolute() and Path(word).parent == program.parent:
            beside = Path(python).parent / Path(word).name
            here[i] = str(beside) if beside.exists() else word
    return [python, *_with_settings(here, settings)]


def find_cwd(command: list[str], script: str | None, layout: Layout) -> Path:
    """Return the folder in which to run: the recorded one, unless the program went there from another.

    The first word of a program names its file from the folder in which it was started.
    """
    words = command[1:]
    at = _script_at(words)
    if at is None or script is None or Path(script).is_absolute() or Path(words[at]).is_absolute():
        return layout.cwd
    file = layout.tree / script
    word = Path(words[at])
    if (layout.cwd / word).exists() or file.parts[-len(word.parts) :] != word.parts:
        return layout.cwd
    return Path(*file.parts[: -len(word.parts)])


def _reads_program(words: list[str]) -> bool:
    """Whether the interpreter reads the program from its standard input."""
    for at, word in enumerate(words):
        if word == "-":
            return True
        if word.startswith("-") and not word.startswith("--") and re.fullmatch(r"-[A-Za-z]*[mc].*", word, re.DOTALL):
            return False
        if not word.startswith("-") and not (at and words[at - 1] in _WITH_VALUE):
            return False
    return True


def _script_at(words: list[str]) -> int | None:
    """Return which word names the program's file; None for ``-m`` and ``-c``."""
    at = 0
    while at < len(words):
        word = words[at]
        if word in _WITH_VALUE:
            at += 1
        elif word == "-" or not word.startswith("-"):
            return at if word != "-" else None
        elif not word.startswith("--") and re.fullmatch(r"-[A-Za-z]*[mc].*", word):
            return None
        at += 1
    return None


def _with_settings(words: list[str], settings: Mapping[str, Any]) -> list[str]:
    replaced = list(words)
    for key, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value)
        names = {key, key.replace("_", "-")}
        for i, word in enumerate(replaced):
            found = re.fullmatch(r"(--|\+{0,2}|-)([\w.-]+)(=(.*))?", word, re.DOTALL)
            if found is None or found[2] not in names:
                continue
            if found[3] is not None:
                replaced[i] = f"{found[1]}{found[2]}={text}"
            elif found[1].startswith("-") and i + 1 < len(replaced):
                replaced[i + 1] = text
    return replaced
