"""What all commands share: exit codes, errors and warnings as one line each, ``--root-dir``, ``--json``."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import click

from frameworm.experiment.cli.text import inert
from frameworm.experiment.errors import ExperimentError, FramewormWarning

if TYPE_CHECKING:
    from frameworm.experiment.manager import ExperimentManager

_ROOT_DIR = "frameworm.root_dir"
_INTERRUPTED = 130
_Command = TypeVar("_Command", bound=Callable[..., Any])


class Program(click.Group):
    """The program: exits with 0, 1 (it could not be done), 2 (not understood) or 130 (Ctrl-C).

    Our errors are printed as ``error: …``, our warnings as ``warning: …``, both to stderr and without a
    traceback. Anything else is a bug and keeps its traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they are defined."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run and exit; a character that the terminal cannot show never fails a command."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _warnings_as_lines():
            try:
                result = super().invoke(ctx)
                sys.stdout.flush()  # a closed pipe is to be noticed here, not at interpreter exit
                return result
            except (KeyboardInterrupt, click.Abort):
                click.echo(err=True)  # ends the line that holds the terminal's ^C
                ctx.exit(_INTERRUPTED)
            except BrokenPipeError:
                raise  # as in `| head`: click ends quietly
            except (ExperimentError, OSError) as error:
                complain("error", str(error))
                ctx.exit(1)


def complain(kind: Literal["error", "warning", "danger"], message: str) -> None:
    """Print an error or a warning to stderr; a danger is red altogether."""
    color = None if os.environ.get("NO_COLOR") else {"error": "red", "warning": "yellow", "danger": "red"}[kind]
    text = inert(message, lines=True)
    click.echo(f"{click.style(kind, fg=color)}: {click.style(text, fg=color if kind == 'danger' else None)}", err=True)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        if issubclass(category, FramewormWarning):
            complain("warning", str(message))
        else:
            before(message, category, filename, lineno, file, line)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.simplefilter("always", FramewormWarning)
        warnings.showwarning = show
        yield


def root_dir_option(*, envvar: str | None = None) -> Callable[[_Command], _Command]:
    """Add ``--root-dir`` to a command; one given there wins over one given before the command's name."""

    def keep(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta[_ROOT_DIR] = value

    return click.option(
        "--root-dir",
        metavar="FOLDER",
        help="Folder of experiments.  [default: $FRAMEWORM_ROOT_DIR, or experiments]",
        envvar=envvar,
        expose_value=False,
        callback=keep,
    )


def json_option(command: _Command) -> _Command:
    """Add ``--json`` to a command."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead, and nothing else.")(command)


def root_folder() -> Path:
    """Return the root folder that the command line names."""
    return Path(click.get_current_context().meta.get(_ROOT_DIR, "experiments"))


def manager() -> ExperimentManager:
    """Return the manager of the root folder that the command line names."""
    from frameworm.experiment.manager import ExperimentManager

    return ExperimentManager(root_folder())
