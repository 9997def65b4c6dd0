"""What `jackline proxy` prints: every option takes effect in every text."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from typing import Any

import pytest
import yaml

from jackline.errors import ConfigError
from jackline.proxies import GENERATED, NOTES, Wish, about, render

NAMES = (*GENERATED, *NOTES)
KUBERNETES = ("ingress-nginx", "nginx-gateway-fabric", "istio", "contour")
NO_LIMIT_TO_SET = ("traefik", "caddy", "vite")
"""Those that bear any silence as they are."""
FIXED_LIMIT = {"cloudflare": 100, "aws-alb": 60, "cloudfront": 120, "api-gateway": 30, "heroku": 55}
"""Those whose limit on silence cannot be raised, or not far: seconds."""

TLS = ("/etc/ssl/own.pem", "/etc/ssl/own.key")
ALL = Wish(upstream=("web.agents", 9123), listen=("front.example.com", 8443), heartbeat=7.5, tls=TLS)


def text_of(name: str, **wish: Any) -> str:
    return render(name, Wish(**wish))


def lines_that_count(text: str) -> list[str]:
    """Without comments."""
    return [line for line in text.splitlines() if not re.match(r"\s*(#|//)", line)]


def place_to_listen(name: str) -> tuple[str, int]:
    """A name, where the proxy can listen on one."""
    return ("192.0.2.7" if name == "envoy" else "front.example.com", 8443)


def resources(name: str, **wish: Any) -> dict[str, dict[str, Any]]:
    """What would be applied, by kind."""
    documents = list(yaml.safe_load_all(text_of(name, **wish)))
    return {document["kind"]: document for document in documents}


def test_the_proxies_that_people_have_are_there() -> None:
    assert set(GENERATED) == {
        *("nginx", "haproxy", "envoy", "traefik", "caddy", "apache", "varnish", "lighttpd", "squid"),
        *KUBERNETES,
    }
    assert set(NOTES) == {
        *("cloudflare", "aws-alb", "cloudfront", "api-gateway", "gcp", "azure", "heroku", "fly"),
        *("next", "vite"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_every_place_is_filled_in(name: str) -> None:
    texts = [text_of(name), text_of(name, heartbeat=1000)]
    if name != "varnish":
        texts.append(render(name, replace(ALL, listen=place_to_listen(name))))
    for text in texts:
        assert not re.search(r"@[a-z_]+@|^\[(tls|plain)\]", text, re.MULTILINE)
        assert text.endswith("\n")
        assert about(name)


@pytest.mark.parametrize("name", NAMES)
def test_the_upstream_takes_effect(name: str) -> None:
    text = text_of(name, upstream=("web.agents", 9123))
    assert "9123" in text
    assert "web" in text
    assert "8787" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_place_to_listen_takes_effect(name: str) -> None:
    if name in {"heroku", "fly"}:
        assert "http://front.example.com:8443" in text_of(name, listen=("front.example.com", 8443))
        return
    host, port = place_to_listen(name)
    text = text_of(name, listen=(host, port))
    assert "8443" in text
    assert host in text
    assert "8080" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_heartbeat_is_told(name: str) -> None:
    assert "every 7.5 s" in re.sub(r"\s+(# |// )?\s*", " ", text_of(name, heartbeat=7.5))


@pytest.mark.parametrize("name", sorted({*NAMES} - {*NO_LIMIT_TO_SET, *FIXED_LIMIT}))
def test_a_slower_heartbeat_raises_the_limits_on_silence(name: str) -> None:
    """Four may be missing: clients come back after two and a half."""
    slow = text_of(name, heartbeat=1000)
    assert "4000" in slow
    assert "4000" not in text_of(name)
    assert "3600" in text_of(name, heartbeat=0.1) or name == "istio", "a fast one lowers none"


@pytest.mark.parametrize(("name", "limit"), FIXED_LIMIT.items())
def test_a_heartbeat_too_slow_for_a_fixed_limit_is_told(name: str, limit: int) -> None:
    assert "too slow" not in text_of(name)
    assert "too slow" not in text_of(name, heartbeat=limit / 2)
    slow = text_of(name, heartbeat=limit * 0.8)
    advised = re.search(r"too slow for that: set Jackline's `heartbeat` to (\d+)", slow)
    assert advised
    assert "too slow" not in text_of(name, heartbeat=float(advised[1]))


@pytest.mark.parametrize("name", sorted({*NAMES} - {"varnish"}))
def test_tls_takes_effect(name: str) -> None:
    text, plain = text_of(name, tls=TLS), text_of(name)
    assert all(path in text for path in TLS)
    assert not any(path in plain for path in TLS)
    if name in GENERATED:
        assert lines_that_count(text) != lines_that_count(plain)


def test_varnish_says_what_to_put_before_it_for_tls() -> None:
    """G11: it cannot end TLS."""
    with pytest.raises(ConfigError, match=r"does not end TLS.*haproxy"):
        text_of("varnish", tls=TLS)


@pytest.mark.parametrize("name", NOTES)
def test_what_was_not_run_says_so(name: str) -> None:
    head = "\n".join(text_of(name).splitlines()[:2])
    assert "From the vendor's documentation; not run here." in head


@pytest.mark.parametrize("name", KUBERNETES)
def test_resources_say_that_they_were_not_run(name: str) -> None:
    assert "Written from the vendor's documentation; not run here." in text_of(name)


@pytest.mark.parametrize("name", KUBERNETES)
@pytest.mark.parametrize("tls", [None, TLS])
def test_resources_are_yaml_of_one_namespace_and_service(name: str, tls: tuple[str, str] | None) -> None:
    found = resources(
        name, upstream=("web.agents.svc.cluster.local", 9123), listen=("a.example.com", 8443), tls=tls
    )
    assert {document["metadata"]["namespace"] for document in found.values()} == {"agents"}
    assert ("jackline-tls" in str(found)) == (tls is not None)
    assert "a.example.com" in str(found)
    assert "'web'" in str(found)
    assert "9123" in str(found)


@pytest.mark.parametrize("name", KUBERNETES)
def test_an_address_is_no_service_and_no_host(name: str) -> None:
    found = str(resources(name))
    assert "127.0.0.1" not in found
    assert "'jackline'" in found
    assert "jackline.example.com" in found


def test_an_ingress_overwrites_no_setting_of_the_whole_cluster() -> None:
    """Applying a ConfigMap of the controller's name would change every other Ingress, too."""
    text = text_of("ingress-nginx", heartbeat=1000)
    assert set(resources("ingress-nginx")) == {"Ingress"}
    command = re.search(r"^#   (kubectl -n .*) \\\n#     -p '(.*)'$", text, re.MULTILINE)
    assert command
    assert command[1] == "kubectl -n ingress-nginx patch configmap ingress-nginx-controller --type merge"
    assert json.loads(command[2]) == {"data": {"worker-shutdown-timeout": "4000s"}}


