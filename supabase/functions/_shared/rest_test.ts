import assert from "node:assert/strict";
import { AuthAdmin } from "./rest.ts";
import { Problem } from "./problem.ts";

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
