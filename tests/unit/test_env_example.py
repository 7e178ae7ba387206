from __future__ import annotations

import re
from pathlib import Path

from ocpp_bridge.settings import Settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def test_the_example_names_every_setting_with_its_default() -> None:
    shown = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert set(shown) == {name.upper() for name in Settings.model_fields}
    given = {name.lower(): value for name, value in shown.items() if value}
    settings = Settings(_env_file=None, supabase_service_role_key="k", **given)  # type: ignore[arg-type]
    for name, field in Settings.model_fields.items():
        if name not in ("supabase_url", "supabase_service_role_key", "bridge_id"):
            assert getattr(settings, name) == field.default, name
