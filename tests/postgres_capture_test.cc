// Whatever way a row is written with plain SQL, every device hears of it; and nothing that is tracked keeps anyone from
// writing.
#include <gtest/gtest.h>

#include <cstdio>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

// `at` and `n` are names that the capture functions must not trip over.
const std::string kPg =
    "CREATE TABLE items(id text PRIMARY KEY, a text, at integer, n integer UNIQUE);"
    "CREATE TABLE child(id text PRIMARY KEY, item text REFERENCES items ON DELETE CASCADE ON UPDATE CASCADE, note "
    "text);"
    "CREATE TABLE loose(id text PRIMARY KEY, item text REFERENCES items ON DELETE SET NULL);";
const std::string kDevice =
    "CREATE TABLE items(id TEXT PRIMARY KEY, a TEXT, at INTEGER, n INTEGER);"
    "CREATE TABLE child(id TEXT PRIMARY KEY, item TEXT, note TEXT);"
    "CREATE TABLE loose(id TEXT PRIMARY KEY, item TEXT);";
const std::vector<std::string> kTables{"items", "child", "loose"};

class PostgresCapture : public ::testing::Test {
 protected:
  PostgresCapture()
      : world(kPg, {"public.items", "public.child", "public.loose"}),
        a("a", kDevice, kTables),
        b("b", kDevice, kTables) {}
  void settle() {
    for (int i = 0; i < 2; ++i) world.sync(a), world.sync(b);
  }
  static std::string plain(Peer& p, const std::string& sql) {
    std::string out = p.rows(sql);
    std::erase(out, '\'');
    return out;
  }
  // Syncs until quiet; then devices and PostgreSQL show the same.
  void expect_same(const std::string& columns = "id, a, at, n") {
    settle();
    for (const auto& [columns_of, table] :
         {std::pair<std::string, std::string>(columns, "items"), {"id, item, note", "child"}, {"id, item", "loose"}}) {
      const std::string sql = "SELECT " + columns_of + " FROM " + table + " ORDER BY id";
      const std::string truth = world.sql.rows(sql);
      EXPECT_EQ(difference(plain(a.peer, sql), truth), "") << table;
      EXPECT_EQ(difference(plain(b.peer, sql), truth), "") << table;
    }
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM rejoin.outbox"), 0);
    a.peer.expect_sound(), b.peer.expect_sound();
    world.expect_sound();
  }
  std::string items() { return plain(a.peer, "SELECT id, a, at, n FROM items ORDER BY id"); }

  PostgresWorld world;
  LoopbackDevice a, b;
};

TEST_F(PostgresCapture, PlainStatementsOfEveryKind) {
  world.sql.run("INSERT INTO items SELECT 'k' || i, 'one', i, i FROM generate_series(1, 9) AS i");
  expect_same();
  world.sql.run("UPDATE items SET at = at * 10, a = CASE WHEN at > 5 THEN 'big' ELSE a END");
  world.sql.run("DELETE FROM items WHERE id IN ('k1', 'k2')");
  expect_same();
  EXPECT_EQ(items().substr(0, 24), "k3|one|30|3\nk4|one|40|4\n");
  world.sql.run(
      "INSERT INTO items VALUES ('k3', 'upserted', 1, 3), ('new', 'inserted', 2, 20) ON CONFLICT (id) DO UPDATE SET a "
      "= EXCLUDED.a");
  expect_same();
  EXPECT_EQ(plain(b.peer, "SELECT a FROM items WHERE id IN ('k3', 'new') ORDER BY id"), "upserted\ninserted\n");
  world.sql.run(
      "WITH gone AS (DELETE FROM items WHERE id = 'k5' RETURNING *), changed AS (UPDATE items SET a = 'cte' WHERE id = "
      "'k6') "
      "INSERT INTO items SELECT 'from ' || id, a, at, NULL FROM gone");
  expect_same();
  world.sql.run("TRUNCATE items CASCADE");
  expect_same();
  EXPECT_EQ(items(), "");
}

