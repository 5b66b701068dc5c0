"""Claims of the README and the results: how each is measured, and where its figure stands."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pareto_rec.runs.confirmation import JSON, read_content
from pareto_rec.runs.lines import RECORDS

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS, RESULTS = ROOT / "experiments", ROOT / "results"
EVIDENCE = Path("results") / "evidence"  # relative to ROOT, as the table shows commands
SEEDS = (0, 1, 2)
NOT_CLAIMED = frozenset({"coupon_ctr_cvr", "four_systems"})  # their READMEs say why
FLAWED: Mapping[str, str] = {}  # when test data was opened -> why that confirmation is no evidence
PROGRAM = ("-m", "pareto_rec")


@dataclass(frozen=True)
class Step:
    """One claim.

    Attributes:
        name: Of its folder.
        claim: What is claimed, in a sentence.
        commands: Given the folder, the arguments of Python that measure it; those that need not
            run any more are left out.
        figure: Given the folder, what was found, in a line.
        env: More variables of the environment.
    """

    name: str
    claim: str
    commands: Callable[[Path], list[list[str]]]
    figure: Callable[[Path], str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A row of results/evidence.md.

    Attributes:
        line: As it stands there.
        command: What measured it.
        figure: What was found.
        commit: What it was found with, twelve hexadecimal digits.
    """

    line: str
    command: str
    figure: str
    commit: str


_ROW = re.compile(
    r"\| (?P<claim>.+?) \| (?P<command>`.+`) \| (?P<figure>.+) \((?P<commit>[0-9a-f]{12})\) \|"
)


def evidence_rows(text: str) -> dict[str, Row]:
    """Return the rows of results/evidence.md by their claims; what is no measured row is left out.

    Args:
        text: The content of the file.
    """
    found = (_ROW.fullmatch(line) for line in text.splitlines())
    return {
        row["claim"]: Row(row[0], row["command"], row["figure"], row["commit"])
        for row in found
        if row is not None
    }


