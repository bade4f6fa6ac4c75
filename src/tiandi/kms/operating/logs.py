"""The log of a KME: one JSON object a line on standard error. Whoever logs says names and numbers, never key."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime

import msgspec

LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """Time (UTC), level, logger, message, process; of an exception its name and where it was, not its text, which may quote values."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = record.exc_info[0].__name__
            line["where"] = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(record.exc_info[2])]
        return msgspec.json.encode(line).decode()


def log_to_stderr(level: str = "info") -> None:
    """Send every log of this process to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # httpx tells every request at this level, uvicorn what we tell ourselves.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
