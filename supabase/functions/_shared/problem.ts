/** Refusals as problem+json (RFC 9457), with the codes of docs/error_codes.md. */

/** What was wrong with one field of a request. */
export interface FieldError {
  field: string;
  message: string;
}

/** A request that is refused. `detail` is also what clients of the old service read. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly detail: string,
    readonly hint: string,
    readonly more: { errors?: FieldError[]; headers?: Record<string, string> } = {},
  ) {
    super(`${code}: ${detail}`);
  }

  response(instance: string): Response {
    const body = {
      type: `urn:evpower:error:${this.code}`,
      title: TITLES[this.status] ?? "Refused",
      status: this.status,
      detail: this.detail,
      code: this.code,
      hint: this.hint,
      instance,
      ...(this.more.errors && { errors: this.more.errors }),
    };
    return new Response(JSON.stringify(body), {
      status: this.status,
      headers: { "Content-Type": "application/problem+json", ...this.more.headers },
    });
  }
}

const TITLES: Record<number, string> = {
  400: "Bad request",
  401: "Not signed in",
  402: "Payment required",
  403: "Forbidden",
  404: "Not found",
  405: "Method not allowed",
  409: "Conflict",
  413: "Too large",
  422: "Not valid",
  429: "Too many requests",
  503: "Not available",
};
const RETRY_AFTER_S = "5"; // PostgREST reconnects and reloads its schema within seconds

export const invalid = (detail: string, errors: FieldError[] = []) =>
  new Problem(422, "OCVAL", detail, "The OpenAPI document, /openapi.json, says what fits.", { errors });

export const notSignedIn = (detail: string) =>
  new Problem(401, "OCAUT", detail, "Sign in with Supabase Auth and send the user's access token as Bearer token.", {
    headers: { "WWW-Authenticate": "Bearer" },
  });

export const forbidden = (detail: string) =>
  new Problem(403, "OCPRM", detail, "Operators change what belongs to their own company; admins everything.");

export const notFound = (what: string) =>
  new Problem(404, "OCROW", `${what} not found`, "It does not exist, or not for you.");

export const unavailable = () =>
  new Problem(503, "OCDWN", "the database does not answer", "Try again in a few seconds.", {
    headers: { "Retry-After": RETRY_AFTER_S },
  });

/** The body of a refusal by PostgREST. */
export interface PostgrestError {
  code?: unknown;
  message?: unknown;
  details?: unknown;
  hint?: unknown;
}

const DUPLICATES: Record<string, string> = {
  stations_pkey: "a station with this id exists already",
  stations_lower_id_key: "a station with this id exists already",
  stations_serial_number_key: "a station with this serial number exists already",
  tariff_plans_default_key: "there is a default plan already",
};

/** What a refusal by PostgREST is to the callers of this API. `body`: undefined when it was no JSON. */
export function translate(status: number, body: PostgrestError | undefined): Problem {
  const code = typeof body?.code === "string" ? body.code : "";
  const message = typeof body?.message === "string" ? body.message : "";
  if (status >= 500 || code === "") return status === 401 ? notSignedIn("the token was refused") : unavailable();
  if (code.startsWith("OC")) return new Problem(status, code, message, typeof body?.hint === "string" ? body.hint : "");
  if (status === 401 || code.startsWith("PGRST30")) return notSignedIn("the token is not valid, or has expired");
  if (code === "42501") return forbidden("your role may not do this");
  if (code === "23505") return duplicate(message);
  if (code === "23503") return reference(message);
  // a function that this database does not have yet; a lock that could not be had, a statement that took too long
  if (/^(PGRST[02]|40|53|55|57)/.test(code)) return unavailable();
  return invalid(readable(message));
}

function duplicate(message: string): Problem {
  const constraint = /constraint "([^"]+)"/.exec(message)?.[1] ?? "";
  const detail = DUPLICATES[constraint] ?? "there is one like this already";
  return new Problem(400, "OCDUP", detail, "Change the one that exists, or choose another value.");
}

function reference(message: string): Problem {
  const found = /table "([^"]+)".*constraint "([^"]+)"/.exec(message);
  if (message.startsWith("update or delete")) {
    return new Problem(409, "OCREF", "something still refers to it", "Delete what belongs to it first.");
  }
  const column = found?.[2].replace(`${found[1]}_`, "").replace(/_fkey$/, "") ?? "a reference";
  return new Problem(404, "OCREF", `${column}: there is no such row`, "Make it first, or leave the reference out.");
}

function readable(message: string): string {
  const constraint = /check constraint "([^"]+)"/.exec(message)?.[1];
  return constraint ? `a value is out of range (${constraint})` : message.replace(/ of relation "[^"]*"/, "");
}
