"""Keycloak's standard token exchange (RFC 8693), as Keycloak itself does it."""

import signal
import threading
import time

import jwt
import pytest
import requests
from support.bed import KeycloakBed
from support.certificates import self_signed
from support.gateway import refusal
from support.keycloak import GATEWAY_SECRET, Realm
from support.running import eventually


@pytest.fixture(scope="module")
def realm(keycloak):
    return Realm(keycloak, "staff")


@pytest.fixture(scope="module", autouse=True)
def short_lived_token(realm):
    """One that lives for a second, had before all else, so that nobody has to wait for its end."""
    return realm.sign_in("ada", agent="hasty-agent")


@pytest.fixture
def beds(tmp_path):
    """Makes test beds, and stops them."""
    made = []

    def make(realm, **more):
        made.append(KeycloakBed(realm, tmp_path / f"bed-{len(made)}", **more))
        return made[-1]

    yield make
    for bed in made:
        bed.stop()


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_each_connector_sees_the_right_person(realm, beds):
    bed = beds(realm)
    for person in ("ada", "bob"):
        subject_token = realm.sign_in(person)
        for path, connector, audience, scope in (
            ("/mail/messages", bed.mail, "mail-connector", "mail.read"),
            ("/calendar/events", bed.calendar, "calendar-connector", "calendar.read"),
        ):
            answer = bed.gateway.call(path, subject_token)
            assert answer.status_code == 200, answer.text
            # The connector has checked signature, issuer, audience and lifetime with Keycloak's own keys.
            seen = connector.seen[-1]
            assert seen.fault is None
            assert seen.claims["sub"] == realm.people[person]
            assert seen.claims["aud"] == audience
            assert seen.claims["azp"] == "obo-gateway"
            assert seen.claims["scope"].split() == [scope]
            assert seen.token != subject_token
    assert bed.gateway.exchanges("staff") == 4
    assert len(bed.mail.seen) == len(bed.calendar.seen) == 2


def test_a_second_call_costs_no_exchange(realm, beds):
    bed = beds(realm)
    ada = realm.sign_in("ada")
    for _ in range(3):
        assert bed.gateway.call("/mail/messages", ada).status_code == 200
    assert bed.gateway.exchanges("staff") == 1
    assert bed.gateway.cache_lookups("hit") == 2
    assert len({seen.token for seen in bed.mail.seen}) == 1
    # A token that Ada's agent gets later, in a session of its own, is hers as well.
    assert bed.gateway.call("/mail/messages", realm.sign_in("ada")).status_code == 200
    assert bed.gateway.exchanges("staff") == 1
    # Bob's is not.
    assert bed.gateway.call("/mail/messages", realm.sign_in("bob")).status_code == 200
    assert bed.gateway.exchanges("staff") == 2
    assert [seen.claims["sub"] for seen in bed.mail.seen] == [realm.people["ada"]] * 4 + [realm.people["bob"]]


def test_an_app_only_connector_sees_the_service_account_and_others_the_person(realm, beds, tmp_path):
    secret = tmp_path / "shared-work-secret"
    secret.write_text(GATEWAY_SECRET)
    client_auth = {"secret_file": str(secret), "method": "basic"}
    application = {"client_id": "shared-work", "client_auth": client_auth}
    bed = beds(realm, application=application, calendar={"identity": "app_only"})
    for person in ("ada", "bob"):
        for path in ("/mail/messages", "/calendar/events"):
            answer = bed.gateway.call(path, realm.sign_in(person))
            assert answer.status_code == 200, answer.text
    assert [seen.claims["sub"] for seen in bed.mail.seen] == [realm.people["ada"], realm.people["bob"]]
    assert len({seen.token for seen in bed.calendar.seen}) == 1
    seen = bed.calendar.seen[0]
    assert (seen.claims["azp"], seen.claims["aud"]) == ("shared-work", "calendar-connector")
    assert seen.claims["scope"].split() == ["calendar.read"]
    assert seen.claims["sub"] not in realm.people.values()
    assert bed.gateway.application_tokens("staff") == 1
    assert bed.gateway.exchanges("staff") == 2
    # The client of the exchange has no service account: nothing is obtained in its place.
    bed = beds(realm, calendar={"identity": "app_only"})
    refused = bed.gateway.call("/calendar/events", realm.sign_in("ada"))
    assert refusal(refused) == (500, "exchange_misconfigured")
    assert (bed.gateway.exchanges("staff"), bed.calendar.seen) == (0, [])