def test_contour_and_istio_cap_no_answer_and_send_no_post_again() -> None:
    (route,) = resources("contour")["HTTPProxy"]["spec"]["routes"]
    assert route["timeoutPolicy"]["response"] == "infinity"
    assert route["retryPolicy"]["count"] == -1
    (http,) = resources("istio")["VirtualService"]["spec"]["http"]
    assert http["timeout"] == "0s"
    assert http["retries"] == {"attempts": 0}


def test_istio_gets_a_filter_only_for_a_slow_heartbeat() -> None:
    assert "EnvoyFilter" not in resources("istio", heartbeat=75)
    value = resources("istio", heartbeat=76)["EnvoyFilter"]["spec"]["configPatches"][0]["patch"]["value"]
    assert value["typed_config"]["stream_idle_timeout"] == "3600s"


def test_envoys_route_has_no_limit_and_no_retries() -> None:
    listener = yaml.safe_load(text_of("envoy"))["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"] == {"cluster": "jackline", "timeout": "0s"}


@pytest.mark.parametrize("name", ["front.example.com", "localhost", "999.1.1.1"])
def test_envoy_wants_an_address_to_listen_on(name: str) -> None:
    """G11: it takes no name there, and does not start with one."""
    with pytest.raises(ConfigError, match=r"^listen: .*an address.*127\.0\.0\.1"):
        text_of("envoy", listen=(name, 8443))
    listener = yaml.safe_load(text_of("envoy", listen=("::1", 8443)))["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 8443}


def test_the_slowest_heartbeat_is_a_day() -> None:
    assert Wish(heartbeat=86400).idle == 4 * 86400


def test_traefiks_file_is_two_configurations() -> None:
    """Its template engine takes `{{/*` … `*/}}` away, its YAML reader stops at the first document."""
    text = text_of("traefik")
    static = next(yaml.safe_load_all(text))
    dynamic = [
        part for part in yaml.safe_load_all(re.sub(r"\{\{/\*.*\*/\}\}", "", text, flags=re.DOTALL)) if part
    ]
    assert set(static) == {"entryPoints", "providers", "global"}
    assert static["entryPoints"]["front"]["transport"]["respondingTimeouts"]["writeTimeout"] == "0s"
    assert [set(part) for part in dynamic] == [{"http"}]


def test_flys_file_is_toml() -> None:
    service = tomllib.loads(text_of("fly"))["http_service"]
    assert service["internal_port"] == 8787
    assert service["http_options"] == {"idle_timeout": 3600}


@pytest.mark.parametrize("name", ["nginx", "haproxy", "apache", "squid", "traefik", "caddy", "lighttpd"])
def test_an_ipv6_address_stands_as_the_program_wants_it(name: str) -> None:
    text = text_of(name, upstream=("::1", 9123), listen=("::1", 8443))
    wanted = {
        "squid": ("cache_peer ::1 parent 9123", "http_port [::1]:8443"),
        "caddy": ("reverse_proxy [::1]:9123", "bind ::1"),
        "lighttpd": ('"host" => "::1", "port" => 9123', 'server.bind = "[::1]"'),
    }.get(name, ("[::1]:9123", "[::1]:8443"))
    assert all(part in text for part in wanted)


@pytest.mark.parametrize("name", GENERATED)
def test_no_configuration_keeps_a_connection_longer_than_jackline_does(name: str) -> None:
    """It closes unused ones after 75 s; who keeps them longer sends a POST into the end of one."""
    kept = {
        "nginx": "keepalive_timeout 60s;",
        "ingress-nginx": "`upstream-keepalive-timeout`, 60 s by default",
        "nginx-gateway-fabric": "timeout: 60s",
        "haproxy": "pool-purge-delay",
        "envoy": "idle_timeout: 60s",
        "istio": "idleTimeout: 60s",
        "contour": "idleConnection: 60s",
        "traefik": "idleConnTimeout: 60s",
        "caddy": "keepalive 60s",
        "apache": "ttl=60",
        "varnish": ".probe",  # backend_idle_timeout is 60 s
        "lighttpd": "proxy.server",  # each request has a connection of its own
        "squid": "server_idle_pconn_timeout 60 seconds",
    }
    assert kept[name] in text_of(name)


def test_an_unknown_name_is_told_with_those_there_are() -> None:
    """G11."""
    with pytest.raises(ConfigError) as told:
        text_of("nginxx")
    assert all(name in str(told.value) for name in ("'nginxx'", *NAMES))
    with pytest.raises(ConfigError, match="'nginxx'"):
        about("nginxx")


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"upstream": ("", 80)}, "upstream"),
        ({"upstream": ("a b", 80)}, "upstream"),
        ({"upstream": ("web;}", 80)}, "upstream"),
        ({"upstream": ("web\n", 80)}, "upstream"),
        ({"upstream": ("web", 0)}, "upstream"),
        ({"listen": ("web", 65536)}, "listen"),
        ({"listen": ("-x", 80)}, "listen"),
        ({"upstream": (":", 80)}, "upstream"),
        ({"upstream": ("1:2:3", 80)}, "upstream"),
        ({"listen": ("::1::", 80)}, "listen"),
        ({"heartbeat": 0}, "heartbeat"),
        ({"heartbeat": 86401}, "heartbeat"),
        ({"heartbeat": 1e300}, "heartbeat"),
        ({"heartbeat": float("nan")}, "heartbeat"),
        ({"heartbeat": float("inf")}, "heartbeat"),
        ({"tls": ("cert.pem", "a b")}, "tls"),
        ({"tls": ("cert.pem;", "key.pem")}, "tls"),
        ({"tls": ("", "key.pem")}, "tls"),
        ({"tls": ("cert\0.pem", "key.pem")}, "tls"),
        ({"tls": ("cert.pem", "key\x1b[2J.pem")}, "tls"),
        ({"tls": ("cert.pem", "key\x07.pem")}, "tls"),
        ({"tls": ("cert.pem", "key\x7f.pem")}, "tls"),
        ({"tls": ("cert\u202e.pem", "key.pem")}, "tls"),
        ({"tls": ("cert.pem", "@listen@")}, "tls"),
    ],
)
def test_what_no_configuration_can_hold_is_refused(wish: dict[str, Any], named: str) -> None:
    """G11: what stands in a wish goes into other programs' languages as it is."""
    with pytest.raises(ConfigError, match=f"^{named}: "):
        Wish(**wish)
