"""Single calls that a person has to agree to, in a real browser."""

import json
from concurrent.futures import ThreadPoolExecutor

from support.people import ASSISTANT, PLANNER

GRACE = {"name": "Grace Hopper", "notes": {"met": "in Arlington"}}
OVER = "There is nothing to answer here any more"


def test_a_call_waits_until_its_person_has_read_it_and_then_runs_once(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    link = people.question(token, GRACE)
    assert people.question(token, GRACE) == link, "one link for one call"
    before = len(people.api.seen)
    visitor.open(link)
    visitor.sees(
        "May this run?",
        PLANNER,
        "add_contact",
        "With your own account at crm",
        "POST /contacts",
        json.dumps(GRACE, indent=2),
    )
    assert len(people.api.seen) == before, "to look at it does nothing"
    visitor.press("Agree to this call")
    visitor.sees("You have agreed", PLANNER)
    with ThreadPoolExecutor(8) as threads:
        at_once = [answer.status_code for answer in threads.map(lambda _: people.add(token, GRACE), range(8))]
    assert sorted(at_once) == [200] + [428] * 7, at_once
    assert [json.loads(seen.body) for seen in people.api.seen[before:]] == [GRACE]
    # A second run is a question of its own, and the link of the first one is over.
    assert people.question(token, GRACE) != link
    visitor.open(link)
    visitor.is_told(OVER)


def test_another_call_another_agent_and_another_person_are_not_agreed_to(people, visit):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token, assistants, bobs = people.token(ada), people.token(ada, ASSISTANT), people.token(bob)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    visitor.open(people.link(assistants))
    visitor.press("Let this agent use it")
    visit(people).connect(bob, people.link(bobs))
    link = people.question(token, GRACE)
    visitor.open(link)
    visitor.press("Agree to this call")
    before = len(people.api.seen)
    links = {
        people.question(token, {**GRACE, "name": "Eve"}),
        people.question(token, {**GRACE, "confirmed": True}),
        people.question(assistants, GRACE),
        people.question(bobs, GRACE),
    }
    assert len(links) == 4 and link not in links
    assert len(people.api.seen) == before
    assert people.add(token, GRACE).status_code == 200


def test_the_question_of_another_person_shows_nothing_and_takes_no_answer(people, visit):
    ada, bob = people.hire("Ada Lovelace"), people.hire("Bob Byrne")
    token = people.token(ada)
    visit(people).connect(ada, people.link(token))
    link = people.question(token, GRACE)
    bobs = visit(people)
    bobs.sign_in(bob, link)
    bobs.is_told("This link is for somebody else")
    for said in ("Grace", "Arlington", "add_contact", PLANNER):
        assert said not in bobs.page.content(), said
    assert people.question(token, GRACE) == link


def test_who_declines_is_not_asked_again(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    before = len(people.api.seen)
    visitor.open(people.question(token, GRACE))
    visitor.press("Decline")
    visitor.sees("Declined", PLANNER)
    assert people.refuses(token, GRACE) == "confirmation_declined"
    # Back on the page that was answered, a yes comes too late.
    visitor.page.go_back()
    visitor.sees("Declined")
    assert people.refuses(token, GRACE) == "confirmation_declined"
    assert len(people.api.seen) == before


def test_what_would_not_be_seen_is_shown_by_its_code_point(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    visitor.open(people.question(token, {"to": "ada@\u202egro.elpmaxe", "html": "<script>document.title = 'x'</script>"}))
    visitor.sees("May this run?", "U+202E", "<script>document.title = 'x'</script>")
    assert "May this run?" in visitor.page.title()
