"""Market-1501: bounding_box_train, query and bounding_box_test, with names like 0002_c1s1_000451_03.jpg.

Official protocol (Zheng et al., ICCV 2015): identity -1 is junk and is dropped, identity 0 is a distractor and stays in
the gallery; the name tells the camera. gt_bbox and gt_query are not used. Copies and other sets in this layout have
identities and cameras of more or fewer digits: 10012_c15s1_000451_03.jpg.
"""

import re

from data.sets.layouts import FolderReader
from data.sets.listing import GALLERY, QUERY, TRAIN

MARKET1501 = FolderReader(
    name="market1501",
    title="Market-1501",
    folders={TRAIN: "bounding_box_train", QUERY: "query", GALLERY: "bounding_box_test"},
    pattern=re.compile(r"(?P<identity>-1|\d{1,18})_c(?P<camera>\d{1,18})s\d+_\d+_\d+", re.ASCII),
    junk_identity=-1,
    published={"Market-1501": {TRAIN: (12_936, 751), QUERY: (3_368, 750), GALLERY: (15_913, 751)}},
)