TEST_F(PostgresCapture, MergeIsCaptured) {
  const std::string merge =
      "MERGE INTO items USING (VALUES ('k3', 1), ('k4', 2), ('m', 3)) AS s(id, v) ON items.id = s.id WHEN MATCHED AND "
      "v = 1 THEN "
      "DELETE WHEN MATCHED THEN UPDATE SET a = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'merged in', 0, "
      "NULL)";
  if (world.sql.connection().server_version() < 150000) {
    EXPECT_EQ(world.sql.attempt(merge), "42601") << "PostgreSQL has it since 15";
    return;
  }
  world.sql.run("INSERT INTO items SELECT 'k' || i, 'one', i, i FROM generate_series(1, 9) AS i");
  expect_same();
  world.sql.run(merge);
  expect_same();
  EXPECT_EQ(plain(a.peer, "SELECT id, a FROM items WHERE a LIKE 'merged%' ORDER BY id"), "k4|merged\nm|merged in\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM items WHERE id = 'k3'"), 0);
}

TEST_F(PostgresCapture, CopyIsCaptured) {
  const std::string command =
      "psql -qX -v ON_ERROR_STOP=1 -d '" + world.url + "' -c \"COPY items FROM STDIN WITH (FORMAT csv)\"";
  FILE* psql = popen(command.c_str(), "w");
  ASSERT_NE(psql, nullptr);
  for (int i = 0; i < 500; ++i) std::fprintf(psql, "c%d,copied,%d,%d\n", i, i, i);
  ASSERT_EQ(pclose(psql), 0);
  expect_same();
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM items WHERE a = 'copied'"), 500);
}

TEST_F(PostgresCapture, AKeyChangeTakesChildrenAlong) {
  world.sql.run(
      "INSERT INTO items VALUES ('p', 'parent', 1, 1), ('q', 'parent', 2, 2); INSERT INTO child VALUES ('c1', 'p', "
      "'x'), "
      "('c2', 'q', 'y')");
  expect_same();
  world.sql.run("UPDATE items SET id = 'p2' WHERE id = 'p'");
  expect_same();
  EXPECT_EQ(plain(a.peer, "SELECT id, item FROM child ORDER BY id"), "c1|p2\nc2|q\n");
}

TEST_F(PostgresCapture, DeletingAParentTakesChildrenAlong) {
  world.sql.run(
      "INSERT INTO items VALUES ('p', 'parent', 1, 1), ('q', 'parent', 2, 2), ('r', 'parent', 3, 3); INSERT INTO child "
      "VALUES ('c1', 'p', 'x'), "
      "('c2', 'q', 'y'), ('c3', 'r', 'z'); INSERT INTO loose VALUES ('l1', 'p'), ('l2', 'q')");
  expect_same();
  world.sql.run("DELETE FROM items WHERE id = 'p'");
  expect_same();
  EXPECT_EQ(plain(a.peer, "SELECT id FROM child ORDER BY id"), "c2\nc3\n");
  EXPECT_EQ(plain(a.peer, "SELECT item FROM loose WHERE id = 'l1'"), "null\n");
  // The device deletes a parent; PostgreSQL's cascades reach the children that the device did not delete.
  a.peer.run("DELETE FROM items WHERE id = 'q'");
  expect_same();
  EXPECT_EQ(plain(b.peer, "SELECT id FROM child ORDER BY id"), "c3\n");
  EXPECT_EQ(plain(b.peer, "SELECT item FROM loose WHERE id = 'l2'"), "null\n");
}

TEST_F(PostgresCapture, KeyChangesAndKeySwaps) {
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, NULL), ('k2', 'two', 2, NULL), ('k3', 'three', 3, NULL)");
  expect_same();
  world.sql.run("UPDATE items SET id = 'moved' WHERE id = 'k1'");
  expect_same();
  // Every row takes the key of another, in one statement, by way of a key that nobody has.
  world.sql.run(
      "BEGIN; UPDATE items SET id = 'x' || id; UPDATE items SET id = CASE a WHEN 'one' THEN 'k2' WHEN 'two' THEN 'k3' "
      "ELSE 'moved' END; COMMIT");
  expect_same();
  EXPECT_EQ(items(), "k2|one|1|null\nk3|two|2|null\nmoved|three|3|null\n");
  world.sql.run("ALTER TABLE items ADD COLUMN keep integer");
  world.sql.run("ALTER TABLE items DROP COLUMN keep");
  world.sql.run("UPDATE items SET id = upper(id)");
  expect_same();
}

