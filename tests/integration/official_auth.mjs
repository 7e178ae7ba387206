// Drives Supabase Auth with @supabase/supabase-js and prints what it saw as JSON; test_official_auth_js.py judges it.
import { createRequire } from "node:module";

const [tools, url, anonKey, serviceKey] = process.argv.slice(2);
const { createClient } = createRequire(`${tools}/package.json`)("@supabase/supabase-js");
const options = { auth: { persistSession: false, autoRefreshToken: false } };
const admin = createClient(url, serviceKey, options);
const client = createClient(url, anonKey, options);

const email = `${crypto.randomUUID()}@example.org`;
const password = crypto.randomUUID();
const code = ({ error }) => error && { name: error.name, status: error.status, code: error.code };
const seen = {};

const created = await admin.auth.admin.createUser({
  email,
  password,
  email_confirm: true,
  app_metadata: { company: "Bishkek" },
});
const id = created.data.user.id;
try {
  seen.wrongPassword = code(await client.auth.signInWithPassword({ email, password: "wrong" }));
  const first = await client.auth.signInWithPassword({ email, password });
  seen.signedIn = first.data.user.id === id;
  seen.company = first.data.user.app_metadata.company;
  seen.claims = (await client.auth.getClaims()).data.claims.role;
  seen.user = (await client.auth.getUser()).data.user.email === email;

  const second = await client.auth.refreshSession();
  seen.rotated = second.data.session.refresh_token !== first.data.session.refresh_token;
  const late = createClient(url, anonKey, options); // a tab that has not heard of the new token
  const again = await late.auth.refreshSession({ refresh_token: first.data.session.refresh_token });
  seen.lateTabGetsTheNewToken = again.data.session.refresh_token === second.data.session.refresh_token;

  seen.updated = (await client.auth.updateUser({ data: { language: "ky" } })).data.user.user_metadata.language;
  seen.weak = code(await client.auth.updateUser({ password: "abc" }));
  seen.notAdmin = code(await client.auth.admin.listUsers());
  const page = await admin.auth.admin.listUsers({ page: 1, perPage: 1000 });
  seen.listed = page.data.users.some((user) => user.id === id) && page.data.total >= 1;

  seen.signOut = code(await client.auth.signOut());
  seen.afterSignOut = code(await late.auth.getUser(second.data.session.access_token));
} finally {
  seen.deleted = code(await admin.auth.admin.deleteUser(id));
}
seen.gone = code(await admin.auth.admin.getUserById(id));
console.log(JSON.stringify(seen));
