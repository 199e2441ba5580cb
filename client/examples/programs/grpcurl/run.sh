#!/usr/bin/env bash
# Scalpel from the shell, with grpcurl and jq: statistics and tensors of a run, a refused request, a deadline, a cancel.
set -euo pipefail

address=${1:-127.0.0.1:50051}
method=scalpel.v1.InterventionService/Run
# With TLS: without -plaintext. With a token: -expand-headers -H 'authorization: Bearer ${TOKEN}'.
grpcurl=(grpcurl -plaintext -format-error -d @)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# request PROMPTS: block 9 scaled by 0.1, beside the clean run; statistics, an attention pattern.
request() {
  local text="When Mary and John went to the store, John gave a drink to"
  jq -n --arg text "$text" --argjson prompts "$1" '{
    prompts: [range($prompts) | {text: ([range(16) | $text] | join(" "))}],
    interventions: [{place: {path: "blocks.9.hook_resid_post"}, scale: {factor: 0.1}}],
    probes: [{place: {path: "resid_post"}, statistics: ["STATISTIC_STD"]}],
    captures: [{place: {path: "blocks.10.attn.hook_pattern"}}],
    logits: {none: {}},
    include_clean_run: true
  }'
}

# slow_request: of seconds: the medians of the attention patterns of 32 prompts.
slow_request() {
  request 32 | jq '.probes += [{place: {path: "pattern"}, quantiles: [0.5]}]'
}

# tensor_facts EVENTS: each tensor's count of chunks and SHA-256, in JSON.
tensor_facts() {
  local id count sum
  # Events leave out what is 0 or false.
  for id in $(jq '.tensor_chunk.header // empty | .tensor_id // 0' "$1"); do
    jq -r --argjson id "$id" '.tensor_chunk // empty | select((.tensor_id // 0) == $id).data' "$1" \
      >"$scratch/chunks"
    count=$(wc -l <"$scratch/chunks")
    sum=$(base64 -d "$scratch/chunks" | sha256sum | cut -d ' ' -f 1)
    printf '"chunks %d sha256 %s"\n' "$count" "$sum"
  done | jq -s .
}

run() {
  request 1 | "${grpcurl[@]}" "$address" "$method" >"$scratch/events"
  jq -r --argjson facts "$(tensor_facts "$scratch/events")" '
    def run: if .clean then "clean" else "edited" end;
    if .started then "started \(.started.prompts[0].ids | length) tokens"
    elif .layer_statistics then
      .layer_statistics
      | ([.results[] | {(run): .statistics[0].values[0]}] | add) as $std
      | "layer \(.layer) std clean \($std.clean) edited \($std.edited)"
    elif .tensor_chunk.header then
      .tensor_chunk.header
      | (.dtype | ltrimstr("DATA_TYPE_") | ascii_downcase) as $dtype
      | "tensor \(.name) \(run) \($dtype) \(.shape | join("x")) \($facts[.tensor_id // 0])"
    else empty end' "$scratch/events" |
    awk '$1 == "layer" { $5 = sprintf("%.4f", $5); $7 = sprintf("%.4f", $7) } { print }'
}

# refusal OPTION...: the status of the call, which must fail; its request is the standard input.
refusal() {
  if "${grpcurl[@]}" "$@" "$address" "$method" >"$scratch/events" 2>"$scratch/status"; then
    printf 'the run was complete\n' >&2
    return 1
  fi
  # What comes before the status is a title.
  sed -n '/^{/,$p' "$scratch/status" |
    jq -e '.name = {"3": "INVALID_ARGUMENT", "4": "DEADLINE_EXCEEDED"}["\(.code)"]' ||
    { cat "$scratch/status" >&2; return 1; }
}

# A wrong request is answered with every violation at once.
refused() {
  request 1 |
    jq '.interventions[0] = {place: {path: "resid_post", where: {layers: [1000]}}, scale: {}}' |
    refusal |
    jq -r '"refused \(.name)",
      (.details[].field_violations // [] | .[] | "violation \(.field): \(.description)")'
}

# grpcurl counts its own start too.
deadline() {
  slow_request | refusal -max-time 0.5 | jq -r '"deadline \(.name)"'
}

# Who ends grpcurl cancels the call.
cancel() {
  local event
  slow_request >"$scratch/request"
  exec {events}< <(exec "${grpcurl[@]}" "$address" "$method" <"$scratch/request")
  event=$(jq -rn 'input | keys[0]' <&"$events")
  kill "$!"
  printf 'cancelled after %s\n' "$event"
}

run
refused
deadline
cancel
