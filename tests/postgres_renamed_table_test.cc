// A table that is renamed in PostgreSQL keeps its name for devices; an app that renames it too may call it by the new
// one. Devices of either name write the same table.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

TEST(PostgresRenamedTable, DevicesOfTheOldAndTheNewNameReachTheSameTable) {
  PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY, title text CHECK (title <> 'bad'))", {"public.todos"});
  const std::string old_app = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)";
  LoopbackDevice old("old", old_app, {"todos"}), renamed("renamed", old_app, {"todos"});
  renamed.peer.run("INSERT INTO todos VALUES('r', 'before')");
  world.sync(renamed);
  world.sync(old);
  world.sql.run("ALTER TABLE todos RENAME TO tasks");
  renamed.peer.run("ALTER TABLE todos RENAME TO tasks");
  LoopbackDevice fresh("fresh", "CREATE TABLE tasks(id TEXT PRIMARY KEY, title TEXT)");
  sqlite::TrackOptions options;
  options.former_names = {"todos"};
  fresh.peer.track("tasks", options);
  const auto sync_all = [&] {
    for (int round = 0; round < 2; ++round)
      for (LoopbackDevice* d : {&old, &renamed, &fresh}) world.sync(*d);
  };
  sync_all();
  old.peer.run("UPDATE todos SET title = 'by old' WHERE id = 'r'");
  renamed.peer.run("INSERT INTO tasks VALUES('n', 'by renamed')");
  fresh.peer.run("INSERT INTO tasks VALUES('f', 'by fresh'), ('b', 'bad')");
  world.sql.run("INSERT INTO tasks VALUES('s', 'by sql')");
  sync_all();
  // What is refused is told under the name that the device has.
  EXPECT_EQ(fresh.peer.rows("SELECT table_name, key FROM rejoin_rejections"), "'tasks'|'[\"b\"]'\n");
  EXPECT_EQ(*fresh.peer.rejoin().discard_all(), 1);
  sync_all();
  const std::string all = "'f'|'by fresh'\n'n'|'by renamed'\n'r'|'by old'\n's'|'by sql'\n";
  EXPECT_EQ(old.peer.rows("SELECT * FROM todos ORDER BY id"), all);
  EXPECT_EQ(renamed.peer.rows("SELECT * FROM tasks ORDER BY id"), all);
  EXPECT_EQ(fresh.peer.rows("SELECT * FROM tasks ORDER BY id"), all);
  EXPECT_EQ(world.sql.rows("SELECT * FROM tasks ORDER BY id"), "f|by fresh\nn|by renamed\nr|by old\ns|by sql\n");
  EXPECT_EQ(renamed.peer.rows("SELECT * FROM rejoin_rejections"), "");
  for (LoopbackDevice* d : {&old, &renamed, &fresh}) d->peer.expect_sound();
  world.expect_sound();
}

// Only where nothing else is called so.
TEST(PostgresRenamedTable, ANameOfAnotherTableIsThatTables) {
  PostgresWorld world(
      "CREATE TABLE todos(id text PRIMARY KEY, title text); CREATE SCHEMA more; CREATE TABLE more.todos(id text "
      "PRIMARY KEY, title text); CREATE SCHEMA third; CREATE TABLE third.odd(id text PRIMARY KEY); CREATE TABLE "
      "odd(id text PRIMARY KEY)",
      {"public.todos"});
  world.track("more.todos", "others");
  world.track("third.odd", "one");
  world.track("public.odd", "two");
  LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT); CREATE TABLE odd(id TEXT PRIMARY KEY)",
                   {"todos", "odd"});
  d.peer.run("INSERT INTO todos VALUES('1', 'x'); INSERT INTO odd VALUES('1')");
  world.sync(d);
  EXPECT_EQ(world.sql.rows("SELECT * FROM todos"), "1|x\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM more.todos"), 0);
  EXPECT_EQ(d.peer.rows("SELECT table_name, code FROM rejoin_rejections"), "'odd'|'schema_refused'\n");
  world.expect_sound();
}

