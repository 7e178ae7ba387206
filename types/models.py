# ruff: noqa: E501
"""Rows of the tables and views, as PostgREST returns them with select=*. Written by `make generate`; do not edit.

A file of its own, to be copied into any program that has pydantic. Money and energy are Decimal. Fields that a request did not
select are missing, and a model insists on all of its own.
"""

from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict


class Availability(StrEnum):
    """What a driver finds: free, in_use (a car is plugged in, or somebody has reserved), faulted, unavailable (taken out of use), offline. In this order the first is the best."""

    FREE = "free"
    IN_USE = "in_use"
    FAULTED = "faulted"
    UNAVAILABLE = "unavailable"
    OFFLINE = "offline"


class ClientKind(StrEnum):
    """operator: a company that owns locations. account: somebody who pays, with a balance."""

    OPERATOR = "operator"
    ACCOUNT = "account"


class ClientStatus(StrEnum):
    """blocked: does not charge any more. inactive: kept for its history."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    BLOCKED = "blocked"


class CommandStatus(StrEnum):
    """Life of a command: queued, sent, then accepted, rejected, failed or timed_out; or expired or cancelled before it was sent."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ConnectorStatus(StrEnum):
    """ChargePointStatus of OCPP 1.6 §7.7, spelled as on the wire."""

    AVAILABLE = "Available"
    PREPARING = "Preparing"
    CHARGING = "Charging"
    SUSPENDEDEVSE = "SuspendedEVSE"
    SUSPENDEDEV = "SuspendedEV"
    FINISHING = "Finishing"
    RESERVED = "Reserved"
    UNAVAILABLE = "Unavailable"
    FAULTED = "Faulted"


class FaultKind(StrEnum):
    """What the view faults found."""

    STATION_OFFLINE = "station_offline"
    STATION_FAULTED = "station_faulted"
    CONNECTOR_FAULTED = "connector_faulted"
    COMMAND_FAILED = "command_failed"
    SESSION_FLAGGED = "session_flagged"
    STOP_UNCLAIMED = "stop_unclaimed"


class IdTagStatus(StrEnum):
    """AuthorizationStatus of OCPP 1.6 §7.2, less ConcurrentTx, which is found out at the time."""

    ACCEPTED = "Accepted"
    BLOCKED = "Blocked"
    EXPIRED = "Expired"
    INVALID = "Invalid"


class LedgerKind(StrEnum):
    """What an entry of an account is: see ledger_entries.kind."""

    TOP_UP = "top_up"
    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"
    REFUND = "refund"
    WAIVER = "waiver"
    CORRECTION = "correction"


class LimitType(StrEnum):
    """Where a session stops by itself: at an energy, at an amount, at whichever comes first, or nowhere."""

    NONE = "none"
    ENERGY = "energy"
    AMOUNT = "amount"
    BOTH = "both"


class MaintenanceStatus(StrEnum):
    """How far the work is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    CANCELLED = "cancelled"


class MessageDirection(StrEnum):
    """Who sent the message."""

    FROM_STATION = "from_station"
    TO_STATION = "to_station"


class RegistrationStatus(StrEnum):
    """RegistrationStatus of OCPP 1.6 §7.33."""

    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


class ReservationRestriction(StrEnum):
    """ReservationRestrictionType of OCPI 2.2.1, spelled as there."""

    RESERVATION = "RESERVATION"
    RESERVATION_EXPIRES = "RESERVATION_EXPIRES"


class SessionStatus(StrEnum):
    """pending: asked for. started: under way. stopped: ended. error: came to nothing."""

    PENDING = "pending"
    STARTED = "started"
    STOPPED = "stopped"
    ERROR = "error"


class StationOperation(StrEnum):
    """active: in service. maintenance: on the map, out of service. inactive: off the map."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    MAINTENANCE = "maintenance"


class TariffType(StrEnum):
    """What a price is per: kWh, minute of charging, session, minute of parking after charging."""

    PER_KWH = "per_kwh"
    PER_MINUTE = "per_minute"
    SESSION_FEE = "session_fee"
    PARKING_FEE = "parking_fee"


class TotalPeriod(StrEnum):
    """What a row of totals spans, by the clock of the location."""

    DAY = "day"
    MONTH = "month"


class UserRole(StrEnum):
    """What a user may do: docs/access.md. superadmin: an admin who may also make and unmake superadmins."""

    DRIVER = "driver"
    OPERATOR = "operator"
    ADMIN = "admin"
    SUPERADMIN = "superadmin"
    BRIDGE = "bridge"


