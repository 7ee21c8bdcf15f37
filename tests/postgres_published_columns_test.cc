// A contract that PostgreSQL's server gives out reads the same at both ends: what nobody wrote in a new column is the
// default's value in PostgreSQL and on devices, and what cannot be so is refused before anything is made.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr const char* kV1 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)";

std::string contract_of(const std::string& schema, const std::vector<std::string>& names) {
  Peer peer(schema, names);
  auto json = peer.rejoin().contract_json();
  EXPECT_TRUE(json.ok());
  return json.ok() ? *json : "";
}

std::unique_ptr<PostgresWorld> world_with(const std::string& todos = "id text PRIMARY KEY, title text") {
  auto world = std::make_unique<PostgresWorld>("", std::vector<std::string>{}, "", true);
  world->sql.run("CREATE TABLE todos(" + todos + ")");
  world->track("public.todos");
  return world;
}

TEST(PostgresPublishedColumns, WhatNobodyWroteIsTheDefaultAtBothEnds) {
  const std::string columns =
      "price REAL NOT NULL DEFAULT 1.5, whole REAL NOT NULL DEFAULT 0, large DOUBLE DEFAULT 1e300, least REAL DEFAULT "
      "-0.1, n INTEGER NOT NULL DEFAULT 5, said INTEGER DEFAULT '7', s TEXT NOT NULL DEFAULT 'it''s', num TEXT DEFAULT "
      "12, flag BOOLEAN NOT NULL DEFAULT 1, dec DECIMAL(10,2) NOT NULL DEFAULT 2.5, sum NUMERIC DEFAULT 3.0, day "
      "DATETIME NOT NULL DEFAULT '2020-01-01', at TIMESTAMPTZ DEFAULT '2020-01-01T10:00:00.5Z', js JSON NOT NULL "
      "DEFAULT '{\"a\":[1,2]}', js2 JSONB DEFAULT '[1, 2]', u UUID DEFAULT '0b4b4cf6-4a92-4bd0-9a49-1d2b3a4c5d6e', "
      "b BLOB NOT NULL DEFAULT x'00ff', none TEXT DEFAULT NULL, part TEXT DEFAULT 1.5";
  auto world = world_with();
  LoopbackDevice follows("follows", kV1, {"todos"}), old("old", kV1, {"todos"});
  follows.caller.may_schema = old.caller.may_schema = false;
  follows.peer.run("INSERT INTO todos VALUES('1', 'before')");
  world->sync(follows);
  const std::string v2 = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, " + columns +
                         "); CREATE TABLE fresh(id TEXT PRIMARY KEY, " + columns + ")";
  const std::string json = contract_of(v2, {"todos", "fresh"});
  const Status published = world->server().store().publish_contract(json);
  ASSERT_TRUE(published.ok()) << published.error().message;
  ASSERT_TRUE(follows.peer.rejoin().migrate(json).ok());
  old.peer.run("INSERT INTO todos VALUES('2', 'an old app')");
  world->sync(old);
  world->sql.run("INSERT INTO todos(id, title) VALUES('3', 'plain SQL'); INSERT INTO fresh(id) VALUES('f')");
  world->sync(follows);
  LoopbackDevice late("late", v2, {"todos", "fresh"});
  late.caller.may_schema = false;
  world->sync(late);
  std::string all;
  for (const char* c : {"price", "whole", "large", "least", "n", "said", "s", "num", "flag", "dec", "sum", "day", "at",
                        "js", "js2", "u", "b", "none", "part"})
    all += std::string(all.empty() ? "" : ", ") + "typeof(" + c + "), " + c;
  Peer plain(v2);
  plain.run("INSERT INTO todos(id) VALUES('x')");
  const std::string as_declared = plain.rows("SELECT " + all + " FROM todos");
  for (LoopbackDevice* d : {&follows, &late}) {
    EXPECT_EQ(d->peer.rows("SELECT * FROM rejoin_parked"), "");
    for (const char* table : {"todos", "fresh"})
      EXPECT_EQ(d->peer.number("SELECT count(*) FROM (SELECT DISTINCT " + all + " FROM " + table + ")"), 1)
          << d->peer.rows("SELECT id, " + all + " FROM " + table);
    EXPECT_EQ(d->peer.number("SELECT count(*) FROM todos"), 3);
    EXPECT_EQ(d->peer.rows("SELECT " + all + " FROM todos WHERE id = '3'"), as_declared);
    d->peer.expect_sound();
  }
  world->expect_sound();
}

