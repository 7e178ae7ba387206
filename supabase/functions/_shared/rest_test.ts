import assert from "node:assert/strict";
import { type Problem } from "./problem.ts";
import { AuthAdmin, Rest, type Row } from "./rest.ts";

/** Supabase Auth as far as it is asked here: it takes these keys. Gives what `ask` gives, and the keys that were tried. */
async function withAuth<T>(taken: string[], ask: (url: string) => Promise<T>): Promise<[T, string[]]> {
  const tried: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    const key = request.headers.get("apikey") ?? "";
    tried.push(key);
    return taken.includes(key)
      ? Response.json({ id: "made" })
      : Response.json({ error_code: "bad_jwt" }, { status: 403 });
  });
  try {
    return [await ask(`http://127.0.0.1:${server.addr.port}`), tried];
  } finally {
    await server.shutdown();
  }
}

/** PostgREST with so many rows, numbered from 0, and a cap. */
async function withRows<T>(count: number, cap: number, ask: (rest: Rest) => Promise<T>): Promise<[T, number]> {
  let requests = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => {
    requests++;
    const { searchParams } = new URL(request.url);
    const offset = Number(searchParams.get("offset"));
    const length = Math.max(0, Math.min(Number(searchParams.get("limit")), cap, count - offset));
    return Response.json(Array.from({ length }, (_, index) => ({ id: offset + index })));
  });
  try {
    return [await ask(new Rest(`http://127.0.0.1:${server.addr.port}`, "key", "token")), requests];
  } finally {
    await server.shutdown();
  }
}

async function everything(rest: Rest, limit: number): Promise<Row[]> {
  const found: Row[] = [];
  for (;;) {
    const { rows, more } = await rest.page("sessions", {}, limit, found.length);
    assert.ok(rows.length <= limit);
    found.push(...rows);
    if (!more) return found;
  }
}

for (
  const [count, cap, limit] of [[2005, 1000, 1000], [2000, 1000, 1000], [120, 50, 1000], [7, 1000, 2], [6, 1000, 2]]
) {
  Deno.test(`page() leaves nothing out of ${count} rows, ${limit} at a time, of which the API gives ${cap}`, async () => {
    const [rows] = await withRows(count, cap, (rest) => everything(rest, limit));
    assert.deepEqual(rows.map(({ id }) => id), Array.from({ length: count }, (_, index) => index));
  });
}

Deno.test("page() is one request for a list that fits", async () => {
  const [page, requests] = await withRows(20, 1000, (rest) => rest.page("sessions", {}, 1000, 0));
  assert.deepEqual([page.rows.length, page.more, requests], [20, false, 1]);
});

Deno.test("page() behind the end is empty", async () => {
  const [page] = await withRows(20, 1000, (rest) => rest.page("sessions", {}, 1000, 20));
  assert.deepEqual(page, { rows: [], more: false });
});

Deno.test("AuthAdmin asks again with the next key when one is refused", async () => {
  const [id, tried] = await withAuth(
    ["legacy"],
    (url) => new AuthAdmin(url, ["new", "legacy"]).create("a@b.example", "x"),
  );
  assert.deepEqual([id, tried], ["made", ["new", "legacy"]]);
});

Deno.test("AuthAdmin asks once when the first key is taken", async () => {
  const [id, tried] = await withAuth(
    ["new"],
    (url) => new AuthAdmin(url, ["new", "legacy"]).create("a@b.example", "x"),
  );
  assert.deepEqual([id, tried], ["made", ["new"]]);
});

Deno.test("AuthAdmin says 503 when no key is taken, or there is none", async () => {
  for (const keys of [["new", "legacy"], []]) {
    const create = (url: string) => new AuthAdmin(url, keys).create("a@b.example", "x");
    await withAuth([], (url) => assert.rejects(create(url), (error) => (error as Problem).status === 503));
  }
});
