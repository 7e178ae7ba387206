/** The old service's HTTP API below /functions/v1/ocpp: docs/http-api.md. */

import { answer, type Settings } from "./server.ts";

function key(legacy: string, current: string): string {
  return Deno.env.get(legacy) ?? JSON.parse(Deno.env.get(current) ?? "{}").default ?? "";
}

const settings: Settings = {
  url: Deno.env.get("SUPABASE_URL") ?? "",
  anonKey: key("SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEYS"),
  serviceKey: key("SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_SECRET_KEYS"),
};

Deno.serve((request) => answer(request, settings));
