"""A fake station that charges a car when it is told to, one step at a time as the test says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.fakes.station import FakeStation

BOOT = {"chargePointVendor": "Voltline", "chargePointModel": "AC Duo 22", "firmwareVersion": "1.4.2"}


def iso(moment: datetime) -> str:
    """A time as OCPP writes it, to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def energy_sample(at: datetime, register_wh: int, **more: str) -> dict[str, Any]:
    """A MeterValue with the energy register and the power."""
    return {
        "timestamp": iso(at),
        "sampledValue": [
            {"value": str(register_wh), "measurand": "Energy.Active.Import.Register", "unit": "Wh", **more},
            {"value": "22000", "measurand": "Power.Active.Import", "unit": "W", **more},
        ],
    }


class Charger(FakeStation):
    """One connector of 22 kW. The session is dated back: it began two hours ago and its stop is now."""

    transaction = 0
    meter_start_wh = 120_000

    async def boot(self) -> dict[str, Any]:
        """Boot and report the connector; the answer to the BootNotification."""
        answer = await self.result("BootNotification", BOOT)
        await self.report("Available")
        return answer

    async def report(self, status: str) -> None:
        """StatusNotification of connector 1."""
        await self.result(
            "StatusNotification",
            {"connectorId": 1, "errorCode": "NoError", "status": status, "timestamp": iso(datetime.now(UTC))},
        )

    async def accept(self, action: str, status: str = "Accepted") -> dict[str, Any]:
        """The payload of the next command, which must be this one; it is answered with the status."""
        frame = await self.next_call()
        assert frame[2] == action, frame
        await self.send([3, frame[1], {"status": status}])
        payload: dict[str, Any] = frame[3]
        return payload

    async def begin(self, id_tag: str) -> dict[str, Any]:
        """StartTransaction; the answer."""
        self.started_at = datetime.now(UTC) - timedelta(hours=2)
        answer = await self.result(
            "StartTransaction",
            {"connectorId": 1, "idTag": id_tag, "meterStart": self.meter_start_wh, "timestamp": iso(self.started_at)},
        )
        self.transaction = answer["transactionId"]
        return answer

    async def meter(self, charged_wh: int, after: timedelta) -> None:
        """MeterValues, some time after the start."""
        sample = energy_sample(self.started_at + after, self.meter_start_wh + charged_wh, context="Sample.Periodic")
        payload = {"connectorId": 1, "transactionId": self.transaction, "meterValue": [sample]}
        assert await self.result("MeterValues", payload) == {}

    async def finish(self, charged_wh: int, reason: str = "Remote") -> dict[str, Any]:
        """StopTransaction, now; the answer."""
        now = datetime.now(UTC)
        payload = {
            "transactionId": self.transaction,
            "meterStop": self.meter_start_wh + charged_wh,
            "timestamp": iso(now),
            "reason": reason,
            "transactionData": [
                energy_sample(self.started_at, self.meter_start_wh, context="Transaction.Begin"),
                energy_sample(now, self.meter_start_wh + charged_wh, context="Transaction.End"),
            ],
        }
        return await self.result("StopTransaction", payload)
