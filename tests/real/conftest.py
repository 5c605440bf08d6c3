"""What the tests share: the parts, each started at first use and stopped at the end."""

import os
import re

import pytest
from support.development_server import DevelopmentServer
from support.keycloak import Keycloak
from support.mcp_parts import Listening, Programs
from support.parts import IN_CI, OPTIONAL, part


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory):
    keycloak = Keycloak(part("keycloak"), tmp_path_factory.mktemp("keycloak"))
    yield keycloak
    keycloak.stop()


@pytest.fixture(scope="session")
def development_server(tmp_path_factory):
    server = DevelopmentServer(tmp_path_factory.mktemp("development-server"))
    yield server
    server.stop()


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    return Programs(tmp_path_factory.mktemp("mcp"))


@pytest.fixture(scope="session")
def legacy_server(programs):
    with Listening(programs, "legacy_server.mjs") as server:
        yield server


@pytest.fixture(scope="session")
def modern_server(programs):
    with Listening(programs, "modern_server.mjs") as server:
        yield server


def pytest_terminal_summary(terminalreporter):
    """Names the parts that could not be had, so that no test is left out silently."""
    missing = {name: why for name, why in os.environ.items() if re.fullmatch(r"OBO_REAL_\w+_MISSING", name) and why}
    for name, why in missing.items():
        part_name = name.removeprefix("OBO_REAL_").removesuffix("_MISSING").replace("_", "-").lower()
        fails = IN_CI and part_name not in OPTIONAL
        verdict = "the run fails, because CI is set" if fails else "its tests were left out"
        terminalreporter.write_line(f"not had: {part_name}: {why}; {verdict}", red=True)
