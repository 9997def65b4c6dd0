"""docs/proxies: each proxy has its page, and the page shows what the command prints."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from jackline.doctor.finding import Code
from jackline.proxies import Wish, render
from tests.proxies_texts.pages import FOLDER, NAMES, printed

PAGES = {path.stem: path.read_text() for path in FOLDER.glob("*.md")}
OVERVIEW = PAGES["README"]
EXPLAINED = set(re.findall(r"^\| `([a-z0-9-]+)` \|", OVERVIEW, re.MULTILINE))


def test_every_proxy_has_a_page_and_no_other() -> None:
    assert set(PAGES) == {*NAMES, "README", "matrix"}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_shows_what_the_command_prints(name: str) -> None:
    """After a change: python -m tests.proxies_texts.pages"""
    assert f"`jackline proxy {name}`" in PAGES[name]
    assert printed(PAGES[name]) == render(name, Wish())


def test_squids_page_tells_why_a_new_one_may_not_start() -> None:
    """It is not in the configuration: its name, and so that of its shared memory, is an option alone."""
    prose = PAGES["squid"].replace(printed(PAGES["squid"]), "")
    assert "`/dev/shm/squid-*.shm`" in prose
    assert "`-n NAME`" in prose


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_leads_to_every_page(name: str) -> None:
    assert f"]({name}.md)" in OVERVIEW


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[name]):
        path, _, anchor = target.partition("#")
        file = FOLDER / path if path else FOLDER / f"{name}.md"
        assert file.is_file(), target
        titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
        slugs = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not anchor or anchor in slugs, target


@pytest.mark.parametrize("name", NAMES)
def test_the_findings_of_a_page_are_explained_in_the_overview(name: str) -> None:
    section = PAGES[name].partition("## What goes wrong\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\|.*\| ([^|]+) \|$", section, re.MULTILINE)
    named = {code for row in rows[2:] for code in re.findall(r"`([a-z0-9-]+)`", row)}
    assert named
    assert named <= EXPLAINED


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if "## What the doctor says" in page])
def test_what_the_doctor_says_is_among_what_goes_wrong(name: str) -> None:
    table, _, said = PAGES[name].partition("## What the doctor says\n")
    found = set(re.findall(r"^  ([a-z0-9-]+) \((?:degraded|broken|dangerous)\): ", said, re.MULTILINE))
    assert found
    assert found <= set(re.findall(r"`([a-z0-9-]+)`", table.partition("## What goes wrong\n")[2]))


def test_every_finding_of_the_doctor_is_explained_and_no_other() -> None:
    assert set(get_args(Code)) == EXPLAINED
