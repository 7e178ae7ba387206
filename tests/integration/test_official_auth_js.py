"""Supabase's JavaScript client signs in, refreshes and administers users; runs against any Supabase project."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from local_supabase.tools import Tools
from tests.support import Api

SCRIPT = Path(__file__).with_name("official_auth.mjs")


def test_supabase_js_signs_in_refreshes_and_administers_users(api: Api, tools: Tools) -> None:
    done = subprocess.run(
        [tools.node, SCRIPT, tools.folder, api.url, api.anon_key, api.service_role_key],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "wrongPassword": {"name": "AuthApiError", "status": 400, "code": "invalid_credentials"},
        "signedIn": True,
        "company": "Bishkek",
        "claims": "authenticated",
        "user": True,
        "rotated": True,
        "lateTabGetsTheNewToken": True,
        "updated": "ky",
        "weak": {"name": "AuthWeakPasswordError", "status": 422, "code": "weak_password"},
        "notAdmin": {"name": "AuthApiError", "status": 403, "code": "not_admin"},
        "listed": True,
        "signOut": None,
        "afterSignOut": {"name": "AuthSessionMissingError", "status": 400},
        "deleted": None,
        "gone": {"name": "AuthApiError", "status": 404, "code": "user_not_found"},
    }
