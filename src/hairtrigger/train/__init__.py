"""Training: `fit` (reproducible, resumable), `distill`, and what outputs mean (`Head`)."""

from hairtrigger.train.data import Data, predict
from hairtrigger.train.distill import Distillation, distill
from hairtrigger.train.fit import FitSettings, History, Tell, ebops_of, fit
from hairtrigger.train.heads import (
    Head,
    Heads,
    Kind,
    distillation_loss,
    output_size,
    output_slices,
    truth_loss,
)
from hairtrigger.train.post_training import quantise_after_training
from hairtrigger.train.prune import prune

__all__ = [
    "Data",
    "Distillation",
    "FitSettings",
    "Head",
    "Heads",
    "History",
    "Kind",
    "Tell",
    "distill",
    "distillation_loss",
    "ebops_of",
    "fit",
    "output_size",
    "output_slices",
    "predict",
    "prune",
    "quantise_after_training",
    "truth_loss",
]
