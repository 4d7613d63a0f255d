# The dth command as a container image, for amd64 and arm64.
#
#   podman build -t dth .                     with a package index at hand
#   make wheels && podman build -t dth .      the wheels come from ./wheels: the build needs no network
#   podman run --read-only --tmpfs /tmp -v dth-state:/var/lib/dth dth sync s3://photos s3://backup
#
# BASE needs Python 3.11 or newer with its venv module. Prefer a Python that was built with PGO and LTO, as this one and
# Debian's are: dth then needs 12 to 24% less CPU.
ARG BASE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

FROM ${BASE} AS build
WORKDIR /src
COPY . .
# Every package is pinned by hash. `pip --python` installs into an environment that has no pip of its own.
RUN set -eu; \
    if [ -d wheels ]; then export PIP_NO_INDEX=1 PIP_FIND_LINKS=/src/wheels; fi; \
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore; \
    python3 -m venv /build; \
    /build/bin/pip install -q --require-hashes --only-binary :all: -r locks/build.txt; \
    /build/bin/python -m hatchling build -t wheel -d /build/dist; \
    python3 -m venv --without-pip /opt/dth; \
    /build/bin/pip --python /opt/dth/bin/python3 install -q --require-hashes --only-binary :all: -r locks/dth.txt; \
    /build/bin/pip --python /opt/dth/bin/python3 install -q --no-index --no-deps /build/dist/*.whl; \
    rm -rf /opt/dth/include

FROM ${BASE}
LABEL org.opencontainers.image.title="dth" \
      org.opencontainers.image.description="Moves objects between S3-compatible buckets and images between registries" \
      org.opencontainers.image.licenses="Apache-2.0"
# State that has no queue and table on AWS lives in the user's home: mount a volume there, or name another folder (--state).
RUN groupadd --gid 65532 dth \
    && useradd --uid 65532 --gid 65532 --no-log-init --home-dir /var/lib/dth --create-home --skel /dev/null --shell /usr/sbin/nologin dth \
    && chmod 0700 /var/lib/dth
# Fargate gives a task empty volumes that belong to root, unless the image names them: then they are as here.
VOLUME ["/var/lib/dth", "/tmp"]
COPY --from=build /opt/dth /opt/dth
COPY deploy/ec2/systemd /usr/share/dth/systemd
RUN ln -s /opt/dth/bin/dth /usr/local/bin/dth
USER 65532:65532
WORKDIR /var/lib/dth
# The command gets SIGTERM itself: it finishes or gives back what is in flight, and ends with 0.
STOPSIGNAL SIGTERM
ENTRYPOINT ["dth"]
