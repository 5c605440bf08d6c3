"""Pictures of each of people's pages, in target/pictures, for people to look at; and what axe-core can say of them.

Problems that take a broken gateway or service (a vault that cannot be read, an answer that cannot be trusted, …) have a page of
the same template with other words, and no picture.
"""

import re

import pytest
from support.browsing import Visitor, changed
from support.people import ASSISTANT, LONG_AGENT, LONG_CONNECTOR
from support.pictures import Album


@pytest.fixture(scope="module")
def album():
    return Album()


def test_the_pages_of_the_journey(people, visit, album):
    ada = people.hire("Ada Lovelace")
    token, assistants = people.token(ada), people.token(ada, ASSISTANT)
    visitor = visit(people)
    take = lambda name: album.take(visitor.page, name)  # noqa: E731
    link = people.link(token)
    people.link(token, path="/contacts/7")
    visitor.open(link)
    take("sign-in-by-a-link")
    visitor.open(f"{people.account}/")
    take("sign-in")
    visitor.sign_in(ada)
    take("connections-none")
    visitor.open(link)
    take("connect")
    visitor.go_to_service(ada)
    take("connected")
    people.serves(token, ada)
    visitor.open(people.link(assistants))
    take("another-agent")
    visitor.press("Let this agent use it")
    take("another-agent-agreed")
    visitor.open(people.link(token, "diary"))
    visitor.go_to_service(ada)
    visitor.sees("diary is connected")
    visitor.follow("Your connections")
    take("connections")
    visitor.press("Disconnect diary")
    visitor.sees("Your connections", "Disconnected.")
    take("disconnected")
    visitor.open(people.link(token, "diary"))
    visitor.press("Decline")
    take("declined")
    visitor.press("Sign out")
    take("signed-out")


def test_the_pages_of_a_call(people, visit, album):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token, contact = people.token(ada), {"name": "Grace Hopper", "notes": {"met": "in Arlington", "tags": ["navy", "COBOL"]}}
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    visitor.open(people.question(token, contact))
    album.take(visitor.page, "confirm")
    visitor.press("Agree to this call")
    album.take(visitor.page, "confirm-agreed")
    odd = {"to": "ada@\u202egro.elpmaxe", "html": "<img src=x onerror=alert(1)>", "long": "word" * 200, "lines": "one\ntwo"}
    question = people.question(token, odd)
    visitor.open(question)
    album.take(visitor.page, "confirm-odd")
    visitor.press("Decline")
    album.take(visitor.page, "confirm-declined")
    bobs = visit(people)
    bobs.sign_in(bob, question)
    album.take(bobs.page, "confirm-somebody-elses")
    bobs.open(f"{people.account}/confirm/AAAAAAAAAAAAAAAAAAAAAA")
    album.take(bobs.page, "problem-question-over")


def test_names_that_are_longer_than_anybody_would_like(people, visit, album):
    person = people.hire("Wolfeschlegelsteinhausenbergerdorff-Montgomery Featherstonehaugh-Cholmondeley III")
    token = people.token(person, LONG_AGENT)
    visitor = visit(people)
    for path in ("/contacts", "/contacts/7", "/contacts/7/history"):
        link = people.link(token, LONG_CONNECTOR, path)
    visitor.sign_in(person, link)
    # Of two agents of which only the end differs she has to see which one it is.
    visitor.sees(f"Connect {LONG_CONNECTOR}?", LONG_AGENT)
    album.take(visitor.page, "long-names-connect")
    visitor.go_to_service(person)
    album.take(visitor.page, "long-names-connected")
    visitor.follow("Your connections")
    album.take(visitor.page, "long-names-connections")


def _fill_hidden(visitor: Visitor, name: str, value: str) -> None:
    script = "([name, value]) => document.querySelectorAll(`[name=${name}]`).forEach(it => { it.value = value })"
    visitor.page.evaluate(script, [name, value])


def test_the_pages_about_problems(people, visit, album):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token, home = people.token(ada), f"{people.account}/"
    visitor = visit(people)

    def take(name: str, heading: str) -> None:
        visitor.is_told(heading)
        album.take(visitor.page, f"problem-{name}")

    visitor.open(f"{home}callback/crm?state=x&code=y")
    take("not-begun", "This sign-in cannot be completed")
    visitor.open(home)
    visitor.follow("Sign in with contoso")
    answer = visitor.way_back(lambda: people.company.sign_in(visitor, ada))
    visitor.open(changed(answer, code=None, error="access_denied", error_description="Ada is not on the list"))
    take("not-let-in", "You have not been signed in")

    visitor.sign_in(ada)
    visitor.answered(people.link(token), error="access_denied")
    take("refused", "Nothing has been connected")
    visitor.answered(people.link(token), error="server_error", error_description="Database <b>on fire</b>")
    take("service-failed", "The other side could not complete this")
    visitor.answered(people.link(token), iss="https://login.evil.example", code="made-up")
    take("wrong-place", "This answer is from the wrong place")

    for name, rest, heading in (
        ("no-such-page", "nowhere", "There is no such page"),
        ("method", "sign-out", "This page does not work like that"),
        ("senseless", "callback/crm", "This request makes no sense here"),
        ("not-offered", "sign-in?issuer=nobody", "Nobody signs in there"),
        ("link-gone", "connect/AAAAAAAAAAAAAAAAAAAAAA", "This link does not lead anywhere any more"),
    ):
        visitor.open(home + rest)
        take(name, heading)

    visitor.open(people.link(token, "attic"))
    visitor.follow(re.compile("^Connect at"))
    take("service-away", "The other side cannot be reached")

    visitor.open(people.link(people.token(bob)))
    take("somebody-elses-link", "This link is for somebody else")

    visitor.open(home)
    _fill_hidden(visitor, "token", "AAAA")
    visitor.press("Sign out")
    take("not-your-page", "This did not come from your page")
    visitor.open(home)
    _fill_hidden(visitor, "token", "A" * 9_000)
    visitor.press("Sign out")
    take("too-large", "This form is too large")

    visitor.open(people.link(token))
    visitor.go_to_service(ada)
    visitor.open(home)
    first = visitor.page
    visitor.page = first.context.new_page()
    visitor.disconnect("crm")
    visitor.page = first
    visitor.press("Disconnect crm")
    take("no-such-connection", "There is no such connection")
    visitor.open(home)
    first.context.clear_cookies()
    visitor.press("Sign out")
    take("signed-out-meanwhile", "You are not signed in any more")
