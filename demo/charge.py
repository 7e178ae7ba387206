"""One session, as a driver's app sees it: started and stopped over the REST API, watched on its Realtime topic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from realtime import RealtimeChannelOptions
from supabase import AsyncClient

from ocpp_bridge.simulator import SimulatedStation

from .processes import DemoError

STATION = "TEST-001"
STEP_TIMEOUT = 30.0  # seconds for each step; the whole takes a few

Session = dict[str, Any]
PRIVATE: RealtimeChannelOptions = {
    "config": {"private": True, "broadcast": None, "presence": None}  # the rest by default
}
Say = Callable[[str], None]


async def charge(driver: AsyncClient, station: SimulatedStation, say: Say) -> Session:
    """The stopped session with its receipt. Raises DemoError when a step does not come."""
    session = cast(Session, (await driver.rpc("start_charge", {"station_id": STATION}).execute()).data)
    say(f"POST /rest/v1/rpc/start_charge  ->  session {session['id']}, {session['status']}")
    channel = driver.channel(f"session:{session['id']}", PRIVATE)
    channel.on_broadcast("session", lambda message: say(_news(message["payload"])))
    await channel.subscribe()

    async def watch(until: str) -> Session:
        """The session's row once it has the status."""
        async with asyncio.timeout(STEP_TIMEOUT):
            while True:
                answer = await driver.table("charging_sessions").select("*").eq("id", session["id"]).single().execute()
                row = cast(Session, answer.data)
                if row["status"] == "error":
                    raise DemoError(f"the session failed: {row['error']}")
                if row["status"] == until:
                    return row
                await asyncio.sleep(0.1)

    try:
        await watch("started")
        async with asyncio.timeout(STEP_TIMEOUT):
            await station.until(lambda: bool((t := station.connectors[1].transaction) and t.full))
        say("The car is full.")
        await driver.rpc("stop_charge", {"session_id": session["id"]}).execute()
        say("POST /rest/v1/rpc/stop_charge")
        stopped = await watch("stopped")
    except TimeoutError:
        raise DemoError("the session did not go on; the bridge's log says more") from None
    finally:
        await driver.remove_channel(channel)
    return stopped


def _news(session: Session) -> str:
    return (
        f"  topic session:{session['session_id'][:8]}…  {session['status']:8} {session['energy']:6.3f} kWh  "
        f"{session['amount']:7.2f} {session['currency']}"
    )


def receipt_lines(session: Session) -> list[str]:
    """The bill, line by line, as it stands in charging_sessions.receipt."""
    receipt = session["receipt"]
    currency = receipt["currency"]
    start, stop = session["start_time"][:16].replace("T", " "), session["stop_time"][:16].replace("T", " ")
    lines = [
        f"Receipt: transaction {session['transaction_id']}, station {session['station_id']}, {start} to {stop} UTC"
    ]
    for line in receipt["lines"]:
        quantity = f"{_number(line['quantity'])} {line['unit']} x {_number(line['price'])} {currency}"
        lines.append(f"  {line['rule_name'][:30]:30} {quantity:>30} {_number(line['amount'], '0.01'):>10} {currency}")
    lines.append(f"  {'Total':61} {_number(receipt['cost'], '0.01'):>10} {currency}")
    return lines


def _number(value: object, places: str | None = None) -> str:
    number = Decimal(str(value))
    return str(number.quantize(Decimal(places)) if places else number)
