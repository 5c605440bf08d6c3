"""The official MCP conformance suite finds the same at a server through the gateway as it finds at the server itself."""

from collections import Counter

import pytest
from support.gateway import Gateway
from support.mcp_parts import conformance, hop
from support.parts import part
from support.running import free_port

# What the gateway does as it should and the fixture server does not, so that it passes on one way alone, and why.
ONLY_THE_GATEWAY = {
    ("tasks-dispatch-and-envelope", "sep-2663-tasks-get-invalid-task-id-32602"): (
        "nobody can ask how a task stands that the gateway has not seen given to them; the SDK knows no tasks"
    ),
}


class Suite:
    """A version of the suite, how it is asked, which server it looks at, and what is known to pass there."""

    def __init__(self, version: str, part_name: str, server: str, scenarios: int, checks: int, *arguments: str):
        self.version = version
        self.part_name = part_name
        self.server = server
        # A server that passes less than this has been broken, and comparing with it would prove little.
        self.scenarios, self.checks = scenarios, checks
        self.arguments = arguments

    def run(self, url, folder) -> dict:
        return conformance(part(self.part_name), url, folder, *self.arguments)

    def __repr__(self):
        return f"{self.version} {' '.join(self.arguments)}"


SUITES = [
    # Also what is pending. It asks for a stream that can be taken up again without saying that it speaks 2025-11-25, and
    # warns when it gets none.
    Suite("0.1.16", "mcp-conformance-0-1", "legacy_server", 31, 44, "--suite", "all"),
    Suite("0.2.0-alpha.12", "mcp-conformance-0-2", "legacy_server", 33, 84, "--requirements", "2025-11-25"),
    # What does not pass are the scenarios of the Tasks extension, which the SDK does not speak.
    Suite("0.2.0-alpha.12", "mcp-conformance-0-2", "modern_server", 40, 164, "--requirements", "2026-07-28"),
]


def passing_scenarios(found: dict) -> list:
    """The scenarios of which a check passed and none failed."""
    verdicts = {scenario: {verdict for _, verdict in checks} for scenario, checks in found.items()}
    return sorted(name for name, seen in verdicts.items() if "SUCCESS" in seen and not seen & {"FAILURE", "WARNING"})


def passing_checks(found: dict) -> list:
    """The checks that passed, with their scenario, each as often as it was made."""
    return sorted(
        (scenario, name) for scenario, checks in found.items() for name, verdict in checks if verdict == "SUCCESS"
    )


def figures(found: dict) -> str:
    checks = sum(len(checks) for checks in found.values())
    return f"{len(passing_scenarios(found))} of {len(found)} scenarios and {len(passing_checks(found))} of {checks} checks"


@pytest.fixture(params=SUITES, ids=repr)
def suite(request):
    return request.param


@pytest.fixture
def server(suite, request):
    return request.getfixturevalue(suite.server)


@pytest.fixture
def direct(suite, server, tmp_path):
    found = suite.run(server.url, tmp_path / "direct")
    assert len(passing_scenarios(found)) >= suite.scenarios, figures(found)
    assert len(passing_checks(found)) >= suite.checks, figures(found)
    return found


def test_the_fixture_server_passes_what_it_is_known_to_pass(suite, direct, capsys):
    with capsys.disabled():
        print(f"\nconformance {suite}: {figures(direct)} directly")


def test_it_passes_the_same_through_the_gateway(suite, server, direct, development_server, programs, tmp_path, capsys):
    origin = f"http://127.0.0.1:{free_port()}"
    with hop(programs, origin, development_server.people["ada"]["token"]) as way:
        # The suite also calls as a page would that was got from the server it looks at, and as one that was not.
        entry = development_server.mcp("everything", server.url, allowed_origins=[way.origin])
        everything = ["everything/*"]
        allow = [{"name": "everybody", "tools": everything, "prompts": everything, "resources": everything}]
        issuers = {"entra": development_server.issuer(development_server.secret(tmp_path))}
        gateway = Gateway(tmp_path / "gateway", issuers, {"everything": entry}, allow, origin)
        try:
            through = suite.run(f"{way.origin}/everything/mcp", tmp_path / "through")
        finally:
            gateway.stop()
    with capsys.disabled():
        print(f"\nconformance {suite}: {figures(direct)} directly, {figures(through)} through the gateway")
    different = differences(direct, through)
    assert not different, "\n".join(["what one way found and the other did not:", *different])
    assert passing_scenarios(through) == passing_scenarios(direct)
    assert [check for check in passing_checks(through) if check not in ONLY_THE_GATEWAY] == passing_checks(direct)


def differences(direct: dict, through: dict) -> list:
    """What one way found and the other did not: also what failed, was skipped or was warned of, since the gateway is to
    make nothing better either, but for what is listed above."""
    ways = {"directly": direct, "through the gateway": through}
    counted = {
        way: Counter(
            (scenario, *check)
            for scenario, checks in found.items()
            for check in checks
            if (scenario, check[0]) not in ONLY_THE_GATEWAY
        )
        for way, found in ways.items()
    }
    only = {way: counted[way] - counted[other] for way, other in (tuple(ways), tuple(ways)[::-1])}
    return [" ".join((way, *check)) for way in ways for check in sorted(only[way].elements())]