// Their functions do not tell what a table was called when it was tracked.
void capture_as_earlier_builds(PostgresWorld& world) {
  world.sql.run(
      "DO $$ BEGIN EXECUTE (SELECT string_agg(regexp_replace(pg_get_functiondef(oid), '-- (key|own)[^\\n]*', '', "
      "'g'), ';') FROM pg_proc WHERE proname LIKE 'capture\\_%'); END $$; UPDATE rejoin.meta SET catalog = catalog + "
      "1");
}

// Symptom: what devices pushed was merged into the other table, acknowledged, and given to everybody as that one's.
TEST(PostgresRenamedTable, ANameThatWasGivenIsNeverTakenForARename) {
  const std::string two =
      "CREATE TABLE todos(id text PRIMARY KEY, title text); CREATE SCHEMA archive; CREATE TABLE archive.todos(id text "
      "PRIMARY KEY, title text); INSERT INTO archive.todos VALUES('1', 'kept')";
  for (const std::string away :
       {"ALTER TABLE todos DROP CONSTRAINT todos_pkey", "DROP TABLE todos", "untrack", "untrack a dropped one",
        "UPDATE rejoin.tracked SET tenant = 'another' WHERE name = "
        "'todos'; UPDATE rejoin.meta SET catalog = catalog + 1"}) {
    for (const bool by_earlier : {false, true}) {
      SCOPED_TRACE(away);
      PostgresWorld world(two, {"public.todos"});
      world.track("archive.todos", "archived");
      if (by_earlier) capture_as_earlier_builds(world);
      LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
      d.peer.run("INSERT INTO todos VALUES('2', 'two')");
      world.sync(d);
      if (away == "untrack a dropped one") world.sql.run("DROP TABLE todos");
      if (away.starts_with("untrack")) {
        const Status gone = postgres::untrack(world.sql.connection(), "todos");
        ASSERT_TRUE(gone.ok()) << gone.error().message;
      } else {
        world.sql.run(away);
      }
      d.peer.run("INSERT INTO todos VALUES('1', 'mine')");
      for (int i = 0; i < 2; ++i) world.sync(d);
      EXPECT_EQ(world.sql.rows("SELECT * FROM archive.todos"), "1|kept\n");
      EXPECT_EQ(d.peer.rows("SELECT table_name, code FROM rejoin_rejections"), "'todos'|'schema_refused'\n");
    }
  }
}

// As long as it keeps what it was called when it was tracked, also after that was done once more.
TEST(PostgresRenamedTable, IsFollowedAfterItWasTrackedOnceMore) {
  PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY, title text)", {"public.todos"});
  for (const std::string name : {"tasks", "jobs"}) {
    world.sql.run("ALTER TABLE " + std::string(name == "tasks" ? "todos" : "tasks") + " RENAME TO " + name);
    world.track("public." + name);
    LoopbackDevice d(name, "CREATE TABLE " + name + "(id TEXT PRIMARY KEY, title TEXT)", {name});
    d.peer.run("INSERT INTO " + name + " VALUES('" + name + "', 'x')");
    world.sync(d);
    EXPECT_EQ(d.peer.rows("SELECT * FROM rejoin_rejections"), "");
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM " + name + " WHERE id = '" + name + "'"), 1);
  }
}

// Symptom: a renamed table that an earlier build had tracked once more was not reached by its new name, whatever one
// did.
TEST(PostgresRenamedTable, TrackWithItsNewNameSaysThatItWasRenamed) {
  PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY, title text)", {"public.todos"});
  world.sql.run("ALTER TABLE todos RENAME TO tasks");
  capture_as_earlier_builds(world);
  LoopbackDevice d("d", "CREATE TABLE tasks(id TEXT PRIMARY KEY, title TEXT)", {"tasks"});
  d.peer.run("INSERT INTO tasks VALUES('1', 'x')");
  world.sync(d);
  EXPECT_NE(d.peer.rows("SELECT reason FROM rejoin_rejections").find("rejoin pg track public.tasks --as tasks"),
            std::string::npos);
  world.track("public.tasks");
  world.sync(d);
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM tasks"), 0);
  world.track("public.tasks", "tasks");
  ASSERT_TRUE(d.peer.rejoin().retry().ok());
  world.sync(d);
  EXPECT_EQ(world.sql.rows("SELECT * FROM tasks"), "1|x\n");
  world.expect_sound();
}

