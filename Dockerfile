# llm_bot as an image. docs/DEPLOYMENT.md says how to run it; `make image-test` builds and tries it.

# Any image with a glibc and Python 3.11 or newer as `python3`, with its venv module.
ARG BASE=python:3.12-slim

FROM ${BASE} AS build

# requirements-extras.txt has redis and uvloop too.
ARG REQUIREMENTS=requirements.txt

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

WORKDIR /src

# The tools stay in this stage: the environment that is copied has no pip and no setuptools.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/llm-bot

# The build backend is one of the locked packages, so its hash is checked, too.
COPY requirements-dev.txt .
RUN awk '/^[^ ]/ { wanted = /^setuptools==/ } wanted' requirements-dev.txt > build.txt \
    && /tools/bin/pip install --require-hashes -r build.txt

COPY requirements.txt requirements-extras.txt ./
RUN /tools/bin/pip wheel --require-hashes --no-deps --no-build-isolation --wheel-dir wheels \
    -r "${REQUIREMENTS}"

COPY pyproject.toml README.md LICENSE ./
COPY llm_bot llm_bot
# Bytecode that isn't compared with its source: a copy of a layer may change times.
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /tools/bin/pip --python /opt/llm-bot/bin/python3 install --no-index --no-deps --no-compile \
        wheels/*.whl \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/llm-bot/lib


FROM ${BASE}

# The commit that it was built from, for the label.
ARG REVISION=unknown

LABEL org.opencontainers.image.title="llm_bot" \
      org.opencontainers.image.description="Takes part in the chat of CyTube rooms with a large language model, over NATS" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"

COPY --from=build /opt/llm-bot /opt/llm-bot

ENV PATH=/opt/llm-bot/bin:${PATH}

# python:slim has no bytecode of the standard library. Importing writes that of the modules which
# are used; nobody else could, as the user owns no file and the root may be read-only.
RUN python3 -c "import llm_bot.cli.run, llm_bot.cli.healthcheck"

# Where `config.yaml` is looked for, and files that it names by a relative path.
WORKDIR /etc/llm-bot

# A number, so that Kubernetes sees that it isn't root, and that a file on a volume has the same
# owner inside and outside.
USER 10001:10001

EXPOSE 8080

# Whether the process answers. That NATS or a model is away is for /ready and the alerts: a restart
# would mend neither.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["llm-bot", "healthcheck"]

ENTRYPOINT ["llm-bot"]
