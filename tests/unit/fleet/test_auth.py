"""Who may call a fleet server. Goal: a token opens what its role says and nothing else, and no text shows a token."""

import pytest

from kvspic.fleet.auth import NO_TOKENS, AuthError, Refused, Role, check_site, read_tokens
from kvspic.loopback import is_loopback

ADMIN, VIEWER, HANDLER = "a" * 20, "v" * 20, "h" * 20
FILE = f"""
# comment
{ADMIN} admin
{VIEWER}  viewer   # the page in the corridor
{HANDLER} handler gpu,yard name=gw-north-
"""
MAY = {"admin": {"read", "write", "handle"}, "viewer": {"read"}, "handler": {"handle"}}
TOKENS = {"admin": ADMIN, "viewer": VIEWER, "handler": HANDLER}


@pytest.mark.parametrize("role", sorted(MAY))
@pytest.mark.parametrize("need", ["read", "write", "handle"])
def test_a_role_may_what_the_table_says(role, need):
    tokens = read_tokens(FILE)
    if need in MAY[role]:
        assert tokens.caller(f"Bearer {TOKENS[role]}", need).role is Role(role)
        return
    with pytest.raises(Refused) as refused:
        tokens.caller(f"Bearer {TOKENS[role]}", need)
    assert refused.value.status == 403


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", f"Basic {ADMIN}", "Bearer aaaa", f"Bearer {ADMIN}x"])
def test_without_a_known_token_the_answer_is_401(header):
    with pytest.raises(Refused) as refused:
        read_tokens(FILE).caller(header, "read")
    assert refused.value.status == 401
    assert "aaaa" not in str(refused.value)


def test_the_scheme_of_the_header_is_read_in_any_case():
    assert read_tokens(FILE).caller(f"bearer {ADMIN}", "write").role is Role.ADMIN


def test_a_handler_token_bounds_labels_and_names():
    caller = read_tokens(FILE).caller(f"Bearer {HANDLER}", "handle")
    assert caller.labels == {"gpu", "yard"}
    caller.check_handler("gw-north-7")
    with pytest.raises(Refused, match="gw-north-"):
        caller.check_handler("gw-south-7")


def test_without_a_file_everybody_is_admin():
    assert NO_TOKENS.caller(None, "write").role is Role.ADMIN


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "no token"),
        ("# only a comment", "no token"),
        ("short admin", "Line 1: a token has 16"),
        (f"{ADMIN}", "after the token comes its role"),
        (f"{ADMIN} root", "after the token comes its role"),
        (f"\n{ADMIN} admin gpu", "Line 2: labels and name= are for handler"),
        (f"{HANDLER} handler gpu,,yard", "labels are letters"),
        (f"{HANDLER} handler name=", "name= takes"),
        (f"{ADMIN} admin\n{ADMIN} viewer", "Line 2: this token stands in an earlier line"),
    ],
)
def test_a_wrong_file_is_refused_by_its_line_and_without_its_token(text, words):
    with pytest.raises(AuthError, match=words) as refused:
        read_tokens(text)
    assert ADMIN not in str(refused.value)
    assert HANDLER not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "a.localhost", "LOCALHOST."])
def test_loopback(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "fleet", ""])
def test_not_loopback(host):
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["127.0.0.1:8090", "localhost:8090", "[::1]:8090", ""])
def test_own_pages_and_programs_may_call(host):
    check_site(host, None, "http")
    check_site(host, f"http://{host}", "http")


@pytest.mark.parametrize(
    "host, origin",
    [
        ("evil.example:8090", None),
        ("localhost:8090", "http://evil.example"),
        ("localhost:8090", "https://localhost:8090"),
        ("localhost:8090", "http://localhost:9999"),
        ("localhost:8090", "null"),
        ("[::1", None),
    ],
)
def test_pages_of_other_sites_may_not(host, origin):
    with pytest.raises(Refused):
        check_site(host, origin, "http")
