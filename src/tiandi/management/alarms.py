"""Alarms, and what follows from them: a link on which an eavesdropper was noticed is taken out of service."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tiandi.errors import DistillationAborted, QberTooHigh

Severity = Literal["critical", "major"]


@dataclass(frozen=True)
class Alarm:
    """Something an operator must know."""

    time: datetime
    link: str
    severity: Severity
    cause: str
    noticed_by: tuple[str, ...]


class FaultManager:
    """Keeps the alarms of a network and the links that they put out of service until an operator has looked."""

    def __init__(self) -> None:
        self.alarms: list[Alarm] = []
        self._out_of_service: dict[str, str] = {}

    def block_aborted(self, link: str, time: datetime, causes: dict[str, DistillationAborted]) -> Alarm:
        """Enter that a block was destroyed; ``causes`` tells what each end saw. Too many errors take the link out of service.

        Key of that link from earlier blocks stays as secret as its proof says, but nobody spends it while the alarm stands.
        """
        eavesdropped = any(isinstance(cause, QberTooHigh) for cause in causes.values())
        cause = "; ".join(f"{end}: {cause}" for end, cause in causes.items())
        alarm = Alarm(time, link, "critical" if eavesdropped else "major", cause, tuple(causes))
        self.alarms.append(alarm)
        if eavesdropped:
            self._out_of_service[link] = next(str(cause) for cause in causes.values() if isinstance(cause, QberTooHigh))
        return alarm

    def out_of_service(self, link: str) -> str | None:
        """Why a link is out of service, or None when it is in service."""
        return self._out_of_service.get(link)

    def clear(self, link: str) -> None:
        """An operator puts a link back into service."""
        self._out_of_service.pop(link, None)
