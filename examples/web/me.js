// Who is signed in: the Auth user, the row in users with the role, and the account that pays.

import { ask, supabase } from "./api.js";

const NOBODY = { id: null, name: null, role: null, account: null, companyId: null, operates: false };
const watchers = new Set();

export let me = NOBODY;

/** Calls back with me whenever that changes. */
export const watchMe = (callback) => watchers.add(callback);

function become(person) {
  me = person;
  for (const watcher of watchers) watcher(me);
}

/** Reads the person anew, with the balance of the account. Throws ApiError; whoever was known stays. */
export async function refreshMe() {
  const { data } = await supabase.auth.getSession();
  const user = data.session?.user;
  if (!user) return become(NOBODY);
  const row = await ask(
    supabase.from("users").select("full_name,email,role,client:clients(*)").eq("id", user.id).maybeSingle(),
  );
  become({
    id: user.id,
    name: row?.full_name || user.email,
    role: row?.role ?? null,
    account: row?.client?.kind === "account" ? row.client : null,
    companyId: row?.client?.kind === "operator" ? row.client.id : null,
    operates: ["operator", "admin", "superadmin"].includes(row?.role),
  });
}

/** Ends the session on this device, also when the server cannot be reached. */
export async function signOut() {
  await supabase.auth.signOut({ scope: "local" });
  become(NOBODY);
}
