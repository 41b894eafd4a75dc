"""The command line: ``frameworm list`` or ``python -m frameworm.experiment.cli list``.

commands.py ─▶ manager ─▶ views.py ─▶ tables.py ─▶ terminal or pipe
parses                    what each   tables       text.py    one value as short text; JSON
                          command     that fit     chart.py   curves drawn in the terminal
                          shows                    program.py exit codes, errors, warnings, --root-dir
"""

from frameworm.experiment.cli.commands import main

__all__ = ["main"]
