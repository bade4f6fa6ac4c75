"""Alarms of a living network that stand until their cause is gone and, where somebody may have listened, an operator has looked."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tiandi.clock import format_utc
from tiandi.errors import InputError
from tiandi.scenario.view import AlarmLine


class StandingAlarms:
    """Numbered alarms; of one link and severity only one stands at a time."""

    def __init__(self, lines: list[AlarmLine], next_id: int) -> None:
        self._lines = {line.id: line for line in lines}
        self.next_id = next_id

    @property
    def lines(self) -> list[AlarmLine]:
        """Those that stand, oldest first."""
        return list(self._lines.values())

    def of(self, link: str) -> list[AlarmLine]:
        """Those of a link."""
        return [line for line in self._lines.values() if line.link == link]

    def enter(self, moment: datetime, severity: str, link: str, cause: str) -> AlarmLine | None:
        """A new alarm, or None where one of that link and severity stands."""
        if any(line.severity == severity for line in self.of(link)):
            return None
        line = AlarmLine(self.next_id, format_utc(moment), severity, link, cause, False)
        self._lines[line.id] = line
        self.next_id += 1
        return line

    def acknowledge(self, alarm_id: int) -> AlarmLine:
        """An operator has looked. Raises InputError when no such alarm stands."""
        if alarm_id not in self._lines:
            raise InputError("alarm", alarm_id, "no alarm of that number stands")
        self._lines[alarm_id] = line = msgspec.structs.replace(self._lines[alarm_id], acknowledged=True)
        return line

    def clear(self, line: AlarmLine) -> None:
        """It stands no more."""
        self._lines.pop(line.id, None)
