"""The page's door for certificates: whose opens it, as what, and that all others stay outside."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from tests.web import SmallNetwork
from tiandi.errors import StateError
from tiandi.kms.tls.identities import IdentityKind
from tiandi.kms.tls.pki import CertificateAuthority, Credentials
from tiandi.web import WindowServer
from tiandi.web.sessions import Sessions

SWITCH = "/api/v1/links/Beijing-Jinan/cut"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("pki"), "three cities")


@pytest.fixture(scope="module")
def serving(authority: CertificateAuthority) -> Credentials:
    return authority.issue("kme", "page")


def run(credentials: Credentials, work: Callable[[WindowServer, SmallNetwork], Awaitable[None]]) -> None:
    async def served() -> None:
        network = SmallNetwork()
        server = WindowServer(network, credentials=credentials)
        await server.start()
        try:
            await work(server, network)
        finally:
            await server.stop()

    asyncio.run(served())


def caller(server: WindowServer, authority: CertificateAuthority, files: Credentials | None) -> httpx.AsyncClient:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if files is not None:
        context.load_cert_chain(files.certificate, files.private_key)
    address = server.certificate_address
    return httpx.AsyncClient(base_url=address, verify=context, trust_env=False, headers={"Origin": address, "X-Tiandi": "1"})


def test_an_operators_certificate_opens_page_api_and_stream(authority: CertificateAuthority, serving: Credentials) -> None:
    files = authority.issue("operator", "ops")

    async def work(server: WindowServer, network: SmallNetwork) -> None:
        async with caller(server, authority, files) as client:
            assert "<!doctype html>" in (await client.get("/")).text
            assert (await client.get("/api/v1/session")).json() == {"role": "operator"}
            assert (await client.post(SWITCH, json={"on": True})).status_code == 200
            assert network.done == [("cut", "Beijing-Jinan", True)]
            link = (await client.post("/api/v1/login-links", json={"role": "viewer"})).json()["url"]
            assert link.startswith(server.address + "/#login=")
            async with client.stream("GET", "/api/v1/events") as told:
                async for line in told.aiter_lines():
                    if line == "event: network":
                        break
            for origin in (server.address, "https://evil.example", ""):
                assert (await client.post(SWITCH, json={"on": True}, headers={"Origin": origin})).status_code == 403
            assert (await client.post(SWITCH, json={"on": True}, headers={"X-Tiandi": ""})).status_code == 403
            assert (await client.get("/", headers={"Host": "evil.example"})).status_code == 421

    run(serving, work)


def test_a_viewers_certificate_looks_and_does_not_act(authority: CertificateAuthority, serving: Credentials) -> None:
    files = authority.issue("viewer", "guest")

    async def work(server: WindowServer, network: SmallNetwork) -> None:
        async with caller(server, authority, files) as client:
            assert (await client.get("/api/v1/session")).json() == {"role": "viewer"}
            assert (await client.get("/api/v1/network")).status_code == 200
            assert (await client.post(SWITCH, json={"on": True})).status_code == 403
            assert (await client.post("/api/v1/login-links", json={"role": "operator"})).status_code == 403
        assert network.done == []

    run(serving, work)


@pytest.mark.parametrize("kind", ["sae", "kme"])
def test_other_kinds_of_certificate_open_nothing(authority: CertificateAuthority, serving: Credentials, kind: IdentityKind) -> None:
    files = authority.issue(kind, "other")

    async def work(server: WindowServer, _: SmallNetwork) -> None:
        async with caller(server, authority, files) as client:
            if kind == "kme":
                # A KME without post-quantum key exchange does not come past the handshake.
                with pytest.raises(httpx.TransportError):
                    await client.get("/")
                return
            cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in (await log_in(server)).items())}
            for path in ("/", "/static/main.js", "/api/v1/session", "/api/v1/network", "/api/v1/events", "/api/openapi.json"):
                assert (await client.get(path)).status_code == 401, path
                assert (await client.get(path, headers=cookie)).status_code == 401, path

    run(serving, work)


async def log_in(server: WindowServer) -> dict[str, str]:
    session, _ = server.app.sessions.log_in(server.app.sessions.offer("operator"))
    return {f"tiandi-{address.rpartition(':')[2]}": session for address in (server.address, server.certificate_address)}


def test_nobody_comes_in_without_a_certificate_or_with_a_stranger_s(
    authority: CertificateAuthority, serving: Credentials, tmp_path: Path
) -> None:
    stranger = CertificateAuthority(tmp_path / "strangers", "three cities").issue("operator", "ops")

    async def work(server: WindowServer, network: SmallNetwork) -> None:
        for files in (None, stranger):
            async with caller(server, authority, files) as client:
                with pytest.raises(httpx.TransportError):
                    await client.post(SWITCH, json={"on": True})
        async with httpx.AsyncClient(trust_env=False) as plain:
            with pytest.raises(httpx.TransportError):
                await plain.get(server.certificate_address.replace("https", "http"))
        assert network.done == []

    run(serving, work)


def test_a_revoked_certificate_is_refused_and_its_stream_ends(authority: CertificateAuthority, serving: Credentials) -> None:
    files = authority.issue("operator", "leaver")

    async def work(server: WindowServer, network: SmallNetwork) -> None:
        async with caller(server, authority, files) as client, client.stream("GET", "/api/v1/events") as told, asyncio.timeout(10):
            lines = told.aiter_lines()
            await anext(lines)
            assert (await client.get("/api/v1/session")).status_code == 200
            authority.revoke("leaver")
            await asyncio.sleep(0.2)
            network.tell("something")
            async for _ in lines:
                pass
            assert (await client.get("/api/v1/session")).status_code == 401
        async with caller(server, authority, files) as client:
            with pytest.raises(httpx.TransportError):
                await client.get("/api/v1/session")

    run(serving, work)


def test_a_taken_port_is_told(serving: Credentials) -> None:
    async def work(server: WindowServer, network: SmallNetwork) -> None:
        taken = int(server.certificate_address.rpartition(":")[2])
        with pytest.raises(StateError, match="certificate_port"):
            WindowServer(network, credentials=serving, certificate_port=taken)

    run(serving, work)


def test_sessions_and_links_outlive_the_page(tmp_path: Path) -> None:
    """Another process may make a link for a running page; what lies on disk opens nothing."""
    before = Sessions(folder=tmp_path / "page")
    session, _ = before.log_in(before.offer("operator"))
    after = Sessions(folder=tmp_path / "page")
    assert after.role(session) == "operator"
    link = before.offer("viewer")
    assert after.log_in(link)[1] == "viewer"
    kept = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in kept} == {0o600}
    assert not [secret for secret in (session, link) for file in kept if secret in file.name + file.read_text(encoding="utf-8")]
    after.log_out(session)
    assert Sessions(folder=tmp_path / "page").role(session) is None
