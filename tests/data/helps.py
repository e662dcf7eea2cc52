"""Runs a command's --help in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def help_of(module: str) -> tuple[str, set[str]]:
    """What `python -m module --help` prints, and the modules that it loads."""
    code = (
        f"import sys, json, runpy; sys.argv = ['{module}', '--help']\n"
        f"try: runpy.run_module('{module}', run_name='__main__')\n"
        "except SystemExit as end: print(json.dumps([end.code, sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    told, _, last = done.stdout.rstrip("\n").rpartition("\n")
    code, modules = json.loads(last)
    assert code == 0
    return told, set(modules)
