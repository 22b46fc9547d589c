#!/usr/bin/env bash
# Lists what each permission is for, from the comments above the roles: permissions.sh [MANIFEST ...]
# With - it reads what helm template or the like prints.
set -euo pipefail
if [ $# = 0 ]; then
  here=$(dirname "$0")
  set -- "$here/base/agent.yaml" "$here/rbac.yaml"
fi
awk '
  function plain(s) { gsub(/[]["]/, "", s); gsub(/, */, ", ", s); return s }
  /^---/ { why = ""; kind = ""; next }
  /^# Source: / || /^# Generated / { next }
  /^# / { why = why (why ? " " : "") substr($0, 3); next }
  /^kind: / { kind = $2 }
  kind !~ /^(Cluster)?Role$/ { next }
  /^  name: / { printf "%s %s: %s\n", kind, $2, why; names = "" }
  /^  namespace: / { printf "  in the namespace %s\n", $2 }
  /^ *- apiGroups: / { sub(/.*: /, ""); group = plain($0); names = "" }
  /^    resources: / { sub(/.*: /, ""); resources = plain($0) }
  /^    resourceNames: / { sub(/.*: /, ""); names = ", only " plain($0) }
  /^    verbs: / { sub(/.*: /, ""); printf "  %s: %s%s%s\n", plain($0), resources, group ? " of " group : "", names }
' "$@"
