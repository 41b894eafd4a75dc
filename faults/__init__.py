"""Faults on purpose: real processes, real faults, and a count of what was lost. ``make faults`` runs them all.

| module | what |
| --- | --- |
| ``__main__.py`` | runs the rows, prints the table, writes RESULTS.md |
| ``rows.py`` | the list of rows |
| ``harness.py`` | one row being run: its trials, its counts |
| ``child.py`` | a process to do harm to, and the memory it shares with us, which outlives it |
| ``workload.py`` | what children record, and the comparison with what is read |
| ``strace.py``, ``disks.py`` | faults in system calls; small, read-only and power-cut disks |
| the others | one kind of fault each: what the child does beside what is done to it |
"""
