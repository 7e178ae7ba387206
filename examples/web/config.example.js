// Copy to config.js and fill in. `make run` serves a config.js of its own, for the local Supabase.

// supabase-js from a CDN; or from a copy of your own: export { createClient } from "./supabase.js";
export { createClient } from "https://cdn.jsdelivr.net/npm/@supabase/supabase-js@2.119.1/+esm";

// Dashboard > Project Settings > API keys. The publishable key (or the older anon key) is meant for pages; row-level
// security decides what its bearer sees. Never put a secret or service key here.
export const SUPABASE_URL = "https://YOUR-PROJECT.supabase.co";
export const SUPABASE_KEY = "sb_publishable_...";
