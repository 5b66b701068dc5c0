"""Test data: sealed until an opening of it is written down, in the run directory and elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from pareto_rec.core.errors import BadRequestError
from pareto_rec.data.schema import Split, Stage
from pareto_rec.runs.confirmation import CSV, JSON
from pareto_rec.runs.openings import ledgers, read_openings


@dataclass(frozen=True)
class OpeningLedger:
    """Where openings of test data are written down, before they happen.

    Attributes:
        run: The run directory.
    """

    run: Path

    @property
    def opened(self) -> bool:
        """Whether ``confirm`` has looked at the test data, or begun to; either file says so."""
        return any((self.run / name).is_file() for name in (JSON, CSV))

    def check(self) -> None:
        """Refuse to go on where no opening was written down.

        Raises:
            BadRequestError: If test data is still sealed.
        """
        if not self.opened:
            raise BadRequestError(
                f"test data of {self.run} is sealed: pareto-rec confirm opens it, and writes that "
                "down first"
            )

    def check_rows(self, test: str) -> None:
        """Refuse rows of which the ledger of test data has no opening by this run.

        Args:
            test: SHA-256 of the held-out rows (`pareto_rec.data.identity.RowsIdentity`).

        Raises:
            BadRequestError: If there is none, or a ledger is damaged.
        """
        label = run_label(self.run)
        paths = ledgers()
        if not any(one.test == test and one.run == label for one in read_openings(paths)):
            raise BadRequestError(
                f"{paths[0]} has no opening of this test data by {label}, so it stays sealed: "
                "pareto-rec confirm opens it, and writes that down first"
            )


def run_label(run: Path) -> str:
    """Return what the ledger of test data calls a run: the last two folders of its path."""
    return "/".join(run.resolve().parts[-2:])


@dataclass(frozen=True)
class SealedSplit:
    """A split without its test stage, which is not even in memory.

    Attributes:
        validation: What the search sees.
        test_hash: Content hash of the test stage.
        late_train_share: As of `pareto_rec.data.schema.Split`.
        account: As of `pareto_rec.data.schema.Split`.
    """

    validation: Stage
    test_hash: str
    late_train_share: float | None
    account: Mapping[str, object] | None

    @classmethod
    def of(cls, split: Split) -> SealedSplit:
        """The split with its test stage sealed."""
        test = split.test.content_hash
        return cls(split.validation, test, split.late_train_share, split.account)

    @property
    def test(self) -> NoReturn:
        """Sealed.

        Raises:
            BadRequestError: Always.
        """
        raise BadRequestError("test data is sealed: Experiment.open_test(ledger) opens it")
