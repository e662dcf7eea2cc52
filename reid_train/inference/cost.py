"""What a configuration's model costs where it is used, whatever it has learned: weights, time, size of an embedding.

parameters_and_width(config)  # {"parameters": 23508032, "embedding_width": 2048}
latency_ms(config)
"""

import statistics
import time

import torch

from data.system.limits import usable_cpus
from reid_train.checkpoints.checkpoint import build_model
from reid_train.model.device import choose_device, place, precision_in_use, whole_float32
from reid_train.model.network import autocast
from reid_train.settings.config import TrainConfig

WARM_UP = 3
LEAST_PASSES, LEAST_S = 5, 0.3
"""The latency's median is taken over at least so many forward passes, and so many seconds."""


def parameters_and_width(config: TrainConfig) -> dict[str, int]:
    """`parameters`: how many weights make an embedding, without the classifier's; `embedding_width`: its numbers."""
    with torch.device("meta"):
        model = build_model(config, identities=1)
    used = sum(weight.numel() for name, weight in model.named_parameters() if not name.startswith("classifier."))
    return {"parameters": used, "embedding_width": model.neck.num_features}


def latency_ms(config: TrainConfig) -> float:
    """Milliseconds from one decoded picture to its embedding on the configured device: the median of many passes.

    A CPU uses all threads that the configuration allows. Trust the figure only if nothing else is computing.
    """
    torch.set_num_threads(config.num_threads or usable_cpus())
    device = choose_device(config.device)
    precision = precision_in_use(config.precision, device)
    model = place(build_model(config, identities=1), device).eval()
    picture = torch.zeros(1, 3, config.image_height, config.image_width, dtype=torch.uint8)
    passes_s: list[float] = []
    with torch.inference_mode(), whole_float32(), autocast(device, precision):
        while len(passes_s) < WARM_UP + LEAST_PASSES or sum(passes_s[WARM_UP:]) < LEAST_S:
            started = time.perf_counter()
            model(picture.to(device)).float().cpu()  # waits for the device
            passes_s.append(time.perf_counter() - started)
    return 1000 * statistics.median(passes_s[WARM_UP:])
