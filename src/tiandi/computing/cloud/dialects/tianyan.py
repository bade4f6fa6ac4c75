"""The dialect of the Tianyan and GuoDun clouds: QCIS for machines of the Zuchongzhi kind, over JSON in an envelope.

Every answer is ``{code, msg, data}`` with code 0 (the web's door: 200), which their clients look at; a refusal has status 200 and another
code, but for a token that is not valid: status 401 makes the clients log in again. At a login and at the web's door the words of an error
are its ``message``; both names in one answer are more than one of the clients takes. Observed of cqlib 1.3.11, cqlib-guodun 0.1.0,
cqlib-tianyan 0.1.0b2, cqlib-adapter 0.3.3 and tensorcircuit-ng 1.10.0. The pickled waveforms of the GuoDun cloud are not served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import HTTPScope, Receive

from tiandi.computing.cloud.answers import (
    Answer,
    answer,
    bearer,
    decode,
    parameters,
    path_segments,
    read_body,
    require_method,
    route,
)
from tiandi.computing.cloud.dialects.experiments import Asked, Experiments, require_qcis
from tiandi.computing.cloud.dialects.machines import Codes, configuration, is_simulator, overview
from tiandi.computing.cloud.dialects.refusals import reason
from tiandi.computing.cloud.dialects.tokens import LIFETIME_S, Tokens
from tiandi.computing.cloud.jobs import Submission
from tiandi.computing.cloud.service import Cloud
from tiandi.errors import InputError, NotAuthorised

LOGINS = ("/qccp-auth/oauth2/sdk/opnId", "/api-uaa/oauth/token")
DOORS = ("/qccp-quantum/sdk", "/experiment/sdk")
WEB = "/qccp-quantum/experiments/quantum/computer"
PUBLIC = "quantumComputer/config"
"""Asked without a token by its client; tells as much as the web's door."""
LOGIN_LIMIT_BYTE = 4096
FORM = b"application/x-www-form-urlencoded"

Body = TypeVar("Body")


class _Check(msgspec.Struct, frozen=True):
    qcis: str
    computer: str | None = msgspec.field(default=None, name="computerCode")


@dataclass(frozen=True)
class _Operation:
    method: str
    handle: Callable[[str, HTTPScope, Receive], Awaitable[Answer]]


def routes(cloud: Cloud) -> list[ASGIRouteHandler]:
    """The routes of this dialect."""
    door = _Door(cloud)
    logins = [route(path, door.log_in, refuse=refuse_login) for path in LOGINS]
    return [
        *logins,
        *(route(path, door.answer, refuse=refuse, is_mount=True) for path in DOORS),
        route(WEB, door.tell, refuse=refuse_web, is_mount=True),
    ]


def refuse(error: Exception) -> Answer:
    """How an error is told."""
    code, status, words = reason(error)
    return answer({"code": code, "msg": words, "data": None}, status)


def refuse_web(error: Exception) -> Answer:
    """How logins and the web's door tell an error."""
    code, status, words = reason(error)
    return answer({"code": code, "message": words, "data": None}, status)


def refuse_login(error: Exception) -> Answer:
    """How a login is refused: status 200, for the clients show the message of no other."""
    told = refuse_web(error)
    return Answer(200, told.body) if isinstance(error, NotAuthorised) else told


def give(data: Any, code: int = 0) -> Answer:
    """``data`` in the envelope."""
    return answer({"code": code, "msg": "success", "data": data})


