"""One-time links and the sessions that they open."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tiandi.errors import NotAuthorised
from tiandi.web import sessions
from tiandi.web.sessions import Sessions


class Watch:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_link_opens_one_session_of_its_role() -> None:
    kept = Sessions()
    link = kept.offer("viewer")
    session, role = kept.log_in(link)
    assert (role, kept.role(session)) == ("viewer", "viewer")
    assert session != link
    with pytest.raises(NotAuthorised, match="used before"):
        kept.log_in(link)
    assert kept.role(kept.log_in(kept.offer("operator"))[0]) == "operator"


@pytest.mark.parametrize("secret", ["", "x", "ü", "\ud800", "A" * 43])
def test_what_was_not_given_out_opens_nothing(secret: str) -> None:
    kept = Sessions()
    session, _ = kept.log_in(kept.offer("operator"))
    kept.offer("operator")
    assert kept.role(secret) is None
    with pytest.raises(NotAuthorised):
        kept.log_in(secret)
    with pytest.raises(NotAuthorised):
        kept.log_in(session)


def test_a_link_is_no_session() -> None:
    kept = Sessions()
    assert kept.role(kept.offer("operator")) is None


def test_links_and_sessions_end() -> None:
    watch = Watch()
    kept = Sessions(watch)
    link, late = kept.offer("viewer"), kept.offer("viewer")
    watch.now_s += sessions.LINK_LIFE_S - 1
    session, _ = kept.log_in(link)
    watch.now_s += 1
    with pytest.raises(NotAuthorised):
        kept.log_in(late)
    watch.now_s += sessions.SESSION_LIFE_S - 2
    assert kept.role(session) == "viewer"
    watch.now_s += 1
    assert kept.role(session) is None


def test_a_session_that_is_logged_out_is_over() -> None:
    kept = Sessions()
    (one, _), (other, _) = kept.log_in(kept.offer("viewer")), kept.log_in(kept.offer("viewer"))
    kept.log_out(one)
    assert (kept.role(one), kept.role(other)) == (None, "viewer")
    kept.log_out("never")


def test_a_session_whose_file_is_removed_is_over(tmp_path: Path) -> None:
    kept = Sessions(folder=tmp_path)
    first, second = (kept.log_in(kept.offer(role))[0] for role in ("viewer", "operator"))  # type: ignore[arg-type]
    files = {file.name: file for file in (tmp_path / "sessions").iterdir()}
    files[hashlib.sha256(first.encode()).hexdigest()].unlink()
    assert (kept.role(first), kept.role(second)) == (None, "operator")
    link = kept.offer("viewer")
    for file in (tmp_path / "links").iterdir():
        file.unlink()
    with pytest.raises(NotAuthorised):
        kept.log_in(link)
    assert kept.role(second) == "operator"


def test_of_too_many_the_oldest_goes() -> None:
    kept = Sessions()
    links = [kept.offer("viewer") for _ in range(sessions.LINKS_KEPT + 1)]
    with pytest.raises(NotAuthorised):
        kept.log_in(links[0])
    kept.log_in(links[1])
    opened = [kept.log_in(kept.offer("viewer"))[0] for _ in range(sessions.SESSIONS_KEPT + 1)]
    assert kept.role(opened[0]) is None
    assert {kept.role(session) for session in opened[1:]} == {"viewer"}


def test_secrets_are_long_and_are_not_kept() -> None:
    kept = Sessions()
    links = {kept.offer("viewer") for _ in range(50)}
    assert len(links) == 50
    assert {len(link) for link in links} == {43}
    session, _ = kept.log_in(links.pop())
    held = repr([vars(room) for room in vars(kept).values()])
    assert not [secret for secret in (session, *links) if secret in held]
