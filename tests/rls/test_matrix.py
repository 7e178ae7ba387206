"""docs/access.md shows what the tests try."""

from __future__ import annotations

from tests.rls.matrix import PATH, page


def test_page_is_that_of_the_specification() -> None:
    assert PATH.read_text() == page(), "run: python -m tests.rls.matrix"
