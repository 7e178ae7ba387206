"""Edge Functions behind the gateway, each a Deno process of its own."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local_supabase import LocalSupabase
from local_supabase.process import birth

CONFIG = """
project_id = "functions"
[functions.open]
verify_jwt = false
[functions.page]
verify_jwt = false
[functions.broken]
verify_jwt = false
[functions.off]
enabled = false
[functions.stream]
verify_jwt = false
"""
OPEN = """
Deno.serve(async (request) => {
  const url = new URL(request.url);
  return Response.json({
    method: request.method,
    path: url.pathname + url.search,
    body: await request.text(),
    apiKey: request.headers.get("sb-api-key"),
    env: Object.keys(Deno.env.toObject()).filter((name) => name.startsWith("SUPABASE_") || name === "MY_SHELL"),
    secret: Deno.env.get("FUNCTION_SECRET") ?? null,
    version: VERSION,
  }, { status: 201, headers: { "X-Function": "open" } });
});
const VERSION = 1;
"""
GUARDED = """
export default {
  fetch: (request: Request) => new Response(request.headers.get("Authorization") ?? "preflight"),
};
"""
PAGE = """
Deno.serve(() => new Response("<h1>hi</h1>", { headers: { "Content-Type": "text/html; charset=utf-8" } }));
"""
STREAM = """
let release: () => void;
Deno.serve((request) => {
  if (request.method === "POST") { release(); return new Response("released"); }
  const gate = new Promise<void>((resolve) => { release = resolve; });
  const parts = new ReadableStream({
    async start(controller) {
      controller.enqueue(new TextEncoder().encode("first "));
      await gate;
      controller.enqueue(new TextEncoder().encode("second"));
      controller.close();
    },
  });
  return new Response(parts);
});
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    sources = {
        "open": OPEN,
        "guarded": GUARDED,
        "page": PAGE,
        "broken": "syntax error here",
        "off": OPEN,
        "stream": STREAM,
    }
    for name, source in sources.items():
        entry = folder / "supabase" / "functions" / name / "index.ts"
        entry.parent.mkdir(parents=True)
        entry.write_text(source)
    (folder / "supabase" / "config.toml").write_text(CONFIG)
    (folder / "supabase" / "functions" / ".env").write_text("FUNCTION_SECRET=from the file\n")
    return folder


@pytest.fixture(scope="module")
def served(cluster: LocalSupabase, template: str, project: Path) -> Iterator[LocalSupabase]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_SHELL", "a developer's own")
        with cluster.fresh_stack(template, project=project) as stack:
            yield stack


@pytest.fixture
def http(served: LocalSupabase) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{served.url}/functions/v1", timeout=60) as client:
        yield client


def test_a_function_gets_the_request_and_its_answer_comes_back(http: httpx.Client) -> None:
    answer = http.put("/open/stations/ST%201?x=1", content=b"body")
    assert (answer.status_code, answer.headers["X-Function"]) == (201, "open")
    said = answer.json()
    assert (said["method"], said["path"], said["body"]) == ("PUT", "/open/stations/ST%201?x=1", "body")


def test_a_path_reaches_a_function_whatever_is_in_it(http: httpx.Client) -> None:
    for path in ("/open/a%0Ab", "/open/%F0%9F%94%8C", "/open/a%2Fb/", "/open//"):
        assert http.get(path).json()["path"] == path


def test_a_method_that_no_function_gets_is_405(http: httpx.Client) -> None:
    answer = http.request("TRACE", "/open")
    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]


def test_a_function_has_the_environment_of_a_hosted_one(http: httpx.Client) -> None:
    said = http.get("/open").json()
    assert {"SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_DB_URL"} <= set(said["env"])
    assert said["secret"] == "from the file"
    assert "MY_SHELL" not in said["env"]  # what only the developer's shell has would be missing in production


def test_a_function_can_call_the_api(served: LocalSupabase, project: Path, http: httpx.Client) -> None:
    source = """
      Deno.serve(() => fetch(`${Deno.env.get("SUPABASE_URL")}/rest/v1/`, {
        headers: { apikey: Deno.env.get("SUPABASE_SERVICE_ROLE_KEY")! },
      }));
    """
    entry = project / "supabase" / "functions" / "caller" / "index.ts"
    entry.parent.mkdir()
    entry.write_text(source)
    answer = http.get("/caller", headers={"Authorization": f"Bearer {served.anon_key}"})
    assert answer.json()["swagger"] == "2.0"