TEST_F(PostgresCapture, WhatIsRolledBackNeverHappened) {
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, NULL)");
  expect_same();
  world.sql.run("BEGIN; UPDATE items SET a = 'no'; INSERT INTO items VALUES ('no', 'no', 0, NULL); ROLLBACK");
  world.sql.run(
      "BEGIN; UPDATE items SET at = 5; SAVEPOINT s; UPDATE items SET a = 'no'; DELETE FROM items; INSERT INTO items "
      "VALUES ('no', 'no', 0, NULL); "
      "ROLLBACK TO s; UPDATE items SET n = 7; COMMIT");
  expect_same();
  EXPECT_EQ(items(), "k1|one|5|7\n");
}

TEST_F(PostgresCapture, ManyWritesOfOneRowInOneTransaction) {
  world.sql.run(
      "BEGIN; INSERT INTO items VALUES ('k', 'a', 1, NULL); UPDATE items SET a = 'b'; DELETE FROM items; INSERT INTO "
      "items VALUES ('k', 'c', 2, NULL); "
      "UPDATE items SET id = 'l'; UPDATE items SET id = 'k', a = 'd'; INSERT INTO items VALUES ('gone', 'x', 0, NULL); "
      "DELETE FROM items WHERE id = 'gone'; COMMIT");
  expect_same();
  EXPECT_EQ(items(), "k|d|2|null\n");
}

TEST_F(PostgresCapture, SettingsOfTheWriterDoNotMatter) {
  PostgresWorld w(
      "CREATE TABLE s(id timestamptz PRIMARY KEY, f double precision, i interval, y bytea, ys bytea[], d date)",
      {"public.s"});
  LoopbackDevice one("a", "CREATE TABLE s(id TEXT PRIMARY KEY, f REAL, i TEXT, y BLOB, ys TEXT, d TEXT)", {"s"});
  w.sql.run(
      "INSERT INTO s VALUES ('2026-01-01 00:00:00+00', 1, '1 day', '\\x01', ARRAY['\\x01'::bytea], '2026-01-02'), "
      "('2026-01-02 00:00:00+00', 1, '1 day', '\\x01', '{}', '2026-01-02')");
  w.sync(one);
  SqlClient other(w.url);
  other.run(
      "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'SQL, DMY'; SET extra_float_digits = -15; SET bytea_output = "
      "'escape'; SET IntervalStyle = "
      "'sql_standard'; SET search_path = ''; SET standard_conforming_strings = off");
  other.run(
      "UPDATE public.s SET f = 0.1::float8 + 0.2::float8, i = interval '1 year 2 days', y = decode('ff00', 'hex'), ys "
      "= ARRAY[decode('00ff', 'hex')], d = '31/12/2026' WHERE id = '01/01/2026 05:45:00'");
  other.run("DELETE FROM public.s WHERE id = '02/01/2026 05:45:00'");
  other.run("INSERT INTO public.s VALUES ('03/01/2026 05:45:00', 1, NULL, NULL, NULL, NULL)");
  for (int i = 0; i < 2; ++i) w.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT id, f = 0.1 + 0.2, i, hex(y), ys, d FROM s ORDER BY id"),
            "'2026-01-01T00:00:00Z'|1|'1 year 2 "
            "days'|'FF00'|'[\"\\\\x00ff\"]'|'2026-12-31'\n'2026-01-03T00:00:00Z'|0|null|''|null|null\n");
  w.expect_sound();
}

TEST_F(PostgresCapture, AWriterWithoutAnyRightInTheSchemaRejoin) {
  const std::string role = "plain_writer";
  world.sql.run(
      "DROP ROLE IF EXISTS plain_writer; CREATE ROLE plain_writer LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE, "
      "TRUNCATE ON items, child, loose TO plain_writer");
  SqlClient writer(world.url.substr(0, world.url.find("user=")) + "user=" + role);
  EXPECT_EQ(writer.attempt("SELECT * FROM rejoin.outbox"), "42501");
  writer.run(
      "INSERT INTO items VALUES ('k1', 'one', 1, NULL), ('k2', 'two', 2, NULL); UPDATE items SET a = 'changed' WHERE "
      "id = 'k1'; DELETE FROM items WHERE id = 'k2'");
  expect_same();
  writer.run("TRUNCATE items CASCADE");
  expect_same();
  world.sql.run("DROP OWNED BY plain_writer; DROP ROLE plain_writer");
}

