#!/bin/sh
# Calls every endpoint with curl. NULPOINT_URL is the URL of the gateway. Set NULPOINT_KEY to one of the keys in
# GATEWAY_API_KEYS if the gateway uses them.
set -eu
url=${NULPOINT_URL:-http://localhost:8080/v1}

post() { # PATH BODY
	curl --fail-with-body --silent --show-error --no-buffer "$url/$1" \
		-H "Content-Type: application/json" -H "Authorization: Bearer ${NULPOINT_KEY:-any-string}" -d "$2"
	echo
}

echo "# a chat"
post chat/completions '{"model": "gpt-5.4", "messages": [{"role": "user", "content": "Hello!"}]}'

echo "# the same as a stream, from another provider"
post chat/completions '{"model": "claude-sonnet-5", "stream": true,
	"messages": [{"role": "user", "content": "Hello!"}]}'

echo "# a legacy completion"
post completions '{"model": "mistral-large-latest", "prompt": "Once upon a time"}'

echo "# two embeddings"
post embeddings '{"model": "text-embedding-3-small", "input": ["Hello", "world"]}'

echo "# the known models"
curl --fail-with-body --silent --show-error "$url/models" -H "Authorization: Bearer ${NULPOINT_KEY:-any-string}"
echo
