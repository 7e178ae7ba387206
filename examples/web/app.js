// The frame of the page: addresses, sign-in, the session under way. A page is a module of pages/ whose show() fills an
// element and is told by a signal when it is left.

import { ask, supabase, wrap } from "./api.js";
import { fill, h } from "./dom.js";
import { kwh, money } from "./format.js";
import { forgetAll } from "./keep.js";
import { follow, watchState } from "./live.js";
import { me, refreshMe, signOut, watchMe } from "./me.js";
import { problem, say } from "./say.js";

const PAGES = [
  { path: /^\/$/, load: () => import("./pages/stations.js") },
  { path: /^\/station\/(.+)$/, load: () => import("./pages/station.js") },
  { path: /^\/session\/([0-9a-f-]+)$/, load: () => import("./pages/session.js"), signedIn: true },
  { path: /^\/history$/, load: () => import("./pages/history.js"), signedIn: true },
  { path: /^\/account$/, load: () => import("./pages/account.js"), signedIn: true },
  { path: /^\/operator$/, load: () => import("./pages/operator.js"), signedIn: true },
  { path: /^\/sign-in$/, load: () => import("./pages/sign_in.js") },
];
const RETRY_MS = 5000;
const main = document.getElementById("main");
let leaving = new AbortController();
let begun = false; // a page is shown, or on its way
let started = false;

const address = () => location.hash.replace(/^#/, "") || "/";

async function show() {
  begun = true;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const [path] = address().split("?");
  const page = PAGES.find((one) => one.path.test(path)) ?? PAGES[0];
  if (page.signedIn && !me.id) return location.replace(`#/sign-in?then=${encodeURIComponent(address())}`);
  drawNav(path);
  const root = h("div", { class: "page" }, h("p", { class: "loading" }, "Loading …")); // until the page fills it
  try {
    const { show: fillPage } = await page.load();
    if (signal.aborted) return;
    fill(main, root);
    window.scrollTo(0, 0);
    await fillPage(root, {
      signal,
      params: page.path.exec(path)?.slice(1).map(decodeURIComponent) ?? [],
      query: queryOf(),
    });
  } catch (error) {
    if (signal.aborted) return;
    fill(main, fill(root, problem(error)));
    if (wrap(error).unreachable) setTimeout(() => signal.aborted || start(), RETRY_MS);
  }
  if (signal.aborted) return;
  const heading = root.querySelector("h1");
  document.title = heading ? `${heading.textContent} – EvPower` : "EvPower";
  if (started && !main.contains(document.activeElement)) main.focus({ preventScroll: true });
  started = true;
}

const queryOf = () => new URLSearchParams(address().split("?")[1] ?? "");

function drawNav(path) {
  const link = (to, text) => h("a", { href: `#${to}`, "aria-current": path === to ? "page" : null }, text);
  fill(
    document.getElementById("nav"),
    me.id && [link("/", "Stations"), link("/history", "My charges"), me.operates && link("/operator", "Operator")],
  );
}

function drawAccount() {
  const account = document.getElementById("account");
  if (!me.id) return fill(account, h("a", { class: "button", href: "#/sign-in" }, "Sign in"));
  fill(
    account,
    h(
      "div",
      { class: "who" },
      h("span", { class: "name" }, me.name),
      me.account &&
        h(
          "a",
          { class: "balance", href: "#/account" },
          `Balance ${money(me.account.balance, me.account.currency)}`,
          me.account.held > 0 &&
            h("span", { class: "held" }, `, ${money(me.account.held, me.account.currency)} on hold`),
        ),
    ),
    h("button", { type: "button", class: "quiet", onclick: leave }, "Sign out"),
  );
}

async function leave() {
  location.hash = "#/"; // first, so that no page asks to sign in again
  await signOut();
  say("Signed out.");
}

// --- the session under way, on every page -----------------------------------------------------------------------

let endFollowing = null;
let asked = 0;

async function findSession() {
  const number = (asked += 1); // an answer that comes when somebody else is signed in, or nobody, is not shown
  endFollowing?.();
  endFollowing = null;
  const banner = document.getElementById("banner");
  if (!me.id) return fill(banner);
  const [session] = await ask(
    supabase
      .from("charging_sessions")
      .select("id,status,station_id,energy,amount,currency")
      .eq("user_id", me.id)
      .in("status", ["pending", "started"])
      .order("created_at", { ascending: false })
      .limit(1),
  );
  if (number !== asked) return;
  const draw = (row) => {
    if (number !== asked) return;
    if (!["pending", "started"].includes(row.status)) {
      fill(banner);
      refreshMe().catch(() => {});
    } else {
      const words = row.status === "pending"
        ? "waiting for the station"
        : `${kwh(row.energy, 3)} · ${money(row.amount, row.currency)}`;
      fill(
        banner,
        h(
          "a",
          { class: "under-way", href: `#/session/${session.id}` },
          h("span", { class: "beat", "aria-hidden": "true" }),
          `${row.station_id}: ${words}`,
        ),
      );
    }
  };
  if (!session) return fill(banner);
  draw(session);
  const read = async () =>
    draw(
      await ask(
        supabase.from("charging_sessions").select("id,status,station_id,energy,amount,currency").eq("id", session.id)
          .single(),
      ),
    );
  endFollowing = follow(`session:${session.id}`, { session: draw }, read);
}

// --- go -------------------------------------------------------------------------------------------------------------

let known = null;

watchMe(() => {
  drawAccount();
  drawNav(address().split("?")[0]);
  if (known !== me.id) {
    if (known) forgetAll(); // it is about the charges of whoever was here
    known = me.id;
    findSession().catch(() => {});
    if (begun) show();
  }
});
window.addEventListener("session-begun", () => {
  findSession().catch(() => {});
  refreshMe().catch(() => {}); // a hold is taken from the balance
});
window.addEventListener("hashchange", show);
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address is the page here
  main.focus();
});

const AWAY_MS = 1500; // a moment without a topic, as between two pages, is no news
const AWAY = "No connection. What you see may be old; this page goes on by itself.";
let away = null;

watchState((state) => {
  const live = document.getElementById("live");
  const [tone, text] = { live: ["ok", "Live"], away: ["warn", "Reconnecting …"], none: ["off", "Not live"] }[state];
  live.dataset.tone = tone;
  live.textContent = text;
  const notice = document.getElementById("away");
  clearTimeout(away);
  if (state === "away") away = setTimeout(() => ((notice.hidden = false), (notice.textContent = AWAY)), AWAY_MS);
  else notice.hidden = true;
});

supabase.auth.onAuthStateChange((event) => {
  // In a callback of Auth no other request to it may be waited for.
  if (event === "SIGNED_OUT" || event === "SIGNED_IN") setTimeout(() => refreshMe().catch(() => {}), 0);
});

/** Who is there, then the page; also after a failure. */
async function start() {
  await refreshMe().catch(() => {}); // the page says it, if nobody answers
  await show();
}
start();