class Row(BaseModel):
    """What all have in common; embedded rows and other fields that a model does not name are left out."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class ChargingSession(Row):
    """Table charging_sessions. One row per charging session: asked for (pending), under way (started), ended (stopped), or come to nothing (error). Written by functions only."""

    id: UUID
    transaction_id: int
    """transactionId of OCPP, given by us."""
    station_id: str
    """Where."""
    connector_id: int | None
    """connectors.number; null when the station named an impossible one."""
    user_id: UUID | None
    """Who charged."""
    client_id: UUID | None
    """Who pays."""
    id_tag: str | None
    """As in RemoteStartTransaction or as the station reported it."""
    status: SessionStatus
    """pending: asked for. started: under way. stopped: ended. error: came to nothing."""
    start_time: AwareDatetime | None
    """When the station began, by its clock if that is plausible, else when we heard of it."""
    stop_time: AwareDatetime | None
    """When it ended; null until then."""
    energy: Decimal
    """kWh so far; billed kWh once stopped."""
    amount: Decimal
    """Cost so far; the bill once stopped. In currency."""
    currency: str
    """ISO 4217, of amount and limit_amount."""
    limit_type: LimitType
    """Follows from limit_energy_kwh and limit_amount."""
    limit_energy_kwh: Decimal | None
    """Stop at this energy, kWh."""
    limit_amount: Decimal | None
    """Stop at this cost, in currency."""
    meter_start_wh: Decimal | None
    """Register of the station at the start, Wh."""
    meter_stop_wh: Decimal | None
    """Register at the end, Wh."""
    meter_last_wh: Decimal | None
    """Newest register seen, Wh, at meter_last_at."""
    meter_last_at: AwareDatetime | None
    """When the newest meter value was taken, less clock_offset: by the station's own clock."""
    meter_max_wh: Decimal | None
    """Highest register seen, Wh: one below it means that the meter restarted, or hiccuped."""
    meter_steps_wh: Decimal
    """Sum of the positive steps of the register, Wh: what counts when the meter restarted."""
    meter_restarted: bool
    """The register fell and stayed low."""
    energy_wh: Decimal
    """Energy so far, Wh, unrounded; energy shows it in kWh."""
    power_w: Decimal | None
    """Last power reported, W."""
    soc_percent: Decimal | None
    """Last state of charge of the car, percent."""
    parking_start_time: AwareDatetime | None
    """Since when the car draws nothing more; from here on it parks."""
    reported_start: str | None
    """timestamp of the StartTransaction as sent."""
    start_key: UUID | None
    """Digest of connector, tag, reported time and register: a repeated StartTransaction finds its session by it."""
    start_reply: Any
    """The answer to the StartTransaction; a repeat gets the same."""
    stop_key: UUID | None
    """Digest of the StopTransaction: a repeat that names no transactionId of ours finds its session by it."""
    clock_offset: str
    """What to add to the station's time stamps where its clock was found wrong at the start."""
    reservation_id: int | None
    """reservationId of the StartTransaction."""
    stop_reason: str | None
    """Reason of OCPP 1.6 §7.36; Local when the station names none."""
    stop_id_tag: str | None
    """The tag that stopped it, if one did."""
    stop_requested_at: AwareDatetime | None
    """When stop_charge was called."""
    provisional_at: AwareDatetime | None
    """When it was ended for want of a StopTransaction; one that still comes within a day wins."""
    expires_at: AwareDatetime | None
    """Pending: until when the StartTransaction must have come."""
    flags: list[str]
    """What wants a look: implausible_energy, unpaid, no_funds, clock_wrong, meter_restarted, id_tag_refused, …: docs/architecture.md, docs/accounts.md."""
    error: str | None
    """Why the session came to nothing, for people."""
    tariff: Any
    """The tariff as it was when the session began."""
    receipt: Any
    """The itemised bill {cost, currency, lines}; set once, when the session is settled."""
    priced_at: AwareDatetime | None
    """When amount was last worked out."""
    priced_energy_wh: Decimal | None
    """The energy_wh that amount is the cost of."""
    live_at: AwareDatetime | None
    """When its Realtime topic last got it."""
    settled_at: AwareDatetime | None
    """When the bill was made. Happens once."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    held_amount: Decimal
    """On hold for it in the ledger of the account that pays, in currency."""
    unpaid_amount: Decimal
    """What the account could not pay of the bill, in currency. Charged when it is topped up; no new start before that."""
    limit_warned_at: AwareDatetime | None
    """When 80 % of a limit, or of the money, were used up: the topic session:{id} was told then."""
    limit_reached_at: AwareDatetime | None
    """When the next meter value would have passed a limit, or the money: the station was told to stop then."""
    meter_base_wh: Decimal | None
    """First register of samples that run on another register than start and stop do, Wh: the running energy counts from it, the bill does not."""


class ClientTariff(Row):
    """Table client_tariffs. What an account pays otherwise than everybody: a plan of its own, a discount, or both. Sessions that begin while it is valid keep it."""

    id: UUID
    client_id: UUID
    """The payer: an account, or a company, whose staff then charge at these prices."""
    company_id: UUID | None
    """At whose stations: the company that grants it. Null: everywhere; only admins write that. Of the company goes before everywhere, of several the newest. Left out by an operator: their own."""
    tariff_plan_id: UUID | None
    """The plan that takes the place of the station's, its own prices included. Null: the same plan as everybody."""
    discount_percent: Decimal
    """Off every price, percent; least and most price stay."""
    valid_from: AwareDatetime | None
    """For sessions that begin from this instant on. Null: always."""
    valid_until: AwareDatetime | None
    """For sessions that begin before this instant. Null: always."""
    note: str | None
    """For people: the contract it comes from."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Client(Row):
    """Table clients. Companies that own locations (kind operator: the tenant) and payers with a balance (kind account)."""

    id: UUID
    kind: ClientKind
    """operator: a company that owns locations. account: a payer."""
    name: str
    """Of the company or person."""
    email: str | None
    """For invoices and notices."""
    phone: str | None
    """With country code."""
    address: str | None
    """Postal address."""
    contract_number: str | None
    """Of the contract with the service."""
    contract_start_date: date | None
    """First day of the contract."""
    contract_end_date: date | None
    """Last day of the contract; null: open."""
    balance: Decimal
    """Money of the account holder, in currency: the sum of its ledger_entries. What is on hold is not in it any more."""
    currency: str
    """ISO 4217."""
    status: ClientStatus
    """active, inactive or blocked."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    held: Decimal
    """On hold for sessions that wait or run, in currency: taken from balance already."""
    credit_limit: Decimal
    """How far below zero balance may go through holds and charges, in currency. Set by admins."""


class Command(Row):
    """Table commands. CALLs to stations: queued, claimed and sent by a bridge, answered. Written by functions only."""

    id: UUID
    station_id: str
    """To whom."""
    action: str
    """Action of OCPP 1.6, e.g. Reset."""
    payload: Any
    """Payload as on the wire."""
    status: CommandStatus
    """sent: on its way, the answer is awaited. expired: not sent in time. accepted: answered, and not with a refusal."""
    result: Any
    """Payload of the station's answer."""
    error: str | None
    """What went wrong, for people."""
    late: bool
    """The answer came after the command had timed out."""
    session_id: UUID | None
    """The session that it starts or stops."""
    created_by: UUID | None
    """The user who gave it; null: the system."""
    connection_id: UUID | None
    """The connection on which it was sent."""
    attempts: int
    """How often it was sent; more than once only where twice does no harm."""
    timeout_s: int
    """How long the station may take to answer, seconds."""
    created_at: AwareDatetime
    sent_at: AwareDatetime | None
    """When a bridge took it to the station."""
    answered_at: AwareDatetime | None
    """When the station answered, or the wait was over."""
    effect_at: AwareDatetime | None
    """When what was commanded was seen to happen: StartTransaction, StopTransaction, BootNotification …"""
    expires_at: AwareDatetime
    """Not sent any more after this."""
    updated_at: AwareDatetime


