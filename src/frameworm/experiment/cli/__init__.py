"""The command line: ``frameworm list`` or ``python -m frameworm.experiment.cli list``.

commands.py ─▶ manager ─▶ views.py ─▶ tables.py ─▶ terminal or pipe
parses                    what each   tables       text.py    one value as short text; JSON
                          command     that fit     chart.py   curves drawn in the terminal
                          shows                    program.py exit codes, errors, warnings, --root-dir
"""

from frameworm.experiment.cli.commands import main
from frameworm.experiment.cli.keeping import COMMANDS
from frameworm.experiment.cli.leaderboard import leaderboard
from frameworm.experiment.cli.reproducing import COMMANDS as REPRODUCING
from frameworm.experiment.cli.ui import ui

__all__ = ["main"]

for command in (leaderboard, *COMMANDS, *REPRODUCING, ui):
    main.add_command(command)
