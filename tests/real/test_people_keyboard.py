"""People without a mouse, and without scripts: Tab, Enter, and letters take them everywhere."""

import re

import pytest
from support.browsing import KeyboardVisitor
from support.people import ASSISTANT


@pytest.fixture
def at_the_keyboard(people, visit):
    return visit(people, KeyboardVisitor, java_script_enabled=False)


def test_all_of_it_can_be_done_by_keyboard_and_without_scripts(people, at_the_keyboard):
    ada, visitor = people.hire("Ada Lovelace"), at_the_keyboard
    token, assistants = people.token(ada), people.token(ada, ASSISTANT)
    visitor.connect(ada, people.link(token))
    people.serves(token, ada)
    visitor.open(people.link(assistants))
    visitor.press("Let this agent use it")
    visitor.sees("crm can be used")
    people.serves(assistants, ada)
    visitor.follow("Your connections")
    visitor.sees("Your connections", "crm")
    visitor.press("Disconnect crm")
    visitor.sees("Your connections", "Disconnected.")
    assert people.add(token, {"name": "Grace"}).status_code == 401, "first what it needs, then whether it may"
    visitor.open(people.link(token))
    visitor.go_to_service(ada)
    visitor.sees("crm is connected")
    visitor.open(people.question(token, {"name": "Grace"}))
    visitor.press("Agree to this call")
    visitor.sees("You have agreed")
    assert people.add(token, {"name": "Grace"}).status_code == 200
    visitor.open(people.question(token, {"name": "Grace"}))
    visitor.press("Decline")
    visitor.sees("Declined")
    visitor.press("Sign out")
    visitor.sees("You are signed out")
    visitor.follow("Sign in again")
    visitor.sees("Sign in")


def test_the_first_stop_skips_to_the_content(people, at_the_keyboard):
    ada, visitor = people.hire("Ada Lovelace"), at_the_keyboard
    visitor.sign_in(ada, people.link(people.token(ada)))
    visitor.page.keyboard.press("Tab")
    skip = visitor.page.get_by_role("link", name="Skip to content")
    assert skip.evaluate("it => it === document.activeElement")
    box = skip.bounding_box()
    assert box["x"] >= 0 and box["y"] >= 0, "it is seen when it has the focus"
    visitor.page.keyboard.press("Enter")
    visitor.page.keyboard.press("Tab")
    reached = visitor.page.evaluate("document.activeElement.innerText")
    assert reached == "your connections", "the header is behind them"


def test_the_order_is_that_of_reading(people, at_the_keyboard):
    ada, visitor = people.hire("Ada Lovelace"), at_the_keyboard
    visitor.sign_in(ada, people.link(people.token(ada)))
    visitor.sees("Connect crm?")
    reached = []
    for _ in range(6):
        visitor.page.keyboard.press("Tab")
        reached.append(re.sub(r" at .*", "", visitor.page.evaluate("document.activeElement.innerText")))
    assert reached == ["Skip to content", "Agent access", "Sign out", "your connections", "Connect", "Decline"]
