-- Event triggers of a hosted project; run as supabase_admin, last.

-- PostgREST keeps the schema in memory: tell it to read again after DDL.
create function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $$
begin
  if exists (
    select from pg_event_trigger_ddl_commands() as command
     where (command.command_tag in ('SELECT INTO', 'CREATE TABLE AS', 'CREATE TRIGGER', 'CREATE RULE', 'COMMENT')
            or command.command_tag ~ '^(CREATE|ALTER) (SCHEMA|TABLE|FOREIGN TABLE|VIEW|MATERIALIZED VIEW|FUNCTION|TYPE)$')
       and coalesce(command.schema_name, '') not in ('pg_temp', 'auth', 'realtime', 'storage')
  ) then
    notify pgrst, 'reload schema';
  end if;
end $$;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();

create function extensions.pgrst_drop_watch() returns event_trigger language plpgsql as $$
begin
  if exists (
    select from pg_event_trigger_dropped_objects() as dropped
     where dropped.object_type in
             ('schema', 'table', 'foreign table', 'view', 'materialized view', 'function', 'trigger', 'type', 'rule')
       and not dropped.is_temporary
       and coalesce(dropped.schema_name, '') not in ('auth', 'realtime', 'storage')
  ) then
    notify pgrst, 'reload schema';
  end if;
end $$;
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();

-- A hosted project's postgres role cannot make or change objects in auth and realtime, policies and triggers excepted. Here
-- its membership of the owner would allow it, and a migration that works only here would be found out in production.
create function extensions.guard_supabase_schemas() returns event_trigger language plpgsql as $$
declare
  v_command record;
begin
  if session_user <> 'postgres' then
    return;
  end if;
  for v_command in
    select command_tag, schema_name, object_identity from pg_event_trigger_ddl_commands()
     where schema_name in ('auth', 'realtime')
       and command_tag not in ('CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'CREATE TRIGGER')
  loop
    raise insufficient_privilege using
      message = format('permission denied for schema %I', v_command.schema_name),
      hint = format('%s of %s: a hosted Supabase project refuses it.', v_command.command_tag, v_command.object_identity);
  end loop;
end $$;
create event trigger guard_supabase_schemas on ddl_command_end execute function extensions.guard_supabase_schemas();

create function extensions.guard_supabase_drops() returns event_trigger language plpgsql as $$
declare
  v_dropped record;
begin
  if session_user <> 'postgres' then
    return;
  end if;
  for v_dropped in
    select object_type, schema_name, object_identity from pg_event_trigger_dropped_objects()
     where original and schema_name in ('auth', 'realtime') and object_type not in ('policy', 'trigger')
  loop
    raise insufficient_privilege using
      message = format('must be owner of %s %s', v_dropped.object_type, v_dropped.object_identity),
      hint = 'A hosted Supabase project refuses it.';
  end loop;
end $$;
create event trigger guard_supabase_drops on sql_drop execute function extensions.guard_supabase_drops();
