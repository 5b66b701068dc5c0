"""Runs this experiment: ``python run.py [--smoke] [any option of pareto-rec search]``."""

import sys
from pathlib import Path

from pareto_rec.cli.main import main

if __name__ == "__main__":
    main(["search", str(Path(__file__).parent), *sys.argv[1:]])
