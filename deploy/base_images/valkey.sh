#!/bin/sh
# What compose.yaml uses of the official image's entrypoint: the server runs as its own user, who owns the data.
set -eu
if [ "$(id -u)" = 0 ]; then
  chown valkey:valkey /data
  exec setpriv --reuid=valkey --regid=valkey --clear-groups "$@"
fi
exec "$@"
