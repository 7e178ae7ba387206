# The bridge alone; Supabase runs elsewhere (hosted, or supabase start).
#   docker build -t evpower-ocpp-bridge .
#   docker run --env-file .env -p 8000:8000 evpower-ocpp-bridge

FROM python:3.12-slim AS build
WORKDIR /src
# Dependencies first: they change less often than the code.
COPY requirements.txt ./
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -r requirements.txt
COPY pyproject.toml README.md ./
COPY ocpp_bridge ocpp_bridge
RUN /venv/bin/pip install --no-cache-dir --no-deps .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home bridge
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 LOG_FORMAT=json
USER bridge
WORKDIR /tmp
EXPOSE 8000
# Alive, not ready: a bridge that waits for Supabase must not be restarted for it.
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('OCPP_PORT', '8000')}/health\", timeout=2)"]
# SIGTERM: stations get a close with 1001 and reconnect elsewhere; the bridge needs up to 10 s for it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["ocpp-bridge"]
CMD ["serve"]
