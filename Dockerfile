# The binary alone. Build: docker build -t vialog .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release -p vialog

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home vialog && install -d -o vialog /keys /data
COPY --from=build /src/target/release/vialog /usr/local/bin/vialog
# Memory that a step of the detector gave back is the next step's: it need not go to the system and come back cleared each time (a tenth of
# the CPU, some 70 MiB more resident). Ingest and import keep theirs by themselves.
ENV MIMALLOC_PURGE_DELAY=10000
USER vialog
ENTRYPOINT ["vialog"]
