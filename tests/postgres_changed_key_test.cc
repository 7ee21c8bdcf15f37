// The owner of a tracked table gives it another PRIMARY KEY with plain SQL. Its records are by the earlier one: the
// table stands aside, with the reason and the cure wherever somebody asks, everything else goes on, and tracking it
// anew brings it back.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kOld = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);";
const std::string kNew = "CREATE TABLE todos(own TEXT, id TEXT, title TEXT, PRIMARY KEY(own, id));";
const std::string kOther = "CREATE TABLE other(id TEXT PRIMARY KEY, v TEXT);";
constexpr const char* kAnew =
    "BEGIN; ALTER TABLE todos ADD COLUMN own text NOT NULL DEFAULT 'me'; ALTER TABLE todos DROP CONSTRAINT todos_pkey; "
    "ALTER TABLE todos ADD PRIMARY KEY(own, id); COMMIT";
constexpr const char* kCure = "rejoin pg untrack public.todos, then rejoin pg track public.todos";

void expect_told(PostgresWorld& world) {
  const auto found = postgres::doctor(world.sql.connection());
  ASSERT_TRUE(found.ok()) << found.error().message;
  ASSERT_EQ(found->size(), 1u);
  EXPECT_NE(found->front().find(kCure), std::string::npos) << found->front();
  postgres::TrackRequest again;
  again.relation = "public.todos";
  again.tenant = "main";
  const auto tracked = postgres::track(world.sql.connection(), again, system_random(), {});
  ASSERT_FALSE(tracked.ok());
  EXPECT_EQ(tracked.error().code, Code::untrackable);
  EXPECT_NE(tracked.error().message.find(kCure), std::string::npos) << tracked.error().message;
}

// `by_earlier`: the capture function is one of an earlier build, which does not say what the key is.
void stands_aside(bool by_earlier) {
  PostgresWorld world(kOld + kOther, {"public.todos", "public.other"});
  if (by_earlier)
    world.sql.run(
        "DO $$ BEGIN EXECUTE (SELECT string_agg(regexp_replace(pg_get_functiondef(oid), '-- key[^\\n]*', ''), ';') "
        "FROM pg_proc WHERE proname LIKE 'capture\\_%'); END $$");
  LoopbackDevice old("old", kOld + kOther, {"todos", "other"});
  old.peer.run("INSERT INTO todos VALUES('1', 'one'), ('2', 'two')");
  world.sync(old);
  world.sql.run(kAnew);
  // By plain SQL, with the capture that was made for the earlier key; and both tables by a device.
  world.sql.run("INSERT INTO todos(id, title) VALUES('sql', 'by sql'); INSERT INTO other VALUES('o', 'by sql')");
  old.peer.run("UPDATE todos SET title = 'edited' WHERE id = '1'; INSERT INTO other VALUES('d', 'by a device')");
  world.sync(old);
  EXPECT_EQ(old.peer.rows("SELECT id FROM other ORDER BY id"), "'d'\n'o'\n");
  EXPECT_EQ(world.sql.rows("SELECT id FROM other ORDER BY id"), "d\no\n");
  EXPECT_EQ(old.peer.rows("SELECT code FROM rejoin_rejections"), "'schema_refused'\n");
  EXPECT_NE(old.peer.rows("SELECT reason FROM rejoin_rejections").find(kCure), std::string::npos);
  EXPECT_EQ(old.peer.rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'edited'\n'2'|'two'\n");
  // One that pulls everything.
  LoopbackDevice fresh("fresh", kNew + kOther, {"todos", "other"});
  world.sync(fresh);
  EXPECT_EQ(fresh.peer.rows("SELECT id FROM other ORDER BY id"), "'d'\n'o'\n");
  EXPECT_EQ(fresh.peer.number("SELECT count(*) FROM todos"), 0);
  fresh.peer.run("INSERT INTO todos VALUES('me', '3', 'by the new app')");
  world.sync(fresh);
  EXPECT_EQ(fresh.peer.rows("SELECT code FROM rejoin_rejections"), "'schema_refused'\n");
  expect_told(world);

  const Status gone = postgres::untrack(world.sql.connection(), "public.todos");
  ASSERT_TRUE(gone.ok()) << gone.error().message;
  world.track("public.todos");
  for (int round = 0; round < 2; ++round) world.sync(fresh), world.sync(old);
  EXPECT_EQ(fresh.peer.rows("SELECT own, id, title FROM todos ORDER BY id"),
            "'me'|'1'|'one'\n'me'|'2'|'two'\n'me'|'3'|'by the new app'\n'me'|'sql'|'by sql'\n");
  EXPECT_EQ(world.sql.rows("SELECT own, id, title FROM todos ORDER BY id"),
            "me|1|one\nme|2|two\nme|3|by the new app\nme|sql|by sql\n");
  EXPECT_EQ(fresh.peer.rows("SELECT * FROM rejoin_rejections"), "");
  fresh.peer.expect_sound();
  EXPECT_EQ(old.peer.number("SELECT count(*) FROM rejoin_parked"), 4) << "they wait for its app to be upgraded";
  world.expect_sound();
}

TEST(PostgresChangedKey, TheTableStandsAsideAndTheOthersGoOn) { stands_aside(false); }
TEST(PostgresChangedKey, SoDoesOneThatAnEarlierBuildHasTracked) { stands_aside(true); }

// Another key of as many columns, with a server that knew the earlier one.
TEST(PostgresChangedKey, IsNoticedWhereTheNumberOfColumnsIsTheSame) {
  for (const std::string change :
       {"ALTER TABLE todos ADD COLUMN uid text NOT NULL DEFAULT gen_random_uuid()::text; ALTER TABLE todos DROP "
        "CONSTRAINT todos_pkey, ADD PRIMARY KEY(uid)",
        "ALTER TABLE todos DROP CONSTRAINT todos_pkey, ADD PRIMARY KEY(code)",
        "ALTER TABLE todos DROP COLUMN id; ALTER TABLE todos ADD COLUMN id text NOT NULL PRIMARY KEY DEFAULT "
        "gen_random_uuid()::text",
        "ALTER TABLE todos ALTER id TYPE bigint USING id::bigint",
        // Texts on devices, and other ones.
        "ALTER TABLE todos ALTER id TYPE uuid USING md5(id)::uuid",
        "ALTER TABLE todos ALTER id TYPE date USING '2020-01-01'::date + id::int",
        "ALTER TABLE todos ALTER id TYPE timestamptz USING '2020-01-01'::timestamptz + id::int * interval '1 day'"}) {
    SCOPED_TRACE(change);
    PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY, title text, code text NOT NULL UNIQUE)",
                        {"public.todos"});
    LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, code TEXT NOT NULL UNIQUE)", {"todos"});
    d.peer.run("INSERT INTO todos VALUES('1', 'one', 'c1')");
    world.sync(d);
    world.sql.run(change);
    d.peer.run("INSERT INTO todos VALUES('2', 'two', 'c2')");
    world.sync(d);
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos"), 1);
    EXPECT_NE(d.peer.rows("SELECT reason FROM rejoin_rejections").find(kCure), std::string::npos)
        << d.peer.rows("SELECT reason FROM rejoin_rejections");
    expect_told(world);
  }
}

