-- Schema realtime of a hosted project, as far as broadcast and presence need it. Run as supabase_admin, after roles.sql: postgres is a
-- member of supabase_realtime_admin, the owner, and so may write policies on realtime.messages. Names, columns, grants, signatures and error texts are those of
-- supabase/realtime 2.128; what only the local stack has lives in schema _realtime, which no API role may use.

create schema realtime;
create schema _realtime;
grant usage on schema realtime to postgres, anon, authenticated, service_role, supabase_realtime_admin;

create table realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp without time zone not null default now(),
  inserted_at timestamp without time zone not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  constraint messages_pkey primary key (id, inserted_at)
) partition by range (inserted_at);
comment on table realtime.messages is 'Messages sent from the database, three days of them, one partition a day (UTC). Its row level '
  'security policies decide who may join a private topic (select) and who may send to it (insert).';

create index messages_inserted_at_topic_index on realtime.messages (inserted_at desc, topic)
  where extension = 'broadcast' and private is true;  -- replay

alter table realtime.messages enable row level security;
alter table realtime.messages owner to supabase_realtime_admin;
grant select, insert, update on realtime.messages to postgres, anon, authenticated, service_role;
grant delete, truncate, references, trigger on realtime.messages to postgres;

create function realtime.topic() returns text
language sql stable
as $$
  select nullif(pg_catalog.current_setting('realtime.topic', true), '')
$$;
comment on function realtime.topic() is 'Topic that is being joined or written, without the prefix realtime:, for use in policies; null elsewhere.';

-- security invoker as hosted: a caller without an insert policy sends nothing and gets a warning.
create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql
as $$
declare
  v_id uuid := pg_catalog.gen_random_uuid();
begin
  if not payload ? 'id' then
    payload := pg_catalog.jsonb_set(payload, '{id}', pg_catalog.to_jsonb(v_id));
  end if;
  -- as text, not by set_config: a null topic must fail, as hosted
  execute pg_catalog.format('set local realtime.topic to %L', topic);
  insert into realtime.messages (id, payload, event, topic, private, extension)
  values (v_id, payload, event, topic, private, 'broadcast');
exception when others then
  raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end $$;
comment on function realtime.send is 'Broadcasts payload on commit to the members of the topic. Never fails the caller: every error is a warning.';

create function realtime.send_binary(payload bytea, event text, topic text, private boolean default true) returns void
language plpgsql
as $$
begin
  execute pg_catalog.format('set local realtime.topic to %L', topic);
  insert into realtime.messages (binary_payload, event, topic, private, extension)
  values (payload, event, topic, private, 'broadcast');
exception when others then
  raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
end $$;
comment on function realtime.send_binary is 'As realtime.send, with bytes; only sockets of serializer 2.0.0 receive them.';

create function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text, new record, old record, level text default 'ROW'
) returns void
language plpgsql
as $$
begin
  if level = 'STATEMENT' then
    raise exception 'function can only be triggered for each row, not for each statement';
  end if;
  if operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise exception 'Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    pg_catalog.jsonb_build_object(
      'table', table_name, 'schema', table_schema, 'operation', operation, 'record', new, 'old_record', old),
    event_name, topic_name);
exception when others then
  raise exception 'Failed to process the row: %', sqlerrm;
end $$;
comment on function realtime.broadcast_changes is 'For row triggers: broadcasts the change to a private topic. Raises on wrong arguments; a '
  'message that cannot be sent is only a warning.';

alter function realtime.topic() owner to supabase_realtime_admin;
alter function realtime.send(jsonb, text, text, boolean) owner to supabase_realtime_admin;
alter function realtime.send_binary(bytea, text, text, boolean) owner to supabase_realtime_admin;
alter function realtime.broadcast_changes(text, text, text, text, text, record, record, text) owner to supabase_realtime_admin;

-- From here on: the local stack's own.

-- The server follows the WAL; the stand-in listens. A notification holds at most 8,000 bytes, so it carries where the row is. The topic, if
-- short, saves fetching what nobody listens to. PostgreSQL delivers on commit, in the order of the calls, and drops on rollback.
create function _realtime.announce_message() returns trigger
language plpgsql
as $$
begin
  perform pg_catalog.pg_notify(
    'realtime_messages',
    pg_catalog.concat_ws(
      ' ',
      new.id,
      pg_catalog.to_char(new.inserted_at, 'YYYY-MM-DD"T"HH24:MI:SS.US'),
      case when new.private then 'private' else 'public' end,
      case when pg_catalog.octet_length(new.topic) <= 1000 then new.topic end));
  return null;
end $$;
comment on function _realtime.announce_message() is 'Tells the Realtime stand-in of a new row: id, inserted_at, private or public, topic.';

create trigger announce_message after insert on realtime.messages
  for each row execute function _realtime.announce_message();

create function _realtime.maintain_partitions(p_keep_days int, p_ahead_days int) returns int
language plpgsql
set timezone = 'UTC'
set lock_timeout = '2s'  -- a partition is created under an exclusive lock: better later than in the way of senders
as $$
declare
  v_today constant date := current_date;
  v_changed int := 0;
  v_day date;
  v_partition record;
begin
  for v_day in select d::date from generate_series(v_today, v_today + p_ahead_days, interval '1 day') as d loop
    if to_regclass(format('realtime.%I', 'messages_' || to_char(v_day, 'YYYY_MM_DD'))) is null then
      execute format(
        'create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
        'messages_' || to_char(v_day, 'YYYY_MM_DD'), v_day::timestamp, (v_day + 1)::timestamp);
      v_changed := v_changed + 1;
    end if;
  end loop;
  for v_partition in
    select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
     where i.inhparent = 'realtime.messages'::regclass
       and c.relname ~ '^messages_\d{4}_\d\d_\d\d$'
       and to_date(right(c.relname, 10), 'YYYY_MM_DD') < v_today - p_keep_days
  loop
    execute format('drop table realtime.%I', v_partition.relname);
    v_changed := v_changed + 1;
  end loop;
  return v_changed;
end $$;
comment on function _realtime.maintain_partitions is 'Creates the partitions of today and p_ahead_days more, drops those older than p_keep_days '
  'days; returns how many it changed. Hosted, the server does this.';

revoke execute on all functions in schema _realtime from public;
select _realtime.maintain_partitions(3, 3);
