"""What shared weights cost a network, by what is elastic: the float stage alone, one architecture's error.

All choices that are not named are those of 'random 1' of `standalone.py`; largest and smallest are so among what is left.
Goes on from its checkpoint where it was stopped.

python experiments/benchmarks/sharing.py --folder runs/sharing --elastic depth
python experiments/benchmarks/sharing.py --folder runs/sharing --elastic depth width kernel expand --set weight_decay=5e-4
python experiments/benchmarks/sharing.py --folder runs/sharing --set learning_rate=0.2  # nothing elastic: trained alone
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from fashion_subset import add_options, fit, prepare
from standalone import TUNED_ON, measured, networks

from search_spaces import SPACES, SearchSpace
from search_spaces.space.choice import Choice

KINDS = ("depth", "width", "kernel", "expand")


def narrowed(space: SearchSpace, genome: np.ndarray, elastic: list[str]) -> SearchSpace:
    """Return the space in which only choices of some kinds are left, all in float32; the others are those of a genome."""
    choices = []
    for choice, index in zip(space.choices, genome, strict=True):
        is_left = any(choice.name.split("/")[-1].startswith(kind) for kind in elastic)
        choices.append(choice if is_left else Choice(choice.name, (choice.options[index],)))
    return SearchSpace(space.name, choices, space.slots, space.conditions)


def main() -> None:
    """Train one supernet and print the errors of random 1 in it, and how many networks share its weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--elastic", nargs="*", default=[], choices=KINDS)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the training, as n_random=4")
    add_options(parser, n_train=10_000, float_epochs=10, quantized_epochs=0)
    options = parser.parse_args()
    data, schedule = prepare(options)
    for key, value in (change.split("=") for change in options.set):
        schedule = replace(schedule, **{key: type(getattr(schedule, key))(float(value))})
    space = SPACES.get("mobilenet-28")()
    genome = networks(space)[TUNED_ON, "float32"]
    name = "-".join([*options.elastic, *options.set]) or "nothing"
    subnet = space.subnet(genome)
    left = narrowed(space, genome, options.elastic)
    sample = None if options.elastic else lambda epoch, rng: [subnet.graph]
    supernet, minutes = fit(left, data, schedule, options.folder / f"{name}.safetensors", 0, sample)
    errors = measured(supernet, subnet.genome, data)
    print(f"{name}: {left.size:.3g} networks, {errors}, {minutes:.1f} minutes")


if __name__ == "__main__":
    main()
