-- The roles of a hosted project, once per cluster, run as the superuser supabase_admin.
-- Passwords are set afterwards, from the secrets minted at the first start.

-- What a JWT's role claim may name. They are nobody's login: authenticator switches to them for one request.
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;

-- PostgREST's login. noinherit: until it has switched it may do nothing.
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;

-- Owners of what Supabase's own services keep in schemas auth and realtime.
create role supabase_auth_admin login noinherit createrole;
create role supabase_realtime_admin nologin noinherit;

-- The project's owner: not a superuser, as on a hosted project, so that a migration which needs one fails here too.
create role postgres login createdb createrole replication bypassrls;
create role dashboard_user nologin createdb createrole replication;
grant anon, authenticated, service_role, authenticator, pg_monitor, pg_read_all_data, pg_signal_backend
  to postgres with admin option;
grant pg_create_subscription to postgres;

-- Hosted projects let postgres write policies on realtime.messages through an extension of the server (supautils). Here it
-- owns the table by membership instead; event_triggers.sql takes back what ownership gives beyond policies.
grant supabase_realtime_admin to postgres with inherit true, set false;

-- A hosted project's time limits. PostgREST applies those of the role a request runs as.
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role supabase_auth_admin set idle_in_transaction_session_timeout = 60000;

alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