TEST(PostgresPublishedColumns, ADefaultThatIsAnotherValueThereIsRefused) {
  auto world = world_with();
  for (const std::string column :
       {"x DEFAULT 7", "x JSON DEFAULT ''", "x JSON DEFAULT 5", "x JSONB DEFAULT '{\"a\":1}'", "x UUID DEFAULT 'none'",
        "x TIMESTAMPTZ DEFAULT '2020-01-01'", "x BOOLEAN DEFAULT 5", "x INTEGER DEFAULT 'many'",
        "x INTEGER DEFAULT 1.5", "x NUMERIC DEFAULT 1e300", "x BLOB DEFAULT 'text'",
        "x UUID DEFAULT '0B4B4CF6-4A92-4BD0-9A49-1D2B3A4C5D6E'", "x DATETIME DEFAULT 7"}) {
    SCOPED_TRACE(column);
    const Status refused = world->server().store().publish_contract(contract_of(
        "CREATE TABLE more(id TEXT PRIMARY KEY); CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, " + column + ")",
        {"more", "todos"}));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::schema_refused);
    EXPECT_NE(refused.error().message.find("column \"x\" of table \"todos\""), std::string::npos)
        << refused.error().message;
    EXPECT_EQ(world->sql.rows("SELECT to_regclass('public.more')"), "null\n") << "something was made";
  }
}

TEST(PostgresPublishedColumns, AColumnThatTheOwnerMadeNeedsNoDefaultOfOurs) {
  auto world = world_with("id text PRIMARY KEY, title text, x jsonb");
  const Status published = world->server().store().publish_contract(
      contract_of("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, x JSON DEFAULT '{\"a\":1}')", {"todos"}));
  EXPECT_TRUE(published.ok()) << published.error().message;
}

// Else the devices that follow would put aside their own rows when the server gives them back.
TEST(PostgresPublishedColumns, AFirstContractThatContradictsTheServersTypesIsRefused) {
  const std::vector<std::pair<std::string, std::string>> apart{
      {"text", "INTEGER"}, {"bigint", "TEXT"}, {"text", "DECIMAL(10,2)"},
      {"bytea", "TEXT"},   {"bigint", "REAL"}, {"double precision", "INTEGER"},
      {"text", "BLOB"}};
  const std::vector<std::pair<std::string, std::string>> alike{{"text", "VARCHAR(20)"},
                                                               {"integer", "BIGINT"},
                                                               {"boolean", "INTEGER"},
                                                               {"jsonb", "JSON"},
                                                               {"timestamptz", "DATETIME"},
                                                               {"bigint", "DATETIME"},
                                                               {"uuid", "UUID"},
                                                               {"numeric", "INTEGER"},
                                                               {"numeric(10,2)", "DECIMAL(10,2)"},
                                                               {"real", "FLOAT"},
                                                               {"text", "DATE"}};
  const auto publish = [](const std::vector<std::pair<std::string, std::string>>& types) {
    std::string server = "id text PRIMARY KEY", device = "CREATE TABLE todos(id TEXT PRIMARY KEY";
    for (size_t i = 0; i < types.size(); ++i) {
      server += ", x" + std::to_string(i) + " " + types[i].first;
      device += ", x" + std::to_string(i) + " " + types[i].second;
    }
    return world_with(server)->server().store().publish_contract(contract_of(device + ")", {"todos"}));
  };
  const Status taken = publish(alike);
  EXPECT_TRUE(taken.ok()) << taken.error().message;
  const Status refused = publish(apart);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Code::schema_refused);
  for (size_t i = 0; i < apart.size(); ++i)
    EXPECT_NE(refused.error().message.find("\"x" + std::to_string(i) + "\""), std::string::npos)
        << apart[i].first << " and " << apart[i].second << ": " << refused.error().message;
}

}  // namespace
}  // namespace rejoin::testing
