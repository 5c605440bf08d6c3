"""What others do to people who have a connection, or are on their way to one. It ends on a page that says what to do."""

from urllib.parse import urlsplit

from support.browsing import changed
from support.people import ASSISTANT

CANNOT = "This sign-in cannot be completed"
SENSELESS = "This request makes no sense here"
WRONG_PLACE = "This answer is from the wrong place"
NOT_OURS = "This did not come from your page"


def test_an_answer_that_another_browser_asked_for_connects_nothing(people, visit):
    # Mallory wants Ada to use Mallory's account, or Ada's account for herself.
    ada, mallory = people.hire("Ada Lovelace"), people.hire("Mallory Mound")
    adas, mallorys = visit(people), visit(people)
    token, mallorys_token = people.token(ada), people.token(mallory)
    answer = adas.answer_of_service(ada, people.link(token))
    mallorys_answer = mallorys.answer_of_service(mallory, people.link(mallorys_token))
    for visitor, foreign in ((adas, mallorys_answer), (mallorys, answer)):
        visitor.open(foreign)
        visitor.is_told(CANNOT)
    # A browser where nobody is signed in, and another one of Ada's own.
    nobodys, adas_other = visit(people), visit(people)
    nobodys.open(answer)
    nobodys.is_told(CANNOT)
    adas_other.sign_in(ada)
    adas_other.open(answer)
    adas_other.is_told(CANNOT)
    for own in (token, mallorys_token):
        people.link(own)


def test_an_answer_that_comes_twice_counts_once(people, visit):
    ada = people.hire("Ada Lovelace")
    token, visitor = people.token(ada), visit(people)
    answer = visitor.answer_of_service(ada, people.link(token))
    visitor.open(answer)
    visitor.sees("crm is connected")
    for _ in range(2):
        visitor.open(answer)
        visitor.is_told(CANNOT)
    people.serves(token, ada)


