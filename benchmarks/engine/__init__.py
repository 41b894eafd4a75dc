"""What only frameworm is asked: its sizes sealed, its catalog when it is large, its calls when all else is busy.

Each module has ``measure``, which ``drive.py`` runs as it runs the workloads of all peers.
"""
