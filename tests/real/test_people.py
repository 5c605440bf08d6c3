"""People, in a real browser: an agent asks, they sign in, connect, look at it, and take it back.

Pictures of every page go to target/pages: light and dark, wide and narrow.
"""

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from support.keycloak import PASSWORD
from support.parts import part
from support.people import PeopleBed

PICTURES = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "pages"
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 360, "height": 740}
PLANNER, ASSISTANT = "travel-planner", "sales-assistant"


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as running:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"]
        browser = running.chromium.launch(executable_path=part("chromium"), args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def bed(keycloak, tmp_path):
    bed = PeopleBed(keycloak, tmp_path / "bed")
    yield bed
    for realm in (bed.company, bed.service):
        keycloak.administer("DELETE", f"/{realm}")
    bed.stop()


@pytest.fixture
def browsers(chromium):
    """Makes browsers that know nothing of each other. Whatever one complains about fails the test."""
    made, complaints = [], []

    def make():
        context = chromium.new_context(ignore_https_errors=True, viewport=WIDE)
        context.set_default_timeout(30_000)
        page = context.new_page()

        def heard(message):
            if "Content Security Policy" in message.text and "127.0.0.1" in page.url and "/account" in page.url:
                complaints.append(message.text)

        page.on("console", heard)
        made.append(context)
        return page

    yield make
    for context in made:
        context.close()
    assert complaints == []


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        for size, viewport in (("wide", WIDE), ("narrow", NARROW)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size(viewport)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= viewport["width"], f"{name} is {width} wide in {viewport['width']}"
            page.screenshot(path=PICTURES / f"{name}-{scheme}-{size}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(WIDE)


def heading(page):
    headings = page.locator("h1").all_inner_texts()
    assert len(headings) == 1, headings
    return headings[0]


def keycloak_sign_in(page, person):
    page.fill("#username", person)
    page.fill("#password", PASSWORD)
    page.click("#kc-login")


def sign_in(page, link, person):
    """Opens a link, and signs in at the company."""
    page.goto(link)
    assert heading(page) == "Sign in"
    page.get_by_role("link", name="Sign in with contoso").click()
    keycloak_sign_in(page, person)


def connect(page, link, person="ada"):
    sign_in(page, link, person)
    assert heading(page) == "Connect crm?"
    page.get_by_role("link", name=re.compile("^Connect at")).click()
    keycloak_sign_in(page, "ada.at.crm")
    assert heading(page) == "crm is connected"


def test_an_agent_asks_and_after_signing_in_the_same_call_works(bed, browsers):
    token = bed.token("ada", PLANNER)
    link = bed.link(token)
    page = browsers()
    page.goto(link)
    picture(page, "1-sign-in")
    page.get_by_role("link", name="Sign in with contoso").click()
    keycloak_sign_in(page, "ada")
    assert heading(page) == "Connect crm?"
    for said in (PLANNER, "list_contacts", "email", "offline_access", "Ada Lovelace"):
        assert said in page.locator("body").inner_text(), said
    picture(page, "2-connect")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies(bed.origin)}
    session = cookies["__Host-obo-session"]
    assert session["secure"] and session["httpOnly"] and session["sameSite"] == "Lax"
    assert "__Host-obo-flow" not in cookies
    page.get_by_role("link", name=re.compile("^Connect at")).click()
    keycloak_sign_in(page, "ada.at.crm")
    assert heading(page) == "crm is connected"
    picture(page, "3-connected")
    answer = bed.call(token)
    assert answer.status_code == 200, answer.text
    assert bed.crm.seen[-1].fault is None
    assert bed.crm.seen[-1].token != token

    # The link is used up, and so is the answer.
    page.goto(link)
    assert heading(page) == "This link does not lead anywhere any more"
    picture(page, "4-link-gone")

    # Another agent of hers has to be agreed to, without another sign-in at the service.
    assistants = bed.token("ada", ASSISTANT)
    page.goto(bed.link(assistants))
    assert heading(page) == "Let another agent use crm?"
    assert "ada.at.crm@crm.test" in page.locator("main").inner_text()
    picture(page, "5-another-agent")
    page.get_by_role("button", name="Let this agent use it").click()
    assert heading(page) == "crm can be used"
    picture(page, "6-agreed")
    assert bed.call(assistants).status_code == 200

    page.get_by_role("link", name="Your connections").click()
    assert heading(page) == "Your connections"
    text = page.locator("main").inner_text()
    for said in ("crm", "ada.at.crm@crm.test", PLANNER, ASSISTANT):
        assert said in text, said
    picture(page, "7-connections")
    page.get_by_role("button", name="Disconnect crm").click()
    assert heading(page) == "Your connections"
    assert page.get_by_role("status").inner_text().startswith("Disconnected.")
    picture(page, "8-disconnected")
    for agent in (token, assistants):
        assert bed.call(agent).status_code == 401
    page.get_by_role("button", name="Sign out").click()
    assert heading(page) == "You are signed out"
    picture(page, "9-signed-out")


def test_the_link_of_another_person_shows_nothing_and_connects_nothing(bed, browsers):
    token = bed.token("ada", PLANNER)
    link = bed.link(token)
    bobs = browsers()
    sign_in(bobs, link, "bob")
    assert heading(bobs) == "This link is for somebody else"
    assert PLANNER not in bobs.content() and "crm" not in bobs.locator("main").inner_text()
    picture(bobs, "10-somebody-elses-link")
    bobs.goto(f"{link}/begin?token=AAAA")
    assert heading(bobs) == "This did not come from your page"
    assert bed.call(token).status_code == 401
    # It is still good for the person whose agent asked.
    connect(browsers(), link)
    assert bed.call(token).status_code == 200
    assert bed.call(bed.token("bob", PLANNER)).status_code == 401


def test_a_person_can_decline(bed, browsers):
    token = bed.token("ada", PLANNER)
    link = bed.link(token)
    page = browsers()
    sign_in(page, link, "ada")
    page.get_by_role("button", name="Decline").click()
    assert heading(page) == "Declined"
    picture(page, "11-declined")
    page.goto(link)
    assert heading(page) == "This link does not lead anywhere any more"
    assert bed.call(token).status_code == 401


def test_no_other_site_frames_a_page_or_sends_a_form(bed, browsers):
    page = browsers()
    sign_in(page, f"{bed.account}/", "ada")
    picture(page, "12-no-connections")
    # Another site of the same browser: the company's own server, of another origin.
    page.goto(f"{bed.keycloak.origin}/realms/{bed.company}/.well-known/openid-configuration")
    page.evaluate(
        """address => {
            const frame = document.createElement('iframe');
            frame.src = address;
            document.body.append(frame);
        }""",
        f"{bed.account}/",
    )
    page.wait_for_timeout(1_000)
    assert all("Your connections" not in frame.content() for frame in page.frames[1:])
    with page.expect_navigation():
        page.evaluate(
            """address => {
                const form = document.createElement('form');
                form.method = 'post';
                form.action = address;
                document.body.append(form);
                form.submit();
            }""",
            f"{bed.account}/sign-out",
        )
    assert heading(page) == "This did not come from your page"
    picture(page, "13-not-from-your-page")
    page.goto(f"{bed.account}/")
    assert heading(page) == "Your connections"


def test_a_keyboard_gets_everywhere_and_every_field_has_a_name(bed, browsers):
    page = browsers()
    sign_in(page, bed.link(bed.token("ada", PLANNER)), "ada")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText"))
    for named in ("Skip to content", "Agent access", "Sign out", "Decline"):
        assert named in reached, reached
    assert any(text.startswith("Connect at") for text in reached), reached
    assert page.locator("html").get_attribute("lang") == "en"
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1, landmark


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ("/nowhere", "There is no such page"),
        ("/callback?state=x&code=y", "This sign-in cannot be completed"),
        ("/signed-in?state=x&code=y", "This sign-in cannot be completed"),
        ("/connect/AAAAAAAAAAAAAAAAAAAAAA", "This link does not lead anywhere any more"),
        ("/sign-out", "This page does not work like that"),
    ],
)
def test_what_leads_nowhere_says_what_to_do(bed, browsers, rest, said):
    page = browsers()
    page.goto(bed.account + rest)
    assert heading(page) == said
    assert page.get_by_role("heading", name="What you can do").count() == 1
