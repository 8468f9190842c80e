"""Attributions: the share of a network's answer that each number of its input carries.

    found = light_up(graph, images, Scalar.head(heads, "pt"), orders=8, seed=1)
    found.values                # float32 (events, *shape); positive raises the answer

Every method is a plain function ``(model or Graph, inputs, output, ...) -> Explained``:

    saliency, gradient_times_input, integrated_gradients, smooth_grad, grad_cam    gradients.py
    refined_gradients            refine.py: integrated gradients that look for the kinks
    light_up, occlusion          removal.py: from answers alone, so of a Graph too
    shapley, group_occlusion     removal.py and shapley.py: shares of groups of inputs (groups.py)
    relevance                    relevance.py: layer-wise relevance propagation
"""

from __future__ import annotations

from hairtrigger.explain.explained import Explained, Shares, as_baseline
from hairtrigger.explain.gradients import (
    grad_cam,
    gradient_times_input,
    integrated_gradients,
    saliency,
    smooth_grad,
)
from hairtrigger.explain.groups import Groups, by_axis, by_windows
from hairtrigger.explain.refine import refined_gradients
from hairtrigger.explain.relevance import relevance
from hairtrigger.explain.removal import group_occlusion, light_up, occlusion
from hairtrigger.explain.shapley import shapley
from hairtrigger.explain.subject import Scalar, Subject, as_subject

__all__ = [
    "Explained",
    "Groups",
    "Scalar",
    "Shares",
    "Subject",
    "as_baseline",
    "as_subject",
    "by_axis",
    "by_windows",
    "grad_cam",
    "gradient_times_input",
    "group_occlusion",
    "integrated_gradients",
    "light_up",
    "occlusion",
    "refined_gradients",
    "relevance",
    "saliency",
    "shapley",
    "smooth_grad",
]
