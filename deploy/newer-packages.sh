#!/usr/bin/env bash
# Downloads Debian packages from suites that this system does not use. See usage().
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: deploy/newer-packages.sh FOLDER LIST...

Makes FOLDER with the packages that each LIST names, one on a line as sha256sum writes them: DIGEST  NAME_VERSION_ARCHITECTURE.deb.
They come from Debian's suites sid and experimental, by NEWER_MIRROR or, where that is not set, by the system's own mirror. Fails
where one of them is not to be had, or has another digest. Neither installs anything nor changes apt's settings.
TEXT
}

# The digests say more than the date of an index, which an archive of old versions has long let pass.
sources() {
  cat <<TEXT
Types: deb
URIs: ${NEWER_MIRROR:-$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)}
Suites: sid experimental
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
TEXT
}

main() {
  case "${1:-}" in
    --help | -h) usage; return 0 ;;
  esac
  if [ $# -lt 2 ]; then usage >&2; return 2; fi
  local folder=$1 wanted names work
  shift
  wanted=$(cat "$@")
  mapfile -t names < <(awk '{ split($2, part, "_"); print part[1] "=" part[2] }' <<<"$wanted")
  work=$(mktemp -d)
  # shellcheck disable=SC2064 # Expanded now: $work is local.
  trap "rm -rf '$work'" EXIT
  chmod 755 "$work"  # apt downloads as a user of its own.
  mkdir -p "$work/sources" "$work/lists/partial" "$work/cache/archives/partial" "$folder"
  sources >"$work/sources/newer.sources"
  local apt=(apt-get -q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/sources"
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
  "${apt[@]}" update
  cd "$folder"
  "${apt[@]}" download "${names[@]}"
  sha256sum --check --strict --quiet <<<"$wanted"
}

main "$@"
