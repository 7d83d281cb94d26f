"""Write the gradients of one sandwich step in which batch norms use fixed statistics; alone or under torchrun.

python write_gradients.py FILE
"""

import sys
from pathlib import Path

import torch
from torch.nn import functional

from nas.data.load import load_dataset
from nas.events import distributed
from nas.supernet import supernet
from nas.supernet.calibrate import calibrate
from nas.supernet.folding import BATCH_NORM_EPS
from nas.supernet.layers import SharedLayers
from nas.supernet.ops.conv import convolve
from nas.supernet.scales import rounded
from nas.supernet.supernet import Supernet
from nas.tasks.classification import Classification
from nas.training.schedule import Schedule
from nas.training.step import training_step
from search_spaces import Stage, classes, mobilenet
from search_spaces.space.baselines import uniform_genome

SCHEDULE = Schedule(n_random=0, clip_norm=1e9, compile=False)

torch.set_num_threads(1)
stages = (Stage(depths=(1, 2), widths=(8, 12)),)
space = mobilenet("tiny", input_shape=(1, 8, 8), outputs=classes(10), stem_width=8, stages=stages)
digits = load_dataset("digits", n_val=360)
net = Supernet(space)
net.set_input_statistics(*digits.input_statistics())
genomes = [uniform_genome(space, level, name) for level, name in (("largest", "float32"), ("smallest", "w4a4"))]
graphs = [space.subnet(genome).graph for genome in genomes]
images, labels = torch.from_numpy(digits.train["images"][:63]), torch.from_numpy(digits.train["labels"][:63])
for graph in graphs:
    net(images, graph)  # sets the scales of activations
statistics = {name: s for graph in reversed(graphs) for name, s in calibrate(net, graph, images).statistics.items()}


class FixedStatistics(SharedLayers):
    """Batch norms in evaluation mode; channels that a smaller network lacks are cut off."""

    def conv(self, node, x):
        y = convolve(node, x, rounded(self.supernet, node, self.supernet.weight(node)))
        mean, var = (values[: node.shape[0]] for values in statistics[node.name])
        gamma, beta = self.supernet.gamma(node), self.supernet.bias(node)
        return functional.batch_norm(y, mean, var, gamma, beta, eps=BATCH_NORM_EPS)


supernet.SharedLayers = FixedStatistics
with distributed.session():
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    loss, errors = training_step(
        net, optimizer, Classification.of(digits), {"images": images, "labels": labels}, graphs, SCHEDULE
    )
    if distributed.is_main():
        found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        torch.save({"gradients": found, "loss": loss, "errors": errors}, sys.argv[1])
threads = [task.read_text() for task in Path("/proc/self/task").glob("*/comm")]
assert not any("gloo" in name for name in threads), threads  # one that is left may abort the interpreter at its end