@pytest.mark.parametrize("algorithm", ["ps256", "rs256"])
def test_the_gateway_proves_itself_by_a_signed_assertion(keycloak, beds, tmp_path, algorithm):
    realm = Realm(keycloak, f"signing-{algorithm}")
    key, certificate = self_signed("signing-gateway", tmp_path)
    realm.register_certificate("signing-gateway", certificate)
    client_auth = {"certificate": str(certificate), "key": str(key), "algorithm": algorithm}
    bed = beds(realm, client_id="signing-gateway", exchange={"client_auth": client_auth})
    answer = bed.gateway.call("/mail/messages", realm.sign_in("ada"))
    assert answer.status_code == 200, answer.text
    assert bed.mail.seen[0].claims["azp"] == "signing-gateway"


def test_the_record_names_the_person_and_what_was_granted(realm, beds):
    bed = beds(realm)
    bed.gateway.call("/mail/messages", realm.sign_in("ada"))
    record = bed.gateway.records(1)[0]
    assert record["actor"]["user"]["uid"] == realm.people["ada"]
    assert record["actor"]["app_uid"] == "agent"
    obo = record["unmapped"]["obo"]
    assert (obo["outcome"], obo["cache"], obo["audience"]) == ("answered", "miss", "mail-connector")
    assert obo["scopes_requested"] == obo["scopes_granted"] == ["mail.read"]


def test_a_token_for_another_connector_is_not_handed_out(realm, beds):
    bed = beds(realm)
    ada = realm.sign_in("ada")
    bed.gateway.call("/mail/messages", ada)
    delegated = bed.mail.seen[0].token
    # Neither does the gateway take it: it is not for the gateway.
    assert refusal(bed.gateway.call("/calendar/events", delegated)) == (401, "audience_mismatch")


def test_an_expired_token_that_clocks_may_disagree_about_is_refused_by_keycloak(realm, beds):
    bed = beds(realm)
    token = realm.sign_in("ada", agent="hasty-agent")
    eventually("it is expired", lambda: time.time() > claims(token)["exp"] + 1)
    # The gateway lets clocks differ by a minute. Keycloak's is its own: `Invalid token`.
    assert refusal(bed.gateway.call("/mail/messages", token)) == (401, "subject_token_rejected")
    assert bed.gateway.exchanges("staff", "subject_token") == 1
    assert bed.mail.seen == []


def test_a_session_that_was_ended_means_sign_in_again(realm, beds):
    bed = beds(realm)
    bob = realm.sign_in("bob")
    realm.sign_out("bob")
    # The token itself is still good: only Keycloak knows, and says `Invalid token`.
    assert refusal(bed.gateway.call("/mail/messages", bob)) == (401, "subject_token_rejected")
    assert bed.gateway.exchanges("staff", "subject_token") == 1
    assert bed.mail.seen == []
    assert bed.gateway.call("/mail/messages", realm.sign_in("bob")).status_code == 200


def test_a_token_without_the_gateway_in_its_audience_is_refused(realm, beds):
    bed = beds(realm)
    token = realm.sign_in("ada", agent="unmapped-agent")
    assert claims(token)["aud"] == "mail-connector"
    assert refusal(bed.gateway.call("/mail/messages", token)) == (401, "audience_mismatch")


def test_a_missing_audience_mapper_is_the_operators_to_mend(realm, beds):
    # The gateway takes tokens for somebody whom Keycloak does not take for the gateway.
    bed = beds(realm, client_id="consent-gateway", audiences=["obo-gateway"])
    token = realm.sign_in("ada", agent="hasty-agent")
    assert claims(token)["aud"] == "obo-gateway"
    assert refusal(bed.gateway.call("/mail/messages", token)) == (500, "exchange_misconfigured")
    assert bed.gateway.exchanges("staff", "misconfigured") == 1
    assert bed.gateway.records(1)[0]["unmapped"]["obo"]["fault"] == "gateway"


def test_missing_consent_comes_with_a_link_and_agreeing_there_helps(realm, beds):
    bed = beds(realm, client_id="consent-gateway")
    ada = realm.sign_in("ada")
    answer = bed.gateway.call("/mail/messages", ada)
    assert refusal(answer) == (403, "consent_required")
    link = answer.json()["consent_url"]
    assert link.startswith(f"{realm.issuer}/protocol/openid-connect/auth?")
    realm.open_and_agree(link, "ada")
    # A missing consent is remembered for moments only.
    served = lambda: bed.gateway.call("/mail/messages", ada).status_code == 200  # noqa: E731
    eventually("the call is served", served)
    assert bed.mail.seen[0].claims["sub"] == realm.people["ada"]
    assert refusal(bed.gateway.call("/mail/messages", realm.sign_in("bob"))) == (403, "consent_required")