class Connector(Row):
    """Table connectors. Connectors of a station; a number that a station reports for the first time makes its row."""

    id: UUID
    station_id: str
    """The station that it belongs to."""
    number: int
    """connectorId of OCPP, from 1. (0, the whole station, is stations.ocpp_status.)"""
    type: str | None
    """Plug, e.g. Type2, CCS2, CHAdeMO, GBT; tariff rules may ask for it."""
    power: Decimal | None
    """kW; null: that of the station."""
    status: ConnectorStatus | None
    """Last StatusNotification (OCPP 1.6 §4.9); null: none yet."""
    error_code: str | None
    """ChargePointErrorCode of OCPP 1.6 §7.6; NoError when all is well."""
    info: str | None
    """Free text of the last StatusNotification."""
    vendor_error_code: str | None
    """The vendor's own error code of the last StatusNotification."""
    status_at: AwareDatetime | None
    """When the status was reported."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class DriverTotal(Row):
    """Table driver_totals. Settled sessions by driver, station and month; kept by the settlement itself. To read, take the view monthly_totals_by_driver: a key may have several rows, which add up."""

    id: int
    month: date
    """First day of the month, by the clock of the location; a session counts when it ended."""
    user_id: UUID
    """Who charged."""
    station_id: str
    """Where."""
    currency: str
    """ISO 4217, of amount."""
    sessions: int
    """Number of sessions; -1 takes one out again."""
    energy: Decimal
    """kWh billed."""
    amount: Decimal
    """Billed, in currency."""
    minutes: Decimal
    """Minutes from start to stop."""
    is_sum: bool
    """True: of many sessions, one row per key. False: of one session, not added yet."""


class IdTag(Row):
    """Table id_tags. Cards and other identifiers that may charge (idTag, OCPP 1.6 §3.9): at most 20 characters, compared without regard to case."""

    id: UUID
    id_tag: str
    """At most 20 characters; upper and lower case do not matter."""
    parent_id_tag: str | None
    """Group (OCPP 1.6 §3.10): any tag of the group may stop what another started."""
    status: IdTagStatus
    """Accepted or Blocked; Expired and Invalid refuse as well."""
    expiry_date: AwareDatetime | None
    """Refused from this instant on; null: never."""
    user_id: UUID | None
    """Whose tag it is."""
    client_id: UUID | None
    """Who pays; null: the client of the user. Left out by an operator: their company."""
    note: str | None
    """For people."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class LedgerEntry(Row):
    """Table ledger_entries. What happened to the money of accounts; clients.balance is the sum. Written by functions only, never changed nor deleted."""

    id: UUID
    client_id: UUID
    """The account."""
    kind: LedgerKind
    """hold and release: put aside for a session, and given back when it is settled. charge: the bill, or what was missing for it earlier. waiver: what the operator gave up of an unpaid bill; a charge of the same amount closes it."""
    amount: Decimal
    """What it adds to the balance, in currency: negative for holds and charges."""
    currency: str
    """ISO 4217: that of the account."""
    session_id: UUID | None
    """The session it is for; null: none, or one that never began and was deleted."""
    hold_id: UUID | None
    """Of a release: the hold that it gives back. Each is given back once."""
    reference: str | None
    """Of a top-up: the payment, each booked once; of a correction, or a refund of a session, likewise, if one was given. Of a charge: null is the bill, else what was paid or waived of it later."""
    note: str | None
    """For people."""
    created_by: UUID | None
    """users.id of who booked it; null: the service by itself, or a payment service."""
    created_at: AwareDatetime
    station_id: str | None
    """Of a charge, refund or waiver: the station of its session, whose operator reads it. Null: only the account holder and admins do."""


class Location(Row):
    """Table locations. Places with stations."""

    id: UUID
    client_id: UUID | None
    """The company that owns the location: the tenant of everything in it. Left out by an operator: their own."""
    name: str
    """As drivers know it."""
    address: str | None
    """Street and number."""
    city: str | None
    """City or town."""
    country: str
    """ISO 3166-1 alpha-2."""
    latitude: float | None
    """Degrees north, WGS 84."""
    longitude: float | None
    """Degrees east, WGS 84."""
    time_zone: str
    """IANA name. Tariff windows are read in this zone."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Maintenance(Row):
    """Table maintenance. Work requested on a station."""

    id: UUID
    station_id: str
    """The station to be worked on."""
    request_date: AwareDatetime
    """When it was asked for."""
    description: str
    """What is to be done."""
    assigned_to: UUID | None
    """Who does it."""
    notes: str | None
    """What was found and done."""
    status: MaintenanceStatus
    """pending, in_progress, completed or cancelled."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class MeterValue(Row):
    """Table meter_values. One row per MeterValue of a station (OCPP 1.6 §4.7, §7.32); the same one is stored once."""

    id: UUID
    station_id: str
    """The station that reported it."""
    connector_id: int
    """As reported; 0 is the main meter."""
    session_id: UUID | None
    """The session that it belongs to; null: none was under way."""
    transaction_id: Decimal | None
    """transactionId as reported, whatever it is worth; session_id is what it was found to mean."""
    reported_at: AwareDatetime
    """Time by the station's clock, uncorrected; received_at when that is unreadable."""
    received_at: AwareDatetime
    """When the bridge had it."""
    context: str
    """Reading context of the samples (OCPP 1.6 §7.35)."""
    energy_wh: Decimal | None
    """Energy.Active.Import.Register, Wh."""
    power_w: Decimal | None
    """Power.Active.Import, W."""
    current_a: Decimal | None
    """Current.Import, A; the mean of the phases."""
    voltage_v: Decimal | None
    """Voltage, V; the mean of the phases."""
    temperature_c: Decimal | None
    """Temperature, degrees Celsius."""
    soc_percent: Decimal | None
    """SoC, percent."""
    samples: Any
    """sampledValue as sent."""
    digest: UUID
    """Of the samples: the same value is stored once."""


