#!/bin/sh
# The same over gRPC, found by reflection. Needs LUMNI_GRPC (localhost:50050) and LUMNI_API_KEY.
set -eu

call() {
  grpcurl -plaintext -H "authorization: Bearer $LUMNI_API_KEY" -d "$2" "$LUMNI_GRPC" "lumni.gateway.v1.GatewayService/$1"
}

call Ask '{"prompt": "Name a prime.", "system": "Be brief."}'
call Complete '{"body_json": "{\"messages\": [{\"role\": \"user\", \"content\": \"Name a prime.\"}]}"}'
call StreamComplete '{"body_json": "{\"messages\": [{\"role\": \"user\", \"content\": \"Count to five.\"}]}"}'
call Route '{"body_json": "{\"messages\": [{\"role\": \"user\", \"content\": \"Prove Fermat.\"}]}"}'
