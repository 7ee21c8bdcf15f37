# Shared by the shell tests: source it. Gives $tmp (removed at the end), check, fails, plain, rejoin_sql.
set -euo pipefail
root="${REJOIN_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}"
dist="${REJOIN_DIST:-$root/dist}"
so="${REJOIN_SO:-$dist/rejoin.so}"
tmp="$(mktemp -d)"
trap 'rm -rf "$tmp"' EXIT
count=0 failed=0

# check NAME EXPECTED GOT
check() {
  count=$((count + 1))
  if [ "$2" = "$3" ]; then
    echo "ok   $1"
  else
    failed=$((failed + 1))
    printf 'FAIL %s\n  expected: %s\n  got:      %s\n' "$1" "$2" "$3"
  fi
}

# fails NAME PATTERN COMMAND...: the command must fail with a message that matches.
fails() {
  local name="$1" pattern="$2" out
  shift 2
  if out="$("$@" 2>&1)"; then
    check "$name" "an error like '$pattern'" "$out"
  elif grep -qE -- "$pattern" <<<"$out"; then
    check "$name" x x
  else
    check "$name" "an error like '$pattern'" "$out"
  fi
}

# plain FILE SQL...: a shell that never heard of Rejoin. rejoin_sql: one that loaded it.
plain() {
  local file="$1"
  shift
  sqlite3 -batch -bail "$file" "$@"
}
rejoin_sql() {
  local file="$1"
  shift
  sqlite3 -batch -bail "$file" ".load $so" "$@" 2> >(tee -a "$tmp/stderr" >&2)
}

finish() {
  echo "$((count - failed)) of $count checks passed"
  [ "$failed" = 0 ] && [ "$count" -gt 0 ]
}
