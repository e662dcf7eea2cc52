"""A command that says where it runs and leaves its process in disorder: for test_runner.py.

python -m tests.loud_command
"""

import logging
import os
import sys
import warnings

import torch

from data.system.commands import running_command
from data.system.errors import UserError, exit_on_user_error


@exit_on_user_error
def main() -> None:
    print(os.path.relpath("README.md"), os.environ["COLUMNS"], running_command())
    print("said in between", file=sys.stderr)
    logging.getLogger("loud").warning("a warning")
    if "fine" in sys.argv:
        return
    os.chdir("/")
    os.environ["LOUD"] = "1"
    del os.environ["HOME"]
    torch.set_num_threads(3)
    logging.getLogger("loud.new").addHandler(logging.StreamHandler())
    logging.root.addHandler(logging.StreamHandler())
    logging.getLogger("ray").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    raise UserError("all is in disorder\ntwice")


if __name__ == "__main__":
    main()