class OcppMessage(Row):
    """Table ocpp_messages. Every message of every station with its answer. Secrets are redacted."""

    id: UUID
    station_id: str
    """Whose message; kept when the station is deleted."""
    connection_id: UUID | None
    """The WebSocket connection."""
    direction: MessageDirection
    """from_station: its CALL. to_station: our CALL, a command."""
    message_id: str | None
    """OCPP-J message id."""
    action: str | None
    """Action of OCPP 1.6; null: the frame could not be read."""
    payload: Any
    """Of the CALL."""
    reply: Any
    """Payload of the CALLRESULT, or {code, description, details} of the CALLERROR."""
    reply_error: str | None
    """Error code when the answer was a CALLERROR."""
    violations: Any
    """What was wrong with it and tolerated: [{code, path, message}]."""
    received_at: AwareDatetime
    """When the bridge had it."""


class StationBoot(Row):
    """Table station_boots. The last BootNotification of each station, whole (OCPP 1.6 §6.1)."""

    station_id: str
    """The station that booted."""
    payload: Any
    """Of the BootNotification."""
    received_at: AwareDatetime
    """When the bridge had it."""


class StationConfiguration(Row):
    """Table station_configuration. Configuration keys as the station last reported them (GetConfiguration, OCPP 1.6 §5.8). Secret keys are not kept."""

    station_id: str
    """The station whose key it is."""
    key: str
    """Configuration key (OCPP 1.6 §9)."""
    value: str | None
    """As text; null: the station names none."""
    readonly: bool
    """Whether ChangeConfiguration is refused."""
    reported_at: AwareDatetime
    """When the station last told."""


class StationInbox(Row):
    """Table station_inbox. Stations that knocked without being registered. adopt_station() makes one of them a station."""

    id: UUID
    station_id: str
    """The id in its URL."""
    remote_address: str | None
    """Where it came from last."""
    user_agent: str | None
    """What its WebSocket client calls itself."""
    protocols: list[str] | None
    """Sub-protocols that it offered."""
    attempts: int
    """How often it knocked."""
    first_seen_at: AwareDatetime
    """When it knocked first."""
    last_seen_at: AwareDatetime
    """When it knocked last."""


class StationTotal(Row):
    """Table station_totals. Settled sessions by station, per day and per month; kept by the settlement itself. To read, take the views revenue_by_day and monthly_totals_by_…: a key may have several rows, which add up."""

    id: int
    period: TotalPeriod
    """day or month."""
    starts_on: date
    """First day of the period, by the clock of the location; a session counts when it ended."""
    station_id: str
    """Where."""
    currency: str
    """ISO 4217, of amount."""
    sessions: int
    """Number of sessions; -1 takes one out again."""
    energy: Decimal
    """kWh billed."""
    amount: Decimal
    """Billed, in currency."""
    minutes: Decimal
    """Minutes from start to stop."""
    is_sum: bool
    """True: of many sessions, one row per key. False: of one session, not added yet."""


class Station(Row):
    """Table stations. Charge points. The id is chosen by the operator and is the OCPP identity in the WebSocket URL."""

    id: str
    """OCPP identity; compared without regard to case, answered in this spelling."""
    location_id: UUID | None
    """Where it stands; null: nowhere yet, and nobody's but the admins'."""
    serial_number: str | None
    """Of the manufacturer."""
    model: str | None
    """Model name; filled by the first BootNotification where it is empty."""
    manufacturer: str | None
    """Vendor; filled by the first BootNotification where it is empty."""
    firmware_version: str | None
    """As last reported."""
    power_capacity: Decimal | None
    """kW."""
    connector_types: list[str]
    """Types present, e.g. {Type2,CCS2}."""
    installation_date: date | None
    """Day on which it went into service."""
    status: StationOperation
    """active: in service. maintenance: on the map, out of service. inactive: off the map."""
    tariff_plan_id: UUID | None
    """Its prices; null: the default plan of the company, else of the service."""
    price_per_kwh: Decimal | None
    """The station's own price per kWh; takes the place of the plan's per_kwh rules."""
    session_fee: Decimal | None
    """The station's own fee per session; takes the place of the plan's session_fee rules."""
    currency: str
    """ISO 4217, of the station's own prices."""
    admin_id: UUID | None
    """The user who looks after it."""
    ocpp_status: ConnectorStatus | None
    """Last StatusNotification for connector 0: the station as a whole."""
    ocpp_error_code: str | None
    """ChargePointErrorCode last reported for connector 0."""
    registration_status: RegistrationStatus
    """What a BootNotification is answered with (OCPP 1.6 §4.2)."""
    last_boot_at: AwareDatetime | None
    """When its last BootNotification came."""
    strict: bool
    """Answer schema violations with a CALLERROR instead of tolerating and recording them."""
    allow_no_subprotocol: bool
    """Take a WebSocket that offers no sub-protocol for OCPP 1.6."""
    ping_interval_s: int | None
    """Seconds between WebSocket pings; null: never ping."""
    ping_timeout_s: int | None
    """Seconds to wait for a pong; null: do not care."""
    clock_time_zone: str
    """Zone assumed for time stamps that carry none."""
    hold_implausible: bool
    """Hold the bill of a session flagged implausible_energy back for review."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    named_at: AwareDatetime | None
    """Since when the station has its id; null: since it was registered. Its messages are those since then."""


class TariffPlan(Row):
    """Table tariff_plans. A named set of tariff rules. A station without a plan uses the default plan of its company."""

    id: UUID
    client_id: UUID | None
    """The company whose plan it is; null: of the whole service. Left out by an operator: their own."""
    name: str
    """As shown to people."""
    description: str | None
    """For people."""
    is_default: bool
    """The plan of the company's stations that name none; without a company, of everybody's."""
    is_active: bool
    """False counts as no plan."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    valid_from: AwareDatetime | None
    """From this instant on sessions may begin with the plan; before it counts as none. Null: always."""
    valid_until: AwareDatetime | None
    """Sessions that begin before this instant may use the plan. Null: for ever."""
    tax_included: str | None
    """Of rules with a VAT rate: YES their prices contain the VAT, NO or null it comes on top, N/A no tax is due. Without VAT rates prices are what is paid."""
    min_price: Decimal | None
    """The least a session costs before VAT, in the currency of the rules. Null: no least."""
    min_price_incl_vat: Decimal | None
    """The least a session costs with VAT, in the currency of the rules. Null: no least."""
    max_price: Decimal | None
    """The most a session costs before VAT, in the currency of the rules. Null: no most."""
    max_price_incl_vat: Decimal | None
    """The most a session costs with VAT, in the currency of the rules. Null: no most."""
    ocpi_country_code: str | None
    """country_code of the OCPI Tariff: ISO 3166-1 alpha-2. Null with a plan made here."""
    ocpi_party_id: str | None
    """party_id of the OCPI Tariff."""
    ocpi_id: str | None
    """id of the OCPI Tariff. With country code and party, without regard to case, what import_ocpi_tariff() knows a plan by."""
    ocpi: Any
    """What of the OCPI Tariff has no column: type, texts, energy mix, preauthorize_amount, last_updated, fields of others, and the elements as they came. Kept for export_ocpi_tariff()."""
    imported_at: AwareDatetime | None
    """When import_ocpi_tariff() last wrote the plan."""


