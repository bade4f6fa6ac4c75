"""What both dialects share in telling errors and in making submissions."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar.exceptions import HTTPException

from tiandi.computing.cloud.answers import note_fault, status_code
from tiandi.computing.cloud.jobs import Submission
from tiandi.errors import InputError, NotAuthorised, TiandiError

_DETAIL_LETTERS = 1000
_OTHER_DOOR = re.compile(r"[,;] (or )?ask for compile.*")
"""Advice that only the cloud's own API can follow."""


def reason(error: Exception) -> tuple[int, int, str]:
    """A code, the status of HTTP and the words with which an error is told.

    The status is 200 for refusals whose words the clients read, and the code where they look at nothing but the status.
    """
    code = status_code(error)
    if isinstance(error, HTTPException):
        return code, code, error.detail
    if isinstance(error, TiandiError) and code != 500:
        return code, code if isinstance(error, NotAuthorised) else 200, _OTHER_DOOR.sub("", str(error))[:_DETAIL_LETTERS]
    note_fault(error)
    return code, code, "a fault of the cloud; it is in its log"


def submission(wanted: dict[str, Any]) -> Submission:
    """The submission of these fields. Raises InputError for one out of its range."""
    try:
        return msgspec.convert(wanted, Submission)
    except msgspec.ValidationError as error:
        raise InputError("submission", f"{len(wanted['programs'])} programs, {wanted['shots']} shots", str(error)) from None
