/** PostgREST with the caller's own token, so that row-level security decides. */

import { type PostgrestError, Problem, translate, unavailable } from "./problem.ts";

const TIMEOUT_MS = 15_000; // a hosted project ends a user's statement after 8 s
const ROUND = 50; // max_rows of a project, 1,000 by default, is a round number

export type Row = Record<string, unknown>;
export type Query = Record<string, string>;

/** Rows, and whether there are more behind them. */
export interface Page {
  rows: Row[];
  more: boolean;
}

export class Rest {
  constructor(private readonly url: string, private readonly apikey: string, readonly token: string) {}

  async rows(table: string, query: Query): Promise<Row[]> {
    return await (await this.#send("GET", table, query)).json();
  }

  /**
   * At most `limit` rows from `offset` on. Whether there are more is seen by asking for one more: an estimate knows nothing
   * of what row-level security lets through. Where the API's own cap may have cut the answer that one is asked for by itself.
   */
  async page(table: string, query: Query, limit: number, offset: number): Promise<Page> {
    const ask = (limit: number, offset: number) =>
      this.rows(table, { ...query, limit: String(limit), offset: String(offset) });
    const rows = await ask(limit + 1, offset);
    if (rows.length > limit) return { rows: rows.slice(0, limit), more: true };
    const cut = rows.length > 0 && rows.length % ROUND === 0;
    return { rows, more: cut && (await ask(1, offset + rows.length)).length > 0 };
  }

  async insert(table: string, select: string, row: Row | Row[]): Promise<Row[]> {
    return await (await this.#send("POST", table, { select }, row, "return=representation")).json();
  }

  /** The changed rows; empty when the caller may change none that fits. */
  async update(table: string, query: Query, changes: Row): Promise<Row[]> {
    return await (await this.#send("PATCH", table, query, changes, "return=representation")).json();
  }

  async delete(table: string, query: Query): Promise<void> {
    await (await this.#send("DELETE", table, query)).body?.cancel();
  }

  async rpc(name: string, args: Row, query: Query = {}): Promise<Row> {
    const response = await this.#send("POST", `rpc/${name}`, query, args);
    const text = await response.text();
    return text === "" ? {} : JSON.parse(text);
  }

  async #send(method: string, path: string, query: Query, body?: unknown, prefer?: string): Promise<Response> {
    const response = await send(`${this.url}/rest/v1/${path}?${new URLSearchParams(query)}`, {
      method,
      headers: {
        apikey: this.apikey,
        Authorization: `Bearer ${this.token}`,
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...(prefer && { Prefer: prefer }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.ok) return response;
    const error = await objectOf(response);
    const problem = translate(response.status, error);
    if (problem.status === 503) console.error(`${method} ${path}: ${response.status} ${error?.code} ${error?.message}`);
    throw problem;
  }
}

/** Supabase Auth's admin API, with the first of the service keys that is taken. */
export class AuthAdmin {
  constructor(private readonly url: string, private readonly serviceKeys: string[]) {}

  /** The id of the new user. Raises Problem OCDUP when the e-mail is taken, OCVAL when Auth refuses a value. */
  async create(email: string, password: string): Promise<string> {
    const response = await this.#send("POST", "", { email, password, email_confirm: true });
    const body = await objectOf(response) as { id?: unknown; error_code?: unknown; msg?: unknown } | undefined;
    if (response.ok && typeof body?.id === "string") return body.id;
    if (body?.error_code === "email_exists") {
      throw new Problem(400, "OCDUP", "a user with this e-mail exists already", "Sign in, or choose another e-mail.");
    }
    if ([400, 422].includes(response.status)) {
      const errors = [{ field: "email, password", message: String(body?.msg) }];
      throw new Problem(422, "OCVAL", String(body?.msg), "Supabase Auth refused it.", { errors });
    }
    console.error(`Auth admin API: ${response.status} ${body?.error_code}`);
    throw unavailable();
  }

  async delete(id: string): Promise<void> {
    await (await this.#send("DELETE", `/${id}`)).body?.cancel();
  }

  async #send(method: string, path: string, body?: unknown): Promise<Response> {
    let response: Response | undefined;
    for (const key of this.serviceKeys) {
      await response?.body?.cancel();
      response = await send(`${this.url}/auth/v1/admin/users${path}`, {
        method,
        headers: { apikey: key, Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (response.status !== 401 && response.status !== 403) break; // the key was taken
    }
    if (response === undefined) throw unavailable();
    return response;
  }
}

async function send(url: string, request: RequestInit): Promise<Response> {
  try {
    return await fetch(url, { ...request, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) { // refused, reset, timed out
    console.error(`${request.method} ${new URL(url).pathname}: ${error}`);
    throw unavailable();
  }
}

async function objectOf(response: Response): Promise<PostgrestError | undefined> {
  const text = await response.text();
  try {
    const body = JSON.parse(text);
    return body !== null && typeof body === "object" ? body : undefined;
  } catch {
    return undefined; // a gateway's page
  }
}