// Triggers of the application that write too, on direct writes and on those of devices.
TEST_F(PostgresCapture, TriggersThatWriteToTheSameRowToOthersAndToUntrackedTables) {
  world.sql.run(
      "CREATE TABLE audit(what text);"
      "CREATE FUNCTION after_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      "  INSERT INTO audit VALUES (TG_OP || ' ' || NEW.id);"
      "  IF NEW.a LIKE 'shout%' AND NEW.a <> upper(NEW.a) THEN UPDATE items SET a = upper(a) WHERE id = NEW.id; END IF;"
      "  IF TG_OP = 'INSERT' THEN INSERT INTO child VALUES ('of ' || NEW.id, NEW.id, 'made by a trigger') ON CONFLICT "
      "DO NOTHING; END IF;"
      "  IF NEW.a = 'vanish' THEN DELETE FROM items WHERE id = NEW.id; END IF;"
      "  IF NEW.a = 'rename' THEN UPDATE items SET id = id || ' renamed', a = 'renamed' WHERE id = NEW.id; END IF;"
      "  RETURN NULL; END $$;"
      "CREATE TRIGGER after_item AFTER INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION after_item();"
      "CREATE FUNCTION phoenix() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
      "  IF OLD.a = 'PHOENIX' THEN INSERT INTO items VALUES (OLD.id, 'reborn', OLD.at, OLD.n); END IF; RETURN NULL; "
      "END $$;"
      "CREATE TRIGGER phoenix AFTER DELETE ON items FOR EACH ROW EXECUTE FUNCTION phoenix();");
  world.sql.run(
      "INSERT INTO items VALUES ('s1', 'shout', 1, NULL), ('s2', 'quiet', 2, NULL), ('s3', 'vanish', 3, NULL), ('s4', "
      "'rename', 4, NULL), ('s5', 'PHOENIX', 5, NULL)");
  world.sql.run("DELETE FROM items WHERE id IN ('s5')");
  world.sql.run("UPDATE items SET a = 'vanish' WHERE id = 's2'");
  expect_same();
  EXPECT_EQ(items(), "s1|SHOUT|1|null\ns4 renamed|renamed|4|null\ns5|reborn|5|null\n");
  a.peer.run(
      "INSERT INTO items VALUES ('d1', 'shout it', 1, NULL), ('d2', 'quiet', 2, NULL), ('d3', 'vanish', 3, NULL), "
      "('d4', 'rename', 4, NULL), ('d5', 'PHOENIX', 5, NULL)");
  settle();
  a.peer.run(
      "DELETE FROM items WHERE id = 'd5'; UPDATE items SET a = 'vanish' WHERE id = 'd2'; UPDATE items SET a = 'shout "
      "again' WHERE id = 'd1'");
  expect_same();
  EXPECT_EQ(plain(b.peer, "SELECT id, a FROM items WHERE id LIKE 'd%' ORDER BY id"),
            "d1|SHOUT AGAIN\nd4 renamed|renamed\nd5|reborn\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
      << a.peer.rows("SELECT reason FROM rejoin_rejections");
  EXPECT_GT(world.sql.number("SELECT count(*) FROM audit WHERE what LIKE '% d%'"), 0);
}

TEST_F(PostgresCapture, ABeforeTriggerMadeLaterIsSeenWithoutTrackingAgain) {
  a.peer.run("INSERT INTO items VALUES ('k1', 'one', 1, NULL), ('k2', 'two', 2, NULL)");
  expect_same();
  world.sql.run(
      "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := coalesce(NEW.at, 0) + 100;"
      " IF NEW.a = 'skip me' THEN RETURN NULL; END IF; RETURN NEW; END $$;"
      "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION touch()");
  a.peer.run("UPDATE items SET a = 'edited' WHERE id = 'k1'; INSERT INTO items VALUES ('k3', 'three', 3, NULL)");
  expect_same();
  EXPECT_EQ(items(), "k1|edited|101|null\nk2|two|2|null\nk3|three|103|null\n");
  // What the trigger swallows is refused and said so; the rest goes on.
  a.peer.run(
      "UPDATE items SET a = 'skip me' WHERE id = 'k2'; INSERT INTO items VALUES ('k4', 'skip me', 4, NULL), ('k5', "
      "'fine', 5, NULL)");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT id, a FROM items ORDER BY id"), "k1|edited\nk2|two\nk3|three\nk5|fine\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 2);
  EXPECT_NE(a.peer.rows("SELECT reason FROM rejoin_rejections").find("a trigger kept it out"), std::string::npos);
}

