"""The development authorization server, which plays Entra, and the demo mail connector, as a process of their own."""

import json
import os
import re
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urljoin, urlsplit

import requests

from .running import STOP_SECONDS


class DevelopmentServer:
    """`addresses` are the gateway's: those that it goes by as a resource, beside its own, and those where its pages take people
    back."""

    def __init__(self, folder: Path, *addresses: str):
        program = os.environ["OBO_DEVELOPMENT_SERVER"]
        self._process = subprocess.Popen(
            [program, str(folder / "certificates"), *addresses], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self._process.stdout.readline()
        assert line, "the development server did not start"
        self.told = json.loads(line)
        first_name = lambda person: person["address"].split(".")[0]  # noqa: E731
        self.people = {first_name(person): person for person in self.told["people"]}

    def exchanges(self) -> list:
        """What its token endpoint received so far."""
        self._process.stdin.write("exchanges\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def sign_in(self, address: str, person: str) -> dict:
        """What a person does whose browser is sent to `address`: what their client gets back in the end."""
        with requests.Session() as browser:
            browser.trust_env = False
            browser.verify = self.told["trust"]
            page = browser.get(address, timeout=30)
            # Who they are; and whether they agree, when the client wants them to be asked.
            while page.status_code == 200:
                form = {
                    "form_token": re.search(r'name=form_token value="([^"]+)"', page.text)[1],
                    "person": self.people[person]["oid"],
                    "answer": "agree",
                }
                action = urljoin(address, re.search(r'action="([^"]+)"', page.text)[1])
                page = browser.post(action, data=form, timeout=30, allow_redirects=False)
            assert page.status_code == 303, page.text
            return dict(parse_qsl(urlsplit(page.headers["location"]).query))

    def issuer(self, client_auth: dict, **exchange) -> dict:
        """The gateway's entry for it."""
        return {
            "kind": "entra",
            "tenant": self.told["tenant"],
            "issuer": self.told["issuer"],
            "audiences": [self.told["client_id"], self.told["app_id_uri"]],
            "ca_file": self.told["trust"],
            "exchange": {
                "grant": "on_behalf_of",
                "client_id": self.told["client_id"],
                "client_auth": client_auth,
                **exchange,
            },
        }

    def mail(self, **more) -> dict:
        """The gateway's entry for the mail connector."""
        return {
            "kind": "rest",
            "path": "/mail",
            "upstream": self.told["mail"],
            "ca_file": self.told["trust"],
            "audience": self.told["mail_audience"],
            "scopes": ["Mail.Read"],
            "timeouts": {"connect": "20s", "response": "20s", "idle": "20s"},
            **more,
        }

    def mcp(self, name: str, upstream: str, **more) -> dict:
        """The gateway's entry for an MCP server. Its tokens are as the mail connector's: it is whom people consented to."""
        return {
            "kind": "mcp",
            "path": f"/{name}/mcp",
            "upstream": upstream,
            "allow_plain_http": True,
            "identity": "on_behalf_of",
            "audience": self.told["mail_audience"],
            "scopes": ["Mail.Read"],
            "timeouts": {"connect": "20s", "response": "60s", "idle": "60s"},
            **more,
        }

    def secret(self, folder: Path) -> dict:
        """How the gateway proves itself to it where nothing else is asked for."""
        file = folder / "client-secret"
        file.write_text(self.told["client_secret"])
        return {"secret_file": str(file)}

    def stop(self) -> None:
        # It ends with its input, also when the tests are killed.
        self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
