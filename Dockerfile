# One node of a cluster: `temps`, and the container engine that runs its instances.
#
#   docker build -t temps:local .
#
# Without a registry, scripts/image first makes the two base images under the names that are used here.

FROM rust:1.95.0-bookworm AS build
WORKDIR /source
COPY scripts/setup scripts/setup
RUN TEMPS_SETUP_DOCKER=no ./scripts/setup
COPY . .
RUN cargo build --locked --release -p temps

FROM debian:bookworm-slim
RUN apt-get update -q && \
    apt-get install -q -y --no-install-recommends ca-certificates docker.io iptables tini && \
    rm -rf /var/lib/apt/lists/*
COPY --from=build /source/target/release/temps /usr/local/bin/temps
COPY scripts/node /usr/local/bin/temps-node
# With this the engine does not look for AppArmor, which only the machine itself can load.
ENV container=docker
VOLUME ["/var/lib/docker", "/var/lib/temps"]
EXPOSE 80 7400 7401
ENTRYPOINT ["tini", "--", "temps-node"]