def load_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file."""
    return tomllib.loads(path.read_text())


def read(path: Path) -> dict[str, Any]:
    """Return a JSON file; empty where there is none."""
    return dict(json.loads((ROOT / path).read_text())) if (ROOT / path).is_file() else {}


def search(config: str, run: Path, *more: str) -> list[list[str]]:
    """Return a search, begun, resumed, or nothing where it has finished."""
    status = read(run / "run.json").get("status")
    if status == "finished" and "--controls" not in more:
        return []
    if status is not None:
        return [[*PROGRAM, "search", str(run), "--resume", *[m for m in more if m == "--controls"]]]
    script = f"{config}/prepare.py"  # writes the table that the search reads
    first = [[script]] if (ROOT / script).is_file() else []
    return [*first, [*PROGRAM, "search", config, "--out", str(run), *more]]


def front_figure(folder: Path) -> str:
    """Return what a search found on validation data, and what it cost."""
    info = read(folder / "run" / "run.json")
    volume, counts = info["hypervolume"], info["counts"]
    all_baselines = volume["all_baselines"]
    ratio = f", ratio {volume['front'] / all_baselines:.2f}" if all_baselines else ""
    first = info["objectives"][0]
    lines = (ROOT / folder / "run" / "front.csv").read_text().splitlines()
    column = lines[0].split(",").index(first["name"])
    values = [float(line.split(",")[column]) for line in lines[1:]]
    best = (max if first["maximise"] else min)(values)
    seconds, memory = info["seconds"]["total"], info["memory_mib"]["sum"] / 1024
    settings = settings_searched(folder / "run")
    searched = f" ({settings:,} of them settings of the serving search)" if settings else ""
    return (
        f"hypervolume x 1000: front {1000 * volume['front']:.4g}, all baselines "
        f"{1000 * all_baselines:.4g}{ratio}; best {first['name']} {best:.4f}; "
        f"{counts['fits']} fits, {counts['records']:,} records{searched}, "
        f"{counts['failed']} failed, {seconds:.0f} s, {memory:.1f} GiB"
    )


def settings_searched(run: Path) -> int:
    """Return how many records of a run are settings of its serving search."""
    from pareto_rec.execution.fit_worth import SERVING

    lines = (ROOT / run / RECORDS).read_text().splitlines()
    return sum(json.loads(line)["origin"] == SERVING for line in lines)


def confirm(run: Path) -> list[list[str]]:
    """Return a confirmation with three seeds; never a second one."""
    done = (read_content(ROOT / run / JSON) or {}).get("status") == "finished"
    return [] if done else [[*PROGRAM, "confirm", str(run), "--seeds", "3"]]


def confirm_figure(run: Path) -> str:
    """Return the answer as it stands, every opening of test data included."""
    content = read_content(ROOT / run / JSON) or {}
    opened = ", ".join(opening["at"] for opening in content["opened"])
    flaw = flaw_of(content)
    text = " ".join([*([f"{flaw}."] if flaw else []), *content["answer"]["says"]])
    return (
        f"{text} {fronts_figure(content)} Took {content['seconds']['total']:.0f} s. "
        f"Test data opened: {opened}."
    )


def flaw_of(content: Mapping[str, Any]) -> str:
    """Return why a confirmation is no evidence; empty where it is.

    Args:
        content: Of confirm.json.
    """
    return FLAWED.get((content.get("opening") or {}).get("at", ""), "")


def fronts_figure(content: Mapping[str, Any]) -> str:
    """Return the hypervolume of every confirmed front on test data, and the search's divided by it.

    Args:
        content: Of confirm.json.
    """
    parts = []
    for front in content["fronts"]:
        text = f"{front['name']} {_interval(front['hypervolume']['test'], 1000, 3)}"
        ratio = (front["ratio"] or {}).get("test")
        parts.append(f"{text}, search / it {_interval(ratio, 1, 2)}" if ratio else text)
    return f"Hypervolume x 1000 on test data, by front: {'; '.join(parts)}."


def _interval(value: Mapping[str, Any], scale: float, digits: int) -> str:
    middle, low, high = (
        "none" if value[key] is None else f"{scale * value[key]:.{digits}f}"
        for key in ("value", "low", "high")
    )
    return middle if "none" in (low, high) else f"{middle} ({low} to {high})"


def controls(config: str, folder: Path) -> list[list[str]]:
    """Return the search and all its controls with three seeds, then their comparison."""
    from pareto_rec.execution.ablations.kinds import applicable
    from pareto_rec.experiment.config import load_config

    commands = []
    for seed in SEEDS:
        run = folder / f"seed{seed}"
        done = len(read(run / "controls.json").get("controls", []))
        if done < len(applicable(load_config(ROOT / config))):
            commands += search(config, run, "--controls", "--set", f"seed={seed}")
    runs = [str(folder / f"seed{seed}") for seed in SEEDS]
    return [*commands, [*PROGRAM, "compare", *runs, "--out", str(folder / "compared")]]


def controls_figure(folder: Path) -> str:
    """Return how much larger the search's hypervolume is than each control's, over the seeds."""
    from scipy import stats

    from pareto_rec.analysis.bootstrap import holm

    own: list[float] = []
    volumes: dict[str, list[float]] = {}
    for seed in SEEDS:
        content = read(folder / f"seed{seed}" / "controls.json")
        own.append(content["search"]["hypervolume"])
        for row in content["controls"]:
            volumes.setdefault(row["name"], []).append(row["hypervolume"])
    tests = [
        float(stats.ttest_ind(own, values, equal_var=False).pvalue) for values in volumes.values()
    ]
    parts = [
        f"{name} x{sum(own) / sum(values):.2f} (p = {p:.2g})"
        for (name, values), p in zip(volumes.items(), holm(tests), strict=True)
    ]
    mean = 1000 * sum(own) / len(own)
    return (
        f"hypervolume x 1000 over {len(own)} seeds: {mean:.3f}; search / control: "
        f"{', '.join(parts)} (Welch over seeds, corrected by Holm)"
    )


def last_line(folder: Path) -> str:
    """Return the last line that the step's commands printed."""
    lines = [line for line in (ROOT / folder / "log.txt").read_text().splitlines() if line.strip()]
    return lines[-1].strip("= ")


def lines_of(folder: Path, mark: str) -> str:
    """Return the lines that the step's commands printed after a mark at their beginning."""
    lines = (ROOT / folder / "log.txt").read_text().splitlines()
    texts = [line.partition(mark)[2].strip() for line in lines if line.startswith(mark)]
    if not texts:
        raise ValueError(f"no line begins with {mark}")
    return "; ".join(texts)


def steps() -> Iterator[Step]:
    """Yield everything that is claimed, in the order in which it is run."""
    for path in sorted(EXPERIMENTS.glob("*/config.toml")):
        name, config = path.parent.name, f"experiments/{path.parent.name}"
        if name in NOT_CLAIMED:
            continue
        run = EVIDENCE / f"search-{name}" / "run"
        yield Step(
            f"search-{name}",
            f"{name}: the search's front is larger than that of all swept baselines (validation).",
            lambda folder, config=config: search(config, folder / "run"),  # type: ignore[misc]
            front_figure,
        )
        yield Step(
            f"confirm-{name}",
            f"{name}: what is left of the front with fresh seeds on test data.",
            lambda _, run=run: confirm(run),  # type: ignore[misc]
            lambda _, run=run: confirm_figure(run),  # type: ignore[misc]
        )
        yield Step(
            f"controls-{name}",
            f"{name}: what each part of the search buys, three seeds each.",
            lambda folder, config=config: controls(config, folder),  # type: ignore[misc]
            controls_figure,
        )
    yield from _in_full()
    yield Step(
        "bench",
        "What a fit, a step, a list and a start cost.",
        lambda _: [["-m", "benchmarks", "--full"]],
        last_line,
    )


