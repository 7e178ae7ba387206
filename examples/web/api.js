// The one client of this page, and its errors in words.

import { createClient, SUPABASE_KEY, SUPABASE_URL } from "./config.js";

export const supabase = createClient(SUPABASE_URL, SUPABASE_KEY, { auth: { detectSessionInUrl: false } });

/** What a request was refused with: message and hint for people, code for programs (docs/error_codes.md). */
export class ApiError extends Error {
  constructor({ message, hint = null, code = null, unreachable = false }) {
    super(message);
    this.hint = hint;
    this.code = code;
    this.unreachable = unreachable; // nothing was answered: worth another try
  }
}

/** The data of a supabase-js query. Throws ApiError. */
export async function ask(query) {
  const { data, error } = await query;
  if (error) throw wrap(error);
  return data;
}

/** The result of an RPC. Throws ApiError. */
export const call = (name, args, options) => ask(supabase.rpc(name, args, options));

export async function signIn(email, password) {
  const { error } = await supabase.auth.signInWithPassword({ email, password });
  if (error) throw wrap(error);
}

const UNREACHABLE = {
  message: "The server cannot be reached.",
  hint: "Check your connection; this page tries again by itself.",
  unreachable: true,
};

const IN_OTHER_WORDS = {
  invalid_credentials: {
    message: "E-mail or password is wrong.",
    hint: "Both are checked together; see that Caps Lock is off.",
  },
  over_request_rate_limit: { message: "Too many attempts.", hint: "Wait a minute, then try again." },
  PGRST301: { message: "Your session has ended.", hint: "Sign in again." },
  PGRST303: { message: "Your session has ended.", hint: "Sign in again." },
  "22P02": { message: "There is nothing at this address.", hint: "It may be mistyped." },
  OCOFF: { message: "The station is offline.", hint: "Choose another one, or try again later." },
  42501: { message: "You may not do that.", hint: "Your role gives no right to it." },
};

/** Any error as an ApiError that people can read. */
export function wrap(error) {
  if (error instanceof ApiError) return error;
  const text = typeof error?.message === "string" ? error.message : "";
  if (/fetch|network|load failed/i.test(text) && !error.code) return new ApiError(UNREACHABLE);
  return new ApiError({
    message: text || "Something went wrong.",
    hint: error?.hint || null,
    code: error?.code || null,
    ...IN_OTHER_WORDS[error?.code],
  });
}
