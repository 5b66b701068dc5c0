"""``python -m pareto_rec``: the commands."""

from pareto_rec.cli.main import main

if __name__ == "__main__":
    main()
