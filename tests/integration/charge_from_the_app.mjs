// Plays the apps of two drivers and an operator with @supabase/supabase-js; test_charge_from_the_app.py judges it.
// {"station": step} on a line of its own asks the test to let the station act; every other line is a result.
import { createRequire } from "node:module";

const env = process.env;
const { createClient } = createRequire(`${env.NODE_MODULES}/`)("@supabase/supabase-js");
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
const STATION = env.STATION;

const client = () =>
  createClient(env.SUPABASE_URL, env.SUPABASE_ANON_KEY, { auth: { persistSession: false, autoRefreshToken: false } });

async function signedIn(who) {
  const app = client();
  const { error } = await app.auth.signInWithPassword({ email: env[`${who}_EMAIL`], password: env[`${who}_PASSWORD`] });
  if (error) throw error;
  await app.realtime.setAuth();
  return app;
}

async function must(query) {
  const { data, error } = await query;
  if (error) throw new Error(JSON.stringify(error));
  return data;
}

function listen(app, topic) {
  const heard = [];
  const waiting = [];
  const channel = app.channel(topic, { config: { private: true } });
  channel.on("broadcast", { event: "*" }, ({ payload }) => {
    heard.push(payload);
    waiting.splice(0).forEach((wake) => wake());
  });
  const joined = new Promise((resolve, reject) =>
    channel.subscribe((status, error) =>
      status === "SUBSCRIBED" ? resolve() : reject(new Error(`${status} ${error ?? ""}`)),
    ),
  );
  const until = async (fits) => {
    let found;
    while (!(found = heard.find(fits))) await new Promise((resolve) => waiting.push(resolve));
    return found;
  };
  return { heard, joined, until };
}

const [driver, stranger, operator] = await Promise.all(["DEMO_DRIVER", "DEMO_DRIVER2", "DEMO_OPERATOR"].map(signedIn));

const pending = await must(driver.rpc("start_charge", { station_id: STATION, limit_energy_kwh: 30 }));
const { status, id_tag, limit_type, limit_energy_kwh } = pending;
tell({ pending: { status, id_tag, limit_type, limit_energy_kwh } });
const topic = listen(driver, `session:${pending.id}`);
await topic.joined;
const session = () => must(driver.from("charging_sessions").select("*").eq("id", pending.id).single());

tell({ station: "start" });
await topic.until((said) => said.status === "started");
tell({ station: "meter" });
const live = await topic.until((said) => said.energy > 0);
const running = await session();
tell({ running: { status: running.status, energy: running.energy } });
tell({ runningCostAgrees: running.amount === live.amount && live.amount > 0 });

const rows = await must(stranger.from("charging_sessions").select("id").eq("id", pending.id));
const refused = await stranger.rpc("stop_charge", { session_id: pending.id });
const eavesdropper = stranger.channel(`session:${pending.id}`, { config: { private: true } });
const topicState = await new Promise((resolve) => eavesdropper.subscribe((state) => resolve(state)));
tell({ stranger: { rows, stop: refused.error.code, topic: topicState } });

await must(driver.rpc("stop_charge", { session_id: pending.id }));
tell({ station: "stop" });
await topic.until((said) => said.status === "stopped");
tell({ heard: topic.heard.map((said) => said.status) });
tell({ bill: await session() });

const payload = { type: "Soft" };
const reset = await must(operator.rpc("send_command", { station_id: STATION, action: "Reset", payload }));
const command = listen(operator, `command:${reset.id}`);
await command.joined;
tell({ station: "reset" });
await command.until((said) => said.effect_at);
const done = await must(operator.from("commands").select("*").eq("id", reset.id).single());
tell({ reset: { status: done.status, effect: done.effect_at !== null } });
const foreign = await operator.rpc("send_command", { station_id: "KG-OSH-001", action: "Reset", payload });
tell({ foreignReset: { code: foreign.error.code, status: foreign.status } });

const price = await must(client().rpc("calculate_cost", { station_id: "TEST-001", energy_kwh: 25.5 }, { get: true }));
tell({ anonPrice: price.cost });
await Promise.all([driver, stranger, operator].map((app) => app.removeAllChannels()));
process.exit(0);
