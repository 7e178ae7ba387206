"""Schemathesis throws at the running function what its OpenAPI document allows, and what it does not.

It checks: no 5xx, only documented statuses and content types, answers of the documented shapes, wrong data and missing
tokens refused, other methods 405. Data that the document allows may still be refused (a station that is unknown, a
duplicate), so acceptance is not checked here: the walks of test_mission_table.py do.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import schemathesis

from tests.integration.conftest import Project
from tests.integration.ways import ways_of

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,"
    "allow_header_conformance,ignored_auth,use_after_free,ensure_resource_availability"
)
# What is made is followed by the document's own links only: those that schemathesis guesses lead nowhere.
CONFIG = """
[phases.stateful.generation]
max-examples = 30
[phases.stateful.inference]
algorithms = []
"""
SEED = "20261122"  # the same cases each time: a failure can be looked into


async def token(project: Project, prefix: str) -> str:
    async with ways_of(project.env, prefix) as ways:
        return str(ways.rest.headers["Authorization"])


def test_the_document_is_openapi_3_1(project: Project) -> None:
    answer = httpx.get(f"{project.stack.url}/functions/v1/ocpp/openapi.json", timeout=60)
    document = answer.json()
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()


@pytest.mark.parametrize(
    ("prefix", "phases", "examples"),
    [
        ("DEMO_OPERATOR", "examples,coverage", 1),  # every limit of every field
        ("DEMO_DRIVER", "examples,fuzzing", 3),
        ("DEMO_ADMIN", "examples,fuzzing,stateful", 5),
    ],
)
def test_the_function_keeps_to_its_document(
    project: Project, tmp_path: Path, prefix: str, phases: str, examples: int
) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [
            Path(sys.executable).with_name("st"),
            "run",
            f"{project.stack.url}/functions/v1/ocpp/openapi.json",
            *("--header", f"Authorization: {asyncio.run(token(project, prefix))}"),
            *("--phases", phases, "--max-examples", str(examples), "--checks", CHECKS),
            *("--seed", SEED, "--continue-on-failure", "--no-color", "--request-timeout", "30", "--warnings", "off"),
            *("--suppress-health-check", "all"),  # a slow machine is no failure of the function
        ],
        cwd=tmp_path,  # it keeps notes where it runs
        env={name: value for name, value in os.environ.items() if not name.startswith("SCHEMATHESIS_")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
