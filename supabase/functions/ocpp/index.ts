/** The old service's HTTP API below /functions/v1/ocpp: docs/http-api.md. */

import { answer, settingsOf } from "./server.ts";

const settings = settingsOf((name) => Deno.env.get(name));

Deno.serve((request) => answer(request, settings));
