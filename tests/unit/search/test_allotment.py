"""Split of a budget by what was gained."""

from __future__ import annotations

import pytest

from pareto_rec.search.allotment import Gain, part, whole_rounds


@pytest.mark.parametrize(
    ("gain", "tilt"),
    [
        (Gain(fits=1.0, settings=1.0, fit_cost=0.5, setting_cost=0.5), 1.0),
        (Gain(fits=1.0, settings=1.5, fit_cost=0.5, setting_cost=0.5), 1.5),
        (Gain(fits=1.0, settings=1.0, fit_cost=0.6, setting_cost=0.4), 1.5),
        (Gain(fits=1.0, settings=9.0, fit_cost=0.5, setting_cost=0.5), 2.0),
        (Gain(fits=9.0, settings=1.0, fit_cost=0.5, setting_cost=0.5), 0.5),
        (Gain(fits=1.0, settings=0.0, fit_cost=0.5, setting_cost=0.5), 0.5),
        (Gain(fits=0.0, settings=1.0, fit_cost=0.5, setting_cost=0.5), 2.0),
        (Gain(fits=0.0, settings=0.0, fit_cost=0.5, setting_cost=0.5), 1.0),
        (Gain(fits=1.0, settings=1.0, fit_cost=0.5, setting_cost=0.0), 2.0),
        (Gain(fits=0.0, settings=0.0, fit_cost=0.0, setting_cost=0.0), 1.0),
    ],
)
def test_more_goes_where_more_was_gained_for_its_cost(gain: Gain, tilt: float) -> None:
    assert gain.tilt == pytest.approx(tilt)
    assert part(300.0, 3, gain) == pytest.approx(100.0 * tilt)


def test_parts_are_even_at_first_and_never_more_than_is_left() -> None:
    assert part(300.0, 3, None) == 100.0
    doubled = Gain(fits=0.0, settings=1.0, fit_cost=0.5, setting_cost=0.5)
    assert part(300.0, 1, doubled) == 300.0
    assert part(-5.0, 2, doubled) == 0.0


@pytest.mark.parametrize(
    ("amount", "left", "settings"),
    [
        (100.0, 1000.0, 100),
        (129.0, 1000.0, 120),
        (3.0, 1000.0, 20),
        (90.0, 70.0, 60),
        (9.0, 9.0, 0),
    ],
)
def test_settings_come_in_whole_rounds(amount: float, left: float, settings: int) -> None:
    assert whole_rounds(amount, left, 20) == settings