// Symptom: a device that reads everything, and pg track, failed for ever with "does not fit a column of type integer".
TEST(PostgresChangedKey, ADeletedRowThatANarrowerTypeCannotHoldStopsNobody) {
  const std::string tables = "CREATE TABLE todos(id INT PRIMARY KEY NOT NULL, title TEXT);" + kOther;
  PostgresWorld world("CREATE TABLE todos(id bigint PRIMARY KEY, title text);" + kOther,
                      {"public.todos", "public.other"});
  LoopbackDevice one("one", tables, {"todos", "other"}), fresh("fresh", tables, {"todos", "other"});
  one.peer.run("INSERT INTO todos VALUES(3000000000, 'large'), (1, 'stays')");
  world.sync(one);
  world.sql.run("DELETE FROM todos WHERE id > 1");
  world.sync(one);
  world.sql.run("ALTER TABLE todos ALTER id TYPE integer");
  world.sync(fresh);
  EXPECT_EQ(fresh.peer.rows("SELECT * FROM todos"), "1|'stays'\n");
  EXPECT_EQ(world.track("public.todos").rows, 0);
  world.expect_sound();
  // What a device pushes of it is refused, the rest is not.
  one.peer.run("INSERT INTO todos VALUES(3000000000, 'again'); INSERT INTO other VALUES('o', 'x')");
  world.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT code FROM rejoin_rejections"), "'schema_refused'\n");
  EXPECT_NE(one.peer.rows("SELECT reason FROM rejoin_rejections").find("3000000000 does not fit"), std::string::npos);
  EXPECT_EQ(world.sql.rows("SELECT id FROM other"), "o\n");
  world.sync(fresh);
  fresh.peer.expect_sound();
}

