"""What each process of `test_workers.py` does: one step by hand, then a short training in both its parts."""

import sys
from pathlib import Path

import torch

from hybrid_ik.encoding import Encoder
from hybrid_ik.learning import loop, training
from hybrid_ik.learning.data import PairStream, ValidationSet
from hybrid_ik.learning.matching import MatchingConfig
from hybrid_ik.learning.meanflow import MeanFlowConfig, meanflow_loss
from hybrid_ik.learning.networks import NetworkConfig, build_network
from hybrid_ik.learning.workers import torchrun_workers
from hybrid_ik.robot import Robot

SMALL = NetworkConfig(width=8, depth=2, trunk_width=8, trunk_depth=1, norm="batch")


def gradient(network):
    return torch.cat([p.grad.reshape(-1) for p in network.parameters()])


def one_step(encoder, workers):
    """A worker's own gradient, and what `average` makes of it."""
    torch.manual_seed(workers.rank)
    network = build_network(SMALL, encoder.n_joints, encoder.n_features)
    workers.share(network)
    generator = torch.Generator().manual_seed(workers.rank)
    x, condition = PairStream(encoder, generator).next_batch(16)
    loss = meanflow_loss(network, x, condition, 2, MeanFlowConfig(), generator)
    loss.backward()
    own = gradient(network)
    workers.average(network, loss, stop=False)
    return {"own": own, "shared": gradient(network)}


def short_run(chain, out):
    """The weights that a training of a few steps ends with, in this process."""
    config = training.TrainConfig(
        steps=5,
        batch_poses=8,
        noises_per_pose=2,
        checkpoint_interval=4,
        device="cpu",
        tensorboard=False,
        network=SMALL,
        matching=MatchingConfig(steps=3, levels=(4,), rows=16),
        out=out,
    )
    states = []
    opened, loop.open_run = loop.open_run, lambda *a: states.append(opened(*a)) or states[-1]
    training.train(chain, config, validation=ValidationSet.from_chain(chain, 20))
    return states[0].network.state_dict()


def main(out):
    chain = Robot("panda").chain
    with torchrun_workers(torch.device("cpu")) as workers:
        found = one_step(Encoder(chain, "invariant"), workers)
        found["weights"] = short_run(chain, out / "run")
        torch.save(found, out / f"worker_{workers.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