class TariffRule(Row):
    """Table tariff_rules. One price. Of the rules of a plan that fit an instant, the one with the highest priority wins for each tariff_type."""

    id: UUID
    tariff_plan_id: UUID
    """The plan that it belongs to."""
    name: str
    """As it stands on the receipt."""
    tariff_type: TariffType
    """What the price is per."""
    connector_type: str
    """ALL, or the connector type it is for, as in connectors.type."""
    power_range_min: Decimal
    """kW, inclusive: the power of the connector."""
    power_range_max: Decimal
    """kW, inclusive."""
    price: Decimal
    """Per kWh, per minute (per hour where per_hour is on), or per session, as tariff_type says; parking_fee is for time of parking."""
    currency: str
    """ISO 4217, of price."""
    time_start: str
    """Local time of the location, inclusive. With time_start > time_end the window wraps midnight."""
    time_end: str
    """Local time, exclusive. Equal to time_start, or 00:00 to 24:00: the whole day."""
    is_weekend: bool
    """True: only on Saturdays and Sundays."""
    days_of_week: list[int] | None
    """ISO days, 1 = Monday; null: every day. The day is that of the instant, also behind midnight."""
    valid_from: AwareDatetime | None
    """Holds from this instant on; null: always has."""
    valid_until: AwareDatetime | None
    """Holds until before this instant; null: open."""
    min_duration_minutes: Decimal | None
    """Minutes since the session began from which the rule holds, inclusive."""
    max_duration_minutes: Decimal | None
    """Minutes since the session began until which the rule holds, exclusive."""
    priority: int
    """The highest that fits wins; of equals the newest."""
    is_active: bool
    """False: out of use."""
    created_at: AwareDatetime
    updated_at: AwareDatetime
    per_hour: bool
    """Of per_minute and parking_fee: the price is per hour, as in OCPI."""
    vat: Decimal | None
    """VAT rate, percent. Null: no VAT is known of. tariff_plans.tax_included says whether the price contains it."""
    step_size: int | None
    """Billed in blocks of this size: Wh for energy, seconds for time. Taken once per session, by the last rule in force (OCPI step_size). Null: exactly what was used."""
    date_from: date | None
    """From this local day of the location on. Null: always."""
    date_until: date | None
    """Until this local day of the location, exclusive. Null: always."""
    min_kwh: Decimal | None
    """Holds from this energy of the session on, kWh."""
    max_kwh: Decimal | None
    """Holds until this energy of the session, kWh, exclusive."""
    min_current: Decimal | None
    """Holds while the car draws this current or more, A, summed over the phases."""
    max_current: Decimal | None
    """Holds while the car draws less than this current, A, summed over the phases."""
    min_power: Decimal | None
    """Holds while the car draws this power or more, kW, as measured. (power_range_* are about what the connector could give.)"""
    max_power: Decimal | None
    """Holds while the car draws less than this power, kW, as measured."""
    reservation: ReservationRestriction | None
    """The rule prices the time reserved before the session (per_minute) or the reservation (session_fee); RESERVATION_EXPIRES one that no session followed."""


class TransactionOrphan(Row):
    """Table transaction_orphans. StopTransactions that fitted no session. Confirmed to the station and kept; resolved when the StartTransaction arrives late."""

    id: UUID
    station_id: str
    """The station that reported it."""
    action: str
    """StopTransaction."""
    reported_transaction_id: Decimal | None
    """transactionId as reported; null when that was no number."""
    payload: Any
    """As reported."""
    payload_digest: UUID
    """By which a repeat is recognised."""
    received_at: AwareDatetime
    """When the bridge had it."""
    session_id: UUID | None
    """The session that it turned out to belong to."""
    resolved_at: AwareDatetime | None
    """When that was found; null: still open."""