// Symptom: a server that had known the tables wrote acknowledged rows into the one that has the name now.
TEST(PostgresRenamedTable, TablesTradeNamesWhileAServerRuns) {
  const std::string columns = "(id text PRIMARY KEY, title text)";
  for (const std::string change :
       {"BEGIN; ALTER TABLE todos RENAME TO todos_old; ALTER TABLE todos_new RENAME TO todos; COMMIT",
        "BEGIN; ALTER TABLE todos SET SCHEMA more; ALTER TABLE more.todos RENAME TO todos_old; ALTER TABLE todos_new "
        "RENAME TO todos; SET search_path = public, more; COMMIT"}) {
    PostgresWorld world("CREATE SCHEMA more; CREATE TABLE todos" + columns + "; CREATE TABLE todos_new" + columns,
                        {"public.todos"});
    LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"}),
        fresh("fresh", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
    d.peer.run("INSERT INTO todos VALUES('1', 'one')");
    world.sync(d);
    world.sql.run(change);
    world.sql.run("INSERT INTO todos VALUES('other', 'x')");
    d.peer.run("INSERT INTO todos VALUES('2', 'two'); UPDATE todos SET title = 'edited' WHERE id = '1'");
    world.sync(d);
    world.sync(fresh);
    EXPECT_EQ(world.sql.rows("SELECT * FROM todos_old ORDER BY id"), "1|edited\n2|two\n");
    EXPECT_EQ(world.sql.rows("SELECT * FROM todos"), "other|x\n");
    EXPECT_EQ(fresh.peer.rows("SELECT * FROM todos ORDER BY id"), "'1'|'edited'\n'2'|'two'\n");
    world.expect_sound();
  }
}

TEST(PostgresRenamedTable, SchemasTradeNamesWhileAServerRuns) {
  const std::string columns = "(id text PRIMARY KEY, title text)";
  PostgresWorld world("CREATE SCHEMA live; CREATE SCHEMA other; CREATE TABLE live.todos" + columns +
                          "; CREATE TABLE other.todos" + columns,
                      {"live.todos"});
  LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
  d.peer.run("INSERT INTO todos VALUES('1', 'one')");
  world.sync(d);
  world.sql.run(
      "BEGIN; ALTER SCHEMA live RENAME TO once; ALTER SCHEMA other RENAME TO live; COMMIT; INSERT INTO live.todos "
      "VALUES('other', 'x')");
  d.peer.run("INSERT INTO todos VALUES('2', 'two'); UPDATE todos SET title = 'edited' WHERE id = '1'");
  world.sync(d);
  EXPECT_EQ(world.sql.rows("SELECT * FROM once.todos ORDER BY id"), "1|edited\n2|two\n");
  EXPECT_EQ(world.sql.rows("SELECT * FROM live.todos"), "other|x\n");
  world.expect_sound();
}

// Symptom: the application's TRUNCATE failed, or was not captured when another table had the name.
TEST(PostgresRenamedTable, ItsTruncateIsCaptured) {
  for (const bool another : {false, true}) {
    PostgresWorld world("CREATE TABLE todos(id text PRIMARY KEY, title text)", {"public.todos"});
    LoopbackDevice d("d", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)", {"todos"});
    d.peer.run("INSERT INTO todos VALUES('1', 'one')");
    world.sync(d);
    world.sql.run(
        "CREATE SCHEMA \"odd \"\" one\"; ALTER TABLE todos RENAME TO \"odd ' one\"; ALTER TABLE \"odd ' one\" SET "
        "SCHEMA \"odd \"\" one\"");
    if (another) world.sql.run("CREATE TABLE todos(id text PRIMARY KEY, title text)");
    world.sql.run("TRUNCATE \"odd \"\" one\".\"odd ' one\"");
    world.sync(d);
    EXPECT_EQ(d.peer.number("SELECT count(*) FROM todos"), 0);
    world.expect_sound();
  }
}

}  // namespace
}  // namespace rejoin::testing
