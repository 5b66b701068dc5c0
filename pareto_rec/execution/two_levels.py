"""The two levels of a search: generations of fits, and settings of all of them.

Without a serving search there is only the first level; with one, the second follows the last
generation and, where the config says so, stands between generations, too. Generations of fits and
rounds of settings are numbered as they come, and a record's generation is that number.

What a search decides by its budget shows in its records: whether settings or fits have the next
number. A search that is resumed takes that from its store as long as it has records, and decides
for itself after them, by the stamps of the records and no other clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pareto_rec.execution.fit_worth import SERVING
from pareto_rec.execution.serving_stage import ServingStage
from pareto_rec.execution.trial_runner import TrialRunner
from pareto_rec.experiment.config import SearchConfig
from pareto_rec.search import Progress, Result, Searcher, Trial, run_search
from pareto_rec.search.allotment import KEPT, Gain, part, whole_rounds


@dataclass(frozen=True)
class Listeners:
    """Who hears of what happens.

    Attributes:
        on_generation: Called after each generation of fits and each round of settings.
        on_stage: Called with what is done next, in a few words.
    """

    on_generation: Callable[[Progress], None]
    on_stage: Callable[[str], None]


class TwoLevels:
    """One search on both levels."""

    def __init__(
        self,
        searcher: Searcher,
        stage: ServingStage,
        answers: TrialRunner,
        config: SearchConfig,
        listeners: Listeners,
    ) -> None:
        """Set up the search.

        Args:
            searcher: Proposes fits; nothing was told to it.
            stage: Searches settings.
            answers: Evaluates the fits.
            config: Says how often, and how much; it has a serving search.
            listeners: Who hears of it.
        """
        assert config.serving is not None
        self._config, self._serving = config, config.serving
        self._searcher, self._stage, self._answers = searcher, stage, answers
        self._listeners = listeners
        self._next = 0  # number of the next generation or round
        self._fits_from = 0  # first generation since settings were searched
        self._spent = 0.0
        self._gain: Gain | None = None
        self.between: list[dict[str, Any]] = []  # what is said of the searches between generations

    def run(self) -> None:
        """Search on both levels, to the end of the budget."""
        run_search(
            self._searcher,
            self._evaluate,
            self._config.generations,
            on_generation=self._after_generation,
        )
        self._listeners.on_stage("training replicas")
        if trials := self._stage.replicas(self._next):
            self._stage.evaluate(trials)
            self._end_round()
        self._listeners.on_stage("searching serving settings")
        self._search(self._budget - self._spent, last=True)

    @property
    def _budget(self) -> float:
        """Settings, or seconds."""
        return self._serving.budget

    @property
    def _counts(self) -> bool:
        """Whether the budget is a number of settings."""
        return self._serving.seconds is None

    def _evaluate(self, trials: Sequence[Trial]) -> Iterable[tuple[str, Result]]:
        return self._answers([replace(trial, generation=self._next) for trial in trials])

    def _after_generation(self, progress: Progress) -> None:
        every, done = self._serving.every, progress.generation + 1
        if not every:
            self._listeners.on_generation(progress)
            self._next += 1
            return
        self._end_round()
        if done % every == 0 and done < self._config.generations:
            self._listeners.on_stage("searching serving settings")
            self._search_between((self._config.generations - 1 - done) // every + 1)
            self._listeners.on_stage("searching")

    def _search_between(self, searches: int) -> None:
        """Search settings of what there is, and teach the other level what the fits are worth.

        Args:
            searches: How many are to come between generations, this one included.
        """
        begin, middle = self._fits_from, self._next
        self._search(self._part(searches), last=False)
        end = self._fits_from = self._next
        fits, settings = self._stage.history.gained(begin, middle, end)
        fit_cost, setting_cost = self._cost(begin, middle, of_fits=True), self._cost(middle, end)
        self._gain = Gain(fits, settings, fit_cost, setting_cost)
        self._searcher.teach(self._stage.history.worth_of_training(end))
        self.between.append(
            {
                "generation": middle,
                "settings": self._stage.history.counted(middle, end),
                "gain": asdict(self._gain),
            }
        )

    def _part(self, searches: int) -> float:
        left = (1.0 - KEPT) * self._budget - self._spent
        amount = part(left, searches, self._gain)
        return whole_rounds(amount, left, self._serving.population) if self._counts else amount

    def _cost(self, begin: int, end: int, *, of_fits: bool = False) -> float:
        """Return what some generations cost, in shares of what is planned, or seconds."""
        if not self._counts:
            return self._stage.history.seconds(begin, end)
        if of_fits:
            return self._stage.history.trained(begin, end) / self._config.fits
        return self._stage.history.counted(begin, end) / self._budget

    def _search(self, amount: float, *, last: bool) -> None:
        """Search settings for an amount of settings or seconds.

        Args:
            amount: What may be spent.
            last: No generation follows.
        """
        begin, spent = self._next, 0.0
        if not self._goes_on(spent, amount, last=last):
            return
        space = self._stage.space(begin)
        if not space.slots:  # no fit is feasible, and no baseline may be fused
            return
        searcher = self._stage.searcher(space, begin)
        while self._goes_on(spent, amount, last=last):
            most = self._serving.population
            if last and self._counts:
                most = int(amount - spent)
            if not self._stage.round(searcher, self._next, most):
                break
            self._end_round()
            measure = self._stage.history.counted if self._counts else self._stage.history.seconds
            spent = float(measure(begin, self._next))
        self._spent += spent

    def _goes_on(self, spent: float, amount: float, *, last: bool) -> bool:
        """Decide on one more round, or find in the store what was decided."""
        stored = self._answers.stored_origin(self._next)
        if stored is None or (last and self._counts):
            return spent < amount
        return stored == SERVING

    def _end_round(self) -> None:
        """Tell where the search stands, and count on."""
        self._listeners.on_generation(self._stage.progress(self._next))
        self._next += 1
