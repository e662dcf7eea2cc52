"""What a model is tested on: which images are queries, which are the gallery, and how often.

    for test in read_test_sets("data/VehicleID"):
        for query, gallery in test.rounds():
            ...

The evaluator (reid_train/measure/metrics.py) leaves out, for each query, the gallery images of its identity by its
camera. Where no cameras are known every image has its own, and that is the query's own picture.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from data.sets.samples import Sample, knows_cameras, name_of


@dataclass(frozen=True)
class TestSet:
    """Query and gallery images, of which some may be both."""

    __test__ = False  # it is no test, whatever pytest makes of its name

    query: list[Sample]
    gallery: list[Sample]
    name: str = ""
    """What it is called where there are several: 800, the number of identities."""
    draws: int = 0
    """How many random galleries are drawn from `gallery`, an image of each identity; 0: it is taken as it is."""
    remark: str = ""
    """What is particular in how the set is read."""

    def rounds(self) -> list[tuple[list[Sample], list[Sample]]]:
        """Query and gallery of each evaluation; the result is their mean. What is drawn into a gallery is no query,
        and neither is the only image of an identity."""
        if not self.draws:
            return [(self.query, self.gallery)]
        drawn = [draw_gallery(self.gallery, seed) for seed in range(self.draws)]
        images = Counter(sample.identity for sample in self.gallery)
        asked = [sample for sample in self.query if images[sample.identity] > 1]
        return [(sorted({*asked} - {*gallery}), gallery) for gallery in drawn]

    @property
    def images(self) -> list[Sample]:
        """Every image once: the queries, then the rest of the gallery."""
        return list(dict.fromkeys((*self.query, *self.gallery)))

    @property
    def protocol(self) -> str:
        """How it is evaluated, in a line."""
        if self.draws:
            how = (
                f"the gallery is one random image of each identity and all others are queries, "
                f"mean of {self.draws} draws (seeds 0 to {self.draws - 1})"
            )
        elif set(self.query) & set(self.gallery):
            how = "test images are query and gallery at once"
        else:
            how = "every query is looked for in the gallery"
        if knows_cameras(self.query):
            how += "; gallery images of a query's identity and camera are left out"
        elif not self.draws:
            how += "; no cameras: a query's own picture alone is left out"
        return f"{how}; {self.remark}" if self.remark else how


def images_of(tests: Sequence[TestSet]) -> list[Sample]:
    """Every image of some test sets once."""
    return list(dict.fromkeys(sample for test in tests for sample in test.images))


def draw_gallery(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """A random image of each identity; the same on every machine, wherever the images lie."""
    drawn: dict[int, tuple[bytes, Sample]] = {}
    for sample in samples:
        what = f"{seed}:gallery:{sample.identity}:{name_of(sample.path)}"
        place = hashlib.sha256(what.encode("utf-8", "surrogateescape")).digest()
        drawn[sample.identity] = min(drawn.get(sample.identity, (place, sample)), (place, sample))
    return sorted(sample for _, sample in drawn.values())
