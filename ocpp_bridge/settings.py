"""The bridge's settings: environment variables or a .env file, read once and passed down as an argument."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AnyHttpUrl, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Seconds = Annotated[float, Field(gt=0)]

# As bridge_heartbeat() gives it: after this long without a renewal other bridges may take over. Stations are let in
# until then, and a lease that is thought longer here than there would let them in twice. A test compares the two.
LEASE_S = 15


class UnknownStations(StrEnum):
    """What happens when a station connects that is not in table `stations`."""

    INBOX = "inbox"  # refused with 404, noted in station_inbox
    REJECT = "reject"  # refused with 404
    ACCEPT = "accept"  # the station is created


class UnknownIdTags(StrEnum):
    """What happens when an id_tag is not in table `id_tags`."""

    REJECT = "reject"  # answered Invalid; a transaction is recorded all the same
    ACCEPT = "accept"


class LogFormat(StrEnum):
    """How log lines are written."""

    TEXT = "text"
    JSON = "json"


class Settings(BaseSettings):
    """One field per variable; the variable's name is the field's in capitals."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,  # NAME= says as much as no line at all
        extra="ignore",
        frozen=True,
    )

    supabase_url: AnyHttpUrl = Field(description="URL of the Supabase project, e.g. http://127.0.0.1:54321")
    supabase_anon_key: SecretStr | None = Field(None, description="anon or publishable key, for signing in")
    bridge_email: str | None = Field(None, description="e-mail of the Auth user whose row in users has role bridge")
    bridge_password: SecretStr | None = Field(None, description="that user's password")
    supabase_service_role_key: SecretStr | None = Field(
        None, description="service or secret key; used instead of signing in when no BRIDGE_EMAIL is set"
    )

    ocpp_host: str = Field("0.0.0.0", description="address to listen on")
    ocpp_port: int = Field(8000, ge=0, le=65535, description="port for stations and /health, /ready, /metrics")
    trusted_proxies: Annotated[tuple[IPNetwork, ...], NoDecode] = Field(
        (), description="networks of reverse proxies whose X-Forwarded-For is believed, comma separated"
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR")
    log_format: LogFormat = Field(LogFormat.TEXT, description="text or json")

    bridge_id: str = Field(
        default_factory=lambda: f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}",
        min_length=1,
        max_length=100,
        description="unique among the bridges of one Supabase project",
    )
    heartbeat_interval: int = Field(300, ge=10, le=86400, description="seconds between Heartbeats, handed to stations")
    unknown_stations: UnknownStations = Field(UnknownStations.INBOX, description="inbox, reject or accept")
    unknown_id_tags: UnknownIdTags = Field(UnknownIdTags.REJECT, description="reject or accept")

    call_timeout: Seconds = Field(30, description="seconds a station may take to answer, unless the command says")
    # SteVe takes 8 MB; 4 MB holds the largest GetConfiguration and transactionData seen in the field.
    max_frame_bytes: int = Field(4_000_000, ge=10_000, description="largest frame of a station; beyond it: close 1009")
    # Measured with 50 stations: no difference in the bridge's CPU, about 40 kB of memory a station.
    compression: bool = Field(True, description="negotiate permessage-deflate with stations that offer it")
    max_queued_calls: int = Field(64, ge=1, description="CALLs of one station waiting; further ones get a CALLERROR")
    open_timeout: Seconds = Field(20, description="seconds for a handshake, its look-up in the database included")
    close_timeout: Seconds = Field(4, description="seconds to wait for a station to confirm a close")
    shutdown_timeout: Seconds = Field(8, description="seconds for a shutdown in order")
    unknown_station_cache: float = Field(5, ge=0, description="seconds a refused handshake is answered from memory")

    # Stations wait 30 s and more for an answer; the RPC and its repeats must end before.
    rpc_timeout: Seconds = Field(10, description="seconds for one request to Supabase")
    ingest_retry_window: float = Field(12, ge=0, description="seconds to go on repeating a request that failed")
    # More than 64 subtransactions in one transaction slow every PostgreSQL backend.
    ingest_batch_size: int = Field(60, ge=1, le=60, description="events in one request")
    ingest_batch_bytes: int = Field(4_000_000, ge=100_000, description="bytes in one request, a single event excepted")
    ingest_in_flight: int = Field(3, ge=1, le=16, description="requests under way at once")
    ingest_spacing: float = Field(0.025, ge=0, description="seconds before a request that is not full joins another")
    ingest_linger: float = Field(0.01, ge=0, description="seconds to wait, under load, for the stations just answered")
    ingest_queue: int = Field(20_000, ge=100, description="events waiting; further ones are refused at once")

    claim_interval: Seconds = Field(3, description="seconds between look-ups for commands, besides wake-ups")
    lease_interval: float = Field(
        5, gt=0, le=LEASE_S - 5, description=f"seconds between renewals of the bridge's lease, which lasts {LEASE_S} s"
    )
    realtime_probe_interval: Seconds = Field(10, description="seconds between checks that Realtime still answers")
    realtime_timeout: Seconds = Field(10, description="seconds for a join or the answer to a check")

    @field_validator("supabase_url")
    @classmethod
    def _without_path(cls, value: AnyHttpUrl) -> AnyHttpUrl:
        if value.path not in (None, "", "/"):
            raise ValueError("give the project's URL without a path, e.g. https://PROJECT.supabase.co")
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ValueError("is no level")
        return value.upper()

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())

    @field_validator("supabase_anon_key", "supabase_service_role_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value() if value is not None else ""
        if not key.isascii() or any(char.isspace() for char in key):
            raise ValueError("holds a character that no key has; copy the key again")
        return value

    @model_validator(mode="after")
    def _some_credentials(self) -> Settings:
        if self.bridge_email:
            if not self.bridge_password:
                raise ValueError("BRIDGE_PASSWORD: is missing; BRIDGE_EMAIL needs it")
            if not (self.supabase_anon_key or self.supabase_service_role_key):
                raise ValueError("SUPABASE_ANON_KEY: is missing; BRIDGE_EMAIL signs in with it")
        elif not self.supabase_service_role_key:
            raise ValueError(
                "BRIDGE_EMAIL: is missing; set BRIDGE_EMAIL and BRIDGE_PASSWORD, or SUPABASE_SERVICE_ROLE_KEY instead"
            )
        return self

    @property
    def url(self) -> str:
        """Supabase's URL without a slash at the end."""
        return str(self.supabase_url).rstrip("/")

    @property
    def api_key(self) -> str:
        """What goes into the apikey header."""
        key = (self.supabase_anon_key if self.bridge_email else None) or self.supabase_service_role_key
        assert key is not None  # _some_credentials
        return key.get_secret_value()


def load(**overrides: Any) -> Settings:
    """The settings of the environment and .env; overrides win. Raises ValidationError, see explain()."""
    return Settings(**overrides)


def explain(error: ValidationError) -> list[str]:
    """One line per setting that is missing or wrong: its name, what is wrong, and what to do about it."""
    lines = []
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        message = detail["msg"].removeprefix("Value error, ")
        if not detail["loc"]:
            lines.append(message)  # of the model as a whole: names its variable itself
            continue
        name = str(detail["loc"][0])
        field = Settings.model_fields.get(name)
        choices = detail["type"] == "enum"  # the message has them already
        hint = f" ({field.description})" if field is not None and field.description and not choices else ""
        problem = "is missing" if detail["type"] == "missing" else message[0].lower() + message[1:]
        lines.append(f"{name.upper()}: {problem}{hint}; set it in the environment or in .env")
    return lines
