"""The table in docs/proxies/matrix.md is the one that these tests make."""

from __future__ import annotations

from jackline.proxies import GENERATED, NOTES
from tests.proxies.cases import CASES, ORDER
from tests.proxies.documented import DOCUMENTED, TAIL
from tests.proxies.matrix import parse, read_page, rendered


def test_the_page_has_a_whole_row_for_each_configuration_and_nothing_else() -> None:
    page = read_page()
    rows = parse(page)
    assert [row.key for row in rows] == ORDER
    assert [row.key for row in rows if not (row.version and all(row.cells.values()))] == []
    assert page == rendered(rows, TAIL)


def test_every_proxy_that_there_is_a_text_for_is_run_or_marked_as_not_run() -> None:
    run = {case.name for case in CASES if case.text is None}
    assert sorted({*GENERATED, *NOTES} - run) == sorted(each.name for each in DOCUMENTED)


def test_every_proxy_that_is_run_has_a_configuration_that_fails() -> None:
    """Else nothing shows that the tests would see it."""
    good = {case.key[0] for case in CASES if case.setting in {"generated", "as it comes"}}
    failing = {case.key[0] for case in CASES if case.expects("doctor").startswith(("broken", "dangerous"))}
    assert good - failing == set()
