"""People and their own connections, in a real browser, with Keycloak as the service: it rotates refresh tokens, and takes one
that comes twice for a stolen one."""

import re

import pytest
from support.people import ASSISTANT, PLANNER

CALLS_AT_ONCE = 50
LINK_GONE = "This link does not lead anywhere any more"


def test_an_agent_asks_and_after_signing_in_the_same_call_works(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    link = people.link(token)
    assert people.link(token) == link, "one link for one question"
    visitor = visit(people)
    visitor.sign_in(ada, link)
    visitor.sees("Connect crm?", PLANNER, "list_contacts", "email", "offline_access")
    assert "Ada Lovelace" in visitor.page.get_by_role("banner").inner_text()
    cookies = {cookie["name"]: cookie for cookie in visitor.page.context.cookies(people.origin)}
    session = cookies["__Host-obo-session"]
    assert session["secure"] and session["httpOnly"] and session["sameSite"] == "Lax"
    assert "__Host-obo-flow" not in cookies
    visitor.go_to_service(ada)
    visitor.sees("crm is connected", people.service.account(ada), PLANNER)
    people.serves(token, ada)

    # The link is used up.
    visitor.open(link)
    visitor.is_told(LINK_GONE)


def test_another_agent_needs_her_agreement_and_no_other_sign_in(people, visit):
    ada = people.hire("Ada Lovelace")
    visitor = visit(people)
    visitor.connect(ada, people.link(people.token(ada)))
    assistants = people.token(ada, ASSISTANT)
    visitor.open(people.link(assistants))
    visitor.sees("Let another agent use crm?", ASSISTANT, people.service.account(ada))
    visitor.press("Let this agent use it")
    visitor.sees("crm can be used", ASSISTANT)
    people.serves(assistants, ada)
    visitor.follow("Your connections")
    visitor.sees("Your connections", "crm", people.service.account(ada), PLANNER, ASSISTANT)


def test_the_link_of_another_person_shows_nothing_and_connects_nothing(people, visit):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token = people.token(ada)
    link = people.link(token)
    bobs = visit(people)
    bobs.sign_in(bob, link)
    bobs.is_told("This link is for somebody else")
    assert PLANNER not in bobs.page.content() and "crm" not in bobs.text()
    bobs.open(f"{link}/begin?token=AAAA")
    bobs.is_told("This did not come from your page")
    assert people.link(token) == link
    # It is still good for the person whose agent asked.
    visit(people).connect(ada, link)
    people.serves(token, ada)
    people.link(people.token(bob))


def test_who_opened_a_link_under_another_name_can_sign_in_as_themselves(people, visit):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token = people.token(ada)
    visitor = visit(people)
    visitor.sign_in(bob, people.link(token))
    visitor.follow("Sign in as somebody else")
    visitor.follow("Sign in with contoso")
    # Keycloak knows who was here, and offers to begin anew.
    visitor.use(visitor.page.locator("#reset-login"))
    people.company.sign_in(visitor, ada)
    visitor.sees("Connect crm?")
    visitor.go_to_service(ada)
    people.serves(token, ada)


def test_a_person_can_decline(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    link = people.link(token)
    visitor = visit(people)
    visitor.sign_in(ada, link)
    visitor.press("Decline")
    visitor.sees("Declined", PLANNER)
    visitor.open(link)
    visitor.is_told(LINK_GONE)
    # The agent hears that, and gets no other link.
    answer = people.call(token)
    assert (answer.status_code, answer.json()["code"]) == (403, "connection_declined")


def test_what_is_disconnected_is_gone_at_the_service_as_well_and_the_next_call_asks_again(people, visit):
    ada = people.hire("Ada Lovelace")
    tokens = [people.token(ada), people.token(ada, ASSISTANT)]
    visitor = visit(people)
    visitor.connect(ada, people.link(tokens[0]))
    visitor.open(people.link(tokens[1]))
    visitor.press("Let this agent use it")
    assert len(people.service.sessions(ada)) == 1
    visitor.disconnect("crm")
    notice = visitor.page.get_by_role("status").inner_text()
    assert notice == "Disconnected. The service has taken the access back as well."
    assert "You have connected nothing" in visitor.text()
    assert people.service.sessions(ada) == []
    link, another = map(people.link, tokens)
    # And she can connect it again, for the agent that she agrees to.
    visitor.open(link)
    visitor.sees("Connect crm?")
    visitor.go_to_service(ada)
    visitor.sees("crm is connected")
    people.serves(tokens[0], ada)
    assert people.link(tokens[1]) == another


def test_who_signs_out_is_signed_out(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    visitor.press("Sign out")
    visitor.sees("You are signed out")
    assert visitor.page.context.cookies(people.origin) == []
    visitor.page.go_back()
    assert ada.name not in visitor.page.content() and people.service.account(ada) not in visitor.page.content()
    visitor.open(f"{people.account}/")
    visitor.sees("Sign in")
    people.serves(token, ada)


def test_of_fifty_calls_at_a_rotation_one_renews_the_token_and_all_are_served(people, visit):
    ada, connector = people.hire("Ada Lovelace"), people.service.brief_connector
    token = people.token(ada)
    visit(people).connect(ada, people.link(token, connector), connector)
    used = [people.serves(token, ada, connector)]
    before = people.events(connector, "refreshed")
    # Twice, for the second needs the token that the first one brought.
    for _ in range(2):
        people.wait_for_rotation()
        assert people.serves_all_at_once(token, connector, CALLS_AT_ONCE) == [200] * CALLS_AT_ONCE
        new = {seen.token for seen in people.api.seen[-CALLS_AT_ONCE:]}
        assert len(new) == 1 and not new & set(used), "all of them with one new token"
        used.extend(new)
    assert people.events(connector, "refreshed") == before + 2
    assert people.service.refreshes(ada) == ["REFRESH_TOKEN"] * 2
    people.serves(token, ada, connector)


def test_a_gateway_that_is_killed_keeps_what_was_connected(people, visit):
    ada, connector = people.hire("Ada Lovelace"), people.service.brief_connector
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token, connector), connector)
    before = people.serves(token, ada, connector)
    people.gateway.kill()
    people.gateway.start()
    assert people.serves(token, ada, connector) == before
    people.wait_for_rotation()
    assert people.serves(token, ada, connector) != before
    # Who was signed in is asked who they are, and finds all as it was.
    visitor.sign_in(ada)
    visitor.sees("Your connections", connector, PLANNER, people.service.account(ada))


def test_what_a_person_takes_back_at_the_service_is_asked_for_again(people, visit):
    ada, connector = people.hire("Ada Lovelace"), people.service.brief_connector
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token, connector), connector)
    people.serves(token, ada, connector)
    people.service.withdraw(ada)
    people.wait_for_rotation()
    link = people.link(token, connector)
    assert people.events(connector, "withdrawn") == 1
    visitor.open(link)
    visitor.sees(f"Connect {connector}?", "that connection has ended")
    visitor.go_to_service(ada)
    visitor.sees(f"{connector} is connected")
    people.serves(token, ada, connector)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("/nowhere", "There is no such page"),
        ("/connect/AAAAAAAAAAAAAAAAAAAAAA", LINK_GONE),
        ("/sign-out", "This page does not work like that"),
        ("/sign-in?issuer=nobody", "Nobody signs in there"),
    ],
)
def test_what_leads_nowhere_says_what_to_do(people, visit, rest, said):
    visitor = visit(people)
    visitor.open(people.account + rest)
    visitor.is_told(said)


def test_a_service_that_is_away_is_said_to_be(people, visit):
    ada = people.hire("Ada Lovelace")
    visitor = visit(people)
    visitor.sign_in(ada, people.link(people.token(ada), "attic"))
    visitor.follow(re.compile("^Connect"))
    visitor.is_told("The other side cannot be reached")
