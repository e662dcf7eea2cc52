"""Keeps passwords out of what is printed and recorded.

without_passwords("postgresql://ann:secret@host/db")  # "postgresql://ann@host/db"
"""

import re
from typing import Any

_USERINFO = re.compile(r"\b([a-zA-Z][\w+.-]*://[^\s/:@?#]*):[^\s/]*@")
_PARAMETER = re.compile(r"([?&][\w.-]*(?:passw|secret|token|key|signature|credential|sig=)[\w.-]*=?)[^&\s'\"]*", re.I)


def without_passwords(text: str) -> str:
    """The text with the passwords in its URLs left out: `postgresql://ann:x@host/db` becomes `postgresql://ann@host/db`.

    Parameters of a URL that are named like secrets (`?password=x`, `&X-Amz-Signature=x`) lose their values.
    """
    return _PARAMETER.sub(lambda found: found[1].rstrip("=") + "=", _USERINFO.sub(r"\1@", text))


def all_without_passwords(value: Any) -> Any:
    """`without_passwords` of every text in nested lists and dictionaries."""
    if isinstance(value, dict):
        return {key: all_without_passwords(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [all_without_passwords(inner) for inner in value]
    return without_passwords(value) if isinstance(value, str) else value