TEST_F(PostgresCapture, ABrokenTriggerOfOneTableHoldsUpNoOther) {
  world.sql.run(
      "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO no_such_table VALUES (1); "
      "RETURN NULL; END $$;"
      "CREATE TRIGGER broken AFTER INSERT ON loose FOR EACH ROW EXECUTE FUNCTION broken()");
  a.peer.run("INSERT INTO loose VALUES ('l', NULL); INSERT INTO items VALUES ('k', 'fine', 1, NULL)");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT id FROM items"), "k\n");
  EXPECT_NE(a.peer.rows("SELECT reason FROM rejoin_rejections").find("no_such_table"), std::string::npos);
}

TEST_F(PostgresCapture, DeferredConstraintsAreJudgedRowByRow) {
  world.sql.run(
      "ALTER TABLE child DROP CONSTRAINT child_item_fkey; ALTER TABLE child ADD FOREIGN KEY (item) REFERENCES items "
      "DEFERRABLE INITIALLY DEFERRED");
  a.peer.run(
      "INSERT INTO child VALUES ('orphan', 'nobody', 'x'), ('c', 'p', 'y'); INSERT INTO items VALUES ('p', 'parent', "
      "1, NULL)");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT id FROM child"), "c\n");
  EXPECT_EQ(world.sql.rows("SELECT id FROM items"), "p\n");
  EXPECT_NE(a.peer.rows("SELECT reason FROM rejoin_rejections").find("foreign key"), std::string::npos);
}

TEST_F(PostgresCapture, ChildrenMayComeBeforeTheirParents) {
  a.options.chunk_bytes = 4000;
  a.peer.run(
      "INSERT INTO child VALUES ('c0', 'p', 'y'); INSERT INTO items SELECT 'i' || value, hex(zeroblob(200)), 1, NULL "
      "FROM (WITH RECURSIVE s(value) AS "
      "(VALUES(1) UNION ALL SELECT value + 1 FROM s WHERE value < 100) SELECT * FROM s); INSERT INTO items VALUES "
      "('p', 'parent', 1, NULL)");
  settle();
  settle();
  expect_same();
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
      << a.peer.rows("SELECT reason FROM rejoin_rejections");
}

// Between two rows, by way of a third value on the device: PostgreSQL sees the end of it in one statement.
TEST_F(PostgresCapture, UniqueValuesThatTwoRowsSwap) {
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, 1), ('k2', 'two', 2, 2), ('k3', 'three', 3, 3)");
  expect_same();
  world.sql.run(
      "BEGIN; UPDATE items SET n = NULL WHERE id = 'k1'; UPDATE items SET n = 1 WHERE id = 'k2'; UPDATE items SET n = "
      "2 WHERE id = 'k1'; COMMIT");
  expect_same();
  a.peer.run(
      "UPDATE items SET n = CASE id WHEN 'k1' THEN 3 WHEN 'k2' THEN 2 ELSE 1 END; UPDATE items SET a = a || '!'");
  expect_same();
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 0)
      << a.peer.rows("SELECT reason FROM rejoin_rejections");
  EXPECT_EQ(world.sql.rows("SELECT id, n FROM items ORDER BY id"), "k1|3\nk2|2\nk3|1\n");
}

TEST_F(PostgresCapture, UniqueValuesThatMayNotBeNullSwapToo) {
  world.sql.run("ALTER TABLE items ALTER COLUMN n SET NOT NULL, ADD UNIQUE (a)");
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, 1), ('k2', 'two', 2, 2), ('k3', 'three', 3, 3)");
  expect_same();
  a.peer.run("UPDATE items SET n = n % 3 + 1, a = CASE a WHEN 'one' THEN 'two' WHEN 'two' THEN 'three' ELSE 'one' END");
  b.peer.run("INSERT INTO child VALUES ('orphan', 'nobody', 'is refused all the same')");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT id, a, n FROM items ORDER BY id"), "k1|two|2\nk2|three|3\nk3|one|1\n");
  EXPECT_EQ(a.peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM rejoin_rejections"), 1);
}

