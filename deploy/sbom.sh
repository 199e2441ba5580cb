#!/usr/bin/env bash
# Writes the bill of materials of the machine or image that it runs in. See usage().
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: deploy/sbom.sh REQUIREMENTS HEADERS

Prints SPDX 2.3 as JSON: the Debian packages that are installed here, the wheels that REQUIREMENTS pins, and the Debian packages
of headers that the program was compiled with (HEADERS: a line each, "NAME VERSION ARCHITECTURE").
SOURCE_DATE_EPOCH, if set, is the time of its making.
TEXT
}

# Lines "deb NAME VERSION ARCHITECTURE", "headers ..." (the same), and "wheel NAME VERSION SHA256".
list_packages() {
  dpkg-query -W -f 'deb ${Package} ${Version} ${Architecture}\n'
  sed 's/^/headers /' "$2"
  sed -n 's/^\([A-Za-z0-9._-]*\)==\([^ ]*\) .*--hash=sha256:\([0-9a-f]*\).*/wheel \1 \2 \3/p' "$1"
}

# Debian's names and versions and the wheels' need no escape in JSON; a purl wants some of their characters as %XX.
print_document() {
  # shellcheck source=/dev/null
  awk -v digest="$1" -v created="$2" -v release="$(. /etc/os-release; echo "$VERSION_ID")" '
    function purl_text(text) { gsub(/%/, "%25", text); gsub(/\+/, "%2B", text); gsub(/:/, "%3A", text); return text }
    BEGIN {
      printf "{\"spdxVersion\": \"SPDX-2.3\", \"dataLicense\": \"CC0-1.0\", \"SPDXID\": \"SPDXRef-DOCUMENT\",\n"
      printf " \"name\": \"scalpel\", \"documentNamespace\": \"https://spdx.org/spdxdocs/scalpel-%s\",\n", digest
      printf " \"creationInfo\": {\"created\": \"%s\", \"creators\": [\"Tool: scalpel-sbom\"]},\n \"packages\": [", created
    }
    {
      if ($1 == "wheel") purl = "pkg:pypi/" $2 "@" purl_text($3)
      else purl = "pkg:deb/debian/" purl_text($2) "@" purl_text($3) "?arch=" $4 "&distro=debian-" release
      printf "%s\n  {\"SPDXID\": \"SPDXRef-%d\", \"name\": \"%s\", \"versionInfo\": \"%s\",", (NR > 1 ? "," : ""), NR, $2, $3
      printf " \"downloadLocation\": \"NOASSERTION\", \"filesAnalyzed\": false,"
      if ($1 == "wheel") printf " \"checksums\": [{\"algorithm\": \"SHA256\", \"checksumValue\": \"%s\"}],", $4
      if ($1 == "headers") printf " \"comment\": \"headers, compiled into the program\","
      printf " \"externalRefs\": [{\"referenceCategory\": \"PACKAGE-MANAGER\", \"referenceType\": \"purl\","
      printf " \"referenceLocator\": \"%s\"}]}", purl
    }
    END {
      printf "],\n \"relationships\": ["
      for (i = 1; i <= NR; i++) {
        printf "%s\n  {\"spdxElementId\": \"SPDXRef-DOCUMENT\", \"relationshipType\": \"DESCRIBES\",", (i > 1 ? "," : "")
        printf " \"relatedSpdxElement\": \"SPDXRef-%d\"}", i
      }
      print "]}"
    }'
}

main() {
  case "${1:-}" in
    --help | -h) usage; return 0 ;;
  esac
  if [ $# -ne 2 ]; then usage >&2; return 2; fi
  local packages digest created
  packages=$(list_packages "$1" "$2")
  digest=$(sha256sum <<<"$packages" | cut -c1-64)
  created=$(date -u -d "@${SOURCE_DATE_EPOCH:-$(date +%s)}" +%Y-%m-%dT%H:%M:%SZ)
  print_document "$digest" "$created" <<<"$packages"
}

main "$@"
