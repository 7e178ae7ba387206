"""The simulated stations of `make run`: cars worth watching, and neighbours of TEST-001 for the map."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from ocpp_bridge.simulator import Car, SimulatedStation

METER_INTERVAL_S = 3

_RAMP_S = 8.0
_WAVE_S = 10.0
_WAVE = 0.06


class LivelyCar(Car):
    """Comes up within half a minute, then draws its power less a wave of up to an eighth."""

    def drawn_wh(self, seconds: float) -> float:
        ramp = seconds - _RAMP_S * (1 - math.exp(-seconds / _RAMP_S))
        wave = _WAVE * (seconds - _WAVE_S * math.sin(seconds / _WAVE_S))
        return self.power_w * (ramp - wave) / 3600

    def draws_w(self, seconds: float) -> float:
        return self.power_w * (1 - math.exp(-seconds / _RAMP_S) - _WAVE * (1 - math.cos(seconds / _WAVE_S)))


@asynccontextmanager
async def neighbours(url: str) -> AsyncIterator[list[SimulatedStation]]:
    """Five more stations: AC and DC, one with a car plugged in, one with a fault, one of the other company."""
    async with AsyncExitStack() as entered:
        stations = []
        for station_id, power_w in (
            ("KG-BSK-001", 11_000),
            ("KG-BSK-006", 110_000),
            ("KG-TKM-001", 11_000),
            ("KG-CHA-002", 110_000),
            ("KG-OSH-002", 55_000),
        ):
            station = SimulatedStation(
                url, station_id, connectors=2, car=LivelyCar(power_w), meter_interval_s=METER_INTERVAL_S
            )
            stations.append(station)
        plugged, faulted = stations[2].connectors[2], stations[3].connectors[1]
        plugged.plugged, plugged.status = stations[2].car, "Preparing"
        faulted.error_code, faulted.status = "GroundFailure", "Faulted"
        for station in stations:
            await entered.enter_async_context(station)
        yield stations
