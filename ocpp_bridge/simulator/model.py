"""What a simulated station is made of, and the meter values it sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_VOLTAGE_V = 230.0


@dataclass(frozen=True, slots=True)
class Car:
    """What a car would draw: power in W; with energy_wh it is full after exactly that many Wh."""

    power_w: float = 7400.0
    energy_wh: int | None = None

    def drawn_wh(self, seconds: float) -> float:
        """What it has drawn after so many seconds of charging, Wh."""
        return self.power_w * seconds / 3600

    def draws_w(self, seconds: float) -> float:
        """What it draws then, W."""
        return self.power_w


@dataclass(slots=True)
class Transaction:
    """A transaction as the station knows it. Registers in Wh; `id` is None until StartTransaction is answered."""

    id_tag: str
    meter_start_wh: int
    started_at: datetime
    started_monotonic: float
    remote: bool
    id: int | None = None
    full: bool = False


@dataclass(slots=True)
class Connector:
    """One outlet."""

    number: int
    status: str = "Available"
    error_code: str = "NoError"
    plugged: Car | None = None
    operative: bool = True
    register_wh: int = 0  # of the meter, for ever growing
    transaction: Transaction | None = None
    authorized: tuple[str, bool] | None = None  # a tag that waits for its car, and whether it came by remote start
    charging: asyncio.Task[None] | None = None
    waiting_for_car: asyncio.Task[None] | None = None


def meter_value(at: datetime, register_wh: int, power_w: float, context: str) -> dict[str, Any]:
    """A MeterValue: the register, and while it charges power, current and voltage."""
    values = [("Energy.Active.Import.Register", "Wh", f"{register_wh}")]
    if context in ("Sample.Periodic", "Trigger"):
        values.append(("Power.Active.Import", "W", f"{power_w:.0f}"))
        values.append(("Current.Import", "A", f"{power_w / _VOLTAGE_V:.1f}"))
        values.append(("Voltage", "V", f"{_VOLTAGE_V:.1f}"))
    return {
        "timestamp": timestamp(at),
        "sampledValue": [
            {"value": value, "context": context, "measurand": measurand, "unit": unit}
            for measurand, unit, value in values
        ],
    }


def timestamp(moment: datetime) -> str:
    """A time as OCPP writes it, UTC, to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