class _Door:
    def __init__(self, cloud: Cloud) -> None:
        self._cloud, self._tokens, self._codes = cloud, Tokens(cloud), Codes(cloud.machines)
        experiments = Experiments(cloud, self._codes)
        post = {
            "experiment/save": experiments.save_lab,
            "experiment/detail/save": experiments.save,
            "experiment/detail/run": experiments.run_saved,
            "experiment/submit": experiments.submit,
            "experiment/temporary/save": experiments.submit,
            "experiment/result/find": experiments.results,
            "experiment/resubmit": experiments.again,
            "experiment/discontinue": experiments.cancel,
            "experiment/getQcis/by/taskIds": experiments.programs,
        }
        self._table: dict[str, _Operation] = {path: _Operation("POST", _decoded(handle)) for path, handle in post.items()}
        self._table |= {
            "experiment/qcis/rule/verify": _Operation("POST", self._verify),
            "quantumComputer/list": _Operation("GET", self._list),
            "generateWaveformDiagram": _Operation("POST", _no_waveforms),
            "getWaveformDiagram": _Operation("GET", _no_waveforms),
        }

    async def log_in(self, scope: HTTPScope, receive: Receive) -> Answer:
        """A token for an API key, from a form."""
        require_method(scope, ("POST",))
        body = await read_body(scope, receive, limit_byte=LOGIN_LIMIT_BYTE, media_type=FORM)
        try:
            key = parse_qs(body.decode(), max_num_fields=8).get("openId", [""])[0]
        except ValueError:
            raise InputError("body", f"{len(body)} bytes", "must be a form") from None
        return give({"access_token": await self._tokens.log_in(key), "token_type": "bearer", "expires_in": int(LIFETIME_S)})

    async def answer(self, scope: HTTPScope, receive: Receive) -> Answer:
        """Answer one request of the SDK's door."""
        path = "/".join(path_segments(scope)[2:])
        if path == PUBLIC:
            require_method(scope, ("GET",))
            return give(self._codes.listing())
        owner = await self._tokens.authenticate(bearer(scope))
        configured = path.removeprefix("experiment/download/config/")
        if configured != path:
            require_method(scope, ("GET",))
            return self._configure(scope, configured)
        if path not in self._table:
            raise NotFoundException("no such path")
        operation = self._table[path]
        require_method(scope, (operation.method,))
        return await operation.handle(owner, scope, receive)

    async def tell(self, scope: HTTPScope, _: Receive) -> Answer:
        """What the web's door tells without a login: the machines, and the layout of one."""
        require_method(scope, ("GET",))
        path = "/".join(path_segments(scope)[4:])
        if path == "by/user":
            return give(self._codes.listing(), 200)
        if path != "config":
            raise NotFoundException("no such path")
        given = parameters(scope, ("a", "type", "quantumComputerId", "label", "apiCode"))
        machine = self._codes.machine(self._codes.number(given.get("quantumComputerId", "")))
        if is_simulator(machine):
            raise InputError("quantumComputerId", given["quantumComputerId"], "is a simulator: it has no layout")
        return give(overview(machine.calibration()), 200)

    def _configure(self, scope: HTTPScope, code: str) -> Answer:
        moment = parameters(scope, ("readTime",)).get("readTime", "")
        if moment not in ("", "None", "null"):
            raise InputError("readTime", moment[:32], "only the present calibration is kept: leave it out")
        return give(configuration(code, self._codes.machine(code)))

    async def _list(self, _: str, __: HTTPScope, ___: Receive) -> Answer:
        return give(self._codes.listing())

    async def _verify(self, owner: str, scope: HTTPScope, receive: Receive) -> Answer:
        given = decode(await read_body(scope, receive), _check)
        await self._cloud.check(
            Submission(machine=self._codes.name(given.computer), programs=[given.qcis], shots=1, language=require_qcis("qcis")), owner=owner
        )
        return give(None)


_check = msgspec.json.Decoder(_Check)
_asked = msgspec.json.Decoder(Asked)


def _decoded(handle: Callable[[str, Asked, HTTPScope], Awaitable[Answer | Any]]) -> Callable[[str, HTTPScope, Receive], Awaitable[Answer]]:
    async def decoded(owner: str, scope: HTTPScope, receive: Receive) -> Answer:
        given = await handle(owner, decode(await read_body(scope, receive), _asked), scope)
        return given if isinstance(given, Answer) else give(given)

    return decoded


async def _no_waveforms(_: str, __: HTTPScope, ___: Receive) -> Answer:
    raise InputError("waveform", "asked for", "this cloud draws no waveforms: its twins run gates, and it serves no pickles")
