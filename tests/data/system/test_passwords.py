"""Passwords in URLs are not shown; all else is."""

import pytest

from data.system.passwords import all_without_passwords, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:x@host:5432/db", "postgresql://ann@host:5432/db"),
        (
            "postgresql+psycopg://ann:a:b%40c@host/db?sslmode=require",
            "postgresql+psycopg://ann@host/db?sslmode=require",
        ),
        ("postgresql://:x@host/db", "postgresql://@host/db"),
        ("postgresql://ann:p@ss@host/db", "postgresql://ann@host/db"),
        (
            "postgresql://host/db?user=ann&password=x&sslmode=require",
            "postgresql://host/db?user=ann&password=&sslmode=require",
        ),
        ("s3://KEY:secret@bucket/x?endpoint_override=h", "s3://KEY@bucket/x?endpoint_override=h"),
        ("https://host/w.pth?X-Amz-Signature=abc&a=1", "https://host/w.pth?X-Amz-Signature=&a=1"),
        ("two: a://u:x@h and b://u:y@h, then", "two: a://u@h and b://u@h, then"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("--set learning_rate=0.1 results/a:b@c", "--set learning_rate=0.1 results/a:b@c"),
        ("s3://bucket/key=1/token=2", "s3://bucket/key=1/token=2"),
    ],
)
def test_passwords_in_urls_are_left_out(text, shown):
    assert without_passwords(text) == shown


def test_nested_values_are_searched():
    given = {"a": ["x://u:p@h", 3, None, {"b": ("x://u:p@h",)}]}
    assert all_without_passwords(given) == {"a": ["x://u@h", 3, None, {"b": ["x://u@h"]}]}
