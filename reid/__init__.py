"""What people meet first: the command `reid` with its verbs. The top package: nothing imports it."""

import reid_train  # noqa: F401 - which sees to it that `data` is this project's
