from __future__ import annotations

import pytest
from pydantic import ValidationError

from ocpp_bridge import cli
from ocpp_bridge.settings import LEASE_S, Settings, explain
from tests.unit.conftest import make_settings


def problems(**changes: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        make_settings(**changes)
    return explain(caught.value)


def test_the_defaults_are_those_of_the_old_service() -> None:
    settings = make_settings()
    assert (settings.heartbeat_interval, settings.unknown_stations, settings.unknown_id_tags) == (
        300,
        "inbox",
        "reject",
    )


def test_each_wrong_setting_is_one_line_that_names_it() -> None:
    lines = problems(ocpp_port="eighty", unknown_stations="maybe", log_level="LOUD")
    assert [line.split(":")[0] for line in lines] == ["OCPP_PORT", "LOG_LEVEL", "UNKNOWN_STATIONS"]
    assert all("set it in the environment or in .env" in line for line in lines)
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"supabase_service_role_key": ""}, "BRIDGE_EMAIL"),
        ({"bridge_email": "a@b.c", "supabase_anon_key": "k"}, "BRIDGE_PASSWORD"),
        ({"bridge_email": "a@b.c", "bridge_password": "p", "supabase_service_role_key": ""}, "SUPABASE_ANON_KEY"),
    ],
)
def test_missing_credentials_are_named(changes: dict[str, object], name: str) -> None:
    (line,) = problems(**changes)
    assert line.startswith(f"{name}: is missing")


def test_a_url_with_a_path_is_refused() -> None:
    (line,) = problems(supabase_url="https://x.supabase.co/rest/v1")
    assert line.startswith("SUPABASE_URL: give the project's URL without a path")


def test_trusted_proxies_are_networks_separated_by_commas() -> None:
    assert [str(network) for network in make_settings(trusted_proxies="10.0.0.0/8, ::1").trusted_proxies] == [
        "10.0.0.0/8", "::1/128"
    ]  # fmt: skip


@pytest.mark.parametrize("entry", ["10.0.0.1/8", "proxy"])
def test_a_wrong_proxy_is_named(entry: str) -> None:
    (line,) = problems(trusted_proxies=f"10.0.0.0/8, {entry}")
    assert line.startswith("TRUSTED_PROXIES: ")
    assert entry in line


@pytest.mark.parametrize("key", ["ключ", "eyJhb GciOi", "eyJhb…"])
@pytest.mark.parametrize("name", ["supabase_anon_key", "supabase_service_role_key"])
def test_a_key_that_fits_no_header_is_refused_and_not_shown(name: str, key: str) -> None:
    (line,) = problems(**{name: key})
    assert line.startswith(f"{name.upper()}: holds a character that no key has; copy the key again")
    assert key not in line


def test_a_lease_renewed_later_than_it_ends_is_refused() -> None:
    (line,) = problems(lease_interval=LEASE_S)
    assert line.startswith("LEASE_INTERVAL: ")


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OCPP_PORT", "BRIDGE_ID", "BRIDGE_EMAIL", "LOG_FORMAT", "TRUSTED_PROXIES"):
        monkeypatch.setenv(name, "")
    settings = Settings(_env_file=None, supabase_url="http://127.0.0.1:1", supabase_service_role_key="key")
    assert (settings.ocpp_port, settings.bridge_email, settings.log_format) == (8000, None, "text")
    assert settings.bridge_id != ""


def test_secrets_are_not_printed() -> None:
    settings = make_settings(bridge_email="a@b.c", bridge_password="hunter2", supabase_anon_key="anon-key")
    assert "hunter2" not in repr(settings)
    assert "anon-key" not in repr(settings)


def test_the_program_ends_with_2_and_no_traceback_on_wrong_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.chdir(str(tmp_path))
    for name in ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY", "BRIDGE_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["serve"]) == 2
    assert capsys.readouterr().err.startswith("SUPABASE_URL: is missing (URL of the Supabase project")