def test_a_token_is_asked_for_unless_the_settings_say_otherwise(served: LocalSupabase, http: httpx.Client) -> None:
    missing = http.get("/guarded")
    assert (missing.status_code, missing.json()["message"]) == (401, "Missing authorization header")
    wrong = http.get("/guarded", headers={"Authorization": "Bearer nonsense"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid JWT")
    expired = served.mint("authenticated", expires_in_s=-10)
    assert http.get("/guarded", headers={"Authorization": f"Bearer {expired}"}).status_code == 401
    good = f"Bearer {served.mint('authenticated')}"
    assert http.get("/guarded", headers={"Authorization": good}).text == good


def test_a_preflight_passes_without_a_token(http: httpx.Client) -> None:
    assert http.options("/guarded", headers={"Access-Control-Request-Method": "POST"}).text == "preflight"


def test_an_api_key_may_be_missing_but_not_wrong(served: LocalSupabase, http: httpx.Client) -> None:
    wrong = http.get("/open", headers={"apikey": "sb_secret_guess"})
    assert (wrong.status_code, wrong.json()["message"]) == (401, "Invalid API key")
    given = http.get("/open", headers={"apikey": served.publishable_key, "sb-api-key": "forged"}).json()
    assert given["apiKey"] == served.anon_key
    assert http.get("/open", headers={"sb-api-key": "forged"}).json()["apiKey"] is None


def test_a_page_is_sent_as_text(http: httpx.Client) -> None:
    """Hosted projects do the same on their own domain."""
    answer = http.get("/page")
    assert (answer.headers["Content-Type"], answer.text) == ("text/plain", "<h1>hi</h1>")


def test_what_is_not_there_is_404(http: httpx.Client) -> None:
    for name in ("none", "off", "_shared", "..%2Fopen"):
        answer = http.get(f"/{name}")
        assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND"), name


def test_a_function_that_does_not_start_says_so(served: LocalSupabase, http: httpx.Client) -> None:
    answer = http.get("/broken")
    assert (answer.status_code, answer.json()["code"]) == (503, "BOOT_ERROR")
    assert "syntax" in (served.folder / "log" / "function-broken.log").read_text()


def test_an_answer_streams(http: httpx.Client) -> None:
    with http.stream("GET", "/stream") as answer:
        parts = answer.iter_text()
        assert next(parts) == "first "
        http.post("/stream")
        assert "".join(parts) == "second"


def test_a_changed_file_is_served(project: Path, http: httpx.Client) -> None:
    assert http.get("/open").json()["version"] == 1
    entry = project / "supabase" / "functions" / "open" / "index.ts"
    entry.write_text(OPEN.replace("VERSION = 1", "VERSION = 2"))
    deadline = time.monotonic() + 30
    while (version := http.get("/open").json()["version"]) == 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert version == 2


def test_a_crashed_function_is_started_again(served: LocalSupabase, http: httpx.Client) -> None:
    http.get("/page")
    pid = json.loads((served.folder / "run" / "function-page.json").read_text())["pid"]
    os.kill(pid, 9)
    deadline = time.monotonic() + 30
    while (status := http.get("/page").status_code) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200


def test_functions_end_with_the_gateway_even_when_it_is_killed(served: LocalSupabase, http: httpx.Client) -> None:
    http.get("/page")
    note = json.loads((served.folder / "run" / "function-page.json").read_text())
    served.kill("gateway")
    assert birth(note["pid"]) == note["birth"]  # a killed process cannot clean up
    served.start("gateway")
    assert birth(note["pid"]) != note["birth"]
    http.get("/page")
    second = json.loads((served.folder / "run" / "function-page.json").read_text())["pid"]
    served.stop("gateway")
    assert birth(second) is None
    served.start("gateway")


def test_down_ends_functions_of_a_killed_gateway(served: LocalSupabase, http: httpx.Client) -> None:
    http.get("/page")
    pid = json.loads((served.folder / "run" / "function-page.json").read_text())["pid"]
    served.kill("gateway")
    served.down()
    assert birth(pid) is None
    served.start("postgrest")
    served.start("gateway")
