"""Domain adaptation from a config to a backbone on disk."""

from __future__ import annotations

from pathlib import Path

from pareto_rec.backbone.cached import Backbone
from pareto_rec.core.errors import RunFailedError
from pareto_rec.data.schema import Stage
from pareto_rec.training.adapt.recipe import Recipe
from pareto_rec.training.adapt.store import adapted_folder, is_whole, keep


def adapted(
    backbone: Backbone,
    stage: Stage,
    recipe: Recipe,
    cache: Path,
    *,
    device: str = "auto",
    on_progress: object = None,
) -> tuple[Path, bool]:
    """Adapt a backbone to a stage's texts and training rows, unless that was done before.

    Args:
        backbone: Where to start; not altered.
        stage: The validation stage; its held-out rows are not looked at.
        recipe: How.
        cache: Root of the cache.
        device: ``"auto"`` or a name that torch knows.
        on_progress: Called after every step (`pareto_rec.training.adapt.training.OnProgress`).

    Returns:
        The folder of the adapted backbone, in transformers' layout; whether it was there already.

    Raises:
        BadRequestError: If pairs are asked for and no user has two rows, or nothing can be written.
        RunFailedError: If the losses are not finite.
    """
    folder = adapted_folder(backbone, stage, recipe, cache)
    if is_whole(folder):
        return folder, True
    import numpy as np

    from pareto_rec.backbone.views import device_of
    from pareto_rec.training.adapt.examples import Pairs
    from pareto_rec.training.adapt.training import adapt

    pairs = Pairs.of(stage.train, len(stage.items)) if recipe.pairs else None
    result = adapt(backbone, stage.items.texts, pairs, recipe, device_of(device), on_progress)  # type: ignore[arg-type] # as documented
    wanted = [
        bool(recipe.texts and backbone.tokenizer.mask_token_id is not None),
        pairs is not None,
    ]
    if not np.isfinite(result.curve[:, wanted]).all():
        raise RunFailedError("the losses are not finite; lower adapt.rate")
    keep(result, backbone, recipe, folder)
    return folder, False
