"""People with browsers: what they do on the gateway's pages, at their company, and at a service.

Everything is done by four verbs: open, follow a link, press a button, fill a field. Whoever has no mouse does them otherwise.
"""

import html
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode, urlsplit

from playwright.sync_api import Locator, Page, Route, expect

from .people import PeopleBed, Person

# Nothing but loopback: whatever else a page wants is not there, at once.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
WIDE, NARROW = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
# Most steps of the Tab key from one end of a page to what is wanted on it.
TABS_MAX = 30


class Visitor:
    """Somebody with a browser that knows nothing of anybody else's."""

    def __init__(self, page: Page, bed: PeopleBed):
        self.page = page
        self.bed = bed
        self.complaints: list[str] = []
        page.on("console", self._heard)
        page.on("response", self._answered)

    def _heard(self, message) -> None:
        if "Content Security Policy" in message.text and self.page.url.startswith(self.bed.account):
            self.complaints.append(message.text)

    def _answered(self, response) -> None:
        if response.status == 500 and response.url.startswith(self.bed.origin):
            self.complaints.append(f"500: {response.url}")

    # What hands do.

    def open(self, address: str) -> None:
        self.page.goto(address)

    def follow(self, link: str | re.Pattern) -> None:
        self.use(self.page.get_by_role("link", name=link))

    def press(self, button: str | re.Pattern) -> None:
        self.use(self.page.get_by_role("button", name=button))

    def use(self, what: Locator) -> None:
        with self.page.expect_navigation():
            what.click()

    def fill(self, field: str, text: str) -> None:
        self.page.locator(field).fill(text)

    # What eyes do.

    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def sees(self, heading: str, *texts: str) -> None:
        """The page has this heading, and says these things."""
        expect(self.page.locator("h1")).to_have_text(heading)
        for text in texts:
            assert text in self.text(), self.text()

    def is_told(self, heading: str) -> None:
        """The page says what is wrong, and what to do."""
        self.sees(heading)
        assert self.page.get_by_role("heading", name="What you can do").count() == 1, self.text()

    # What people come for.

    def sign_in(self, person: Person, address: str | None = None) -> None:
        """Opens a link, or the list of connections, and signs in at the company."""
        self.open(address or f"{self.bed.account}/")
        self.sees("Sign in")
        self.follow("Sign in with contoso")
        # Who is signed in there already is not asked again.
        if not self.page.url.startswith(self.bed.origin):
            self.bed.company.sign_in(self, person)

    def connect(self, person: Person, link: str, connector: str | None = None) -> None:
        """All the way from an agent's link to a connection."""
        connector = connector or self.bed.service.connector
        self.sign_in(person, link)
        self.sees(f"Connect {connector}?")
        self.go_to_service(person)
        self.sees(f"{connector} is connected", self.bed.service.account(person))

    def go_to_service(self, person: Person) -> None:
        """From the page that asks to the service, and through it."""
        self.follow(re.compile("^Connect at"))
        self.bed.service.sign_in(self, person)

    def disconnect(self, connector: str) -> None:
        self.open(f"{self.bed.account}/")
        self.press(f"Disconnect {connector}")
        self.sees("Your connections")

    # What attackers do, and what comes of bad luck.

    def answer_of_service(self, person: Person, link: str) -> str:
        """All the way from an agent's link to a connection, but for the last step: the answer, which the gateway did not get."""
        self.sign_in(person, link)
        return self.way_back(lambda: self.go_to_service(person))

    def answered(self, link: str, **said) -> None:
        """Opens a link, and comes back from the service, where nobody has been, with what it did not say."""
        self.open(link)
        way = self.page.get_by_role("link", name=re.compile("^Connect at")).get_attribute("href")
        asked = self.page.context.request.get(self.bed.origin + way, max_redirects=0)
        request = dict(parse_qsl(urlsplit(asked.headers["location"]).query))
        answer = {"state": request["state"], "iss": self.bed.service.issuer, **said}
        self.open(changed(request["redirect_uri"], **answer))

    def way_back(self, act) -> str:
        """The address that a server sends the browser back to the gateway with, which the browser does not open."""
        kept = []

        def keep(route: Route) -> None:
            if "//127.0.0.1:" not in route.request.url:
                route.abort()
                return
            answer = route.fetch(max_redirects=0)
            location = answer.headers.get("location", "")
            body = f'<meta http-equiv="refresh" content="0; url={html.escape(location)}">'
            if location.startswith(self.bed.origin):
                kept.append(location)
                body = "<h1>Kept</h1>"
            if location:
                # Where a redirect leads is not told to us; where a page leads is.
                headers = {name: value for name, value in answer.headers.items() if name != "location"}
                route.fulfill(response=answer, status=200, content_type="text/html", headers=headers, body=body)
            else:
                route.fulfill(response=answer)

        elsewhere = re.compile(f"^(?!{re.escape(self.bed.origin)})")
        self.page.route(elsewhere, keep)
        act()
        self.page.get_by_role("heading", name="Kept").wait_for()
        self.page.unroute(elsewhere)
        assert len(kept) == 1, kept
        return kept[0]


def changed(address: str, **parameters) -> str:
    """The address with other parameters; one that is None is left out."""
    query = {**dict(parse_qsl(urlsplit(address).query)), **parameters}
    kept = {name: value for name, value in query.items() if value is not None}
    return urlsplit(address)._replace(query=urlencode(kept)).geturl()


class KeyboardVisitor(Visitor):
    """Somebody who has no mouse: Tab, Enter, and letters, and nothing else."""

    def _go_to(self, what: Locator) -> None:
        assert what.count() == 1, f"{what.count()} of {what} on {self.page.url}"
        for _ in range(TABS_MAX):
            if what.evaluate("it => it === document.activeElement"):
                break
            self.page.keyboard.press("Tab")
        else:
            raise AssertionError(f"no way to {what} on {self.page.url} by {TABS_MAX} times Tab")
        if self.page.url.startswith(self.bed.origin):
            # Whoever gets there has to see that they have.
            style = what.evaluate("it => { const s = getComputedStyle(it); return s.outlineStyle + s.outlineWidth }")
            assert style.startswith("solid") and style != "solid0px", style

    def use(self, what: Locator) -> None:
        self._go_to(what)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def fill(self, field: str, text: str) -> None:
        self._go_to(self.page.locator(field))
        self.page.keyboard.type(text)


class Site:
    """A site of somebody else, under another name than the gateway's."""

    def __init__(self):
        site = self
        self._html = ""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                body = site._html.encode()
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.origin = f"http://localhost:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def page(self, body: str) -> str:
        """The address of a page with this body."""
        self._html = f"<!doctype html><title>Elsewhere</title><h1>Elsewhere</h1>{body}"
        return f"{self.origin}/"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
