"""Says on one line why the packages cannot be installed for the Python that runs this; `make setup` asks it first.

It uses nothing that Python 3.6 does not have: that one shall say so, too.
"""

import platform
import struct
import sys

NEEDED = "Python 3.11 to 3.14 is needed, but not 3.14.1"


def problem(version, implementation, bits, free_threaded, system, machine, libc, macos):
    """`version` is a tuple of three numbers, `libc` a name and a version, `macos` a version's first number."""
    if system == "Windows":
        return "Windows itself is not supported: install WSL2 (`wsl --install`) and give the command there"
    if not (3, 11) <= version[:2] <= (3, 14) or version == (3, 14, 1):
        return NEEDED + ": this is {}.{}.{}".format(*version)
    if implementation != "CPython" or free_threaded:
        kind = "free-threaded builds" if free_threaded else implementation
        return f"an ordinary CPython is needed: PyTorch and Ray have no packages for {kind}"
    if bits != 64:
        return f"a 64-bit Python is needed: this one has {bits} bits"
    if system == "Darwin" and (machine != "arm64" or macos < 14):
        return "PyTorch has packages for macOS 14 and later on Apple silicon alone"
    if system == "Linux" and machine not in ("x86_64", "aarch64"):
        return f"PyTorch and Ray have packages for x86_64 and aarch64 alone: this is {machine}"
    if system == "Linux" and libc[0] != "glibc":
        return "PyTorch and Ray have packages for Linux with glibc alone: Alpine has musl; take Debian or Ubuntu, say"
    if system == "Linux" and tuple(map(int, libc[1].split(".")[:2])) < (2, 28):
        return f"glibc 2.28 or newer is needed (Debian 10, Ubuntu 20.04, RHEL 8): this is {libc[1]}"
    return None


def main():
    found = problem(
        tuple(sys.version_info[:3]),
        platform.python_implementation(),
        struct.calcsize("P") * 8,
        not getattr(sys, "_is_gil_enabled", lambda: True)() or "free-threading" in sys.version,
        platform.system(),
        platform.machine(),
        platform.libc_ver(),
        int(platform.mac_ver()[0].split(".")[0] or 0),
    )
    if found is None:
        try:
            import ensurepip  # noqa: F401
            import venv  # noqa: F401
        except ImportError:
            found = "this Python cannot make environments: apt-get install python{}.{}-venv".format(*sys.version_info)
    if found:
        sys.stderr.write(f"error: {sys.executable}: {found}; name another with PYTHON=/path/to/python\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
