"""The one exception of the local stack: every message says what to do next."""


class LocalSupabaseError(Exception):
    """A problem that the person at the keyboard can solve; printed without a stack trace, exit code 1."""
