"""Runs this experiment: ``python run.py [--smoke] [any option of pareto-rec search]``.

``python run.py --arms [SECONDS]`` compares ways of using the backbone at equal seconds of training
instead, on the usual split and with items held out altogether, and writes arms.json.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from pareto_rec.cli.main import main

HERE = Path(__file__).parent
SPLITS = ("per_user", "cold_items")
ARMS = {
    "item embeddings alone": {"item_inputs": "embedding"},
    "frozen, 6 layers": {},
    "frozen, exit after 4": {"exit_layer": 4},
    "frozen, exit after 2": {"exit_layer": 2},
    "LoRA, 1 layer": {"tuned_layers": 1},
    "LoRA, 2 layers": {"tuned_layers": 2},
    "full, 1 layer": {"tuned_layers": 1, "tuning": "full"},
    "full, 2 layers": {"tuned_layers": 2, "tuning": "full"},
    "frozen, text alone": {"item_inputs": "text"},
    "LoRA, 1 layer, text alone": {"tuned_layers": 1, "item_inputs": "text"},
}
NAMES = ("ndcg@10", "cold_ndcg@10", "mean(ndcg@10 by history_length=short)")


def arms(seconds: float) -> None:
    """For every arm, fits of drawn rates until its seconds are spent; the best by validation."""
    from pareto_rec.core.threads import one_thread
    from pareto_rec.experiment.config import load_config
    from pareto_rec.experiment.experiment import Experiment

    rows = []
    for split in SPLITS:
        experiment = Experiment.of(load_config(HERE, [f"split.kind={split}"]))
        evaluator = experiment.evaluator()
        with one_thread():
            for name, values in ARMS.items():
                fixed = dict(experiment.config.fixed)
                rows.append(run_arm(evaluator, fixed, split, name, values, seconds))
                print(json.dumps(rows[-1]), flush=True)
    target = Path("results") / "movielens_backbone_depth" / "arms.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"seconds": seconds, "arms": rows}, indent=1) + "\n")
    print(target)


def run_arm(evaluator, fixed, split, name, values, seconds):
    """Return the best fit of an arm within its seconds of processor time, and what it is worth."""
    from pareto_rec.core.seeds import generator
    from pareto_rec.ranking import NETWORK, ServingParams
    from pareto_rec.training.fitting import train_pack
    from pareto_rec.training.spec import train_spec

    rng = generator(0, "arms", name)
    full = values.get("tuning") == "full"
    low, high = (0.00005, 0.0005) if full else (0.0003, 0.003)
    found, began = [], time.process_time()
    while not found or time.process_time() - began < seconds:
        drawn = {
            "learning_rate": float(np.exp(rng.uniform(np.log(0.008), np.log(0.03)))),
            "encoder_rate": float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        }
        spec = train_spec({}, {**fixed, **values, **drawn})
        start = time.process_time()
        one = train_pack([spec], [len(found)], evaluator.data, evaluator.monitor(), pack_size=1)[0]
        found.append((one, time.process_time() - start))
    best = max(found, key=lambda pair: max(value for _, value in pair[0].curve))[0]
    scorers, setting = evaluator.with_fit(best), ServingParams({NETWORK: 1.0})
    row = {"split": split, "arm": name, "fits": len(found)}
    row["seconds_per_fit"] = round(float(np.mean([spent for _, spent in found])), 2)
    measured = evaluator.measuring.values(scorers, [setting], {NETWORK: best})[0].objectives
    return row | {name: round(measured[name], 4) for name in NAMES if name in measured}


if __name__ == "__main__":
    if "--arms" in sys.argv:
        given = sys.argv[sys.argv.index("--arms") + 1 :]
        arms(float(given[0]) if given else 60.0)
    else:
        main(["search", str(HERE), *sys.argv[1:]])
