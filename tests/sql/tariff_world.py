"""A company with one station to try tariffs on, and a second opinion on prices: minute by minute, in Python."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb, set_json_loads

COMPANY = UUID("c1000000-0000-4000-8000-000000000001")
LOCATION = UUID("d1000000-0000-4000-8000-000000000001")
PLAN = UUID("b1000000-0000-4000-8000-000000000001")
STATION = "ST-1"
MINUTE = timedelta(minutes=1)
CALCULATE_COST = {
    "station_id": "text",
    "energy_kwh": "numeric",
    "minutes": "numeric",
    "connector_id": "integer",
    "at": "timestamptz",
    "parking_minutes": "numeric",
}
TYPES = ["per_kwh", "per_minute", "session_fee", "parking_fee"]
Json = Any


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Period:
    start: datetime
    end: datetime
    wh: Decimal = Decimal(0)
    parking: bool = False

    def as_json(self) -> Json:
        return {
            "start_at": self.start.isoformat(),
            "end_at": self.end.isoformat(),
            "energy_wh": float(self.wh) if self.wh % 1 else int(self.wh),
            "parking": self.parking,
        }


class World:
    """Station ST-1 (22 kW, connector 1 Type2) with an empty plan in KGS."""

    def __init__(self, db: psycopg.Connection[Any], zone: str = "Asia/Bishkek") -> None:
        self.db = db
        set_json_loads(lambda text: json.loads(text, parse_float=Decimal), db)
        db.execute("insert into clients (id, kind, name) values (%s, 'operator', 'Company')", [COMPANY])
        db.execute(
            "insert into locations (id, client_id, name, time_zone) values (%s, %s, 'Yard', %s)",
            [LOCATION, COMPANY, zone],
        )
        db.execute("insert into tariff_plans (id, client_id, name) values (%s, %s, 'Plan')", [PLAN, COMPANY])
        db.execute(
            "insert into stations (id, location_id, power_capacity, connector_types, tariff_plan_id)"
            " values (%s, %s, 22, '{Type2}', %s)",
            [STATION, LOCATION, PLAN],
        )
        db.execute("insert into connectors (station_id, number, type, power) values (%s, 1, 'Type2', 22)", [STATION])

    def one(self, query: str, *values: object) -> Any:
        row = self.db.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def rule(self, tariff_type: str, price: object, name: str | None = None, **columns: object) -> UUID:
        """Insert a rule into the plan, newer than those before; columns as in tariff_rules. A refusal undoes itself."""
        row = {
            "tariff_plan_id": PLAN,
            "name": name or tariff_type,
            "tariff_type": tariff_type,
            "price": price,
            "created_at": datetime.now(UTC),  # now() stands still in a transaction
            **columns,
        }
        with self.db.transaction():
            return self._insert("tariff_rules", row)

    def _insert(self, table: str, row: dict[str, Any]) -> UUID:
        columns = map(psycopg.sql.Identifier, row), map(psycopg.sql.Placeholder, row)
        names, marks = (psycopg.sql.SQL(", ").join(part) for part in columns)
        statement = psycopg.sql.SQL("insert into {} ({}) values ({}) returning id")
        inserted = self.db.execute(statement.format(psycopg.sql.Identifier(table), names, marks), row).fetchone()
        assert inserted is not None
        return UUID(str(inserted[0]))

    def station(self, **columns: object) -> None:
        """Change ST-1."""
        for name, value in columns.items():
            self.db.execute(
                psycopg.sql.SQL("update stations set {} = %s where id = %s").format(psycopg.sql.Identifier(name)),
                [value, STATION],
            )

    def snapshot(
        self, at: datetime, connector: int | None = 1, station: str = STATION, payer: UUID | None = None
    ) -> Json:
        return self.one("select private.tariff_snapshot(%s, %s, %s, %s)", station, connector, at, payer)

    def price(self, periods: Sequence[Period], payer: UUID | None = None) -> Json:
        """The cost of periods under today's rules."""
        tariff = self.snapshot(periods[0].start, payer=payer)
        return self.one(
            "select private.price_periods(%s, %s)", Jsonb(tariff, dumps=dumps), Jsonb([p.as_json() for p in periods])
        )

    def quote(self, energy_kwh: object, minutes: object = 0, **arguments: object) -> Json:
        """calculate_cost() for ST-1."""
        values = {"station_id": STATION, "energy_kwh": energy_kwh, "minutes": minutes, **arguments}
        call = psycopg.sql.SQL(", ").join(
            psycopg.sql.SQL("{} => {}::{}").format(*map(psycopg.sql.SQL, (n, f"%({n})s", CALCULATE_COST[n])))
            for n in values
        )
        row = self.db.execute(psycopg.sql.SQL("select calculate_cost({})").format(call), values).fetchone()
        assert row is not None
        return row[0]

    def session(
        self,
        start: datetime,
        stop: datetime | None,
        wh: object,
        samples: Sequence[tuple[datetime, object]] = (),
        meter_start: object = 1000,
        **columns: object,
    ) -> UUID:
        """A session that took wh, with meter values (time, register); stopped, or running when stop is None."""
        register = columns.pop("register_end", Decimal(str(meter_start or 0)) + Decimal(str(wh)))
        row = {
            "station_id": STATION,
            "connector_id": 1,
            "status": "stopped" if stop else "started",
            "start_time": start,
            "stop_time": stop,
            "energy_wh": wh,
            "meter_start_wh": meter_start,
            "meter_stop_wh": register if stop else None,
            "meter_last_wh": samples[-1][1] if samples else None,
            "meter_last_at": samples[-1][0] if samples else None,
            "tariff": Jsonb(self.snapshot(start), dumps=dumps),
            **columns,
        }
        session = self._insert("charging_sessions", row)
        with self.db.cursor() as cursor:
            cursor.executemany(
                "insert into meter_values (station_id, connector_id, session_id, reported_at, received_at, energy_wh,"
                " samples, digest)"
                " values (%s, 1, %s, %s, %s, %s, '[]', gen_random_uuid())",
                [(STATION, session, at, at, register) for at, register in samples],
            )
        return session

    def bill(self, session: UUID, until: datetime | None = None) -> Json:
        return self.one("select private.price_session(s, %s) from charging_sessions as s where id = %s", until, session)

    def periods(self, session: UUID, until: datetime | None = None) -> list[Period]:
        rows = self.one(
            "select private.session_periods(s, %s) from charging_sessions as s where id = %s", until, session
        )
        return [
            Period(
                datetime.fromisoformat(r["start_at"]),
                datetime.fromisoformat(r["end_at"]),
                Decimal(str(r["energy_wh"])),
                r["parking"],
            )
            for r in rows
        ]


