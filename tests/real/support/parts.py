"""The real parts that `tests/real/run` could get, and why it could not get the others."""

import os
from pathlib import Path

import pytest

# Not every Go module proxy has the first, and no package registry has the others: a run without them counts, and says so.
OPTIONAL = {"entra-emulator", "fluent-bit", "vector"}
IN_CI = os.environ.get("CI", "") not in ("", "false", "0")


def part(name: str) -> Path:
    """Where a part is. Without it the test is skipped with the reason; in CI it fails, unless the part is optional."""
    variable = "OBO_REAL_" + name.upper().replace("-", "_")
    where = os.environ.get(variable, "")
    if where and Path(where).exists():
        return Path(where)
    reason = f"{name} cannot be had: {os.environ.get(variable + '_MISSING') or variable + ' is not set'}"
    if IN_CI and name not in OPTIONAL:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