TEST_F(PostgresCapture, AColumnThatIsAddedAndTrackedAgain) {
  world.sql.run("INSERT INTO items VALUES ('sql', 'one', 1, NULL)");
  a.peer.run("INSERT INTO items VALUES ('device', 'two', 2, NULL)");
  expect_same();
  world.sql.run("ALTER TABLE items ADD COLUMN extra text DEFAULT 'filled'");
  world.sql.run("INSERT INTO items VALUES ('between', 'x', 3, NULL, 'mine')");
  a.peer.run("UPDATE items SET a = 'edited' WHERE id = 'sql'");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT id, a FROM items ORDER BY id"), "between|x\ndevice|two\nsql|edited\n");
  for (LoopbackDevice* d : {&a, &b}) d->peer.run("ALTER TABLE items ADD COLUMN extra TEXT");
  // A device that is ahead of the server: the other columns are taken, this one waits.
  a.peer.run("UPDATE items SET extra = 'by a', at = 22 WHERE id = 'device'");
  settle();
  EXPECT_EQ(world.sql.rows("SELECT at FROM items WHERE id = 'device'"), "22\n");
  const postgres::Tracked again = world.track("public.items");
  EXPECT_TRUE(again.already);
  EXPECT_EQ(again.columns, 1);
  settle();
  settle();
  expect_same("id, a, at, n, extra");
  EXPECT_EQ(plain(b.peer, "SELECT id, extra FROM items WHERE id <> 'device' ORDER BY id"),
            "between|mine\nsql|filled\n");
  world.sql.run("UPDATE items SET extra = 'direct' WHERE id = 'sql'");
  b.peer.run("UPDATE items SET extra = 'by b' WHERE id = 'between'");
  expect_same("id, a, at, n, extra");
  EXPECT_EQ(plain(a.peer, "SELECT id, extra FROM items WHERE id <> 'device' ORDER BY id"),
            "between|by b\nsql|direct\n");
}

TEST_F(PostgresCapture, ADroppedColumnStopsNobody) {
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, 1), ('k2', 'two', 2, 2)");
  expect_same();
  world.sql.run("ALTER TABLE items DROP COLUMN a");
  world.sql.run(
      "UPDATE items SET at = 11 WHERE id = 'k1'; INSERT INTO items VALUES ('k3', 3, 3); DELETE FROM items WHERE id = "
      "'k2'; UPDATE items SET id = 'k9' WHERE id = 'k3'");
  b.peer.run("UPDATE items SET n = 99 WHERE id = 'k1'");
  expect_same("id, at, n");
  b.peer.run("INSERT INTO items VALUES ('k4', 'still has it', 4, 4)");
  expect_same("id, at, n");
  world.track("public.items");
  world.sql.run("UPDATE items SET at = 12 WHERE id = 'k1'; TRUNCATE child");
  expect_same("id, at, n");
}

TEST_F(PostgresCapture, AColumnThatIsRenamedOrChangesItsType) {
  world.sql.run("INSERT INTO items VALUES ('k1', '1', 1, 1)");
  expect_same();
  world.sql.run("ALTER TABLE items ALTER COLUMN at TYPE text USING 'was ' || at");
  world.sql.run("UPDATE items SET a = 'x'");
  settle();
  world.sql.run("UPDATE items SET at = 'text now'");
  a.peer.run("UPDATE items SET a = 'by a'");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT a, at FROM items"), "by a|text now\n");
  world.sql.run("ALTER TABLE items RENAME COLUMN at TO moment");
  world.sql.run("UPDATE items SET a = 'after', moment = 'later'; INSERT INTO items VALUES ('k2', 'new', 'm', 2)");
  b.peer.run("UPDATE items SET n = 5 WHERE id = 'k1'");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT id, a, n FROM items ORDER BY id"), "k1|after|5\nk2|new|2\n");
  EXPECT_EQ(world.sql.rows("SELECT id, a, n FROM items ORDER BY id"), "k1|after|5\nk2|new|2\n");
}