def test_a_forgotten_person_is_asked_about_anew(realm, beds):
    bed = beds(realm)
    ada, bob = realm.sign_in("ada"), realm.sign_in("bob")
    for token in (ada, bob):
        assert bed.gateway.call("/mail/messages", token).status_code == 200
    forgotten = bed.gateway.forget("staff", realm.people["ada"])
    assert forgotten["credentials"] == 1, forgotten
    for token in (ada, bob):
        assert bed.gateway.call("/mail/messages", token).status_code == 200
    # Only hers was dropped.
    assert bed.gateway.exchanges("staff") == 3


def test_forgetting_somebody_who_was_signed_out_locks_them_out(realm, beds):
    bed = beds(realm)
    bob = realm.sign_in("bob")
    assert bed.gateway.call("/mail/messages", bob).status_code == 200
    realm.sign_out("bob")
    # The kept token serves on: that is what `forget` is for.
    assert bed.gateway.call("/mail/messages", bob).status_code == 200
    bed.gateway.forget("staff", realm.people["bob"])
    assert refusal(bed.gateway.call("/mail/messages", bob)) == (401, "subject_token_rejected")


class Callers:
    """Agents of both people that call all the time, each with tokens that it gets anew again and again."""

    CALLS_WITH_ONE_TOKEN = 5

    def __init__(self, bed):
        self._bed = bed
        self._stop = threading.Event()
        self.answers: list[tuple] = []
        self.faults: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(person,)) for person in ("ada", "bob") * 2]

    def _run(self, person):
        with requests.Session() as session:
            session.trust_env = False
            while not self._stop.is_set():
                token = self._bed.realm.sign_in(person)
                for _ in range(self.CALLS_WITH_ONE_TOKEN):
                    answer = self._bed.gateway.call("/mail/messages", token, session=session)
                    if answer.status_code != 200:
                        self.faults.append(answer.text)
                    elif answer.json()["claims"]["sub"] != self._bed.realm.people[person]:
                        self.faults.append(f"{person} was taken for {answer.json()['claims']}")
                    self.answers.append((answer.status_code, jwt.get_unverified_header(token)["kid"]))

    def made_with(self, kids, more: int) -> None:
        """Waits for this many more calls with tokens that are signed with one of these keys."""
        count = lambda: sum(kid in kids for _, kid in self.answers)  # noqa: E731
        wanted = count() + more
        eventually("calls are made", lambda: self.faults or count() >= wanted)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_keys_rotate_while_calls_run_and_an_old_one_is_withdrawn(keycloak, beds):
    realm = Realm(keycloak, "rotating")
    # Each token of a person is exchanged for itself, so that exchanges go on all the time.
    bed = beds(realm, exchange={"reuse": "token"})
    [old_key] = realm.signing_keys()
    old_token = realm.sign_in("ada")
    old_kid = jwt.get_unverified_header(old_token)["kid"]
    with Callers(bed) as callers:
        callers.made_with({old_kid}, 20)
        realm.sign_with_a_new_key(priority=200)
        new_kid = jwt.get_unverified_header(realm.sign_in("ada"))["kid"]
        assert new_kid != old_kid
        callers.made_with({new_kid}, 40)
        # Tokens of before are good as long as Keycloak lists their key.
        assert bed.gateway.call("/mail/messages", old_token).status_code == 200
    assert callers.faults == []
    assert bed.gateway.metric('obo_gateway_key_set_refreshes_total{issuer="staff",result="changed"}') == 2

    realm.drop_key(old_key)
    # What was fetched is good for ten minutes; operators who do not want to wait reload.
    bed.gateway.signal(signal.SIGHUP)
    refused = lambda: bed.gateway.call("/mail/messages", old_token).status_code == 401  # noqa: E731
    eventually("the withdrawal takes effect", refused)
    assert refusal(bed.gateway.call("/mail/messages", old_token)) == (401, "signing_key_unknown")
    assert bed.gateway.call("/mail/messages", realm.sign_in("ada")).status_code == 200


def test_an_expired_token_is_refused_by_the_gateway(realm, beds, short_lived_token):
    bed = beds(realm)
    told = claims(short_lived_token)
    assert told["exp"] - told["iat"] == 1
    eventually("clocks cannot disagree about it any more", lambda: time.time() > told["exp"] + 61)
    assert refusal(bed.gateway.call("/mail/messages", short_lived_token)) == (401, "token_expired")
    assert bed.mail.seen == []
