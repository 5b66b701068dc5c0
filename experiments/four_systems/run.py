"""Runs this experiment: ``python run.py [--smoke] [any option of pareto-rec search]``."""

import sys
from pathlib import Path

from prepare import prepare

from pareto_rec.cli.main import main
from pareto_rec.core.errors import BadRequestError

if __name__ == "__main__":
    if not {"-h", "--help"} & set(sys.argv[1:]):
        try:
            prepare()
        except BadRequestError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(2)
    main(["search", str(Path(__file__).parent), *sys.argv[1:]])
