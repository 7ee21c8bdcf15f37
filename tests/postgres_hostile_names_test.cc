// Names from contracts are names wherever they stand in SQL for PostgreSQL, whatever they are made of.
#include <gtest/gtest.h>

#include "contract/contract.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

using contract::quote_name;

// What would end dollar quotes, quotes, a comment or an escape.
const std::vector<std::string> kNames{"$capture$; CREATE TABLE public.pwned(x int); --",
                                      "$body$ $$ $1 $capture1$",
                                      "it's '' \"quoted\" \"\"",
                                      "back\\slash \\' E'\\'",
                                      "line\nCREATE TABLE public.pwned(x int); -- /* */",
                                      "%s %I %L {}"};

std::string table_of(const std::string& table, const std::string& type, bool columns = true) {
  std::string sql = "CREATE TABLE " + quote_name(table) + "(" + quote_name("k" + kNames[0]) + " " + type;
  for (size_t i = 0; columns && i < kNames.size(); ++i) sql += ", " + quote_name(kNames[i]) + " " + type;
  return sql + ", PRIMARY KEY(" + quote_name("k" + kNames[0]) + "))";
}

std::string set_all(const std::string& value) {
  std::string sql;
  for (const std::string& name : kNames) sql += (sql.empty() ? " SET " : ", ") + quote_name(name) + " = " + value;
  return sql;
}

std::string line(const std::string& key, const std::string& value, const std::string& quotes) {
  std::string out = quotes + key + quotes;
  for (size_t i = 0; i < kNames.size(); ++i) out += "|" + quotes + value + quotes;
  return out + "\n";
}

// `added`: the table is there, and gets its columns from a later contract.
void expect_only_names(const std::string& table, bool added) {
  SCOPED_TRACE(table);
  PostgresWorld world("", {}, "", true);
  const std::string tenant = "te'nant $capture$ \\ \" \n--";
  const std::string t = quote_name(table), key = quote_name("k" + kNames[0]);
  if (added) {
    LoopbackDevice first("first", table_of(table, "TEXT", false), {table});
    world.sync_as(first, tenant);
  }
  LoopbackDevice d("d", table_of(table, "TEXT"), {table}), e("e", table_of(table, "TEXT"), {table});
  d.peer.run("INSERT INTO " + t + "(" + key + ") VALUES('d')");
  d.peer.run("UPDATE " + t + set_all("'device'"));
  world.sync_as(d, tenant);
  EXPECT_EQ(d.peer.rows("SELECT * FROM rejoin_rejections"), "");
  EXPECT_EQ(world.sql.rows("SELECT to_regclass('public.pwned')"), "null\n");
  EXPECT_EQ(world.sql.number("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = "
                             "'r'"),
            1);
  EXPECT_EQ(world.sql.rows("SELECT * FROM " + t), line("d", "device", ""));
  // All kinds of capture.
  world.sql.run("UPDATE " + t + set_all("'sql'"));
  world.sql.run("INSERT INTO " + t + "(" + key + ") VALUES('s'), ('gone'); UPDATE " + t + set_all("'sql'") +
                "; DELETE FROM " + t + " WHERE " + key + " = 'gone'");
  world.sync_as(d, tenant);
  world.sync_as(e, tenant);
  const std::string all = line("d", "sql", "'") + line("s", "sql", "'");
  EXPECT_EQ(d.peer.rows("SELECT * FROM " + t + " ORDER BY 1"), all);
  EXPECT_EQ(e.peer.rows("SELECT * FROM " + t + " ORDER BY 1"), all);
  world.expect_sound();
  world.sql.run("TRUNCATE " + t);
  world.sync_as(e, tenant);
  EXPECT_EQ(e.peer.number("SELECT count(*) FROM " + t), 0);
  // A column that was dropped: what is captured lists the others.
  world.sql.run("INSERT INTO " + t + "(" + key + ") VALUES('t'); ALTER TABLE " + t + " DROP COLUMN " +
                quote_name(kNames[2]) + "; UPDATE " + t + " SET " + quote_name(kNames[3]) + " = 'x'; TRUNCATE " + t);
  EXPECT_EQ(world.sql.rows("SELECT to_regclass('public.pwned')"), "null\n");
  world.sync_as(e, tenant);
  world.expect_sound();
}