class User(Row):
    """Table users. Staff, drivers and bridges; one row per Supabase Auth user, made when that user is made."""

    id: UUID
    """The id of the Supabase Auth user: auth.uid()."""
    email: str | None
    """To sign in with, as Supabase Auth has it: changed there."""
    full_name: str | None
    """As people are called; may be changed by themselves."""
    phone: str | None
    """With country code; may be changed by themselves."""
    role: UserRole
    """What the user may do. Read from here at each request, so that a change holds at once."""
    client_id: UUID | None
    """The employer of an operator; the account that pays for a driver."""
    admin_id: UUID | None
    """The user who looks after this one."""
    is_active: bool
    """False: signs in, and may do nothing."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Connection(Row):
    """View connections. Stations that are online now, with the bridge that holds them. Operators see their own."""

    station_id: str | None
    """The station that is online."""
    bridge_id: str | None
    """The bridge that holds its socket."""
    connection_id: UUID | None
    """Changes with each connection."""
    protocol: str | None
    """WebSocket sub-protocol agreed on; null: none was offered."""
    remote_address: str | None
    """Where it comes from."""
    connected_at: AwareDatetime | None
    """Since when."""
    last_message_at: AwareDatetime | None
    """When it was last heard."""


class ConnectorOverview(Row):
    """View connector_overview. Each connector as a driver finds it now. Public."""

    id: UUID | None
    station_id: str | None
    """The station that it belongs to."""
    location_id: UUID | None
    """Where the station stands."""
    number: int | None
    """connectorId of OCPP, from 1. (0, the whole station, is stations.ocpp_status.)"""
    type: str | None
    """Plug, e.g. Type2, CCS2, CHAdeMO, GBT; tariff rules may ask for it."""
    power: Decimal | None
    """kW; that of the station where the connector has none of its own."""
    availability: Availability | None
    """What a driver finds here now."""
    status: ConnectorStatus | None
    """Last StatusNotification (OCPP 1.6 §4.9); null: none yet."""
    error_code: str | None
    """ChargePointErrorCode of OCPP 1.6 §7.6; NoError when all is well."""
    info: str | None
    """Free text of the last StatusNotification."""
    vendor_error_code: str | None
    """The vendor's own error code of the last StatusNotification."""
    status_at: AwareDatetime | None
    """When the status was reported."""
    session_id: UUID | None
    """The session under way, where the caller may see it."""
    station_operation: StationOperation | None
    """stations.status: whether the station is in service."""


class ConnectorPrice(Row):
    """View connector_prices. What each connector costs now, as calculate_cost() quotes it to the caller. Public."""

    station_id: str | None
    """The station; those that are inactive are left out."""
    number: int | None
    """connectors.number; null: a station without connectors."""
    location_id: UUID | None
    """Where the station stands."""
    price_per_kwh: Decimal | None
    """Per kWh, in currency; null: no energy price holds now."""
    session_fee: Decimal | None
    """Per session, in currency; null: none."""
    currency: str | None
    """ISO 4217."""


class Fault(Row):
    """View faults. What wants a look, for operators: stations offline or faulted, connectors faulted, commands that failed (7 days), sessions flagged and stops that fit none (30 days)."""

    kind: FaultKind | None
    """What was found."""
    since: AwareDatetime | None
    """When it was reported or happened; station_offline: when it was last heard."""
    station_id: str | None
    """Where."""
    connector_id: int | None
    """connectors.number; null: the station as a whole."""
    location_id: UUID | None
    """Where the station stands."""
    location_name: str | None
    """Name of the location."""
    what: str | None
    """Error code, flags or failure, for people."""
    session_id: UUID | None
    """The session that it is about."""
    command_id: UUID | None
    """The command that it is about."""


class LocationOverview(Row):
    """View location_overview. Each location with what is free there now; stations that are inactive do not count. Public. By distance: nearby_locations()."""

    id: UUID | None
    name: str | None
    """As drivers know it."""
    address: str | None
    """Street and number."""
    city: str | None
    """City or town."""
    country: str | None
    """ISO 3166-1 alpha-2."""
    latitude: float | None
    """Degrees north, WGS 84."""
    longitude: float | None
    """Degrees east, WGS 84."""
    time_zone: str | None
    """IANA name. Tariff windows are read in this zone."""
    client_id: UUID | None
    """The company that owns the location: the tenant of everything in it."""
    availability: Availability | None
    """The best of its connectors; null: there is none."""
    stations_count: int | None
    """Stations on the map."""
    connectors_count: int | None
    """Connectors of these."""
    connectors_free: int | None
    """Connectors that are free now."""
    connectors_in_use: int | None
    """Connectors with a car, or reserved."""
    connectors_faulted: int | None
    """Connectors out of order."""
    connectors_unavailable: int | None
    """Connectors taken out of use."""
    connectors_offline: int | None
    """Connectors of stations that are offline: nobody knows."""
    connector_types: list[str] | None
    """Plugs there are."""
    max_power: Decimal | None
    """kW of the strongest connector."""
    price_from: Decimal | None
    """Lowest price per kWh now, in currency, for the caller; null: none, or stations with different currencies."""
    currency: str | None
    """ISO 4217, of price_from."""
    distance_km: Decimal | None
    """Kilometres from the point asked for in nearby_locations(); null in the view itself."""


class LocationPrice(Row):
    """View location_prices. The lowest price per kWh now at each location, for the caller; none where its stations have different currencies. Public."""

    location_id: UUID | None
    """The location."""
    price_from: Decimal | None
    """Per kWh, in currency."""
    currency: str | None
    """ISO 4217."""


class MonthlyTotalsByCompany(Row):
    """View monthly_totals_by_company. Settled sessions per company (who owns the locations today) and month, by the clock of each location; one row per currency."""

    month: date | None
    """First day of the month."""
    client_id: UUID | None
    """The company; null: stations without a location."""
    client_name: str | None
    """Name of the company."""
    stations: int | None
    """Stations with a session in the month."""
    sessions: int | None
    """Number of sessions; -1 takes one out again."""
    energy: Decimal | None
    """kWh billed."""
    amount: Decimal | None
    """Billed, in currency."""
    currency: str | None
    """ISO 4217, of amount."""
    minutes: Decimal | None
    """Minutes from start to stop."""


class MonthlyTotalsByDriver(Row):
    """View monthly_totals_by_driver. Settled sessions per driver and month, by the clock of each location; one row per currency. Drivers see themselves, operators what was charged at their stations."""

    month: date | None
    """First day of the month, by the clock of the location; a session counts when it ended."""
    user_id: UUID | None
    """Who charged."""
    driver_name: str | None
    """Name of the driver, where the caller may see the person."""
    sessions: int | None
    """Number of sessions; -1 takes one out again."""
    energy: Decimal | None
    """kWh billed."""
    amount: Decimal | None
    """Billed, in currency."""
    currency: str | None
    """ISO 4217, of amount."""
    minutes: Decimal | None
    """Minutes from start to stop."""


