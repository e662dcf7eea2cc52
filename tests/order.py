"""How long tests take: the longest run first, so that all workers end at about the same time."""

LONGEST = {}


def seconds(nodeid):
    return 0
