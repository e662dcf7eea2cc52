"""A mixture of experts between pooling and the BNNeck: a router picks the layers that make each image's embedding.

After Shazeer et al. 2017 (noisy top-k gating, arXiv 1701.06538), the load-balance loss of Fedus et al. 2021 (Switch,
arXiv 2101.03961) and the z-loss of Zoph et al. 2022 (ST-MoE, arXiv 2202.08906).
"""

# B images, C channels of the pooled feature, D embedding width, E experts

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F


class Routing(NamedTuple):
    """What the router did with a batch."""

    balance_loss: torch.Tensor
    """E x sum over experts of (share of the choices) x (mean probability): 1 if all are used alike, E if one is."""
    z_loss: torch.Tensor
    """Mean squared log-sum-exp of the router's scores."""
    entropy: torch.Tensor
    """Mean entropy of the router's probabilities, in nats: 0 for certain, log E for undecided."""
    usage_E: torch.Tensor
    """Share of the choices that fell on each expert; sums to 1."""


class MixtureOfExperts(nn.Module):
    """Pooled features (B x C) -> embeddings (B x D) and how they were routed.

    Every expert sees every image and only the weights differ: the experts are a few small layers, and the shapes stay
    the same in every step.
    """

    def __init__(self, make_expert: Callable[[], nn.Module], *, width: int, experts: int, top_k: int, noise: bool):
        """`make_expert` gives one expert, from `width` channels; `top_k` of `experts` count for an image."""
        super().__init__()
        self.experts = nn.ModuleList(make_expert() for _ in range(experts))
        self.router = nn.Linear(width, experts, bias=False)
        nn.init.normal_(self.router.weight, std=0.01)  # undecided at first
        self.noise = nn.Linear(width, experts, bias=False) if noise else None
        if self.noise is not None:
            nn.init.zeros_(self.noise.weight)
        self.top_k = top_k

    def forward(self, pooled_BC: torch.Tensor) -> tuple[torch.Tensor, Routing]:
        weights_BE, routing = self.route(pooled_BC)
        outputs_BED = torch.stack([expert(pooled_BC) for expert in self.experts], dim=1)
        return torch.einsum("be,bed->bd", weights_BE.to(outputs_BED.dtype), outputs_BED), routing

    def route(self, pooled_BC: torch.Tensor) -> tuple[torch.Tensor, Routing]:
        """The experts' weights, B x E in float32: softmax over the top_k scores, 0 elsewhere."""
        with torch.autocast(pooled_BC.device.type, enabled=False):
            pooled_BC = pooled_BC.float()
            clean_BE = scores_BE = self.router(pooled_BC)
            if self.training and self.noise is not None:
                scores_BE = clean_BE + torch.randn_like(clean_BE) * F.softplus(self.noise(pooled_BC))
            best_BK = scores_BE.topk(self.top_k, dim=1).indices
            chosen_BE = torch.zeros_like(scores_BE).scatter(1, best_BK, 1.0)
            weights_BE = scores_BE.masked_fill(chosen_BE == 0, -torch.inf).softmax(dim=1)
            probability_BE = clean_BE.softmax(dim=1)
            usage_E = chosen_BE.mean(dim=0) / self.top_k
            entropy = -(probability_BE * clean_BE.log_softmax(dim=1)).sum(dim=1).mean()
            balance = len(usage_E) * (usage_E * probability_BE.mean(dim=0)).sum()
            z_loss = clean_BE.logsumexp(dim=1).square().mean()
        return weights_BE, Routing(balance, z_loss, entropy.detach(), usage_E.detach())