TEST_F(PostgresCapture, ADroppedTableHoldsUpNoOtherAndMayComeBack) {
  a.peer.run("INSERT INTO items VALUES ('k1', 'one', 1, 1); INSERT INTO loose VALUES ('l', NULL)");
  expect_same();
  world.sql.run("DROP TABLE loose");
  a.peer.run("UPDATE items SET a = 'on'; UPDATE loose SET item = 'k1'");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT a FROM items"), "on\n");
  world.sql.run("CREATE TABLE loose(id text PRIMARY KEY, item text)");
  EXPECT_EQ(world.track("public.loose").already, false);
  world.sql.run("INSERT INTO loose VALUES ('again', 'k1')");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT id FROM loose WHERE id = 'again'"), "again\n");
}

TEST_F(PostgresCapture, TrackingAgainMendsWhatHappenedWhileCaptureWasOff) {
  world.sql.run("INSERT INTO items VALUES ('k1', 'one', 1, 1), ('k2', 'two', 2, 2), ('k3', 'three', 3, 3)");
  expect_same();
  world.sql.run("DELETE FROM items WHERE id = 'k3'");
  settle();
  world.sql.run(
      "ALTER TABLE items DISABLE TRIGGER USER; DELETE FROM items WHERE id = 'k1'; INSERT INTO items VALUES ('k3', "
      "'back', 3, 3), ('k4', 'four', 4, 4); ALTER TABLE items ENABLE TRIGGER USER");
  // A device that writes the missing row meanwhile makes no half a row of it.
  a.peer.run("UPDATE items SET a = 'edited' WHERE id = 'k1'");
  settle();
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM items WHERE id = 'k1'"), 0);
  auto findings = postgres::doctor(world.sql.connection());
  ASSERT_TRUE(findings.ok());
  world.track("public.items");
  expect_same();
  EXPECT_EQ(items(), "k2|two|2|2\nk3|back|3|3\nk4|four|4|4\n");
}

TEST_F(PostgresCapture, UntrackingLosesNoPositionOfOthers) {
  a.peer.run("INSERT INTO items VALUES ('k1', 'one', 1, 1)");
  world.sql.run("INSERT INTO loose VALUES ('l', NULL)");
  expect_same();
  ASSERT_TRUE(postgres::untrack(world.sql.connection(), "loose").ok());
  settle();
  a.peer.run("UPDATE items SET a = 'on'");
  settle();
  EXPECT_EQ(plain(b.peer, "SELECT a FROM items"), "on\n");
  const uint64_t before = b.bytes_received;
  world.sync(b);
  EXPECT_LT(b.bytes_received - before, 400u);
  EXPECT_EQ(world.track("public.loose").rows, 1);
  expect_same();
}

TEST_F(PostgresCapture, ATransactionThatCommitsAfterTheFoldOfALaterOne) {
  world.sql.run("INSERT INTO items SELECT 'k' || i, 'one', i, NULL FROM generate_series(1, 5) AS i");
  expect_same();
  SqlClient slow(world.url);
  slow.run("BEGIN");
  slow.run(
      "UPDATE items SET a = 'slow' WHERE id = 'k1'; DELETE FROM items WHERE id = 'k2'; UPDATE items SET id = 'k33' "
      "WHERE id = 'k3'; INSERT INTO items VALUES ('k9', 'slow', 9, NULL)");
  world.sql.run("UPDATE items SET a = 'fast' WHERE id = 'k4'; INSERT INTO items VALUES ('k8', 'fast', 8, NULL)");
  settle();
  EXPECT_EQ(plain(a.peer, "SELECT a FROM items WHERE id = 'k4'"), "fast\n");
  b.peer.run("UPDATE items SET at = 50 WHERE id = 'k5'");
  settle();
  slow.run("COMMIT");
  expect_same();
  EXPECT_EQ(items(),
            "k1|slow|1|null\nk33|one|3|null\nk4|fast|4|null\nk5|one|50|null\nk8|fast|8|null\nk9|slow|9|null\n");
}

}  // namespace
}  // namespace rejoin::testing
