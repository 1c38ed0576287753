#!/bin/sh
# Each API in front of any model. Needs LUMNI_URL and LUMNI_API_KEY.
set -eu

post() {
  path=$1
  shift
  curl --silent --show-error --fail-with-body "$LUMNI_URL$path" \
    -H "authorization: Bearer $LUMNI_API_KEY" -H 'content-type: application/json' "$@"
  echo
}

post /llm/simple -d '{"prompt": "Name a prime."}'
post /v1/chat/completions -d '{"messages": [{"role": "user", "content": "Name a prime."}]}'
post /v1/chat/completions --no-buffer -d '{"messages": [{"role": "user", "content": "Count to five."}], "stream": true}'
post /v1/responses -d '{"model": "auto", "input": "Name a prime."}'
post /v1/messages -d '{"model": "auto", "max_tokens": 200, "messages": [{"role": "user", "content": "Name a prime."}]}'
post /v1/route -d '{"messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]}'
