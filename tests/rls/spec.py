# ruff: noqa: E501  (conditions and statements read better unbroken)
"""Who may do what: every table, function and topic of the API, every role. The tests try it, docs/access.md shows it.

A cell says which rows: "all", "none", "refused" (an error), or scopes of the table joined by " + ". What is not named is
refused to anon and to nobody else a right: "none" for reading, "refused" for the rest; service_role has all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ROLES = ("anon", "driver", "operator", "admin", "superadmin", "bridge", "inactive", "service_role")
VERBS = ("select", "insert", "update", "delete")
ALL, NONE, REFUSED = "all", "none", "refused"
Cells = dict[str, str]


def cells(default: str = REFUSED, *, everyone: str | None = None, **named: str) -> Cells:
    """A cell for each role; superadmin as admin."""
    cell = dict.fromkeys(ROLES, everyone or default) | {"service_role": ALL}
    if everyone is None:
        cell["anon"] = REFUSED
    cell |= named
    if "admin" in named:
        cell.setdefault("superadmin", named["admin"])
        cell["superadmin"] = named.get("superadmin", named["admin"])
    return cell


def read(**named: str) -> Cells:
    return cells(NONE, **named)


NOBODY = cells()  # but the service role
OPERATORS_ADD = cells(operator="company's", admin=ALL)
OPERATORS_CHANGE = cells(NONE, operator="company's", admin=ALL)
OPERATORS_READ = read(operator="company's", admin=ALL)
READ_ONLY = cells(service_role=REFUSED)  # views, and the ledger


@dataclass(frozen=True)
class Table:
    """The cells of each verb, and how it is tried.

    scopes: word -> condition on the row; {me}, {client} and {company} are the caller's.
    add: an insert; {company}, {location}, {plan}, {station}, {account} belong together. change: a column to update.
    """

    select: Cells
    insert: Cells = field(default_factory=lambda: NOBODY)
    update: Cells = field(default_factory=lambda: NOBODY)
    delete: Cells = field(default_factory=lambda: NOBODY)
    scopes: dict[str, str] = field(default_factory=dict)
    add: str = ""
    change: str = ""
    key: str = "id"
    note: str = ""

    def cells(self, verb: str) -> Cells:
        found: Cells = getattr(self, verb)
        return found


def view(select: Cells, scopes: dict[str, str] | None = None, key: str = "id", note: str = "") -> Table:
    return Table(select, READ_ONLY, READ_ONLY, READ_ONLY, scopes or {}, change=key.split(", ")[0], key=key, note=note)


COMPANYS_STATION = "station_id in (select s.id from stations as s join locations as l on l.id = s.location_id where l.client_id = '{company}')"
COMPANYS = {"company's": "client_id = '{company}'"}
STATIONS = {"company's": COMPANYS_STATION}

TABLES: dict[str, Table] = {
    "locations": Table(
        select=read(everyone=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes=COMPANYS,
        add="insert into locations (client_id, name) values ('{company}', 'New')",
        change="name",
    ),
    "stations": Table(
        select=read(everyone="on the map", operator="on the map + company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes={"on the map": "status <> 'inactive'", "company's": COMPANYS_STATION.replace("station_id", "id", 1)},
        add="insert into stations (id, location_id) values ('NEW', '{location}')",
        change="model",
        note="Nobody but stations and functions writes ocpp_status, ocpp_error_code, last_boot_at.",
    ),
    "connectors": Table(
        select=read(everyone="on the map", operator="on the map + company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes={"on the map": "station_id in (select id from stations where status <> 'inactive')"} | STATIONS,
        add="insert into connectors (station_id, number) values ('{station}', 77)",
        change="type",
        note="Nobody but stations and functions writes status and what belongs to it.",
    ),
    "tariff_plans": Table(
        select=read(everyone="active", operator="active + company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes=COMPANYS | {"active": "is_active"},
        add="insert into tariff_plans (client_id, name) values ('{company}', 'New')",
        change="name",
    ),
    "tariff_rules": Table(
        select=read(everyone="active", operator="active + company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes={
            "active": "is_active and tariff_plan_id in (select id from tariff_plans where is_active)",
            "company's": "tariff_plan_id in (select id from tariff_plans where client_id = '{company}')",
        },
        add="insert into tariff_rules (tariff_plan_id, name, tariff_type, price) values ('{plan}', 'New', 'per_minute', 1)",
        change="name",
    ),
    "client_tariffs": Table(
        select=read(driver="own account's", operator="company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes={"own account's": "client_id = '{client}'", "company's": "company_id = '{company}'"},
        add="insert into client_tariffs (client_id, company_id, discount_percent) values ('{account}', '{company}', 5)",
        change="note",
        note="With plans of the company or of the whole service.",
    ),
    "users": Table(
        select=read(driver="own", operator="own + company's", admin=ALL, bridge="own", inactive="own"),
        update=cells(NONE, driver="own", operator="own", admin="all but superadmins", superadmin=ALL),
        scopes={
            "own": "id = '{me}'",
            "company's": "client_id = '{company}'",
            "all but superadmins": "role <> 'superadmin'",
        },
        add="insert into users (id, role) values (gen_random_uuid(), 'admin')",
        change="full_name",
        note="People change their name and phone; role, client_id, admin_id and is_active are for admins, superadmins for superadmins. Rows come and go with Supabase Auth, and the e-mail is changed there.",
    ),
    "clients": Table(
        select=read(driver="own account", operator="company's", admin=ALL),
        insert=cells(admin=ALL),
        update=cells(NONE, admin=ALL),
        delete=cells(NONE, admin=ALL),
        scopes={"own account": "id = '{client}'", "company's": "id = '{company}'"},
        add="insert into clients (name) values ('New')",
        change="name",
        note="Nobody writes balance and held; they are the sums of ledger_entries. Admins set credit_limit.",
    ),
    "ledger_entries": Table(
        select=read(driver="own account's", operator="charges at the company's stations", admin=ALL),
        insert=READ_ONLY,
        update=READ_ONLY,
        delete=READ_ONLY,
        scopes={
            "own account's": "client_id = '{client}'",
            "charges at the company's stations": "kind in ('charge', 'refund', 'waiver') and session_id in"
            f" (select id from charging_sessions where {COMPANYS_STATION})",
        },
        add="insert into ledger_entries (client_id, kind, amount, reference) values ('{account}', 'top_up', 1, 'NEW')",
        change="note",
        note="Written by functions only, and never changed, not even by the service role.",
    ),
    "id_tags": Table(
        select=read(driver="own", operator="company's", admin=ALL),
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes=COMPANYS | {"own": "user_id = '{me}'"},
        add="insert into id_tags (id_tag, client_id) values ('NEW', '{company}')",
        change="note",
        note="An operator's tags belong to people and groups of the company.",
    ),
    "maintenance": Table(
        select=OPERATORS_READ,
        insert=OPERATORS_ADD,
        update=OPERATORS_CHANGE,
        delete=OPERATORS_CHANGE,
        scopes=STATIONS,
        add="insert into maintenance (station_id, description) values ('{station}', 'New')",
        change="notes",
    ),
    "charging_sessions": Table(
        select=read(driver="own", operator="company's", admin=ALL),
        delete=cells(service_role="never began"),
        scopes=STATIONS
        | {"own": "user_id = '{me}'", "never began": "start_time is null and energy = 0 and amount = 0"},
        add="insert into charging_sessions (station_id) values ('{station}')",
        change="amount",
    ),
    "meter_values": Table(
        select=read(driver="own", operator="company's", admin=ALL),
        scopes=STATIONS | {"own": "session_id in (select id from charging_sessions where user_id = '{me}')"},
        add="insert into meter_values (station_id, connector_id, reported_at, received_at, samples, digest)"
        " values ('{station}', 1, now(), now(), '[]', gen_random_uuid())",
        change="energy_wh",
    ),
    "commands": Table(
        select=read(driver="own", operator="company's", admin=ALL),
        scopes=STATIONS | {"own": "created_by = '{me}'"},
        add="insert into commands (station_id, action) values ('{station}', 'Reset')",
        change="late",
    ),
    "ocpp_messages": Table(
        select=OPERATORS_READ,
        scopes=STATIONS,
        add="insert into ocpp_messages (station_id, direction, received_at) values ('{station}', 'from_station', now())",
        change="payload",
        note="Those since the station was registered or renamed; messages of deleted stations are for admins.",
    ),
    "transaction_orphans": Table(
        select=OPERATORS_READ,
        scopes=STATIONS,
        add="insert into transaction_orphans (station_id, action, payload, payload_digest, received_at)"
        " values ('{station}', 'X', '{{}}', gen_random_uuid(), now())",
        change="payload",
    ),
    "station_configuration": Table(
        select=OPERATORS_READ,
        scopes=STATIONS,
        add="insert into station_configuration (station_id, key) values ('{station}', 'New')",
        change="value",
        key="station_id, key",
    ),
    "station_boots": Table(
        select=OPERATORS_READ,
        scopes=STATIONS,
        add="insert into station_boots (station_id, payload, received_at) values ('{station}', '{{}}', now())"
        " on conflict (station_id) do update set received_at = now()",
        change="payload",
        key="station_id",
    ),
    "station_inbox": Table(
        select=read(admin=ALL),
        delete=cells(NONE, admin=ALL),
        add="insert into station_inbox (station_id) values ('NEW')",
        change="user_agent",
    ),
    "station_totals": Table(
        select=OPERATORS_READ,
        insert=READ_ONLY,
        update=READ_ONLY,
        delete=READ_ONLY,
        scopes=STATIONS,
        add="insert into station_totals (period, starts_on, station_id, currency, sessions, energy, amount, minutes)"
        " values ('day', '2026-01-01', '{station}', 'KGS', 1, 1, 1, 1)",
        change="amount",
        note="Written by the settlement of a session alone.",
    ),
    "driver_totals": Table(
        select=read(driver="own", operator="company's", admin=ALL),
        insert=READ_ONLY,
        update=READ_ONLY,
        delete=READ_ONLY,
        scopes=STATIONS | {"own": "user_id = '{me}'"},
        add="insert into driver_totals (month, user_id, station_id, currency, sessions, energy, amount, minutes)"
        " values ('2026-01-01', gen_random_uuid(), '{station}', 'KGS', 1, 1, 1, 1)",
        change="amount",
        note="As station_totals.",
    ),
}

VIEWS: dict[str, Table] = {
    "connections": Table(
        select=OPERATORS_READ,
        insert=READ_ONLY,
        update=READ_ONLY,
        delete=READ_ONLY,
        scopes=STATIONS,
        change="protocol",
        key="station_id",
    ),
    "station_status": Table(
        select=read(everyone="on the map", operator="on the map + company's", admin=ALL),
        insert=READ_ONLY,
        update=READ_ONLY,
        delete=READ_ONLY,
        scopes={"on the map": "status <> 'inactive'"} | STATIONS,
        change="online",
        key="station_id",
        note="session_id of a connector only where the reader may see the session.",
    ),
    "connector_overview": view(
        read(everyone="on the map", operator="on the map + company's", admin=ALL),
        {"on the map": "station_id in (select id from stations where status <> 'inactive')"} | STATIONS,
        note="As station_status.",
    ),
    "station_overview": view(
        read(everyone="on the map", operator="on the map + company's", admin=ALL),
        {"on the map": "status <> 'inactive'", "company's": COMPANYS_STATION.replace("station_id", "id", 1)},
        note="As station_status.",
    ),
    "location_overview": view(read(everyone=ALL)),
    "connector_prices": view(read(everyone=ALL), key="station_id, number", note="Stations on the map."),
    "location_prices": view(read(everyone=ALL), key="location_id"),
    "session_history": view(
        read(driver="own", operator="company's", admin=ALL),
        STATIONS | {"own": "user_id = '{me}'"},
        note="Names of people and payers only where the reader may read users and clients.",
    ),
    "sessions_under_way": view(
        read(driver="own", operator="company's", admin=ALL),
        STATIONS | {"own": "user_id = '{me}'"},
        note="As session_history.",
    ),
    "monthly_totals_by_driver": view(
        read(driver="own", operator="company's", admin=ALL),
        {"own": "user_id = '{me}'"}
        | {"company's": f"user_id in (select user_id from charging_sessions where {COMPANYS_STATION})"},
        key="month, user_id, currency",
        note="An operator reads what people charged at the company's stations.",
    ),
    "monthly_totals_by_station": view(OPERATORS_READ, STATIONS, key="month, station_id, currency"),
    "monthly_totals_by_company": view(OPERATORS_READ, COMPANYS, key="month, client_id, currency"),
    "revenue_by_day": view(OPERATORS_READ, STATIONS, key="day, station_id, currency"),
    "revenue_by_day_and_company": view(OPERATORS_READ, COMPANYS, key="day, client_id, currency"),
    "faults": view(OPERATORS_READ, STATIONS, key="station_id"),
    "waiting_stations": view(read(admin=ALL)),
}
# Columns that differ by reader and have a test of their own.
PERSONAL_COLUMNS = {
    "station_status": "connectors",
    "connector_overview": "session_id",
    "station_overview": "connectors",
    "session_history": "driver_name, client_name",
    "sessions_under_way": "driver_name, client_name",
    "monthly_totals_by_driver": "driver_name",
}


@dataclass(frozen=True)
class Function:
    """Cells: "yes", "refused" (not executable), an OC code (refused so), or a scope and what the others get: "own, else OCSES".

    success: what those get who may, where that is no "ok": a code that comes after the check of rights.
    Arguments may be a query whose value is meant.
    """

    cells: Cells
    args: dict[str, object]
    success: str = "ok"


def call(**named: str) -> Cells:
    return {
        "anon": REFUSED,
        "bridge": "OCPRM",
        "inactive": "OCPRM",
        "service_role": "yes",
        "superadmin": named["admin"],
    } | named


FOR_BRIDGES = call(driver="OCBRG", operator="OCBRG", admin="OCBRG", superadmin="OCBRG", bridge="yes", inactive="OCBRG")
OPERATORS_CALL = call(driver="OCPRM", operator="company's, else OCPRM", admin="yes")
TREASURERS_CALL = call(driver="OCPRM", operator="OCPRM", admin="yes")
PLANNERS_CALL = call(driver="OCPLN", operator="company's, else OCPLN", admin="yes", bridge="OCPLN", inactive="OCPLN")
PLAN = "(select tariff_plan_id from stations where id = 'ST-1')"
ACCOUNT_ID = "(select id from clients where name = 'Aida')"
SESSION = "(select id from charging_sessions where station_id = 'ST-1' order by transaction_id limit 1)"

FUNCTIONS: dict[str, Function] = {
    "calculate_cost": Function(dict.fromkeys(ROLES, "yes"), {"station_id": "ST-1", "energy_kwh": 1}),
    "next_rate_change": Function(dict.fromkeys(ROLES, "yes"), {"station_id": "ST-1"}),
    "receipt": Function(
        call(driver="own, else OCSES", operator="company's, else OCSES", admin="yes", bridge="OCSES", inactive="OCSES"),
        {"session_id": SESSION},
    ),
    "import_ocpi_tariff": Function(
        call(driver="OCPRM", operator="yes", admin="yes"),
        {
            "tariff": '{"country_code": "KG", "party_id": "EVP", "id": "1", "currency": "KGS",'
            ' "elements": [{"price_components": [{"type": "ENERGY", "price": 1, "step_size": 1}]}]}'
        },
    ),
    "export_ocpi_tariff": Function(PLANNERS_CALL, {"plan_id": PLAN, "connector_type": "CCS2", "power_kw": 60}),
    "cost_of_periods": Function(
        PLANNERS_CALL,
        {
            "plan_id": PLAN,
            "periods": '[{"start_date_time": "2026-01-01T00:00:00Z", "dimensions": []}]',
            "time_zone": "Asia/Bishkek",
        },
    ),
    "simulate_tariff": Function(PLANNERS_CALL, {"plan_id": PLAN, "from": "2026-01-01", "to": "2026-02-01"}),
    "nearby_locations": Function(dict.fromkeys(ROLES, "yes"), {"latitude": 42.8, "longitude": 74.6}),
    "start_charge": Function(
        call(driver="yes", operator="yes", admin="yes"), {"station_id": "ST-1", "connector_id": 2}
    ),
    "start_charge_for": Function(
        OPERATORS_CALL,
        {"user_id": "(select id from users where role = 'admin')", "station_id": "ST-1", "connector_id": 2},
    ),
    "top_up_account": Function(TREASURERS_CALL, {"client_id": ACCOUNT_ID, "amount": 5, "reference": "x"}),
    "correct_balance": Function(TREASURERS_CALL, {"client_id": ACCOUNT_ID, "amount": 5, "reason": "x"}),
    "refund_session": Function(
        call(driver="OCSES", operator="company's, else OCSES", admin="yes"),
        {"session_id": SESSION, "amount": 1, "reason": "x"},
    ),
    "waive_unpaid": Function(
        call(driver="OCSES", operator="company's, else OCSES", admin="yes"),
        {"session_id": SESSION, "reason": "x"},
    ),
    "delete_session": Function(
        call(driver="own, else OCSES", operator="company's, else OCSES", admin="yes"),
        {"session_id": SESSION},
        success="OCDEL",
    ),
    "stop_charge": Function(
        call(driver="own, else OCSES", operator="company's, else OCSES", admin="yes"), {"session_id": SESSION}
    ),
    "release_session": Function(
        call(driver="OCSES", operator="company's, else OCSES", admin="yes"), {"session_id": SESSION}, success="OCHLD"
    ),
    "close_session": Function(
        call(driver="OCSES", operator="company's, else OCSES", admin="yes"), {"session_id": SESSION}, success="OCCLO"
    ),
    "cancel_command": Function(
        call(driver="OCCMD", operator="company's, else OCCMD", admin="yes"),
        {"command_id": "(select id from commands where station_id = 'ST-1' and session_id is not null limit 1)"},
        success="OCSNT",
    ),
    "send_command": Function(OPERATORS_CALL, {"station_id": "ST-1", "action": "ClearCache"}),
    "set_station_password": Function(OPERATORS_CALL, {"station_id": "ST-1", "password": "0123456789abcdef"}),
    "disconnect_station": Function(OPERATORS_CALL, {"station_id": "ST-1"}),
    "adopt_station": Function(call(driver="OCPRM", operator="OCPRM", admin="yes"), {"station_id": "KNOCKING-own"}),
    "ocpp_ingest": Function(FOR_BRIDGES, {"events": "[]"}),
    "claim_commands": Function(FOR_BRIDGES, {"bridge_id": "bridge-a"}),
    "bridge_heartbeat": Function(FOR_BRIDGES, {"bridge_id": "bridge-x"}),
}


def join(**named: str) -> Cells:
    """Cells of a topic: "yes", "none", or a scope."""
    cell = dict.fromkeys(ROLES, NONE) | {"service_role": "yes"} | named
    if "admin" in named:
        cell["superadmin"] = named["admin"]
    return cell


RUNNERS = {"operator": "company's", "admin": "yes"}
MAP = dict.fromkeys(("anon", "driver", "operator", "admin", "bridge"), "yes")
# Topic of something of the first company and driver -> who may join.
TOPICS: dict[str, Cells] = {
    "session:{session}": join(driver="own", **RUNNERS),
    "command:{command}": join(driver="own", **RUNNERS),
    "station:ST-1": join(**MAP),
    "station:SPARE-own": join(**RUNNERS),
    "location:{location}": join(**MAP),
    "client:{company}": join(**RUNNERS),
    "bridge:bridge-a": join(bridge="yes"),
}
TOPIC_NAMES = {
    "session:{session}": "`session:{id}`",
    "command:{command}": "`command:{id}`",
    "station:ST-1": "`station:{id}` on the map",
    "station:SPARE-own": "`station:{id}` not on the map",
    "location:{location}": "`location:{id}`",
    "client:{company}": "`client:{id}` of a company",
    "bridge:bridge-a": "`bridge:{id}`",
}
