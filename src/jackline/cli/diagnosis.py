"""`jackline doctor …`: a diagnosis for people and for programs; a throw-away origin; a token."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from jackline.cli import exits
from jackline.cli.plain import one_line, plain
from jackline.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from jackline.client.errors import ClientError
    from jackline.doctor.finding import Diagnosis
    from jackline.doctor.probing import Off
    from jackline.doctor.record import Measurements

BUSY: Final = "busy with other diagnoses, try again in 30 s"
"""What a 429 of the probes says of the path: nothing."""
GRANT_SECONDS: Final = 900.0
"""What a token of `--grant` is good for."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """What was typed. `horizon_s`: how long silent streams are watched, 0 if not."""

    url: str
    token: str | None
    json: bool
    horizon_s: float
    provoke: bool
    compare: str | None
    plain: bool


def diagnose(order: Order) -> int:
    """Measure and tell. Returns the exit code."""
    from jackline.client.errors import ClientError
    from jackline.doctor.probing import Off

    try:
        return asyncio.run(_diagnose(order))
    except Off as error:
        _print_off(order, error)
        return exits.USAGE
    except _Spoilt as error:
        print(f"jackline: {error}", file=sys.stderr)
        return error.code
    except ValueError as error:
        print(f"jackline: {error}", file=sys.stderr)
        return exits.USAGE
    except ClientError as error:
        text, code = explain(error)
        print(f"jackline: {text}", file=sys.stderr)
        return code


def explain(error: ClientError) -> tuple[str, int]:
    """A line for people and the exit code, in words of the doctor's own arguments."""
    from jackline.client.errors import ProtocolViolation, Refused, Unreachable
    from jackline.doctor.wire import Untrusted

    match error:
        case Refused(status=HTTPStatus.TOO_MANY_REQUESTS):
            return BUSY, exits.FAILED
        case Untrusted():
            why = f"{error.url}: its certificate is not trusted ({error.reason})"
            return one_line(f"{why}: let SSL_CERT_FILE name a file with one that is"), exits.UNREACHABLE
        case Unreachable():
            return one_line(f"{error}. Is the server running, and is URL right?"), exits.UNREACHABLE
        case ProtocolViolation():
            return one_line(str(error)), exits.UNREACHABLE
        case _:
            return exits.explain(error)


def origin(host: str, port: int) -> int:
    """Serve the probes alone, until told to stop. Returns the exit code."""
    from jackline.web.probe.origin import serve_origin

    def ready(url: str, token: str) -> None:
        lines = (
            f"Probes on {url}, for an hour at most. Put it behind the proxy, and on the other side:",
            f"  jackline doctor http://PROXY --token {token}",
            "Ctrl-C here stops it.",
        )
        print("\n".join(lines), flush=True)

    try:
        asyncio.run(serve_origin(host, port, on_ready=ready))
    except ConfigError as error:
        print(f"jackline: {error}", file=sys.stderr)
        return exits.USAGE
    return exits.COMPLETED


def grant(config: Path | None) -> int:
    """Print a token. Returns the exit code."""
    from jackline.settings import load
    from jackline.web.probe.grants import Grants

    try:
        secret = load(config).probe_secret
    except ConfigError as error:
        print(f"jackline: {error}", file=sys.stderr)
        return exits.USAGE
    if secret is None:
        print(
            "jackline: set probe_secret to 32 random characters or more, here and where the server runs",
            file=sys.stderr,
        )
        return exits.USAGE
    print(Grants(secret).make(GRANT_SECONDS))
    return exits.COMPLETED


async def _diagnose(order: Order) -> int:
    from jackline.doctor.diagnose import diagnose as judge
    from jackline.doctor.finding import EXIT_CODES
    from jackline.doctor.measure import Doctor
    from jackline.doctor.present import report

    def tell(what: str) -> None:
        if not order.json and sys.stderr.isatty():
            print(f"… {what}", file=sys.stderr)

    baseline: Diagnosis | None = None
    doctor = Doctor(order.url, order.token, tell=tell)
    if order.compare is not None:
        direct = Doctor(order.compare, order.token, tell=tell)
        without = await direct.measure(horizon_s=order.horizon_s)
        _check(without)
        baseline = judge(without, plain=order.plain)
    measured = await doctor.measure(horizon_s=order.horizon_s, provoke=order.provoke)
    _check(measured)
    diagnosis = judge(measured, baseline, plain=order.plain)
    code = EXIT_CODES[diagnosis.verdict]
    if order.json:
        print(json.dumps(_document(measured, diagnosis, baseline, code), separators=(",", ":")))
    else:
        print(plain("\n".join(report(measured, diagnosis, baseline))))
    return code


class _Spoilt(Exception):  # noqa: N818
    """What was measured says nothing of the path. `code`: to exit with."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


def _check(measured: Measurements) -> None:
    """Raises `_Spoilt`."""
    from jackline.doctor.ending import busy, went_away

    if busy(measured):
        raise _Spoilt(BUSY, exits.FAILED)
    if went_away(measured):
        raise _Spoilt("the server went away while it was measured", exits.UNREACHABLE)


def _document(
    measured: Measurements, diagnosis: Diagnosis, baseline: Diagnosis | None, code: int
) -> dict[str, Any]:
    import msgspec

    from jackline.doctor.ending import not_measured
    from jackline.doctor.present import paste

    guess = diagnosis.proxy
    return {
        "verdict": diagnosis.verdict,
        "exit_code": code,
        "proxy": None if guess is None else {"name": guess.name, "score": guess.score},
        "findings": msgspec.to_builtins(diagnosis.findings),
        "baseline": None if baseline is None else [finding.code for finding in baseline.findings],
        "not_measured": not_measured(measured),
        "guesses": msgspec.to_builtins(diagnosis.guesses),
        "configuration": paste(diagnosis),
        "measured": msgspec.to_builtins(measured),
    }


def _print_off(order: Order, error: Off) -> None:
    """A Jackline whose probes are off: what to do, and what can be seen without them."""
    if order.json:
        seen: dict[str, object] = {"verdict": None, "exit_code": exits.USAGE, "proxy": None, "findings": []}
        print(json.dumps({**seen, "detail": error.detail, "measured": {"headers": error.headers}}))
        return
    lines = [f"A Jackline answers at {order.url}, but {error.detail}.", "Its answer came with:"]
    lines += [f"  {name}: {value}" for name, value in error.headers]
    print(plain("\n".join(lines)))
