"""The API gateway: one process on the paths and ports of `supabase start`.

/rest/v1 goes to PostgREST, /functions/v1 to Deno; /auth/v1 and /realtime/v1 are answered by stand-ins in this process.
"""
