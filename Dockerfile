# syntax=docker/dockerfile:1.7
# The gateway alone: no shell, no package manager, not root. docs/operations.md says how to run it.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-bookworm AS build
ARG RUST_VERSION
# The compiler of the image, with no more components than it has; the zlib of the crate, not the image's.
ENV RUSTUP_TOOLCHAIN=${RUST_VERSION} CARGO_INCREMENTAL=0 LIBZ_SYS_STATIC=1
WORKDIR /build

# Dependencies are a layer of their own: it is built again only when the manifests change.
COPY Cargo.toml Cargo.lock ./
COPY .cargo .cargo
COPY conformance/Cargo.toml conformance/
COPY benches/instructions/Cargo.toml benches/instructions/
COPY benches/load/Cargo.toml benches/load/
COPY deploy/empty-sources deploy/
RUN deploy/empty-sources && cargo build --release --locked --package amtpd

COPY migrations migrations
COPY policies policies
COPY schemas schemas
COPY src src
# Cargo goes by times, and the sources may be older than what stood in for them.
RUN find src -name '*.rs' -exec touch {} + && cargo build --release --locked --package amtpd

COPY deploy/image-root deploy/
RUN deploy/image-root target/release/amtpd /image

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="amtpd" \
    org.opencontainers.image.description="A federated AMTP gateway: the mail server of software agents" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
# Fresh volumes take their owner from here.
COPY --from=build --chown=65532:65532 /image/etc/amtpd/ /etc/amtpd/
COPY --from=build --chown=65532:65532 /image/var/lib/amtpd/ /var/lib/amtpd/
ENV HOME=/var/lib/amtpd
USER 65532:65532
WORKDIR /var/lib/amtpd
VOLUME ["/var/lib/amtpd"]
EXPOSE 443 25 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/bin/amtpd", "health", "--config", "/etc/amtpd/amtpd.yaml"]
ENTRYPOINT ["/usr/bin/amtpd"]
CMD ["serve", "--config", "/etc/amtpd/amtpd.yaml"]
