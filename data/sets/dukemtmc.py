"""DukeMTMC-reID and Occluded-Duke: Market-1501's folders, with names like 0005_c2_f0046985.jpg; 8 cameras.

Protocol: Zheng, Zheng and Yang, ICCV 2017; Occluded-Duke: Miao et al., ICCV 2019, which only its counts tell from Duke.
Nothing is junk. The gallery's 408 distractors bear ordinary numbers, which no query has.
"""

import re

from data.sets.layouts import FolderReader
from data.sets.listing import GALLERY, QUERY, TRAIN
from data.sets.market1501 import MARKET1501

DUKEMTMC = FolderReader(
    name="dukemtmc",
    title="DukeMTMC-reID",
    folders=MARKET1501.folders,
    pattern=re.compile(r"(?P<identity>\d{1,18})_c(?P<camera>\d{1,18})_f\d+", re.ASCII),
    published={
        "DukeMTMC-reID": {TRAIN: (16_522, 702), QUERY: (2_228, 702), GALLERY: (17_661, 1_110)},
        "Occluded-Duke": {TRAIN: (15_618, 702), QUERY: (2_210, 519), GALLERY: (17_661, 1_110)},
    },
)
