"""``python -m frameworm.experiment.cli``."""

from frameworm.experiment.cli.commands import main

if __name__ == "__main__":
    main()
