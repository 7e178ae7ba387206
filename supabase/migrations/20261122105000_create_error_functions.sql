-- How the RPCs for people refuse: one function, so that every refusal has an HTTP status, a code of docs/error_codes.md and a hint.

create function private.fail(p_status integer, p_code text, p_message text, p_hint text default null) returns void
language plpgsql volatile set search_path = ''
as $$
begin
  -- PostgREST turns SQLSTATE PGRST into the status and body given here; in psql the code stands in the message's JSON.
  raise sqlstate 'PGRST' using
    message = json_build_object('code', p_code, 'message', p_message, 'details', null, 'hint', p_hint)::text,
    detail = json_build_object('status', p_status, 'headers', json_build_object())::text,
    hint = coalesce(p_hint, '');  -- an option must not be null
end $$;
comment on function private.fail is 'Ends the request with HTTP status p_status and body {code, message, details, hint}; codes are listed in docs/error_codes.md.';
grant execute on function private.fail to anon, authenticated, service_role;
