# One image per service: docker build --build-arg SERVICE=selector .
# The classifier's deep version needs more packages: --build-arg SERVICE=classifier --build-arg LOCK=classifier-deep.
# So do request logs in S3-compatible storage: --build-arg SERVICE=gateway --build-arg LOCK=gateway-object-storage.
# It holds the service (all of them with `--target together`), the chassis, the contract and the packages of its own lock,
# each checked by its hash.
# A tag moves; name@sha256:... does not.
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS packages
ARG SERVICE
ARG LOCK=${SERVICE}
# Another package index than PyPI; it may name a password, and nothing of this stage but /venv is in an image.
ARG PIP_INDEX_URL
COPY locks/${LOCK}.txt /lock.txt
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r /lock.txt \
 # What installs packages has no business where they run.
 && /venv/bin/pip uninstall --yes pip setuptools

FROM ${PYTHON_IMAGE} AS base
ARG SERVICE
# A fixed number, so that volumes keep their owner over rebuilds.
RUN groupadd --gid 10001 lumni \
 && useradd --uid 10001 --gid lumni --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin lumni \
 && install --directory --owner lumni --group lumni /state
COPY --from=packages /venv /venv
COPY protos/gen/lumni /app/lumni
COPY services/__init__.py /app/services/
COPY services/chassis /app/services/chassis
COPY config /app/config
ENV PATH=/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LUMNI_STATE_DIR=/state \
    LUMNI_SERVICE=services.${SERVICE}
WORKDIR /app
USER lumni
# exec, so that the service gets the signals.
CMD ["sh", "-c", "exec python -m $LUMNI_SERVICE"]

# All four in one process: docker build --target together --build-arg SERVICE=together .
FROM base AS together
COPY services/gateway /app/services/gateway
COPY services/classifier /app/services/classifier
COPY services/selector /app/services/selector
COPY services/executor /app/services/executor
COPY services/together /app/services/together

# A small model for trying things out: docker build --target local-model --build-arg SERVICE=local.model --build-arg LOCK=local-model .
FROM ${PYTHON_IMAGE} AS openmp
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libgomp1 \
 && install -D --target-directory=/openmp /usr/lib/*/libgomp.so.1

FROM base AS local-model
COPY --from=openmp /openmp /app/lib
ENV LD_LIBRARY_PATH=/app/lib
COPY services/local/__init__.py services/local/model.py services/local/weights.py /app/services/local/

FROM base
ARG SERVICE
COPY services/${SERVICE} /app/services/${SERVICE}
