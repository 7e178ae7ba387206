"""A local Supabase without Docker: ``python -m local_supabase up``, or in tests ``LocalSupabase(folder).up()``."""

from . import env_file
from .errors import LocalSupabaseError
from .keys import Keys, mint
from .stack import PARTS, LocalSupabase

__all__ = ["PARTS", "Keys", "LocalSupabase", "LocalSupabaseError", "env_file", "mint"]
