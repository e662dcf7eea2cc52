"""CUHK03-NP: cuhk03-np/labeled and cuhk03-np/detected, each with Market-1501's folders and names like 0001_c1_1.png.

The new protocol of Zhong, Zheng, Cao and Li (CVPR 2017): 767 identities to train on, 700 to test; 2 cameras. `labeled`
are boxes drawn by hand, `detected` those of a detector. The first protocol, with its .mat file, is not read.
"""

import re

from data.sets.layouts import FolderReader
from data.sets.listing import GALLERY, QUERY, TRAIN
from data.sets.market1501 import MARKET1501

CUHK03_NP = FolderReader(
    name="cuhk03_np",
    title="CUHK03-NP",
    folders=MARKET1501.folders,
    pattern=re.compile(r"(?P<identity>\d{1,18})_c(?P<camera>\d{1,18})_\d+\.", re.ASCII),
    published={
        "CUHK03-NP labeled": {TRAIN: (7_368, 767), QUERY: (1_400, 700), GALLERY: (5_328, 700)},
        "CUHK03-NP detected": {TRAIN: (7_365, 767), QUERY: (1_400, 700), GALLERY: (5_332, 700)},
    },
)
