#!/usr/bin/env bash
# One database driven in turn from the sqlite3 shell, Debian's python3, Node (better-sqlite3) and a writer without the extension; then
# changesets made by each are exchanged and compared. scripts/test brings better-sqlite3 (scripts/setup-node).
source "$(dirname "${BASH_SOURCE[0]}")/interop/common.sh"
modules="${REJOIN_NODE_MODULES:-$root/build/interop/node_modules}"
[ -d "$modules/better-sqlite3" ] || {
  echo "FAIL better-sqlite3 is not in $modules. Run scripts/setup-node"
  exit 1
}
cd "$tmp"
export REJOIN_SO="$so" REJOIN_NODE_MODULES="$modules"

schema='CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0, weight REAL, data BLOB);'
plain shared.db "$schema"
rejoin_sql shared.db "SELECT rejoin_track('todos')" "INSERT INTO todos(id, title) VALUES('shell', 'from the shell')" >/dev/null

run_python() { # FILE STATEMENTS...: prints the last statement's first value
  /usr/bin/python3 - "$@" <<'PY'
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.enable_load_extension(True)
db.load_extension(os.environ["REJOIN_SO"])
for sql in sys.argv[2:]:
    row = db.execute(sql).fetchone()
if row and row[0] is not None:
    print(row[0].hex() if isinstance(row[0], bytes) else row[0])
PY
}
run_node() { node "$root/tests/interop/node_test.mjs" run "$@"; }

run_python shared.db "INSERT INTO todos VALUES('python', 'from Python', 1, 0.1, x'00ff')"
run_node shared.db "INSERT INTO todos VALUES('node', 'from Node ü', 0, -0.0, NULL)"
plain shared.db "INSERT INTO todos VALUES('plain', 'from a shell that never loaded it', 1, 1e300, '')"
run_node shared.db "UPDATE todos SET done = 5 WHERE id = 'python'"
run_python shared.db "UPDATE todos SET title = 'Python edits Node''s row' WHERE id = 'node'"
rejoin_sql shared.db "DELETE FROM todos WHERE id = 'shell'" "SELECT rejoin_restore('todos', 'shell')" >/dev/null

hex='SELECT lower(hex(rejoin_changeset(0)))'
shell_hex="$(rejoin_sql shared.db "$hex")"
check 'Python makes the same changeset as the shell' "$shell_hex" "$(run_python shared.db "$hex")"
check 'Node makes the same changeset as the shell' "$shell_hex" "$(run_node shared.db "$hex")"

for host in shell python node; do
  plain $host.db "$schema"
  apply="SELECT rejoin_apply(x'$shell_hex')"
  case $host in
    shell) rejoin_sql $host.db "SELECT rejoin_track('todos')" "$apply" >$host.out ;;
    python) run_python $host.db "SELECT rejoin_track('todos')" "$apply" >$host.out ;;
    node) run_node $host.db "SELECT rejoin_track('todos')" "$apply" >$host.out ;;
  esac
  check "applied by $host: four rows changed" 4 "$(tail -n 1 $host.out)"
  check "applied by $host: the same rows" "$(plain shared.db 'SELECT *, typeof(weight), typeof(data), hex(data) FROM todos ORDER BY id')" \
    "$(plain $host.db 'SELECT *, typeof(weight), typeof(data), hex(data) FROM todos ORDER BY id')"
done

# Each edits its own replica; one round of pushes to the shared file and back makes all equal.
run_python python.db "UPDATE todos SET done = 7 WHERE id = 'node'"
run_node node.db "UPDATE todos SET title = 'Node edits' WHERE id = 'python'"
plain shell.db "DELETE FROM todos WHERE id = 'plain'"
run_python shared.db "SELECT rejoin_apply(x'$(rejoin_sql shell.db "$hex")')" >/dev/null
run_node shared.db "SELECT rejoin_apply(x'$(run_python python.db "$hex")')" >/dev/null
rejoin_sql shared.db "SELECT rejoin_apply(x'$(run_node node.db "$hex")')" >/dev/null
all="$(rejoin_sql shared.db "$hex")"
run_python shell.db "SELECT rejoin_apply(x'$all')" >/dev/null
run_node python.db "SELECT rejoin_apply(x'$all')" >/dev/null
rejoin_sql node.db "SELECT rejoin_apply(x'$all')" >/dev/null
for host in shell python node; do
  check "$host's replica converged" "$(plain shared.db 'SELECT * FROM todos ORDER BY id')" "$(plain $host.db 'SELECT * FROM todos ORDER BY id')"
done
check 'Node edited' 'Node edits' "$(plain shell.db "SELECT title FROM todos WHERE id = 'python'")"
check 'the deletion arrived' 0 "$(plain node.db "SELECT count(*) FROM todos WHERE id = 'plain'")"

# All hosts write to one file at once, each through its own SQLite, while its changes are read and merged into another file.
plain busy.db "PRAGMA journal_mode=WAL" "$schema" >/dev/null
plain reader.db "$schema"
rejoin_sql busy.db "SELECT rejoin_track('todos')" >/dev/null
rejoin_sql reader.db "SELECT rejoin_track('todos')" >/dev/null
rounds=40
write_shell() {
  for i in $(seq $rounds); do
    echo "INSERT INTO todos(id, title) VALUES('shell$i', 'x'); UPDATE todos SET done = done + 1 WHERE id = 'shell$i';"
  done | sqlite3 -batch -bail -cmd ".timeout 60000" busy.db
}
write_host() { # RUNNER NAME
  local statements=("PRAGMA busy_timeout = 60000")
  for i in $(seq $rounds); do
    statements+=("INSERT INTO todos(id, title) VALUES('$2$i', 'x')" "UPDATE todos SET done = done + 1 WHERE id = '$2$i'")
  done
  "$1" busy.db "${statements[@]}" "SELECT rejoin_seq() > 0"
}
write_shell & pids=($!)
write_host run_python python >python.out & pids+=($!)
write_host run_node node >node.out & pids+=($!)
merged=0
for _ in $(seq 5); do
  "$dist/rejoin" merge busy.db reader.db --json >>merges.out || merged=$?
done
ended=0
for pid in "${pids[@]}"; do wait "$pid" || ended=$?; done
check 'merges go through while three hosts write' 0 "$merged"
check 'and every host could write' '0 1 1' "$ended $(cat python.out) $(cat node.out)"
"$dist/rejoin" merge busy.db reader.db >/dev/null
check 'every row of every host arrived' "$((3 * rounds)) $((3 * rounds))" "$(plain reader.db 'SELECT count(*), sum(done) FROM todos' | tr '|' ' ')"
check 'both files are equal' "$(plain busy.db 'SELECT * FROM todos ORDER BY id')" "$(plain reader.db 'SELECT * FROM todos ORDER BY id')"
check 'and sound' '[] []' "$(rejoin_sql busy.db 'SELECT rejoin_doctor()') $(rejoin_sql reader.db 'SELECT rejoin_doctor()')"

node "$root/tests/interop/node_test.mjs" test "$tmp/api" || failed=$((failed + 1))
finish
