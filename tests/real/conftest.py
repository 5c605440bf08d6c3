"""What the tests share: the parts, each started at first use and stopped at the end."""

import os
import re

import pytest
from playwright.sync_api import sync_playwright
from support.browsing import ARGUMENTS, WIDE, Site, Visitor
from support.development_server import DevelopmentServer
from support.keycloak import Keycloak
from support.mcp_parts import Listening, Programs
from support.parts import IN_CI, OPTIONAL, part
from support.people import Company, Crm, PeopleBed


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


@pytest.fixture(scope="session")
def company(keycloak):
    return Company(keycloak)


@pytest.fixture(scope="session")
def people(keycloak, company, tmp_path_factory):
    """People whose service is a Keycloak realm. Each test hires its own, so that they share the gateway and nothing else."""
    folder = tmp_path_factory.mktemp("people") / "gateway"
    bed = PeopleBed(company, "pages", folder, lambda callback: Crm(keycloak, callback))
    yield bed
    bed.stop()


# Not for the whole session: while it runs, nobody else has an event loop in this thread.
@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=part("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium):
    """Makes people with browsers that know nothing of each other. Whatever a browser complains about fails the test."""
    made = []

    def make(bed, kind=Visitor, **context):
        context = chromium.new_context(ignore_https_errors=True, viewport=WIDE, **context)
        context.set_default_timeout(20_000)
        made.append(kind(context.new_page(), bed))
        return made[-1]

    yield make
    for visitor in made:
        visitor.page.context.close()
    assert [complaint for visitor in made for complaint in visitor.complaints] == []


@pytest.fixture(scope="module")
def site():
    """A site of somebody else."""
    site = Site()
    yield site
    site.stop()


def pytest_terminal_summary(terminalreporter):
    """Names the parts that could not be had, so that no test is left out silently."""
    missing = {name: why for name, why in os.environ.items() if re.fullmatch(r"OBO_REAL_\w+_MISSING", name) and why}
    for name, why in missing.items():
        part_name = name.removeprefix("OBO_REAL_").removesuffix("_MISSING").replace("_", "-").lower()
        fails = IN_CI and part_name not in OPTIONAL
        verdict = "the run fails, because CI is set" if fails else "its tests were left out"
        terminalreporter.write_line(f"not had: {part_name}: {why}; {verdict}", red=True)
