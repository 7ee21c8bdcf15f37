// Rejoin from Node with better-sqlite3. Called by tests/interop_node_test.sh:
//   node node_test.mjs run FILE SQL...   runs the statements, prints the last one's first value
//   node node_test.mjs test PREFIX       exercises the SQL functions on files whose names begin with PREFIX
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.REJOIN_NODE_MODULES, 'x.js'));
const Database = require('better-sqlite3');

function open(file) {
  const db = new Database(file);
  db.loadExtension(process.env.REJOIN_SO);
  return db;
}

const first = (db, sql, ...args) => db.prepare(sql).pluck().get(...args);

function run(file, ...statements) {
  const db = open(file);
  let value;
  for (const sql of statements) {
    const statement = db.prepare(sql);
    value = statement.reader ? statement.raw().get()?.[0] : void statement.run();
  }
  db.close();
  if (value !== undefined && value !== null) console.log(Buffer.isBuffer(value) ? value.toString('hex') : String(value));
}

function replica(file) {
  const db = open(file);
  db.exec('CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT, n INTEGER)');
  first(db, "SELECT rejoin_track('notes')");
  return db;
}

function test(prefix) {
  const a = replica(`${prefix}-a.db`);
  const b = replica(`${prefix}-b.db`);
  const insert = a.prepare('INSERT INTO notes VALUES(rejoin_uuid(), ?, ?)');
  a.transaction(() => {
    for (let i = 0; i < 1000; i++) insert.run(`note ${i} \u{1F6F3}`, i);
  })();

  // Paging in bounded memory, in order.
  const pages = a.prepare('SELECT changeset, final FROM rejoin_changesets(0, 20000)').all();
  assert.ok(pages.length > 1);
  for (const page of pages) {
    assert.ok(Buffer.isBuffer(page.changeset));
    first(b, 'SELECT rejoin_apply(?)', page.changeset);
  }
  assert.equal(pages.at(-1).final, 1);
  const all = 'SELECT * FROM notes ORDER BY id';
  assert.deepEqual(b.prepare(all).all(), a.prepare(all).all());

  // 64-bit extremes.
  const big = 'SELECT n FROM notes WHERE id = ?';
  a.prepare("INSERT INTO notes VALUES('big', NULL, ?)").run(2n ** 63n - 1n);
  first(b, 'SELECT rejoin_apply(?)', first(a, 'SELECT rejoin_changeset(0)'));
  assert.equal(b.prepare(big).safeIntegers().pluck().get('big'), 2n ** 63n - 1n);

  // A refused changeset throws, and changes nothing.
  assert.throws(() => first(b, 'SELECT rejoin_apply(?)', Buffer.from('rubbish')), /SqliteError|changeset|damage|corrupt/);
  assert.deepEqual(b.prepare(all).all(), a.prepare(all).all());

  // The readable side.
  assert.equal(JSON.parse(first(b, "SELECT rejoin_explain('notes', 'big')")).alive, true);
  assert.equal(first(b, "SELECT count(*) FROM rejoin_changes WHERE key = '[\"big\"]' AND column_name = 'n'"), 1);
  a.close();
  b.close();
  console.log('ok   the SQL functions from Node');
}

const [what, ...args] = process.argv.slice(2);
({ run, test })[what](...args);
