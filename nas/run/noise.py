"""What means nothing of a run's metric: as its settings say, or found once by pairs of networks."""

import json
import logging
from contextlib import suppress

from nas.events.files import write_atomically
from nas.objectives.noise import paired_noise
from nas.objectives.supernet_evaluator import SupernetEvaluator
from nas.run.folder import RunFolder
from search_spaces.space.baselines import formats, uniform_genome

logger = logging.getLogger(__name__)


def noise_of(folder: RunFolder, evaluator: SupernetEvaluator, weights: str) -> float:
    """Return `search.noise`; left at the metric's own, of a metric that is told in pairs, what a paired bootstrap finds.

    The pairs are the largest network in the first format and in each other one. Kept in `noise.json` of the round.

    Args:
        folder: Of the run.
        evaluator: Scores networks.
        weights: Digest of the supernet, with which what was found is told.
    """
    noise, metric, space = folder.experiment.search.noise, evaluator.task.metric, evaluator.supernet.space
    if not metric.is_paired or noise != metric.noise or len(offered := formats(space)) < 2:
        return noise
    file = folder.state / "noise.json"
    with suppress(OSError, ValueError, KeyError):
        content = json.loads(file.read_text())
        if content["supernet"] == weights:
            return float(content["noise"])
    first, *others = (space.subnet(uniform_genome(space, "largest", name)) for name in offered)
    noise = paired_noise(evaluator, first, others, seed=folder.experiment.seed)
    write_atomically(file, json.dumps({"supernet": weights, "noise": noise}).encode())
    logger.info("%s: differences below %s are noise (paired bootstrap)", metric.title, metric.text(noise))
    return noise
