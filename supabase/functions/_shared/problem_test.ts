import assert from "node:assert/strict";
import { Problem, translate } from "./problem.ts";

Deno.test("Problem is problem+json whose detail an old client reads", async () => {
  const response = new Problem(409, "OCBSY", "connector 1 is in use", "Wait.").response("/start_charge");
  assert.equal(response.status, 409);
  assert.equal(response.headers.get("Content-Type"), "application/problem+json");
  assert.deepEqual(await response.json(), {
    type: "urn:evpower:error:OCBSY",
    title: "Conflict",
    status: 409,
    detail: "connector 1 is in use",
    code: "OCBSY",
    hint: "Wait.",
    instance: "/start_charge",
  });
});

const cases: [string, number, Record<string, string | null> | undefined, number, string, RegExp][] = [
  [
    "keeps a code of the database",
    409,
    { code: "OCOFF", message: "station is offline", hint: "Try" },
    409,
    "OCOFF",
    /offline/,
  ],
  [
    "takes a policy's refusal for 403",
    403,
    { code: "42501", message: 'violates row-level security policy for "stations"' },
    403,
    "OCPRM",
    /your role/,
  ],
  ["takes a bad token for 401", 401, { code: "PGRST301", message: "JWSError" }, 401, "OCAUT", /token/],
  [
    "takes a duplicate for 400",
    409,
    {
      code: "23505",
      message: 'duplicate key value violates unique constraint "stations_serial_number_key"',
    },
    400,
    "OCDUP",
    /serial number/,
  ],
  [
    "takes a reference to nothing for 404",
    409,
    {
      code: "23503",
      message: 'insert or update on table "stations" violates foreign key constraint "stations_location_id_fkey"',
    },
    404,
    "OCREF",
    /^location_id:/,
  ],
  [
    "takes a row that is referred to for 409",
    409,
    {
      code: "23503",
      message: 'update or delete on table "locations" violates foreign key constraint "stations_location_id_fkey"',
    },
    409,
    "OCREF",
    /refers/,
  ],
  [
    "takes a value out of range for 422",
    400,
    { code: "22003", message: "numeric field overflow" },
    422,
    "OCVAL",
    /overflow/,
  ],
  [
    "names a check that failed",
    400,
    {
      code: "23514",
      message: 'new row for relation "tariff_rules" violates check constraint "tariff_rules_check"',
    },
    422,
    "OCVAL",
    /\(tariff_rules_check\)/,
  ],
  [
    "names the column that has no value, not the table",
    400,
    {
      code: "23502",
      message: 'null value in column "name" of relation "locations" violates not-null constraint',
    },
    422,
    "OCVAL",
    /^null value in column "name" violates/,
  ],
  [
    "makes nothing of an error of the server but 503",
    500,
    { code: "XX000", message: "secret" },
    503,
    "OCDWN",
    /answer/,
  ],
  ["takes a gateway's page for 503", 502, undefined, 503, "OCDWN", /answer/],
  ["takes what a trigger says for 422", 400, { code: "P0001", message: "not like this" }, 422, "OCVAL", /like this/],
  ["takes a lock that was not had for 503", 400, { code: "55P03", message: "lock timeout" }, 503, "OCDWN", /answer/],
  ["takes a function that is missing for 503", 404, { code: "PGRST202", message: "x" }, 503, "OCDWN", /answer/],
];
for (const [name, status, body, expected, code, detail] of cases) {
  Deno.test(`translate() ${name}`, () => {
    const problem = translate(status, body);
    assert.equal(problem.status, expected);
    assert.equal(problem.code, code);
    assert.match(problem.detail, detail);
  });
}
