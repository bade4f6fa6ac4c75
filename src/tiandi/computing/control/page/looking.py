"""Where a page's data come from: a session at work in this process, or a state folder that another process may be writing."""

from __future__ import annotations

import threading

from tiandi.computing.control.bringup import Session
from tiandi.computing.control.curves import CurveKeeper
from tiandi.computing.control.graph import Condition, Graph
from tiandi.computing.control.page.board import Board
from tiandi.computing.control.store import Store

POLL_S = 0.5


def board_of(session: Session) -> Board:
    """A session as it is now; to look adds nothing to its condition."""
    return Board(session.graph, session.knowledge, Condition(dict(session.condition.progress)), session.runner.curves, session.now_s)


class Folder:
    """A state folder, read again whenever its state was written."""

    def __init__(self, store: Store, graph: Graph) -> None:
        self._store, self._graph = store, graph
        self._lock = threading.Lock()
        self._written, self._board = -1, self._read()

    def written(self) -> int:
        """A number that changes with the file."""
        return self._store.file.stat().st_mtime_ns

    def board(self) -> Board:
        """The state as it was written last. Raises StateError where it cannot be read."""
        with self._lock:
            if self.written() != self._written:
                self._board = self._read()
            return self._board

    def _read(self) -> Board:
        loaded = self._store.load()
        self._written = self.written()
        return Board(self._graph, loaded.knowledge, loaded.condition, CurveKeeper(self._store.curves), loaded.now_s)
