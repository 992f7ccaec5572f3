"""Samplers: where the starting joints come from."""

from hybrid_ik.samplers.base import Sampler
from hybrid_ik.samplers.lookup import LookupSampler
from hybrid_ik.samplers.meanflow import MeanFlowSampler
from hybrid_ik.samplers.uniform import UniformSampler

__all__ = ["LookupSampler", "MeanFlowSampler", "Sampler", "UniformSampler"]
