"""VeRi-776: image_train, image_query and image_test, with names like 0001_c001_00016450_0.jpg (Liu et al., ICME 2016).

Where name_train.txt, name_query.txt and name_test.txt lie beside the folders, only the images that they list count.
Some copies hold 37,746 training images of 575 identities; published are 37,778 of 576.
"""

import re

from data.sets.layouts import FolderReader
from data.sets.listing import GALLERY, QUERY, TRAIN

VERI = FolderReader(
    name="veri",
    title="VeRi-776",
    folders={TRAIN: "image_train", QUERY: "image_query", GALLERY: "image_test"},
    pattern=re.compile(r"(?P<identity>\d{1,18})_c(?P<camera>\d{1,18})_", re.ASCII),
    name_lists={TRAIN: "name_train.txt", QUERY: "name_query.txt", GALLERY: "name_test.txt"},
    published={"VeRi-776": {TRAIN: (37_778, 576), QUERY: (1_678, 200), GALLERY: (11_579, 200)}},
)