def dumps(value: Json) -> str:
    """JSON with Decimals as numbers."""
    return json.dumps(value, default=float)


def lines(result: Json) -> list[tuple[str, str, Decimal, Decimal]]:
    """(tariff_type, rule_name, quantity, amount) of each line."""
    return [
        (x["tariff_type"], x["rule_name"], Decimal(str(x["quantity"])), Decimal(str(x["amount"])))
        for x in result["lines"]
    ]


# The second opinion ---------------------------------------------------------------------------------------------------
def _last_sunday(year: int, month: int) -> datetime:
    day = datetime(year, month, 31, 1, tzinfo=UTC)
    return day - timedelta(days=day.isoweekday() % 7)


def _berlin(at: datetime) -> datetime:
    summer = _last_sunday(at.year, 3) <= at < _last_sunday(at.year, 10)
    return at + timedelta(hours=2 if summer else 1)


LOCAL: dict[str, Callable[[datetime], datetime]] = {
    "Asia/Bishkek": lambda at: at + timedelta(hours=6),
    "Europe/Berlin": _berlin,
}


def minutes_of(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


@dataclass(frozen=True)
class Moment:
    """What a rule may ask for: energy so far (kWh), mean power (kW) and current (A, at 230 V) of the period."""

    at: datetime
    kwh: Fraction
    kw: Fraction

    def between(self, rule: dict[str, Any], name: str, value: Fraction) -> bool:
        least, most = rule.get(f"min_{name}"), rule.get(f"max_{name}")
        return (least is None or value >= Fraction(least)) and (most is None or value < Fraction(most))


def holds(rule: dict[str, Any], now: Moment, begin: datetime, zone: str) -> bool:
    """Whether a rule (columns of tariff_rules) holds at a moment."""
    at = now.at
    local = LOCAL[zone](at)
    start, end = minutes_of(rule.get("time_start", "00:00")), minutes_of(rule.get("time_end", "24:00"))
    clock = local.hour * 60 + local.minute
    whole = start == end or (start, end) == (0, 1440)
    elapsed = (at - begin) / MINUTE
    return (
        (whole or (start <= clock < end if start < end else clock >= start or clock < end))
        and (not rule.get("is_weekend") or local.isoweekday() >= 6)
        and (rule.get("days_of_week") is None or local.isoweekday() in rule["days_of_week"])
        and (rule.get("valid_from") is None or at >= rule["valid_from"])
        and (rule.get("valid_until") is None or at < rule["valid_until"])
        and (rule.get("date_from") is None or local.date() >= rule["date_from"])
        and (rule.get("date_until") is None or local.date() < rule["date_until"])
        and (rule.get("min_duration_minutes") is None or elapsed >= rule["min_duration_minutes"])
        and (rule.get("max_duration_minutes") is None or elapsed < rule["max_duration_minutes"])
        and now.between(rule, "kwh", now.kwh)
        and now.between(rule, "power", now.kw)
        and now.between(rule, "current", now.kw * 1000 / 230)
        and rule.get("reservation") is None
    )


def half_up(value: Fraction, digits: int) -> Decimal:
    scaled = value * 10**digits
    whole = (scaled.numerator * 2 + scaled.denominator) // (scaled.denominator * 2)
    return Decimal(whole).scaleb(-digits)


@dataclass
class Used:
    """What a rule sold, in kWh, seconds or sessions, and when first and last."""

    first: int
    last: int
    quantity: Fraction = Fraction(0)


def stepped(found: dict[tuple[str, int], Used], rank: Sequence[dict[str, Any]]) -> None:
    """OCPI's step_size: once for the energy; once for the time, of which the parking has it if there is any."""
    parks = any(kind == "parking_fee" and used.quantity for (kind, _), used in found.items())
    for kind in ("per_kwh", "parking_fee", "per_minute"):
        mine = [(used, rank[n]) for (k, n), used in found.items() if k == kind and used.quantity]
        if not mine or (kind == "per_minute" and parks):
            continue
        last, rule = max(mine, key=lambda item: item[0].last)
        step = Fraction(rule.get("step_size") or 0) / (1000 if kind == "per_kwh" else 1)
        if step:
            total = sum((used.quantity for used, _ in mine), Fraction(0))
            last.quantity += -(-total // step) * step - total


def second_opinion(
    rules: Sequence[dict[str, Any]], periods: Sequence[Period], zone: str, digits: int = 2
) -> tuple[Decimal, list[Any]]:
    """(cost, lines as lines() has them) of periods at whole minutes; rules in the order of their insertion.

    Of a 22 kW station; only rules per kWh may ask for the energy.
    """
    ranked = [rule for _, rule in sorted(enumerate(rules), key=lambda item: (-item[1].get("priority", 0), -item[0]))]
    begin = periods[0].start
    found: dict[tuple[str, int], Used] = {}
    steps = itertools.count()
    bounds = sorted({Fraction(r[k]) for r in rules for k in ("min_kwh", "max_kwh") if r.get(k)})

    def add(kind: str, now: Moment, quantity: Fraction) -> None:
        for rank, rule in enumerate(ranked):
            if rule["tariff_type"] == kind and holds(rule, now, begin, zone):
                step = next(steps)
                used = found.setdefault((kind, rank), Used(step, step))
                used.quantity += quantity
                if quantity:
                    used.last = step
                return

    kwh = Fraction(0)
    for number, period in enumerate(periods):
        count = (period.end - period.start) // MINUTE
        each = Fraction(period.wh) / 1000 / max(count, 1)
        kw = Fraction(half_up(each * 60, 6)) if count else Fraction(22)
        for n in range(max(count, 1)):
            now = Moment(period.start + n * MINUTE, kwh, kw)
            if number == n == 0:
                add("session_fee", now, Fraction(1))
            after = kwh + each
            for level, until in itertools.pairwise([kwh, *(b for b in bounds if kwh < b < after), after]):
                add("per_kwh", Moment(now.at, level, kw), until - level)
            if count:
                add("parking_fee" if period.parking else "per_minute", now, Fraction(60))
            kwh = after

    stepped(found, ranked)
    total, result = Decimal(0), []
    for kind in TYPES:
        before = {1: Fraction(0), 60: Fraction(0), 3600: Fraction(0)}
        for (_, rank), used in sorted(
            (i for i in found.items() if i[0][0] == kind), key=lambda i: (i[1].first, i[0][1])
        ):
            rule = ranked[rank]
            unit = 1 if kind in ("per_kwh", "session_fee") else 3600 if rule.get("per_hour") else 60
            quantity = used.quantity / unit
            counted = half_up(before[unit] + quantity, 6) - half_up(before[unit], 6)
            before[unit] += quantity
            amount = half_up((quantity if unit == 3600 else Fraction(counted)) * Fraction(rule["price"]), digits)
            if counted:
                result.append((kind, rule["name"], counted, amount))
                total += amount
    return total, result
