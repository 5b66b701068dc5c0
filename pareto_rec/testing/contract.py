"""What all contract suites share: each test runs once for every subject."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from pareto_rec.core.threads import one_thread

Test = TypeVar("Test", bound=Callable[..., None])


def examples(count: int) -> settings:
    """How a property is tried out; a suite's tests run in the classes of all its users.

    Args:
        count: Examples of each property; fewer where Hypothesis's profile says so.
    """
    return settings(
        max_examples=min(count, settings().max_examples),
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],
    )


def only(condition: Callable[[Any], bool]) -> Callable[[Test], Test]:
    """Run a test only for the cases that meet a condition."""

    def mark(test: Test) -> Test:
        test.only_for = condition  # type: ignore[attr-defined]  # read by `Contract`
        return test

    return mark


class Contract:
    """A suite of tests for each of some subjects; subclasses are collected by pytest.

    Attributes:
        subjects: What is held against the contract.
        argument: The argument of tests that stands for a subject or a case of it.
    """

    subjects: ClassVar[Sequence[Any]] = ()
    argument: ClassVar[str]

    def cases(self) -> list[Any]:
        """What tests are given: the subjects, or what is made of them."""
        return list(self.subjects)

    def label(self, case: Any) -> str:
        """How a case is shown."""
        return str(getattr(case, "name", case))

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Pytest's hook: one test for every case that the test is for.

        Raises:
            TypeError: If there is nothing to test.
        """
        if self.argument not in metafunc.fixturenames:
            return
        if not self.subjects:
            raise TypeError(f"{type(self).__name__}.subjects is empty: name what is to be tested")
        condition = getattr(metafunc.function, "only_for", lambda _: True)
        cases = [case for case in self.cases() if _meets(condition, case)]
        metafunc.parametrize(self.argument, cases, ids=[self.label(case) for case in cases])


class OneThreadContract(Contract):
    """A suite whose tests run on one thread, as training does: the same numbers on any machine."""

    _one_thread: ClassVar[ExitStack]

    @classmethod
    def setup_class(cls) -> None:
        """One thread from here on."""
        cls._one_thread = ExitStack()
        cls._one_thread.enter_context(one_thread())

    @classmethod
    def teardown_class(cls) -> None:
        """As many threads as before."""
        cls._one_thread.close()


def _meets(condition: Callable[[Any], bool], case: Any) -> bool:
    """Whether a test is for a case; so is one that cannot be looked at: the test shows why."""
    try:
        return condition(case)
    except Exception:
        return True
