"""People and their own connections, with oidc-provider as the service's authorization server. It is certified, demands PKCE, names
itself in its answers (RFC 9207), takes tokens back (RFC 7009), and revokes a grant when a used refresh token comes again."""

import re

import pytest
from support.browsing import changed
from support.oidc_provider import OidcProvider
from support.people import ASSISTANT, PLANNER, PeopleBed

CALLS_AT_ONCE = 50


@pytest.fixture(scope="module")
def desk(company, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oidc-provider")
    bed = PeopleBed(company, "desk", folder / "gateway", lambda callback: OidcProvider(folder, callback))
    yield bed
    bed.stop()
    secrets = [given["token"] for given in bed.service.seen("refreshTokens")] + bed.service.seen("codes")
    bed.service.stop()
    log = bed.gateway.log() + bed.gateway.audit.read_text()
    assert [secret for secret in secrets if secret in log] == []


@pytest.fixture
def connected(desk, visit):
    """Ada, who has connected; and what her agent and her browser have."""
    ada = desk.hire("Ada Lovelace")
    token, visitor = desk.token(ada), visit(desk)
    visitor.connect(ada, desk.link(token))
    return ada, token, visitor


def test_an_agent_asks_and_after_signing_in_the_same_call_works(desk, visit):
    ada = desk.hire("Ada Lovelace")
    token = desk.token(ada)
    visitor = visit(desk)
    visitor.sign_in(ada, desk.link(token))
    visitor.sees("Connect helpdesk?", PLANNER, "list_contacts", "offline_access")
    visitor.go_to_service(ada)
    # Whose account it is, user-info said.
    visitor.sees("helpdesk is connected", desk.service.account(ada))
    assert desk.service.seen("userInfo")[-1] == 200
    desk.serves(token, ada)
    # Another agent needs her agreement alone.
    assistants = desk.token(ada, ASSISTANT)
    visitor.open(desk.link(assistants))
    visitor.press("Let this agent use it")
    visitor.sees("helpdesk can be used")
    desk.serves(assistants, ada)
    assert len(desk.service.refresh_tokens(ada)) == 1


def test_who_cancels_at_the_service_connects_nothing(desk, visit):
    ada = desk.hire("Ada Lovelace")
    token = desk.token(ada)
    link = desk.link(token)
    visitor = visit(desk)
    visitor.sign_in(ada, link)
    visitor.follow(re.compile("^Connect at"))
    visitor.follow("[ Cancel ]")
    visitor.is_told("Nothing has been connected")
    # She thinks better of it: the link is still good.
    visitor.open(link)
    visitor.go_to_service(ada)
    visitor.sees("helpdesk is connected")
    desk.serves(token, ada)


def test_an_answer_of_another_server_connects_nothing(desk, visit):
    ada = desk.hire("Ada Lovelace")
    token, visitor = desk.token(ada), visit(desk)
    link = desk.link(token)
    answer = visitor.answer_of_service(ada, link)
    assert answer == changed(answer, iss=desk.service.issuer), "it names itself"
    visitor.open(changed(answer, iss="https://login.evil.example"))
    visitor.is_told("This answer is from the wrong place")
    visitor.answered(link, iss=None, code="made-up")
    visitor.is_told("This answer is from the wrong place")
    assert desk.link(token) == link
    assert desk.service.refresh_tokens(ada) == [], "the code was not even redeemed"


def test_of_fifty_calls_at_a_rotation_one_renews_the_token_and_all_are_served(desk, connected):
    ada, token, _ = connected
    desk.serves(token, ada)
    desk.wait_for_rotation()
    assert desk.serves_all_at_once(token, "helpdesk", CALLS_AT_ONCE) == [200] * CALLS_AT_ONCE
    assert len(desk.service.refresh_tokens(ada)) == 2
    assert desk.service.seen("refused") == []


def test_disconnecting_has_the_service_revoke_what_it_gave(desk, connected):
    ada, token, visitor = connected
    access_token = desk.serves(token, ada)
    [refresh_token] = desk.service.refresh_tokens(ada)
    given = (access_token, refresh_token)
    assert all(map(desk.service.tokens.is_active, given))
    revoked = len(desk.service.seen("revokedGrants"))
    visitor.disconnect("helpdesk")
    notice = visitor.page.get_by_role("status").inner_text()
    assert notice == "Disconnected. The service has taken the access back as well."
    assert not any(map(desk.service.tokens.is_active, given))
    assert len(desk.service.seen("revokedGrants")) == revoked + 1
    desk.link(token)


def test_a_refresh_token_that_was_stolen_and_used_ends_the_connection(desk, connected):
    ada, token, visitor = connected
    desk.serves(token, ada)
    desk.wait_for_rotation()
    access_token = desk.serves(token, ada)
    old, new = desk.service.refresh_tokens(ada)
    # Somebody has the one that the gateway used before, and tries it.
    answer = desk.service.refresh(old)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert not any(map(desk.service.tokens.is_active, (access_token, new))), "the service revoked the grant"
    desk.wait_for_rotation()
    link = desk.link(token)
    assert desk.events("helpdesk", "withdrawn") == 1
    visitor.open(link)
    visitor.sees("Connect helpdesk?", "that connection has ended")
    visitor.go_to_service(ada)
    visitor.sees("helpdesk is connected")
    desk.serves(token, ada)
