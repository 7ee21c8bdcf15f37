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

}  // namespace
}  // namespace rejoin::testing
