"""Write docs/reference/cli.md from the commands themselves; ``make docs`` calls it and a test keeps it up to date."""

from __future__ import annotations

from pathlib import Path

import click

PAGE = Path(__file__).parent / "reference" / "cli.md"
WIDTH = 100

_START = """\
# Command line

Installed as `frameworm`; `python -m frameworm.experiment.cli` is the same, without anything on the `PATH`.
The [guide](../guide/cli.md) shows what the commands print. This page is their own help.

Exit codes: 0 done; 1 it could not be done (no such experiment, no such folder, damage); 2 the command line is not
understood.
"""


def page() -> str:
    """Return the whole page: the help of the program and of each command."""
    from frameworm.experiment.cli import main

    parts = [_START, _help(main, "frameworm", None)]
    context = click.Context(main, info_name="frameworm", **main.context_settings)
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        if command is not None and not command.hidden:
            parts.append(f"## {name}\n\n{_help(command, name, context)}")
    return "\n".join(parts)


def _help(command: click.Command, name: str, parent: click.Context | None) -> str:
    settings = {**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
