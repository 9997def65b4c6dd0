"""What a person reads."""

from __future__ import annotations

import pytest

from jackline.doctor.diagnose import diagnose
from jackline.doctor.present import paste, report
from jackline.proxies import Wish, render
from tests.doctor.test_diagnose import RECORDED, recorded


@pytest.mark.parametrize("name", [path.stem for path in RECORDED.glob("*.json")])
def test_every_report_has_its_picture_its_verdict_its_cause_and_what_to_paste(name: str) -> None:
    measured = recorded(name)
    diagnosis = diagnose(measured)
    lines = report(measured, diagnosis)
    text = "\n".join(lines)
    pictures = [line for line in lines if line[17:18] == " " and set(line[18:74]) <= set(".o8@")]
    assert len(pictures) >= 8
    assert any(line.startswith(diagnosis.verdict.upper()) for line in lines)
    assert diagnosis.proxy is not None
    assert f"{diagnosis.proxy.name} ({diagnosis.proxy.score:.0%})" in text
    for finding in diagnosis.findings:
        assert f"{finding.code} ({finding.severity})" in text
        assert finding.fix in text
    pasted = paste(diagnosis)
    assert pasted.strip() in text
    assert bool(pasted) is (bool(diagnosis.findings) and diagnosis.proxy.name not in {"express", "mitmproxy"})


def test_a_good_path_has_nothing_to_paste() -> None:
    assert paste(diagnose(recorded("nginx"))) == ""
    assert paste(diagnose(recorded("lighttpd-default"))) == render("lighttpd", Wish())


def test_a_burst_stands_at_its_end_and_a_live_stream_all_along() -> None:
    measured = recorded("nginx-gzip")
    rows = {line[:17].strip(): line for line in report(measured, diagnose(measured))}
    sent, live, held = (rows[name][18:74] for name in ("sent", "GET", "GET, gzip"))
    assert [at for at, mark in enumerate(live) if mark != "."][:1] == [0]
    assert live.count("o") >= 12
    assert sent.count("o") == 13
    assert held.strip(".") == "@"
    assert held.index("@") > 50


def test_what_was_found_without_the_proxy_is_told_apart() -> None:
    measured = recorded("nginx-strips")
    baseline = diagnose(measured)
    text = "\n".join(report(measured, diagnose(measured, baseline), baseline))
    assert "GOOD" in text
    assert "not counted: rewritten" in text


def test_a_host_that_was_changed_is_mentioned() -> None:
    measured = recorded("nginx-strips")
    assert measured.echo.host_changed
    assert any("Host" in line for line in report(measured, diagnose(measured)))
