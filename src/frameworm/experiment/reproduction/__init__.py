"""Reproduction: an experiment is laid out and run again, and what it logs is compared with the record bit for bit.

layout.py (repository.py) the code · inputs.py the data · environment.py (venv.py) packages and variables ·
command.py the command line ──▶ run.py ──▶ report.py the verdict; lending.py gives copies of what was not recorded,
trust.py shows what a record that is not the user's own would run

bundle.py and unbundle.py carry an experiment to another machine, with all that this needs.
"""
