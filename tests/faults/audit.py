"""Holds the tables against what the stations were promised."""

from __future__ import annotations

from collections import Counter
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.fakes.charger import iso
from tests.fakes.load import Load
from tests.faults.people import People

Row = dict[str, Any]
PRICE = Decimal(15)  # KGS/kWh: the plan of the whole service in the seed


def audit(db_url: str, load: Load, people: People) -> dict[str, int]:
    """Raises AssertionError where an acknowledged message is missing or something happened twice; returns figures."""
    with psycopg.connect(db_url, autocommit=True, row_factory=dict_row) as rows:
        figures = check_meter_values(rows, load)
        figures |= check_sessions(rows, load)
        figures |= check_commands(rows, load, people)
        figures |= check_charges(rows, load, people)
    return figures | {
        "refused": load.ledger.refused, "repeated": load.ledger.repeated, "disconnects": load.ledger.disconnects
    }  # fmt: skip


def check_meter_values(rows: psycopg.Connection[Row], load: Load) -> dict[str, int]:
    """Each acknowledged one is there, once, and belongs to a session."""
    found = rows.execute(
        "select station_id, connector_id, reported_at, energy_wh, session_id from meter_values"
        " where station_id = any (%s)",
        [load.names],
    ).fetchall()
    stored = Counter((row["station_id"], row["connector_id"], iso(row["reported_at"])) for row in found)
    values = {(row["station_id"], row["connector_id"], iso(row["reported_at"])): row["energy_wh"] for row in found}
    missing = {key: wh for key, wh in load.ledger.meter_values.items() if values.get(key) != wh}
    assert missing == {}
    assert [key for key, count in stored.items() if count > 1] == []
    assert [row for row in found if row["session_id"] is None] == []
    return {"meter_values": len(load.ledger.meter_values)}


def check_sessions(rows: psycopg.Connection[Row], load: Load) -> dict[str, int]:
    """Each session is there once under its transaction id, ended, and settled once with the right energy and amount."""
    found = rows.execute(
        "select * from charging_sessions where station_id = any (%s) and start_time is not null", [load.names]
    ).fetchall()
    by_number = {row["transaction_id"]: row for row in found}
    for session in load.ledger.sessions:
        row = by_number[session.transaction_id]
        energy = Decimal(session.meter_stop_wh - session.meter_start_wh) / 1000
        expected = {
            "station_id": session.station_id, "connector_id": session.connector_id, "id_tag": session.id_tag,
            "status": "stopped", "meter_start_wh": session.meter_start_wh, "meter_stop_wh": session.meter_stop_wh,
            "energy": energy, "amount": (energy * PRICE).quantize(Decimal("0.01"), ROUND_HALF_UP),
            "stop_reason": "Remote" if session.remote else "Local",
        }  # fmt: skip
        assert {name: row[name] for name in expected} == expected, session
        assert row["settled_at"] is not None
        assert Decimal(str(row["receipt"]["cost"])) == row["amount"]
    # no session that no station knows of: a start that was stored twice would be one
    assert set(by_number) == {session.transaction_id for session in load.ledger.sessions}
    told = rows.execute(
        "select payload ->> 'session_id' as id, count(*) as n from realtime.messages"
        " where event = 'session' and payload ->> 'status' = 'stopped' and payload ->> 'station_id' = any (%s)"
        " group by 1 having count(*) > 1",
        [load.names],
    ).fetchall()
    assert told == []  # each end was announced once, so it happened once
    orphans = rows.execute("select * from transaction_orphans where station_id = any (%s)", [load.names]).fetchall()
    assert orphans == []
    return {"sessions": len(load.ledger.sessions)}


def check_commands(rows: psycopg.Connection[Row], load: Load, people: People) -> dict[str, int]:
    """None lost, none doubled that must not be, and each has a status that is true or says why not."""
    found = {
        str(row["id"]): row
        for row in rows.execute("select * from commands where station_id = any (%s)", [load.names]).fetchall()
    }
    assert set(map(str, people.commands)) <= set(found)
    assert set(load.ledger.commands) <= set(found)
    for name, row in found.items():
        times = load.ledger.commands[name]
        what = {**row, "times": times}
        match row["status"]:
            case "accepted":
                assert times >= 1, what
                assert row["answered_at"] or row["effect_at"], what
            case "rejected":
                assert row["action"] in ("RemoteStartTransaction", "RemoteStopTransaction"), what
            case "timed_out" | "expired" | "cancelled":
                assert row["error"], what
            case _:
                raise AssertionError(what)
        if row["status"] == "expired":
            assert times == 0, what
        if row["action"] == "DataTransfer":
            assert times <= 1, what
    counts = Counter(row["status"] for row in found.values())
    assert counts["accepted"] > len(found) / 2
    return {f"commands_{status}": count for status, count in sorted(counts.items())}


def check_charges(rows: psycopg.Connection[Row], load: Load, people: People) -> dict[str, int]:
    """Each charge that was started in the app is one session of one station, or says why it is none."""
    charged = {session.id_tag: session for session in load.ledger.sessions if session.remote}
    found = rows.execute(
        "select s.*, c.status as start_status, c.effect_at as start_effect_at from charging_sessions as s"
        " left join commands as c on c.session_id = s.id and c.action = 'RemoteStartTransaction'"
        " where s.station_id = any (%s) and s.user_id is not null",
        [load.names],
    ).fetchall()
    assert {row["id"] for row in found} >= set(people.charges)
    assert len(found) == len({row["id"] for row in found})  # one remote start each
    for row in found:
        if row["id_tag"] in charged:
            assert (row["status"], row["transaction_id"]) == ("stopped", charged[row["id_tag"]].transaction_id)
            assert (row["start_status"], row["start_effect_at"] is None) == ("accepted", False), row
        else:
            assert row["status"] == "error", row
            assert row["error"], row
    assert charged
    return {"charges": len(charged), "charges_failed": len(found) - len(charged)}
