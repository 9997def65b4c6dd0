"""Notes on what other people run: what to set there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackline.proxies.template import fill

if TYPE_CHECKING:
    from jackline.proxies.wish import Wish

_HEAD: Final = """\
# @name@ before Jackline on @upstream@, for what people reach as @scheme@://@listen@.
# From the vendor's documentation; not run here. `jackline doctor URL` tells what it really does.
# Its addresses belong into Jackline's setting `trusted_proxies`, else all viewers count as one address.
[tls] # @certificate@ and @key@ are what the vendor's own certificate takes the place of, or what you upload there.
"""

_CLOUDFLARE: Final = """\
# A stream that is silent for 100 s (newer pages say 120 s) is cut, before the headers with 524; only Enterprise can
# change that.
# @bears@

# Rules > Cache Rules: none that says "cache everything" for /api/. It could give one person's stream to another.
# Rules > Compression, Auto Minify, Rocket Loader, Email Obfuscation: off for /api/; they want whole answers.

# With a tunnel: a named one. A quick tunnel (trycloudflare.com) holds the answers to GET back to their end.
# config.yml of cloudflared:
tunnel: jackline
ingress:
  - service: http://@upstream@
    originRequest:
      connectTimeout: 5s
      # 90 s by default; Jackline closes unused connections after 75 s, and a POST then gets 502.
      keepAliveTimeout: 60s
"""

_AWS_ALB: Final = """\
# Leave the idle timeout at 60 s. It is also how long unused connections to Jackline are kept, which closes them after
# 75 s: with more than that a POST goes to one that is just being closed, and gets 502.
# @bears@
aws elbv2 modify-load-balancer-attributes --load-balancer-arn ARN \\
  --attributes Key=idle_timeout.timeout_seconds,Value=60

# Health: a web process that ends says so on /readyz first. Streams go where the fewest are.
aws elbv2 modify-target-group --target-group-arn ARN \\
  --health-check-path /readyz --health-check-interval-seconds 5 --health-check-timeout-seconds 2 \\
  --healthy-threshold-count 2 --unhealthy-threshold-count 2 --matcher HttpCode=200
aws elbv2 modify-target-group-attributes --target-group-arn ARN \\
  --attributes Key=load_balancing.algorithm.type,Value=least_outstanding_requests \\
    Key=deregistration_delay.timeout_seconds,Value=30

# Targets are instances or addresses on port @upstream_port@. A Lambda target collects the whole answer.
"""

_CLOUDFRONT: Final = """\
# A stream that is silent for 30 s is cut (origin response timeout; 1 to 120 s can be set).
# @bears@
# In the distribution's configuration:
#   CustomOriginConfig.OriginReadTimeout: @seconds@
#   CustomOriginConfig.OriginKeepaliveTimeout: 60     below Jackline's 75 s, else a POST gets 502 now and then
#   no ResponseCompletionTimeout: it caps the whole life of an answer, heartbeats or not
#   AllowedMethods: all seven, else chats, approvals and stops get 403
#   CachePolicyId: 4135ea2d-6df8-44a3-9df3-4b5a84be39ad             CachingDisabled
#   OriginRequestPolicyId: 216adef6-5c7f-47e4-b989-5492eafa07d3     AllViewer: with Authorization, Last-Event-ID,
#     Host and the query; without it everybody gets 401, and a viewer that comes back begins anew
#   Compress: false
"""

_API_GATEWAY: Final = """\
# An HTTP API collects the whole answer and gives up after 30 s: streams do not work. A REST API streams when an
# HTTP_PROXY integration says so:
aws apigateway update-integration --rest-api-id ID --resource-id ID --http-method ANY \\
  --patch-operations op=replace,path=/responseTransferMode,value=STREAM \\
    op=replace,path=/timeoutInMillis,value=900000
aws apigateway create-deployment --rest-api-id ID --stage-name prod

# Every stream is cut after 15 minutes, heartbeats or not; clients come back by themselves and miss nothing.
# One that is silent is cut after 5 minutes, of an edge-optimized API after 30 s.
# @bears@
# After the first 10 MB a stream gets 2 MB/s.
"""

_GCP: Final = """\
# 30 s for the whole answer by default, heartbeats or not: raise it to the longest life that a stream may have.
# Clients come back by themselves when it is cut. Jackline sends something every @heartbeat@ s.
gcloud compute backend-services update jackline --global --timeout=@idle@ --connection-draining-timeout=30 \\
  --no-enable-cdn

# On GKE the same in a GCPBackendPolicy, `timeoutSec: @idle@`, or with an Ingress in a BackendConfig.
# On Cloud Run: gcloud run services update jackline --timeout=3600, which is the most; with `jackline serve --role web`,
# since a run must go on when nobody watches.

# A web process that ends says so here first.
gcloud compute health-checks create http jackline --port=@upstream_port@ --request-path=/readyz \\
  --check-interval=5s --timeout=2s

