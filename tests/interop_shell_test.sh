#!/usr/bin/env bash
# Rejoin from Debian's sqlite3 shell.
source "$(dirname "${BASH_SOURCE[0]}")/interop/common.sh"
cd "$tmp"

schema='CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT NOT NULL, done INTEGER DEFAULT 0); CREATE TABLE "order"("a b" TEXT, n INTEGER, v, PRIMARY KEY("a b", n));'
for file in a b c; do
  plain $file.db "$schema"
  rejoin_sql $file.db "SELECT rejoin_track('todos')" "SELECT rejoin_track('order')" >/dev/null
done

check 'the entry point is found by its default name' 36 "$(sqlite3 -batch a.db ".load ${so%.so}" 'SELECT length(rejoin_uuid())')"
check 'tracking again changes nothing' "$(plain a.db 'SELECT count(*) FROM sqlite_schema')" \
  "$(rejoin_sql a.db "SELECT rejoin_track('todos')" >/dev/null; plain a.db 'SELECT count(*) FROM sqlite_schema')"

plain a.db "INSERT INTO todos(id, title) VALUES('1', 'milk'), ('2', 'bread'); INSERT INTO \"order\" VALUES('x', 1, 2.5), ('y', 2, x'00ff')"
check 'writes of a shell without the extension are captured' 2 \
  "$(rejoin_sql a.db "SELECT count(DISTINCT key) FROM rejoin_changes WHERE table_name = 'todos'")"

rejoin_sql a.db "SELECT writefile('a.changeset', rejoin_changeset(0))" >/dev/null
check 'a changeset from one file goes into another' 4 "$(rejoin_sql b.db "SELECT rejoin_apply(readfile('a.changeset'))")"
rejoin_sql a.db "SELECT writefile('nothing.changeset', rejoin_changeset(rejoin_seq()))" >/dev/null
check 'nothing new, through a file' 0 "$(rejoin_sql b.db "SELECT rejoin_apply(readfile('nothing.changeset'))")"
check 'with every type' "$(plain a.db 'SELECT *, typeof(v) FROM "order" ORDER BY 1')" "$(plain b.db 'SELECT *, typeof(v) FROM "order" ORDER BY 1')"
check 'once is enough' 0 "$(rejoin_sql b.db "SELECT rejoin_apply(readfile('a.changeset'))")"

plain a.db "UPDATE todos SET title = 'oat milk' WHERE id = '1'; DELETE FROM todos WHERE id = '2'"
plain b.db "UPDATE todos SET done = 1 WHERE id = '1'; UPDATE todos SET title = 'rye bread' WHERE id = '2'; INSERT INTO todos VALUES('3', 'tea', 0)"
swap() { # A B: everything of each to the other
  rejoin_sql "$1" "SELECT writefile('1.changeset', rejoin_changeset(0))" >/dev/null
  rejoin_sql "$2" "SELECT rejoin_apply(readfile('1.changeset'))" "SELECT writefile('2.changeset', rejoin_changeset(0))" >/dev/null
  rejoin_sql "$1" "SELECT rejoin_apply(readfile('2.changeset'))" >/dev/null
}
swap a.db b.db
check 'both edits of one row survive' '1|oat milk|1
3|tea|0' "$(plain a.db 'SELECT * FROM todos ORDER BY id')"
check 'both files agree' "$(plain a.db 'SELECT * FROM todos ORDER BY id')" "$(plain b.db 'SELECT * FROM todos ORDER BY id')"
check 'explain tells who wrote a value' "$(rejoin_sql b.db 'SELECT rejoin_site()')" \
  "$(rejoin_sql a.db "SELECT json_extract(rejoin_explain('todos', '1'), '\$.columns.done.written.site')")"
rejoin_sql b.db "SELECT rejoin_restore('todos', '2')" >/dev/null
swap b.db a.db
check 'a restored row has the edit that came meanwhile' '2|rye bread|0' "$(plain a.db "SELECT * FROM todos WHERE id = '2'")"

swap a.db c.db
check 'changes are relayed: c never met b' "$(plain b.db 'SELECT * FROM todos ORDER BY id')" "$(plain c.db 'SELECT * FROM todos ORDER BY id')"
position="$(rejoin_sql c.db 'SELECT rejoin_seq()')"
check 'no news after the newest position' 'null' "$(rejoin_sql c.db "SELECT typeof(rejoin_changeset($position))")"
check 'pages end with a final one' 1 "$(rejoin_sql c.db 'SELECT sum(final) FROM rejoin_changesets(0, 10)')"

fails 'a damaged changeset is refused' 'changeset|damage|checksum|corrupt' rejoin_sql c.db "SELECT rejoin_apply(x'524a433100')"
fails 'a missing table is named' 'nothing_here' rejoin_sql c.db "SELECT rejoin_track('nothing_here')"
fails 'a table without a key is refused' 'PRIMARY KEY' rejoin_sql c.db 'CREATE TABLE n(a)' "SELECT rejoin_track('n')"
fails 'an integer key is refused with the reason' 'allow_integer_key' rejoin_sql c.db 'CREATE TABLE i(id INTEGER PRIMARY KEY)' "SELECT rejoin_track('i')"
check 'unless it is allowed' 1 "$(rejoin_sql c.db "SELECT rejoin_track('i', '{\"allow_integer_key\":true}') IS NULL OR 1")"
fails 'no stamp leaves an open transaction' 'transaction' \
  rejoin_sql c.db BEGIN "INSERT INTO todos VALUES('9', 'x', 0)" 'SELECT rejoin_changeset(0)'
check 'a NULL key is refused at write' 1 "$(plain c.db "INSERT INTO todos VALUES(NULL, 'x', 0)" >/dev/null 2>&1 && echo 0 || echo 1)"

rejoin_sql c.db "SELECT rejoin_untrack('todos')" "SELECT rejoin_untrack('order')" >/dev/null
check 'untracking keeps the rows' "$(plain b.db 'SELECT count(*) FROM todos')" "$(plain c.db 'SELECT count(*) FROM todos')"
plain c.db "INSERT INTO todos VALUES('8', 'still an ordinary table', 0)"
check 'and writes work as before' 1 "$(plain c.db "SELECT count(*) FROM todos WHERE id = '8'")"
for file in a b c; do check "$file.db is sound" ok "$(plain $file.db 'PRAGMA integrity_check')"; done
check 'every connection could be closed' '' "$(grep 'unable to close' "$tmp/stderr" | sort -u)"
finish
