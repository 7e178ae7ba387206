import assert from "node:assert/strict";
import { Value } from "../_shared/typebox.ts";
import { cost, limits, location, requests, responses, session, station, tariffRule, withTimes } from "./shapes.ts";

const SESSION = {
  id: "4e52ccb5-3c8f-4f64-a22b-d1f55caf9825",
  user_id: null,
  station_id: "ST-1",
  start_time: "2026-05-06T12:00:00+00:00",
  stop_time: null,
  energy: 1.5,
  amount: 22.5,
  status: "started",
  transaction_id: 7,
  limit_type: "none",
  limit_energy_kwh: null,
  limit_amount: null,
  created_at: "2026-05-06T12:00:00+00:00",
};

for (const [name, schema] of Object.entries({ ...requests, ...responses })) {
  Deno.test(`${name} has examples that are valid`, () => {
    const { examples } = schema as unknown as { examples: unknown[] };
    assert.notEqual(examples.length, 0);
    for (const example of examples) assert.deepEqual([...Value.Errors(schema, example)], []);
  });
}

Deno.test("session() has the fields of the old shape", () => {
  assert.deepEqual(Object.keys(session(SESSION)), Object.keys(responses.Session.properties));
  assert.ok(Value.Check(responses.Session, session(SESSION)));
});

Deno.test("session() shows one that has not begun as started, without start and transaction", () => {
  const shown = session({ ...SESSION, status: "pending", start_time: null });
  assert.equal(shown.status, "started");
  assert.equal(shown.start_time, null);
  assert.equal(shown.transaction_id, null);
});

Deno.test("session() has ids that are strings", () => assert.equal(session(SESSION).transaction_id, "7"));

Deno.test("withTimes() writes times as Python does, and leaves what only looks like one", () => {
  const time = (start_time: unknown) => withTimes({ start_time }, "Session").start_time;
  assert.equal(time("2026-05-06T12:00:00.4+00:00"), "2026-05-06T12:00:00.400000+00:00");
  assert.equal(time("2026-05-06T12:00:00.123456+00:00"), "2026-05-06T12:00:00.123456+00:00");
  assert.equal(time("2026-05-06T12:00:00+00:00"), "2026-05-06T12:00:00+00:00");
  assert.equal(time(null), null);
  assert.deepEqual(withTimes({ name: "1.5" }, "Location"), { name: "1.5" });
});

Deno.test("requests may name what they leave out", () => {
  const nothing = {
    id: null,
    model: null,
    status: null,
    currency: null,
    connector_types: null,
    connectors_count: null,
  };
  assert.ok(Value.Check(requests.StationCreate, { serial_number: "S", ...nothing }));
  assert.ok(!Value.Check(requests.StationCreate, { serial_number: null }));
  assert.ok(!Value.Check(requests.StationUpdate, { status: null }));
});

Deno.test("session() shows one limit", () => {
  const shown = (limit_type: string, limit_energy_kwh: number | null, limit_amount: number | null) => {
    const { limit_type: type, limit_value } = session({ ...SESSION, limit_type, limit_energy_kwh, limit_amount });
    return [type, limit_value];
  };
  assert.deepEqual(shown("none", null, null), ["none", null]);
  assert.deepEqual(shown("energy", 20, null), ["energy", 20]);
  assert.deepEqual(shown("amount", null, 300), ["amount", 300]);
  assert.deepEqual(shown("both", 20, 300), ["amount", 300]);
});

Deno.test("limits() are the arguments of start_charge", () => {
  assert.deepEqual(limits({}), {});
  assert.deepEqual(limits({ limit_type: null, limit_value: null }), {});
  assert.deepEqual(limits({ limit_type: "none", limit_value: 0 }), {});
  assert.deepEqual(limits({ limit_type: "energy", limit_value: 20 }), { limit_energy_kwh: 20 });
  assert.deepEqual(limits({ limit_type: "amount", limit_value: 300 }), { limit_amount: 300 });
});

Deno.test("limits() refuses a limit that would not hold", () => {
  assert.equal(limits({ limit_value: 20 }), undefined);
  assert.equal(limits({ limit_type: "none", limit_value: 20 }), undefined);
  assert.equal(limits({ limit_type: "energy" }), undefined);
  assert.equal(limits({ limit_type: "amount", limit_value: 0 }), undefined);
});

Deno.test("tariffRule() ends the day at 23:59:59, and no other window", () => {
  assert.equal(tariffRule({ time_end: "24:00:00" }).time_end, "23:59:59");
  assert.equal(tariffRule({ time_end: "07:00:00" }).time_end, "07:00:00");
});

Deno.test("tariffRule() has prices per minute", () => {
  assert.deepEqual(tariffRule({ price: 100, per_hour: true, time_end: "07:00:00" }), {
    price: 1.666667,
    time_end: "07:00:00",
  });
  assert.equal(tariffRule({ price: 2, per_hour: false }).price, 2);
});

Deno.test("station() and location() count connectors", () => {
  assert.equal(station({ id: "ST-1", connectors: [{ count: 2 }] }).connectors_count, 2);
  const { stations_count, connectors_count } = location({
    stations: [{ connectors: [{ count: 2 }] }, { connectors: [{ count: 1 }] }, { connectors: [] }],
  });
  assert.deepEqual([stations_count, connectors_count], [3, 3]);
});

Deno.test("cost() names the rule of the energy", () => {
  const quote = { cost: 400, currency: "KGS", price_per_kwh: 15, session_fee: 25 };
  const lines = [{ tariff_type: "session_fee", rule_name: "Start" }, { tariff_type: "per_kwh", rule_name: "Day" }];
  assert.equal(cost({ ...quote, lines }).rule_name, "Day");
  assert.equal(cost({ ...quote, lines: [] }).rule_name, null);
});