# It keeps unused connections to the server for 600 s, Jackline closes them after 75 s: now and then a POST goes to one
# that is just being closed and gets 502. Let Jackline keep them longer: JACKLINE_KEEP_ALIVE=620
"""

_AZURE: Final = """\
# Application Gateway. It collects answers by default: a stream comes in bursts or at its end.
az network application-gateway update --resource-group GROUP --name GATEWAY \\
  --set globalConfiguration.enableResponseBuffering=false
# How long a stream may be silent, 20 s by default. Jackline sends something every @heartbeat@ s.
az network application-gateway http-settings update --resource-group GROUP --gateway-name GATEWAY \\
  --name SETTINGS --port @upstream_port@ --timeout @idle@
# A web process that ends says so here first.
az network application-gateway probe create --resource-group GROUP --gateway-name GATEWAY --name jackline \\
  --protocol Http --path /readyz --interval 5 --timeout 2 --threshold 2 --host-name-from-http-settings true

# Front Door. A stream that is silent for longer than the origin response timeout is cut; 16 to 240 s can be set.
# @bears@
az afd profile update --resource-group GROUP --profile-name PROFILE --origin-response-timeout-seconds 240
# No caching and no compression on the route of /api/.

# App Service and Container Apps cut what is silent for 230 and 240 s.
"""

_HEROKU: Final = """\
# Procfile, with Redis as the store (the file system of a dyno is lost whenever it restarts, which is daily):
web: jackline serve --role web --host 0.0.0.0 --port $PORT
worker: jackline serve --role worker

# The first byte must come within 30 s, then something every 55 s.
# @bears@
# A dyno that is told to end has 30 s; Jackline's `drain` is shorter.
# The router keeps unused connections to a dyno for 90 s, Jackline closes them after 75 s: now and then a POST goes to
# one that is just being closed and gets 503. Let Jackline keep them longer:
heroku config:set JACKLINE_KEEP_ALIVE=100
"""

_FLY: Final = """\
# fly.toml
[http_service]
  internal_port = @upstream_port@
  force_https = true
  # Else a machine that nobody asks anything is stopped, with the runs that it drives.
  auto_stop_machines = "off"
  min_machines_running = 2

  [http_service.concurrency]
    # Beyond hard_limit new streams wait: each open one counts.
    type = "connections"
    soft_limit = 2000
    hard_limit = 2500

  [http_service.http_options]
    # A stream that is silent for so long is cut; 60 s by default. Jackline sends something every @heartbeat@ s.
    idle_timeout = @idle@
    # No `compress`: it holds entries back.

  # A web process that ends says so here first.
  [[http_service.checks]]
    grace_period = "10s"
    interval = "5s"
    timeout = "2s"
    method = "GET"
    path = "/readyz"
"""


def cloudflare(wish: Wish) -> str:
    """Cloudflare's proxy and its tunnel."""
    return _note(_CLOUDFLARE, wish, "Cloudflare", limit=100)


def aws_alb(wish: Wish) -> str:
    """The application load balancer of AWS."""
    return _note(_AWS_ALB, wish, "An application load balancer of AWS", limit=60)


def cloudfront(wish: Wish) -> str:
    """CloudFront."""
    seconds = min(120, max(60, wish.least))
    return _note(_CLOUDFRONT, wish, "CloudFront", limit=120, seconds=str(seconds))


def api_gateway(wish: Wish) -> str:
    """API Gateway of AWS."""
    return _note(_API_GATEWAY, wish, "API Gateway of AWS", limit=30)


def gcp(wish: Wish) -> str:
    """The application load balancers of Google Cloud."""
    return _note(_GCP, wish, "An application load balancer of Google", limit=0)


def azure(wish: Wish) -> str:
    """What Azure has."""
    return _note(_AZURE, wish, "Application Gateway or Front Door of Azure", limit=240)


def heroku(wish: Wish) -> str:
    """Heroku's router."""
    return _note(_HEROKU, wish, "Heroku's router", limit=55)


def fly(wish: Wish) -> str:
    """Fly's proxy."""
    return _note(_FLY, wish, "Fly's proxy", limit=0)


def _note(text: str, wish: Wish, name: str, *, limit: int, **more: str) -> str:
    """`limit`: the seconds of silence that it bears at most."""
    return fill(_HEAD + text, wish, name=name, bears=_bears(wish, limit), **more)


def _bears(wish: Wish, limit: int) -> str:
    """Whether the heartbeat keeps streams alive: two must fit, so that one may be late."""
    if 2 * wish.heartbeat <= limit:
        return (
            f"Jackline's heartbeat every {wish.heartbeat:g} s keeps streams alive: nothing to set for that."
        )
    return (
        f"A heartbeat every {wish.heartbeat:g} s is too slow for that: set Jackline's `heartbeat` to "
        f"{min(15, limit // 3)}."
    )