// Symptom: the record of a deletion of a day that no calendar has stopped whoever read everything.
TEST(PostgresChangedKey, ADayThatNoCalendarHasIsNoKey) {
  const std::string tables = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);";
  PostgresWorld world("CREATE TABLE todos(id date PRIMARY KEY, title text)", {"public.todos"});
  LoopbackDevice one("one", tables, {"todos"}), fresh("fresh", tables, {"todos"});
  one.peer.run("INSERT INTO todos VALUES('2026-02-30', 'x'), ('2026-02-28', 'y')");
  world.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT code FROM rejoin_rejections"), "'schema_refused'\n");
  one.peer.run("DELETE FROM todos WHERE id = '2026-02-30'");
  world.sync(one);
  world.sync(fresh);
  EXPECT_EQ(fresh.peer.rows("SELECT id FROM todos"), "'2026-02-28'\n");
  world.expect_sound();
}

// Symptom: as above, for what a domain's CHECK does not take, and for a domain that is NOT NULL.
TEST(PostgresChangedKey, AKeyThatADomainDoesNotTakeStopsNobody) {
  const std::string tables = "CREATE TABLE todos(id INT PRIMARY KEY NOT NULL, title TEXT);";
  PostgresWorld world(
      "CREATE DOMAIN few AS bigint NOT NULL CHECK (value > 0); CREATE TABLE todos(id few PRIMARY KEY, title text)",
      {"public.todos"});
  LoopbackDevice one("one", tables, {"todos"}), fresh("fresh", tables, {"todos"});
  one.peer.run("INSERT INTO todos VALUES(-1, 'refused'), (1, 'stays'), (2, 'goes')");
  world.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT code FROM rejoin_rejections"), "'refused'\n");
  one.peer.run("DELETE FROM todos WHERE id <> 1");
  world.sync(one);
  world.sql.run("ALTER DOMAIN few ADD CHECK (value < 2)");
  world.sync(fresh);
  EXPECT_EQ(fresh.peer.rows("SELECT id FROM todos"), "1\n");
  EXPECT_EQ(world.track("public.todos").rows, 0);
  world.expect_sound();
}

// Texts that are no texts to PostgreSQL: one value has several spellings, or not every text is one.
TEST(PostgresChangedKey, ATypeThatNoKeyIsTrackedWithStandsAside) {
  for (const std::string change : {"CREATE TYPE mood AS ENUM('1'); ALTER TABLE todos ALTER id TYPE mood USING id::mood",
                                   "ALTER TABLE todos ALTER id TYPE interval USING id::interval"}) {
    PostgresWorld world(kOld + kOther, {"public.todos", "public.other"});
    LoopbackDevice one("one", kOld + kOther, {"todos", "other"}), fresh("fresh", kOld + kOther, {"todos", "other"});
    one.peer.run("INSERT INTO todos VALUES('1', 'x'), ('draft', 'y'); INSERT INTO other VALUES('o', 'x')");
    world.sync(one);
    one.peer.run("DELETE FROM todos WHERE id = 'draft'");
    world.sync(one);
    world.sql.run(change);
    world.sync(fresh);
    EXPECT_EQ(fresh.peer.rows("SELECT id FROM other"), "'o'\n");
    const auto found = postgres::doctor(world.sql.connection());
    ASSERT_TRUE(found.ok()) << found.error().message;
    ASSERT_EQ(found->size(), 1u);
    EXPECT_NE(found->front().find(kCure), std::string::npos) << found->front();
  }
}

TEST(PostgresChangedKey, ATypeThatReadsTheSameIsTheSame) {
  PostgresWorld world(kOld, {"public.todos"});
  world.sql.run("ALTER TABLE todos ALTER id TYPE varchar(40)");
  world.expect_sound();
}

TEST(PostgresChangedKey, ARenamedKeyIsTheSame) {
  PostgresWorld world(kOld, {"public.todos"});
  world.sql.run("INSERT INTO todos VALUES('1', 'one'); ALTER TABLE todos RENAME id TO name");
  world.track("public.todos");
  LoopbackDevice d("d", "CREATE TABLE todos(name TEXT PRIMARY KEY, title TEXT)", {"todos"});
  d.peer.run("INSERT INTO todos VALUES('2', 'two')");
  world.sync(d);
  EXPECT_EQ(d.peer.rows("SELECT name FROM todos ORDER BY name"), "'1'\n'2'\n");
  EXPECT_EQ(world.sql.rows("SELECT name FROM todos ORDER BY name"), "1\n2\n");
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