// Symptom: a column's name ended the text of the capture function, and what followed was run as the server's role.
TEST(PostgresHostileNames, AContractsNamesRunNoSql) {
  expect_only_names("odd", false);
  expect_only_names("odd", true);
  for (const std::string& name : kNames) expect_only_names(name, false);
}

TEST(PostgresHostileNames, SoDoNamesThatTheOwnerGave) {
  for (const bool tenant_column : {false, true}) {
    for (const std::string& name : kNames) {
      PostgresWorld world(table_of(name, "text") + "; ALTER TABLE " + quote_name(name) +
                          " ADD COLUMN \"ten'ant $capture$ \\\" text");
      world.track("public." + quote_name(name), "", tenant_column ? "ten'ant $capture$ \\" : "");
      world.sql.run("INSERT INTO " + quote_name(name) + "(" + quote_name("k" + kNames[0]) +
                    ", \"ten'ant $capture$ \\\") VALUES('1', 'main'); UPDATE " + quote_name(name) + set_all("'x'"));
      LoopbackDevice d("d", table_of(name, "TEXT"), {name});
      world.sync(d);
      EXPECT_EQ(d.peer.rows("SELECT * FROM " + quote_name(name)), line("1", "x", "'"));
      EXPECT_EQ(world.sql.rows("SELECT to_regclass('public.pwned')"), "null\n");
      world.sql.run("TRUNCATE " + quote_name(name));
      world.sync(d);
      EXPECT_EQ(d.peer.number("SELECT count(*) FROM " + quote_name(name)), 0);
      world.expect_sound();
      const Status gone = postgres::untrack(world.sql.connection(), name);
      EXPECT_TRUE(gone.ok()) << gone.error().message;
    }
  }
}

// Symptom: PostgreSQL cut such a name off, its rows were refused for good, and no later column of the table was made.
TEST(PostgresHostileNames, ANameThatPostgresCutsOffIsRefusedAndHoldsUpNoOther) {
  const std::string name(64, 'n');
  PostgresWorld world("", {}, "", true);
  LoopbackDevice first("first", "CREATE TABLE t(id TEXT PRIMARY KEY)", {"t"});
  world.sync(first);
  LoopbackDevice d("d",
                   "CREATE TABLE t(id TEXT PRIMARY KEY, " + name + " TEXT, xmin TEXT, good TEXT); CREATE TABLE " +
                       name + "(id TEXT PRIMARY KEY); CREATE TABLE other(id TEXT PRIMARY KEY, ctid TEXT)",
                   {"t", name, "other"});
  d.peer.run("INSERT INTO t(id, good) VALUES('1', 'x'); INSERT INTO " + name + " VALUES('1')");
  world.sync(d);
  EXPECT_EQ(world.sql.rows("SELECT table_name || '.' || column_name FROM information_schema.columns WHERE table_schema "
                           "= 'public' ORDER BY 1"),
            "t.good\nt.id\n");
  EXPECT_EQ(world.sql.rows("SELECT name FROM rejoin.tracked_column"), "good\n");
  for (const std::string& column : {name, std::string("xmin")}) {
    Peer peer("CREATE TABLE t(id TEXT PRIMARY KEY, good TEXT, " + column + " TEXT)", {"t"});
    const Status refused = world.server().store().publish_contract(*peer.rejoin().contract_json());
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code, Code::schema_refused);
    EXPECT_NE(refused.error().message.find("column \"" + column + "\" of table \"t\""), std::string::npos)
        << refused.error().message;
  }
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