class MonthlyTotalsByStation(Row):
    """View monthly_totals_by_station. Settled sessions per station and month, by the clock of the location; one row per currency."""

    month: date | None
    """First day of the month."""
    station_id: str | None
    """Where."""
    location_id: UUID | None
    """Where the station stands today."""
    location_name: str | None
    """Name of the location."""
    sessions: int | None
    """Number of sessions; -1 takes one out again."""
    energy: Decimal | None
    """kWh billed."""
    amount: Decimal | None
    """Billed, in currency."""
    currency: str | None
    """ISO 4217, of amount."""
    minutes: Decimal | None
    """Minutes from start to stop."""


class RevenueByDay(Row):
    """View revenue_by_day. Billed per day and station, by the clock of the location; one row per currency. A session counts on the day on which it ended."""

    day: date | None
    """By the clock of the location."""
    station_id: str | None
    """Where."""
    location_id: UUID | None
    """Where the station stands today."""
    location_name: str | None
    """Name of the location."""
    client_id: UUID | None
    """The company that owns the location."""
    sessions: int | None
    """Number of sessions; -1 takes one out again."""
    energy: Decimal | None
    """kWh billed."""
    amount: Decimal | None
    """Billed, in currency."""
    currency: str | None
    """ISO 4217, of amount."""
    minutes: Decimal | None
    """Minutes from start to stop."""


class RevenueByDayAndCompany(Row):
    """View revenue_by_day_and_company. Billed per day and company, by the clock of each location; one row per currency."""

    day: date | None
    """By the clock of the locations."""
    client_id: UUID | None
    """The company; null: stations without a location."""
    stations: int | None
    """Stations with a session on the day."""
    sessions: Decimal | None
    """Number of sessions; -1 takes one out again."""
    energy: Decimal | None
    """kWh billed."""
    amount: Decimal | None
    """Billed, in currency."""
    currency: str | None
    """ISO 4217, of amount."""
    minutes: Decimal | None
    """Minutes from start to stop."""


class SessionHistory(Row):
    """View session_history. Sessions with the names of place, driver and payer: drivers their own, operators those at their stations. Receipt and meter values are at charging_sessions and meter_values."""

    id: UUID | None
    transaction_id: int | None
    """transactionId of OCPP, given by us."""
    status: SessionStatus | None
    """pending: asked for. started: under way. stopped: ended. error: came to nothing."""
    station_id: str | None
    """Where."""
    connector_id: int | None
    """connectors.number; null when the station named an impossible one."""
    location_id: UUID | None
    """Where the station stands."""
    location_name: str | None
    """Name of the location."""
    address: str | None
    """Street and number."""
    city: str | None
    """City or town."""
    time_zone: str | None
    """IANA name. Tariff windows are read in this zone."""
    user_id: UUID | None
    """Who charged."""
    driver_name: str | None
    """Name of who charged, where the caller may see the person."""
    client_id: UUID | None
    """The company that owns the location: the tenant of everything in it."""
    client_name: str | None
    """Name of who pays, where the caller may see the client."""
    id_tag: str | None
    """As in RemoteStartTransaction or as the station reported it."""
    start_time: AwareDatetime | None
    """When the station began, by its clock if that is plausible, else when we heard of it."""
    stop_time: AwareDatetime | None
    """When it ended; null until then."""
    minutes: Decimal | None
    """From start to stop, or until now."""
    energy: Decimal | None
    """kWh so far; billed kWh once stopped."""
    amount: Decimal | None
    """Cost so far; the bill once stopped. In currency."""
    currency: str | None
    """ISO 4217, of amount and limit_amount."""
    power_w: Decimal | None
    """Last power reported, W."""
    soc_percent: Decimal | None
    """Last state of charge of the car, percent."""
    limit_type: LimitType | None
    """Follows from limit_energy_kwh and limit_amount."""
    limit_energy_kwh: Decimal | None
    """Stop at this energy, kWh."""
    limit_amount: Decimal | None
    """Stop at this cost, in currency."""
    held_amount: Decimal | None
    """On hold for it in the ledger of the account that pays, in currency."""
    unpaid_amount: Decimal | None
    """What the account could not pay of the bill, in currency. Charged when it is topped up; no new start before that."""
    stop_reason: str | None
    """Reason of OCPP 1.6 §7.36; Local when the station names none."""
    flags: list[str] | None
    """What wants a look: implausible_energy, unpaid, no_funds, clock_wrong, meter_restarted, id_tag_refused, …: docs/architecture.md, docs/accounts.md."""
    error: str | None
    """Why the session came to nothing, for people."""
    settled_at: AwareDatetime | None
    """When the bill was made. Happens once."""
    created_at: AwareDatetime | None
    company_id: UUID | None
    """The company that owns the location."""


