# Jackline, for both roles. It writes nothing but its data folder and /tmp, so its root may be read-only:
#   docker build -t jackline .
#   docker run --read-only --tmpfs /tmp -v jackline-data:/data -v ./jackline.toml:/config/jackline.toml:ro \
#     -p 127.0.0.1:8787:8787 jackline serve --host 0.0.0.0 --config /config/jackline.toml
# Listening on all addresses of the container needs keys (docs/settings.md). compose.yaml shows all of it.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY requirements.lock ./
RUN python -m venv /opt/jackline \
  && /opt/jackline/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
COPY pyproject.toml README.md CHANGELOG.md LICENSE ./
COPY src src
# Compiled here: a read-only root cannot keep what Python compiles at a start, and would do it each time.
RUN /opt/jackline/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
  && /opt/jackline/bin/python -m compileall -q /opt/jackline/lib

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin jackline \
  && install -d -o jackline -g jackline /data
COPY --from=build /opt/jackline /opt/jackline
ENV PATH=/opt/jackline/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 JACKLINE_DATA_DIR=/data
VOLUME /data
USER 10001
WORKDIR /tmp
EXPOSE 8787
# SIGTERM drains: viewers are told to come back, workers hand their runs back. Give it longer than `drain`.
STOPSIGNAL SIGTERM
ENTRYPOINT ["jackline"]
CMD ["serve"]
