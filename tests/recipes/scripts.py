"""The scripts of docs/recipes as their pages call them: programs, told what they need by the environment."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.kms.kme_processes import PATIENCE_S, Pair

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"


def start(pair: Pair, sae: str, script: str, *words: object) -> subprocess.Popen[str]:
    """A script that runs as ``sae``, with its KME."""
    kme, files = {"alice": "kme-a", "bob": "kme-b"}[sae], pair.credentials("sae", sae)
    told = {
        "TIANDI_KME": pair.address(kme),
        "TIANDI_KME_ID": kme,
        "TIANDI_CERTIFICATE": str(files.certificate),
        "TIANDI_KEY": str(files.private_key),
        "TIANDI_AUTHORITY": str(files.authority),
    }
    command = [sys.executable, str(RECIPES / script), *map(str, words)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env={**os.environ, **told}, **pipes)


def finish(process: subprocess.Popen[str], said: str = "") -> tuple[int, str, str]:
    """Its status, output and errors; killed when it does not end."""
    try:
        out, err = process.communicate(said, timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, out, err


def wait_for_port(port: int) -> None:
    """Until somebody listens there; nobody is called."""
    wanted = f":{port:04X} "
    end = time.monotonic() + PATIENCE_S
    while not any(wanted in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines()):
        assert time.monotonic() < end
        time.sleep(0.02)