class SessionsUnderWay(Row):
    """View sessions_under_way. session_history of the sessions that wait for their start or run."""

    id: UUID | None
    transaction_id: int | None
    """transactionId of OCPP, given by us."""
    status: SessionStatus | None
    """pending: asked for. started: under way. stopped: ended. error: came to nothing."""
    station_id: str | None
    """Where."""
    connector_id: int | None
    """connectors.number; null when the station named an impossible one."""
    location_id: UUID | None
    """Where the station stands."""
    location_name: str | None
    """Name of the location."""
    address: str | None
    """Street and number."""
    city: str | None
    """City or town."""
    time_zone: str | None
    """IANA name. Tariff windows are read in this zone."""
    user_id: UUID | None
    """Who charged."""
    driver_name: str | None
    """Name of who charged, where the caller may see the person."""
    client_id: UUID | None
    """The company that owns the location: the tenant of everything in it."""
    client_name: str | None
    """Name of who pays, where the caller may see the client."""
    id_tag: str | None
    """As in RemoteStartTransaction or as the station reported it."""
    start_time: AwareDatetime | None
    """When the station began, by its clock if that is plausible, else when we heard of it."""
    stop_time: AwareDatetime | None
    """When it ended; null until then."""
    minutes: Decimal | None
    """From start to stop, or until now."""
    energy: Decimal | None
    """kWh so far; billed kWh once stopped."""
    amount: Decimal | None
    """Cost so far; the bill once stopped. In currency."""
    currency: str | None
    """ISO 4217, of amount and limit_amount."""
    power_w: Decimal | None
    """Last power reported, W."""
    soc_percent: Decimal | None
    """Last state of charge of the car, percent."""
    limit_type: LimitType | None
    """Follows from limit_energy_kwh and limit_amount."""
    limit_energy_kwh: Decimal | None
    """Stop at this energy, kWh."""
    limit_amount: Decimal | None
    """Stop at this cost, in currency."""
    held_amount: Decimal | None
    """On hold for it in the ledger of the account that pays, in currency."""
    unpaid_amount: Decimal | None
    """What the account could not pay of the bill, in currency. Charged when it is topped up; no new start before that."""
    stop_reason: str | None
    """Reason of OCPP 1.6 §7.36; Local when the station names none."""
    flags: list[str] | None
    """What wants a look: implausible_energy, unpaid, no_funds, clock_wrong, meter_restarted, id_tag_refused, …: docs/architecture.md, docs/accounts.md."""
    error: str | None
    """Why the session came to nothing, for people."""
    settled_at: AwareDatetime | None
    """When the bill was made. Happens once."""
    created_at: AwareDatetime | None
    company_id: UUID | None
    """The company that owns the location."""


class StationOverview(Row):
    """View station_overview. Each station as it is now: place, connectors, price from. Public. connectors: [{number, type, power, availability, status, error_code, status_at, session_id}]."""

    id: str | None
    """OCPP identity; compared without regard to case, answered in this spelling."""
    location_id: UUID | None
    """Where it stands; null: nowhere yet, and nobody's but the admins'."""
    location_name: str | None
    """Name of the location."""
    address: str | None
    """Street and number."""
    city: str | None
    """City or town."""
    latitude: float | None
    """Degrees north, WGS 84."""
    longitude: float | None
    """Degrees east, WGS 84."""
    client_id: UUID | None
    """The company that owns the location: the tenant of everything in it."""
    status: StationOperation | None
    """active: in service. maintenance: on the map, out of service. inactive: off the map."""
    online: bool | None
    """Whether a bridge holds its connection now."""
    last_seen_at: AwareDatetime | None
    """When it was last heard; null: never connected."""
    availability: Availability | None
    """The best of its connectors."""
    connectors_free: int | None
    """Connectors that are free now."""
    connectors_count: int | None
    """Connectors in all."""
    connectors: Any
    """[{number, type, power (kW), availability, status, error_code, status_at, session_id}]."""
    price_from: Decimal | None
    """Lowest price per kWh now, in currency, for the caller; null: none, or not on the map."""
    currency: str | None
    """ISO 4217, of price_from."""
    model: str | None
    """Model name; filled by the first BootNotification where it is empty."""
    manufacturer: str | None
    """Vendor; filled by the first BootNotification where it is empty."""
    power_capacity: Decimal | None
    """kW."""
    connector_types: list[str] | None
    """Types present, e.g. {Type2,CCS2}."""


class StationStatus(Row):
    """View station_status. Each station as it is now, in short. connectors: [{number, status, error_code, session_id}]; session_id only where the caller may see the session."""

    station_id: str | None
    """The station."""
    online: bool | None
    """Whether a bridge holds its connection now."""
    status: StationOperation | None
    """active: in service. maintenance: on the map, out of service. inactive: off the map."""
    last_seen_at: AwareDatetime | None
    """When it was last heard; null: never connected."""
    registration_status: RegistrationStatus | None
    """What a BootNotification is answered with (OCPP 1.6 §4.2)."""
    connectors: Any
    """[{number, status, error_code, session_id}]."""


class WaitingStation(Row):
    """View waiting_stations. Unknown stations that knocked, for admins. adopt_station() makes one of them a station."""

    station_id: str | None
    """The id in its URL."""
    still_knocking: bool | None
    """Seen in the last ten minutes."""
    attempts: int | None
    """How often it knocked."""
    first_seen_at: AwareDatetime | None
    """When it knocked first."""
    last_seen_at: AwareDatetime | None
    """When it knocked last."""
    remote_address: str | None
    """Where it came from last."""
    user_agent: str | None
    """What its WebSocket client calls itself."""
    protocols: list[str] | None
    """Sub-protocols that it offered."""
    id: UUID | None


MODELS: dict[str, type[Row]] = {
    "charging_sessions": ChargingSession,
    "client_tariffs": ClientTariff,
    "clients": Client,
    "commands": Command,
    "connectors": Connector,
    "driver_totals": DriverTotal,
    "id_tags": IdTag,
    "ledger_entries": LedgerEntry,
    "locations": Location,
    "maintenance": Maintenance,
    "meter_values": MeterValue,
    "ocpp_messages": OcppMessage,
    "station_boots": StationBoot,
    "station_configuration": StationConfiguration,
    "station_inbox": StationInbox,
    "station_totals": StationTotal,
    "stations": Station,
    "tariff_plans": TariffPlan,
    "tariff_rules": TariffRule,
    "transaction_orphans": TransactionOrphan,
    "users": User,
    "connections": Connection,
    "connector_overview": ConnectorOverview,
    "connector_prices": ConnectorPrice,
    "faults": Fault,
    "location_overview": LocationOverview,
    "location_prices": LocationPrice,
    "monthly_totals_by_company": MonthlyTotalsByCompany,
    "monthly_totals_by_driver": MonthlyTotalsByDriver,
    "monthly_totals_by_station": MonthlyTotalsByStation,
    "revenue_by_day": RevenueByDay,
    "revenue_by_day_and_company": RevenueByDayAndCompany,
    "session_history": SessionHistory,
    "sessions_under_way": SessionsUnderWay,
    "station_overview": StationOverview,
    "station_status": StationStatus,
    "waiting_stations": WaitingStation,
}
