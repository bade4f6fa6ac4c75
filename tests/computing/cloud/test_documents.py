"""The OpenAPI document beside what is served: Schemathesis asks whatever fits the document, and much that does not.

Of its checks one is left out: that a request fits the document does not mean that the machine runs the program, or that the job exists.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.computing.cloud import toys
from tests.computing.cloud.serving import make_user, served
from tests.outside.programs import ABSENT, CLIENTS, run

pytestmark = pytest.mark.skipif(not CLIENTS.exists(), reason=ABSENT)

KNOWN = '[parameters]\njob = "{job}"\nmachine = "dice"\n'


@pytest.mark.parametrize(
    ("known", "examples"), [(True, 3), pytest.param(True, 60, marks=pytest.mark.slow), pytest.param(False, 60, marks=pytest.mark.slow)]
)
def test_the_cloud_is_served_as_its_document_says(tmp_path: Path, known: bool, examples: int) -> None:
    store = tmp_path / "cloud.sqlite"
    key = make_user(store, "anna")
    with served(store, tmp_path, "--workers", "1") as running:
        with running.client(key) as client:
            job = client.post("/api/v1/jobs", json={"machine": "dice", "programs": [toys.BELL]}).json()["id"]
        document = tmp_path / "openapi.json"
        # A stream has no end that could be waited for.
        told = httpx.get(f"{running.address}/openapi.json", trust_env=False).json()
        del told["paths"]["/api/v1/events"]
        document.write_text(json.dumps(told))
        (tmp_path / "schemathesis.toml").write_text(KNOWN.format(job=job) if known else "")
        fixed = ("--exclude-checks", "positive_data_acceptance", "--seed", 1, "--generation-database", "none", "--no-color")
        who = ("--url", running.address, "--header", f"Authorization: Bearer {key}")
        done = run("schemathesis", "run", document, *fixed, *who, "--max-examples", examples, folder=tmp_path)
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        assert "fault at a door" not in running.log.read_text()
