"""Tasks for tests of scheduling: functions of a module, as processes of their own must find them."""

from __future__ import annotations

import os
import time

from tiandi.errors import InputError, NoRoute


def scaled(shared: int, task: int) -> int:
    return shared * task


def slowly_scaled(shared: int, task: int) -> int:
    time.sleep(0.1)
    return shared * task


def fail(shared: int, task: int) -> int:
    if task % 2:
        raise InputError("task", task, "must be even")
    return task


def lack_route(shared: int, task: int) -> int:
    raise NoRoute("A", "B", "dark")


def die(shared: int, task: int) -> int:
    os._exit(1)