MAIN = "movielens_accuracy_diversity_fairness"
UNSEEN = (2, 3, 4)  # how fits are stopped early was chosen on seeds 0 and 1


def halved(folder: Path) -> list[list[str]]:
    """Return the main search in full, and stopping fits early with as many lists; three seeds each.

    Both without a surrogate, as the claim has it.
    """
    sweep = load_toml(EXPERIMENTS / MAIN / "config.toml")["search"]["sweep"]
    plain = ("search.surrogate=none", "search.offspring=16", "fixed.steps=160")
    complete = _set(*plain, "search.generations=16")
    stopped = _set(
        *plain, "search.generations=14", "search.fidelity={}", f"search.sweep={2 * sweep}"
    )
    return [
        command
        for seed in UNSEEN
        for name, more in (("full", complete), ("early", stopped))
        for command in search(
            f"experiments/{MAIN}", folder / f"{name}{seed}", "--set", f"seed={seed}", *more
        )
    ]


def _set(*values: str) -> list[str]:
    """Return options that override a config."""
    return [part for value in values for part in ("--set", value)]


def halved_figure(folder: Path) -> str:
    """Return hypervolume, steps and seconds with early stopping as shares of those without."""
    from statistics import median

    ratios = []
    for seed in UNSEEN:
        full, early = (read(folder / f"{name}{seed}" / "run.json") for name in ("full", "early"))
        parts = (("hypervolume", "front"), ("counts", "steps"), ("seconds", "total"))
        ratios.append([early[part][name] / full[part][name] for part, name in parts])
    middle = [median(values) for values in zip(*ratios, strict=True)]
    shown = "; ".join(
        f"{label}: hypervolume {volume:.4f}, steps {steps:.4f}, seconds {seconds:.2f}"
        for label, (volume, steps, seconds) in (
            *((f"seed {seed}", row) for seed, row in zip(UNSEEN, ratios, strict=True)),
            ("median", middle),
        )
    )
    is_kept = middle[0] >= 0.98 and middle[1] <= 0.6
    return f"{'held' if is_kept else 'NOT held'} (early / full): {shown}"


def _in_full() -> Iterator[Step]:
    """Yield tests that CI runs scaled down."""

    def tests(path: str) -> Callable[[Path], list[list[str]]]:
        return lambda _: [["-m", "pytest", path]]

    yield Step(
        "early",
        f"{MAIN}, no surrogate: stopping fits early, with sweeps twice as wide for the others, "
        "keeps 98 % of the hypervolume for 60 % of the training steps.",
        halved,
        halved_figure,
    )
    yield Step(
        "kills",
        "A search killed at 20 random moments ends with the records of one that was not.",
        tests("tests/faults/test_killed_search.py"),
        last_line,
        {"PARETO_REC_KILLS": "20"},
    )
    yield Step(
        "esmm",
        "ESMM estimates conversion on the entire space better than models of clicked rows alone.",
        lambda _: [["-m", "pytest", "-s", "tests/unit/training/test_entire_space.py"]],
        lambda folder: lines_of(folder, "ESMM:"),
        {"PARETO_REC_ESMM_SEEDS": "10"},
    )
    yield Step(
        "schema",
        "The service keeps to its schema under 2,000 generated requests.",
        tests("tests/flow/test_serve_command.py"),
        last_line,
        {"PARETO_REC_SCHEMA_CASES": "2000"},
    )
    yield Step(
        "intervals",
        "95 % intervals hold the truth in 90 to 98 % of 500 synthetic fronts, of per-user, group "
        "and set objectives and of hypervolumes.",
        lambda folder: [["-m", "benchmarks.intervals", "--fronts", "500", "--out", str(folder)]],
        intervals_figure,
    )
    yield Step(
        "decisive",
        "What multi-objective training buys beside a search of serving settings: seven arms with "
        "the same processor seconds.",
        lambda folder: [["-m", "benchmarks.decisive", "--out", str(folder)]],
        last_line,
    )


def intervals_figure(folder: Path) -> str:
    """Return how often the intervals of each kind held the truth, in every world."""
    worlds = read(folder / "intervals.json")["worlds"]
    held = [row["held"] for rows in worlds.values() for row in rows]
    kept = sum(0.90 <= share <= 0.98 for share in held)
    shown = "; ".join(
        f"{world}: " + ", ".join(f"{row['kind']} {row['held']:.1%}" for row in rows)
        for world, rows in worlds.items()
    )
    return f"{kept} of {len(held)} kinds within 90 to 98 %: {shown}"