def test_an_answer_that_was_changed_on_its_way_connects_nothing(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    link = people.link(token)
    visitor = visit(people)
    answer = visitor.answer_of_service(ada, link)
    for address, said in (
        (changed(answer, state=None), SENSELESS),
        (f"{answer}&state=another", SENSELESS),
        (changed(answer, state="A" * 43), CANNOT),
        # Another server may be behind this one, that wants the code. And it does not get a second try.
        (changed(answer, iss="https://login.evil.example"), WRONG_PLACE),
        (answer, CANNOT),
    ):
        visitor.open(address)
        visitor.is_told(said)
    for parameters, said in (
        ({"iss": None, "code": "made-up"}, WRONG_PLACE),
        ({"code": None}, SENSELESS),
        ({"code": "made-up"}, CANNOT),
        ({"error": "access_denied"}, "Nothing has been connected"),
    ):
        visitor.answered(link, **parameters)
        visitor.is_told(said)
    assert people.link(token) == link
    visitor.open(f"{people.account}/")
    visitor.sees("Your connections", "You have connected nothing")


def test_nobody_is_signed_in_by_somebody_elses_sign_in(people, visit):
    mallory = people.hire("Mallory Mound")
    mallorys, adas = visit(people), visit(people)
    mallorys.open(f"{people.account}/")
    mallorys.follow("Sign in with contoso")
    answer = mallorys.way_back(lambda: people.company.sign_in(mallorys, mallory))
    adas.open(answer)
    adas.is_told(CANNOT)
    assert adas.page.context.cookies(people.origin) == []
    # Nor with a sign-in of her own under way.
    adas.open(f"{people.account}/")
    adas.follow("Sign in with contoso")
    adas.open(answer)
    adas.is_told(CANNOT)
    adas.open(f"{people.account}/")
    adas.sees("Sign in")


def test_no_other_site_frames_a_page(people, visit, site):
    ada = people.hire("Ada Lovelace")
    visitor = visit(people)
    link = people.link(people.token(ada))
    visitor.sign_in(ada, link)
    visitor.sees("Connect crm?")
    # Every page: those of somebody who is signed in, and those of nobody, for which a browser needs no cookie.
    addresses = [f"{people.account}/", link, f"{people.account}/nowhere", f"{people.account}/sign-in"]
    frames = "".join(f'<iframe src="{address}" width="600" height="400"></iframe>' for address in addresses)
    visitor.open(site.page(frames))
    shown = [frame for frame in visitor.page.frames if frame != visitor.page.main_frame]
    assert len(shown) == len(addresses)
    for frame in shown:
        frame.wait_for_load_state()
        assert frame.url.startswith("chrome-error://"), frame.url
        assert "Agent access" not in frame.content(), frame.content()


def test_no_other_site_sends_a_form_or_begins_anything(people, visit, site):
    ada = people.hire("Ada Lovelace")
    token, assistants = people.token(ada), people.token(ada, ASSISTANT)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    another = people.link(assistants)
    own = visitor.page.context.cookies(people.origin)
    for path, fields in (
        ("/sign-out", ""),
        ("/disconnect", '<input name="connector" value="crm">'),
        (f"{urlsplit(another).path.removeprefix('/account')}/agree", ""),
        (f"{urlsplit(another).path.removeprefix('/account')}/decline", ""),
    ):
        form = f'<form method="post" action="{people.account}{path}">{fields}<button>Win a prize</button></form>'
        visitor.open(site.page(form))
        visitor.press("Win a prize")
        visitor.is_told(NOT_OURS)
    # A link, which any site can have, needs what only the page knows.
    visitor.open(site.page(f'<a href="{another}/begin?token=AAAA">Win a prize</a>'))
    visitor.follow("Win a prize")
    visitor.is_told(NOT_OURS)
    assert visitor.page.context.cookies(people.origin) == own
    people.serves(token, ada)
    assert people.link(assistants) == another
    visitor.open(f"{people.account}/")
    visitor.sees("Your connections", "crm")


def test_a_form_of_another_session_does_nothing(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    # A page that was left open while she signed in anew, in the same browser.
    visitor.open(f"{people.account}/")
    old = visitor.page
    visitor.page = visitor.page.context.new_page()
    visitor.open(f"{people.account}/sign-in")
    visitor.follow("Sign in with contoso")
    visitor.sees("Your connections", "crm")
    visitor.page = old
    visitor.press("Disconnect crm")
    visitor.is_told(NOT_OURS)
    people.serves(token, ada)


def test_who_signs_in_stays_with_the_gateway(people, visit):
    ada = people.hire("Ada Lovelace")
    visitor = visit(people)
    visitor.sign_in(ada)
    for trick, where in (
        ("return=https://evil.example/", "/"),
        ("return_to=//evil.example&next=%2F%2Fevil.example", "/"),
        ("redirect_uri=https%3A%2F%2Fevil.example", "/"),
        ("ticket=AAAAAAAAAAAAAAAAAAAAAA", "/connect/AAAAAAAAAAAAAAAAAAAAAA"),
    ):
        visitor.open(f"{people.account}/sign-in?{trick}")
        way = visitor.page.get_by_role("link", name="Sign in with contoso").get_attribute("href")
        assert "evil" not in way
        # The page does not take it along; whoever writes such a link may.
        visitor.open(f"{people.origin}{way}&{trick}" if "ticket" not in trick else people.origin + way)
        assert visitor.page.url == people.account + where


def test_no_link_leads_anywhere_but_to_a_page(people, visit):
    visitor = visit(people)
    for ticket in ("//evil.example", "https:evil.example", "..%2F..%2Fcrm", "%0d%0aLocation:x", "A" * 100):
        visitor.open(f"{people.account}/sign-in?ticket={ticket}")
        visitor.is_told(SENSELESS)


def test_going_back_after_all_is_done_changes_nothing(people, visit):
    ada = people.hire("Ada Lovelace")
    token = people.token(ada)
    visitor = visit(people)
    visitor.connect(ada, people.link(token))
    steps = 0
    # Through all that was shown on the way, to the first page; and then forward again.
    for turn in (visitor.page.go_back, visitor.page.go_forward):
        while turn() is not None:
            steps += 1
            assert steps < 20
            if visitor.page.url.startswith(people.origin):
                status = visitor.page.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")
                assert status < 500, visitor.page.url
                assert "is connected" not in visitor.text() or visitor.page.url.startswith(f"{people.account}/callback")
    assert steps >= 4
    people.serves(token, ada)
    visitor.open(f"{people.account}/")
    visitor.sees("Your connections", "crm")
