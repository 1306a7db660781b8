# One image for every role; docker-compose.yml says which role a container plays.

FROM rust:1.95-trixie AS build
WORKDIR /source
# By name, so that neither target/ nor .env ever travels to the builder.
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY schemas schemas
COPY ledger-core ledger-core
COPY projections projections
COPY producers producers
COPY tests tests
# FEATURES=kafka-tls for brokers behind TLS or SCRAM; OpenSSL is in both images.
ARG FEATURES=
# The caches are mounts, not layers: a changed line compiles one crate, and the image carries none of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    cargo build --locked --release --package ledger --bin ledger --features "$FEATURES" \
    && install -D target/release/ledger /out/ledger

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin ledger
COPY --from=build /out/ledger /usr/local/bin/ledger
# A number, so that an orchestrator can verify that it is not root.
USER 10001:10001
CMD ["ledger", "--help"]
