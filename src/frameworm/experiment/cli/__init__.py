"""The command line: ``frameworm list`` or ``python -m frameworm.experiment.cli list``.

commands.py  parses, calls the manager, prints      tables.py  tables that fit the terminal
text.py      one value as short text, JSON          chart.py   curves drawn in the terminal
"""

from frameworm.experiment.cli.commands import cli, main

__all__ = ["cli", "main"]
