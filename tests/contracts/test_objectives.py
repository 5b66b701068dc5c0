"""What every registered objective promises; new families are found by themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pareto_rec.analysis import front_draws
from pareto_rec.analysis.compare.over_users import values_of_set
from pareto_rec.core.errors import BadRequestError
from pareto_rec.evaluation.measurement import by_user
from pareto_rec.execution.per_user import set_values
from pareto_rec.objectives import FAMILIES, GROUPS, SetObjective, parse
from pareto_rec.runs.set_values import FILE, read_set_values, table_of
from pareto_rec.search import Goal
from pareto_rec.testing import ObjectiveContract
from pareto_rec.testing.outcomes import world
from pareto_rec.testing.unknown_items import twin_world


class TestObjectives(ObjectiveContract):
    subjects = tuple(FAMILIES.values())
    also = (
        *(f"{group}({name} by item.brand)" for group in GROUPS for name in ("ndcg@10", "auc")),
        "worst(price_ndcg@10 by item.brand)",
        "mean(revenue@10 by item.brand=own)",
    )


@pytest.mark.parametrize("kind", [*FAMILIES.values(), *GROUPS.values()], ids=lambda c: c.family)
def test_it_is_documented(kind: type) -> None:
    doc = kind.__doc__ or ""
    summary = doc.splitlines()[0]
    assert summary.endswith(".")
    for section in ("Misleads:", "Source:"):
        assert len(doc.partition(section)[2].split("\n\n")[0].split()) >= 4, section


@pytest.mark.parametrize(("registry"), [FAMILIES, GROUPS])
def test_the_registry_key_is_the_family(registry: dict[str, type]) -> None:
    assert all(kind.family == family for family, kind in registry.items())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ndgc@10", r'unknown objective "ndgc@10" \(did you mean "ndcg@10"\?\); known: .*ild@10'),
        ("worst_ndcg@20", r"known: .*worst\(ndcg@20 by ATTRIBUTE\)"),
        ("ndcg", 'lacks the list length: write "ndcg@10"'),
        ("train_seconds@10", 'takes no list length: write "train_seconds"'),
        ("ild@10[liked]", r'takes no \[signal\]: write "ild@10"'),
        ("ndcg@0", "cannot be read: write for example"),
        ("ndcg@10[", "cannot be read"),
        ("ndcg@10[]", "cannot be read"),
        ("", "cannot be read"),
        ("wurst(ndcg@10 by gender)", r'"wurst" \(did you mean "worst"\?\)'),
        ("worst(coverage@10 by gender)", '"coverage@10" is one number for all lists'),
        ("worst(worst(ndcg@10 by age) by gender)", "is one number for all lists"),
        ("worst(ndcg@10)", "cannot be read"),
        ("worst(ndcg by gender)", "lacks the list length"),
        ("auc@10", 'takes no list length: write "auc"'),
        ("gap(rmse[liked] by gender)", r'"rmse\[liked\]" is one number for all lists'),
    ],
)
def test_a_wrong_name_gets_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(BadRequestError, match=message) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_what_reads_nothing_counts_nothing() -> None:
    assert parse("ndcg@10").described(twin_world(2, apart=False)) is None
    assert any(kind(10).reads for kind in FAMILIES.values())


@pytest.mark.parametrize("kind", [*FAMILIES.values(), *GROUPS.values()], ids=lambda c: c.family)
def test_it_says_what_missing_values_do(kind: type) -> None:
    doc = kind.__doc__ or ""
    assert "issing" in doc.partition("Misleads:")[2].split("\n\n")[0]


def over_users() -> list[str]:
    """Names of all set objectives whose value depends on users."""
    names = [
        f"{family}{'@5' if kind.takes_k else ''}{'[watched]' if kind.takes_signal else ''}"
        for family, kind in FAMILIES.items()
        if issubclass(kind, SetObjective) and kind.of_users
    ]
    attributes = ("gender", "item.brand")
    return names + [f"{group}(ndcg@5 by {one})" for group in GROUPS for one in attributes]


@pytest.mark.parametrize("name", over_users())
def test_runs_keep_what_users_are_resampled_from(name: str, tmp_path: Path) -> None:
    """What a run keeps of it gives its value, and spreads over the users that are drawn."""
    outcome, objective = world(3), parse(name)
    measured = by_user(objective, outcome)
    assert not isinstance(measured, float), "write SetObjective.influence"
    people = outcome.catalogue.users.ids
    (tmp_path / FILE).parent.mkdir()
    (tmp_path / FILE).write_bytes(table_of(set_values([("a", {name: measured})], people)))
    found = read_set_values(tmp_path, {})
    assert found is not None
    kept = values_of_set(found[name], {user: place for place, user in enumerate(people)})
    stage = front_draws.figures(
        {(0, 0): {name: kept["a"]}},
        1,
        1,
        names=[name],
        objectives={name: objective},
        goals=[Goal(name, objective.maximise, objective.reference)],
        draws=50,
        seed=0,
    )
    assert stage.means[0, 0] == pytest.approx(objective.value(outcome))
    assert stage.resampled == "users"
    assert stage.draws.std() > 0
