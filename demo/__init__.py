"""`make run`: the whole system on one machine, and one session charged on it."""
