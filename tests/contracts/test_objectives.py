"""What every registered objective promises; new families are found by themselves."""

from __future__ import annotations

import pytest

from pareto_rec.core.errors import BadRequestError
from pareto_rec.objectives import FAMILIES, GROUPS, parse
from pareto_rec.testing import ObjectiveContract
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
