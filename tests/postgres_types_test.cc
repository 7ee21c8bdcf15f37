// Values keep exactly what they are between PostgreSQL's types and SQLite's five, or are refused with a reason that
// names the column or the type; what cannot travel at all is refused when a table is tracked.
#include <gtest/gtest.h>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

std::string real(double v) { return show(sim::Value::of(v)); }

class PostgresTypes : public ::testing::Test {
 protected:
  // A table v(id, x of this type) on both sides; the device's x is declared as `device_type` says.
  void column(const std::string& type, const std::string& device_type = "") {
    world = std::make_unique<PostgresWorld>(setup + "CREATE TABLE v(id integer PRIMARY KEY, x " + type + ")",
                                            std::vector<std::string>{"public.v"});
    const std::string schema = "CREATE TABLE v(id INT PRIMARY KEY, x " + device_type + ")";
    a = std::make_unique<LoopbackDevice>("a", schema, std::vector<std::string>{"v"});
    b = std::make_unique<LoopbackDevice>("b", schema, std::vector<std::string>{"v"});
  }
  void settle() {
    for (int i = 0; i < 2; ++i) world->sync(*a), world->sync(*b);
  }
  std::string on(LoopbackDevice& device) { return device.peer.rows("SELECT id, x FROM v ORDER BY id"); }
  std::string truth() { return world->sql.rows("SELECT id, x::text FROM v ORDER BY id"); }
  int64_t rejections(LoopbackDevice& device) { return device.peer.number("SELECT count(*) FROM rejoin_rejections"); }
  std::string reasons(LoopbackDevice& device) { return device.peer.rows("SELECT reason FROM rejoin_rejections"); }
  // Written with SQL, both devices show `shown`; rewritten by a device (UPDATE and INSERT) PostgreSQL has the same
  // again.
  void both_ways(const std::string& literal, const std::string& shown) {
    SCOPED_TRACE(literal);
    world->sql.run("DELETE FROM v; INSERT INTO v VALUES (1, " + literal + ")");
    const std::string stored = world->sql.rows("SELECT x::text FROM v");
    settle();
    EXPECT_EQ(on(*a), "1|" + shown + "\n");
    EXPECT_EQ(on(*b), on(*a));
    a->peer.run("INSERT INTO v SELECT 2, x FROM v WHERE id = 1; INSERT INTO v(id) VALUES (3)");
    a->peer.run("UPDATE v SET x = (SELECT x FROM v WHERE id = 1) WHERE id = 3");
    settle();
    EXPECT_EQ(world->sql.rows("SELECT x::text FROM v ORDER BY id"), stored + stored + stored);
    EXPECT_EQ(on(*a), "1|" + shown + "\n2|" + shown + "\n3|" + shown + "\n");
    EXPECT_EQ(on(*b), on(*a));
    // Through a deletion and back: what was kept of the row is the same.
    b->peer.run("DELETE FROM v WHERE id = 2");
    settle();
    b->peer.restore("v", {sim::Value::of(int64_t{2})});
    settle();
    EXPECT_EQ(world->sql.rows("SELECT x::text FROM v ORDER BY id"), stored + stored + stored);
    EXPECT_EQ(on(*b), on(*a));
    EXPECT_EQ(rejections(*a), 0) << reasons(*a);
    a->peer.expect_sound(), b->peer.expect_sound();
    world->expect_sound();
  }
  // The device's value is refused, the row beside it is not.
  void refused(const std::string& value, const std::string& because) {
    SCOPED_TRACE(value);
    world->sql.run("DELETE FROM v");
    settle();
    for (LoopbackDevice* d : {a.get(), b.get()}) d->peer.run("DELETE FROM v");
    settle();
    const int64_t before = rejections(*a);
    a->peer.run("INSERT INTO v VALUES (100, NULL), (101, " + value + "), (102, NULL)");
    settle();
    EXPECT_EQ(world->sql.rows("SELECT id FROM v ORDER BY id"), "100\n102\n");
    EXPECT_EQ(b->peer.rows("SELECT id FROM v ORDER BY id"), "100\n102\n");
    EXPECT_EQ(rejections(*a), before + 1);
    EXPECT_NE(reasons(*a).find(because), std::string::npos) << reasons(*a);
    a->peer.run("UPDATE v SET x = NULL WHERE id = 101");
    settle();
    EXPECT_EQ(world->sql.rows("SELECT id FROM v ORDER BY id"), "100\n101\n102\n");
    EXPECT_EQ(on(*b), on(*a));
  }
  std::string setup;
  std::unique_ptr<PostgresWorld> world;
  std::unique_ptr<LoopbackDevice> a, b;
};

TEST_F(PostgresTypes, TextKeepsEveryCharacter) {
  column("text", "TEXT");
  both_ways("''", "''");
  both_ways("'it''s \\ \"quoted\", äöü 🙂 | { } null'", "'it's \\ \"quoted\", äöü 🙂 | { } null'");
  both_ways("E'line\\nline\\ttab'", "'line%0aline%09tab'");
  refused("'nul' || char(0) || 'inside'", "NUL");
  refused("CAST(x'ff' AS TEXT)", "UTF-8");
  refused("CAST(x'eda080' AS TEXT)", "UTF-8");
  refused("x'00ff'", "a blob does not fit a column of type text");
}

TEST_F(PostgresTypes, ALongerTextThanAVarcharTakesIsRefusedNotCutOff) {
  column("varchar(3)", "TEXT");
  both_ways("'abc'", "'abc'");
  refused("'abcd'", "too long");
}

TEST_F(PostgresTypes, IntegersOfEachSizeAndBeyond) {
  column("bigint", "INTEGER");
  both_ways("9223372036854775807", "9223372036854775807");
  both_ways("-9223372036854775808", "-9223372036854775808");
  refused("1.5", "1.5");
  refused("'text'", "invalid input syntax");
  column("integer", "INTEGER");
  both_ways("-2147483648", "-2147483648");
  refused("2147483648", "the integer 2147483648 does not fit a column of type integer");
  column("smallint", "INTEGER");
  both_ways("32767", "32767");
  refused("-32769", "smallint");
  column("bigint");
  refused("9e999", "bigint");
  refused("'NaN'", "NaN");
}

TEST_F(PostgresTypes, DoublePrecisionToTheLastBit) {
  column("double precision", "REAL");
  both_ways("0.1", real(0.1));
  both_ways("1e300", real(1e300));
  both_ways("4.9e-324", real(4.94065645841246544e-324));
  both_ways("0.1::float8 + 0.2::float8", real(0.30000000000000004));
  both_ways("'Infinity'", real(std::numeric_limits<double>::infinity()));
  both_ways("'-Infinity'", real(-std::numeric_limits<double>::infinity()));
  both_ways("'NaN'", "'NaN'");
  // An integer from a device that has no type there comes back as the real that PostgreSQL holds.
  column("double precision");
  a->peer.run("INSERT INTO v VALUES (1, 5)");
  settle();
  EXPECT_EQ(on(*a), "1|" + real(5) + "\n");
  EXPECT_EQ(on(*b), on(*a));
}

TEST_F(PostgresTypes, SinglePrecisionIsWidenedExactly) {
  column("real", "REAL");
  both_ways("0.5", real(0.5));
  both_ways("0.1", real(0.10000000149011612));
  // What does not fit is rounded by PostgreSQL, and the device sees to what.
  a->peer.run("INSERT INTO v VALUES (9, 0.1)");
  settle();
  EXPECT_EQ(a->peer.rows("SELECT x FROM v WHERE id = 9"), real(0.10000000149011612) + "\n");
  EXPECT_EQ(on(*b), on(*a));
  refused("1e300", "out of range");
}

TEST_F(PostgresTypes, NumericIsExactAsNumberOrText) {
  column("numeric");
  both_ways("12", "12");
  both_ways("12.5", real(12.5));
  both_ways("0.1", real(0.1));
  both_ways("12345678901234567890.123456789", "'12345678901234567890.123456789'");
  both_ways("9223372036854775808", "'9223372036854775808'");
  both_ways("1e30", "'1000000000000000000000000000000'");
  both_ways("'NaN'", "'NaN'");
  column("numeric(10, 2)");
  both_ways("12.50", real(12.5));
  both_ways("3.00", "3");
  refused("123456789012", "overflow");
  a->peer.run("INSERT INTO v VALUES (9, 1.005)");
  settle();
  EXPECT_EQ(world->sql.rows("SELECT x FROM v WHERE id = 9"),
            a->peer.number("SELECT x > 1.005 FROM v WHERE id = 9") ? "1.01\n" : "1.00\n");
  EXPECT_EQ(on(*b), on(*a));
}

TEST_F(PostgresTypes, BooleansAreZeroAndOne) {
  column("boolean", "BOOLEAN");
  both_ways("true", "1");
  both_ways("false", "0");
  refused("7", "boolean");
}

TEST_F(PostgresTypes, UuidsTimesAndDates) {
  column("uuid", "TEXT");
  both_ways("'0190a2b4-0000-7000-8000-00000000000a'", "'0190a2b4-0000-7000-8000-00000000000a'");
  refused("'no uuid'", "uuid");
  // Another spelling comes back as PostgreSQL's.
  a->peer.run("INSERT INTO v VALUES (9, '0190A2B4-0000-7000-8000-00000000000B')");
  settle();
  EXPECT_EQ(a->peer.rows("SELECT x FROM v WHERE id = 9"), "'0190a2b4-0000-7000-8000-00000000000b'\n");
  EXPECT_EQ(on(*b), on(*a));
  column("timestamptz", "TEXT");
  both_ways("'2026-11-21 18:00:00.5+01'", "'2026-11-21T17:00:00.5Z'");
  both_ways("'infinity'", "'infinity'");
  both_ways("'0044-03-15 12:00:00+00 BC'", "'0044-03-15 12:00:00+00 BC'");
  refused("'yesterday evening'", "timestamp");
  column("timestamp", "TEXT");
  both_ways("'2026-11-21 18:00:00.123456'", "'2026-11-21 18:00:00.123456'");
  column("date", "TEXT");
  both_ways("'2026-02-28'", "'2026-02-28'");
  refused("'2026-02-30'", "out of range");
  refused("9e999", "date");
  column("time", "TEXT");
  both_ways("'23:59:59.25'", "'23:59:59.25'");
  column("interval", "TEXT");
  both_ways("'1 year 2 days 03:04:05'", "'1 year 2 days 03:04:05'");
}

TEST_F(PostgresTypes, JsonAsItIsAndJsonbInItsOwnSpelling) {
  column("json", "TEXT");
  both_ways("'{\"b\":1,   \"a\":[null,\"x\"]}'", "'{\"b\":1,   \"a\":[null,\"x\"]}'");
  refused("'{broken'", "json");
  column("jsonb", "TEXT");
  both_ways("'{\"b\":1,   \"a\":[null,\"x\"]}'", "'{\"a\": [null, \"x\"], \"b\": 1}'");
  refused("'{\"a\":\"\\u0000\"}'", "Unicode");
  a->peer.run("INSERT INTO v VALUES (9, '{\"z\":1}')");
  settle();
  EXPECT_EQ(a->peer.rows("SELECT x FROM v WHERE id = 9"), "'{\"z\": 1}'\n");
  EXPECT_EQ(on(*b), on(*a));
}

TEST_F(PostgresTypes, BlobsByteForByte) {
  column("bytea", "BLOB");
  both_ways("''", "x''");
  both_ways("'\\x00ff5c27'", "x'00ff5c27'");
  refused("'text'", "bytea");
  refused("1", "bytea");
}

TEST_F(PostgresTypes, EnumsAndDomains) {
  setup = "CREATE TYPE \"Mood\" AS ENUM ('sad', 'very happy');";
  column("\"Mood\"", "TEXT");
  both_ways("'very happy'", "'very happy'");
  refused("'angry'", "enum");
  setup =
      "CREATE DOMAIN positive AS integer CHECK (VALUE > 0); CREATE DOMAIN small AS positive CHECK (VALUE < 10);"
      "CREATE DOMAIN short AS varchar(3);";
  column("small", "INTEGER");
  both_ways("9", "9");
  refused("10", "check constraint");
  column("short", "TEXT");
  both_ways("'abc'", "'abc'");
  refused("'abcd'", "too long");
}

TEST_F(PostgresTypes, ArraysAreJson) {
  column("integer[]", "TEXT");
  both_ways("'{1,NULL,-3}'", "'[1, null, -3]'");
  both_ways("'{}'", "'[]'");
  refused("'[1, \"x\"]'", "integer");
  refused("'[1, 2147483648]'", "out of range");
  refused("'no array'", "json");
  column("text[]", "TEXT");
  both_ways("ARRAY['a', NULL, 'it''s \"quoted\" {,} \\', 'null', '']",
            "'[\"a\", null, \"it's \\\"quoted\\\" {,} \\\\\", \"null\", \"\"]'");
  column("varchar(3)[]", "TEXT");
  both_ways("ARRAY['abc', NULL]", "'[\"abc\", null]'");
  refused("'[\"abcd\"]'", "too long");
  column("double precision[]", "TEXT");
  both_ways("'{0.1,NaN,1e300}'", "'[0.1, \"NaN\", " + std::string("1") + std::string(300, '0') + "]'");
  column("bytea[]", "TEXT");
  both_ways("ARRAY['\\x00ff'::bytea]", "'[\"\\\\x00ff\"]'");
}

TEST_F(PostgresTypes, WhatPostgresFillsInTravelsBackToTheDeviceThatLeftItOut) {
  PostgresWorld w(
      "CREATE TABLE filled(id integer PRIMARY KEY, x text, number bigint GENERATED ALWAYS AS IDENTITY, other bigint "
      "GENERATED BY DEFAULT AS IDENTITY, made timestamptz NOT NULL DEFAULT '2026-01-01', twice integer GENERATED "
      "ALWAYS AS "
      "(id * 2) STORED, serial serial, fixed text DEFAULT 'fixed')",
      {"public.filled"});
  const std::string schema =
      "CREATE TABLE filled(id INT PRIMARY KEY, x TEXT, number INTEGER, other INTEGER, made TEXT, serial INTEGER, "
      "fixed "
      "TEXT)";
  LoopbackDevice one("a", schema, {"filled"}),
      narrow("b", "CREATE TABLE filled(id INT PRIMARY KEY, x TEXT)", {"filled"});
  one.peer.run("INSERT INTO filled(id, x) VALUES (1, 'one')");
  narrow.peer.run("INSERT INTO filled VALUES (2, 'two')");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(narrow);
  EXPECT_EQ(w.sql.rows("SELECT id, x, number, other, twice, serial, fixed FROM filled ORDER BY id"),
            "1|one|1|1|2|1|null\n2|two|2|2|4|2|fixed\n");
  EXPECT_EQ(one.peer.rows("SELECT * FROM filled ORDER BY id"),
            "1|'one'|1|1|'2026-01-01T00:00:00Z'|1|null\n2|'two'|2|2|'2026-01-01T00:00:00Z'|2|'fixed'\n");
  one.peer.run("UPDATE filled SET x = 'new' WHERE id = 2");
  w.sql.run("UPDATE filled SET x = 'direct' WHERE id = 1");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(narrow);
  EXPECT_EQ(w.sql.rows("SELECT id, x FROM filled ORDER BY id"), "1|direct\n2|new\n");
  EXPECT_EQ(narrow.peer.rows("SELECT id, x FROM filled ORDER BY id"), "1|'direct'\n2|'new'\n");
  w.expect_sound();
}

TEST_F(PostgresTypes, ARowThatADeviceReplacesKeepsWhatPostgresFilledIn) {
  PostgresWorld w(
      "CREATE TABLE filled(id integer PRIMARY KEY, x text, number bigint GENERATED ALWAYS AS IDENTITY, other bigint "
      "GENERATED BY DEFAULT AS IDENTITY, made timestamptz NOT NULL DEFAULT '2026-01-01')",
      {"public.filled"});
  const std::string schema =
      "CREATE TABLE filled(id INT PRIMARY KEY, x TEXT, number INTEGER, other INTEGER, made TEXT)";
  LoopbackDevice one("a", schema, {"filled"}), two("b", schema, {"filled"}),
      narrow("c", "CREATE TABLE filled(id INT PRIMARY KEY, x TEXT)", {"filled"});
  const auto everybody = [&] {
    for (int i = 0; i < 2; ++i)
      for (LoopbackDevice* device : {&one, &two, &narrow}) w.sync(*device);
    for (LoopbackDevice* device : {&one, &two, &narrow})
      EXPECT_EQ(device->peer.rows("SELECT reason FROM rejoin_rejections"), "");
    EXPECT_EQ(one.peer.rows("SELECT * FROM filled ORDER BY id"), two.peer.rows("SELECT * FROM filled ORDER BY id"));
  };
  one.peer.run("INSERT INTO filled(id, x) VALUES (1, 'one'), (2, 'two'), (3, 'three')");
  everybody();
  const std::string rows = "SELECT id, x, number, other, made::date::text AS made FROM filled ORDER BY id";
  EXPECT_EQ(w.sql.rows(rows), "1|one|1|1|2026-01-01\n2|two|2|2|2026-01-01\n3|three|3|3|2026-01-01\n");
  // A row of a table with triggers is locked and looked at first.
  for (const char* trigger : {"",
                              "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
                              "CREATE TRIGGER f BEFORE UPDATE ON filled FOR EACH ROW EXECUTE FUNCTION f()"}) {
    if (*trigger) w.sql.run(trigger);
    one.peer.run("INSERT OR REPLACE INTO filled(id, x) VALUES (1, 'ONE'), (2, 'two')");
    narrow.peer.run("DELETE FROM filled WHERE id = 3; INSERT INTO filled VALUES (3, 'THREE')");
    everybody();
    EXPECT_EQ(w.sql.rows(rows), "1|ONE|1|1|2026-01-01\n2|two|2|2|2026-01-01\n3|THREE|3|3|2026-01-01\n");
    EXPECT_EQ(one.peer.rows("SELECT * FROM filled ORDER BY id"),
              "1|'ONE'|1|1|'2026-01-01T00:00:00Z'\n2|'two'|2|2|'2026-01-01T00:00:00Z'\n"
              "3|'THREE'|3|3|'2026-01-01T00:00:00Z'\n");
  }
  // NULL that is written on its own is refused as ever.
  one.peer.run("UPDATE filled SET other = NULL WHERE id = 1");
  w.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT key FROM rejoin_rejections"), "'[1]'\n");
  w.expect_sound();
}

TEST_F(PostgresTypes, NamesThatNeedQuotes) {
  PostgresWorld w(
      "CREATE SCHEMA \"My Schema\"; CREATE TABLE \"My Schema\".\"order\"(\"primary key\" text PRIMARY KEY, \"at\" "
      "text, "
      "\"n\" integer, \"Größe\" integer, \"quo\"\"te\" text, \"back\\slash\" text, \"it's\" text)",
      {"\"My Schema\".\"order\""});
  const std::string schema =
      "CREATE TABLE \"order\"(\"primary key\" TEXT PRIMARY KEY, \"at\" TEXT, \"n\" INTEGER, \"Größe\" INTEGER, "
      "\"quo\"\"te\" "
      "TEXT, \"back\\slash\" TEXT, \"it's\" TEXT)";
  LoopbackDevice one("a", schema, {"order"}), two("b", schema, {"order"});
  w.sql.run("INSERT INTO \"My Schema\".\"order\" VALUES ('k', 'at', 1, 2, 'q', 'b', 'i')");
  one.peer.run("INSERT INTO \"order\" VALUES ('d', 'at', 1, 2, 'q', 'b', 'i')");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(two);
  w.sql.run(
      "UPDATE \"My Schema\".\"order\" SET \"it's\" = 'i2', \"back\\slash\" = 'b2', at = 'at2' WHERE \"primary key\" = "
      "'d'");
  two.peer.run("UPDATE \"order\" SET \"Größe\" = 9, \"quo\"\"te\" = 'q2' WHERE \"primary key\" = 'k'");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(two);
  EXPECT_EQ(one.peer.rows("SELECT * FROM \"order\" ORDER BY 1"),
            "'d'|'at2'|1|2|'q'|'b2'|'i2'\n'k'|'at'|1|9|'q2'|'b'|'i'\n");
  EXPECT_EQ(two.peer.rows("SELECT * FROM \"order\" ORDER BY 1"), one.peer.rows("SELECT * FROM \"order\" ORDER BY 1"));
  EXPECT_EQ(w.sql.rows("SELECT * FROM \"My Schema\".\"order\" ORDER BY 1"), "d|at2|1|2|q|b2|i2\nk|at|1|9|q2|b|i\n");
  w.expect_sound();
}

TEST_F(PostgresTypes, CompositeKeysOfSeveralTypes) {
  PostgresWorld w(
      "CREATE TABLE k(a text, b timestamptz, c bytea, d date, e bigint, u uuid, x text, PRIMARY KEY (e, a, b, c, d, u) "
      "INCLUDE (x))",
      {"public.k"});
  const std::string schema =
      "CREATE TABLE k(a TEXT, b TEXT, c BLOB, d TEXT, e INTEGER, u TEXT, x TEXT, PRIMARY KEY (e, a, b, c, d, u))";
  LoopbackDevice one("a", schema, {"k"}), two("b", schema, {"k"});
  w.sql.run(
      "INSERT INTO k VALUES ('', '2026-01-01 12:00:00.25+00', '\\x00', '2026-01-01', -1, "
      "'0190a2b4-0000-7000-8000-00000000000a', 'sql')");
  one.peer.run(
      "INSERT INTO k VALUES ('ü', '2026-01-01T12:00:00Z', x'ff00', '2026-01-02', 7, "
      "'0190a2b4-0000-7000-8000-00000000000b', 'device')");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(two);
  two.peer.run("UPDATE k SET x = x || ' edited'");
  for (int i = 0; i < 2; ++i) w.sync(one), w.sync(two);
  EXPECT_EQ(w.sql.rows("SELECT x FROM k ORDER BY e"), "sql edited\ndevice edited\n");
  EXPECT_EQ(one.peer.rows("SELECT * FROM k ORDER BY e"), two.peer.rows("SELECT * FROM k ORDER BY e"));
  EXPECT_EQ(one.peer.rows("SELECT a, b, hex(c), d, e FROM k ORDER BY e"),
            "''|'2026-01-01T12:00:00.25Z'|'00'|'2026-01-01'|-1\n'ü'|'2026-01-01T12:00:00Z'|'FF00'|'2026-01-02'|7\n");
  w.expect_sound();
}

// A key that PostgreSQL would store in another spelling must neither be stored nor reach another row.
TEST_F(PostgresTypes, KeysInAnotherSpellingAreRefusedAndTouchNoOtherRow) {
  PostgresWorld w(
      "CREATE TABLE s(id varchar(3) PRIMARY KEY, x text); CREATE TABLE t(id timestamptz PRIMARY KEY, x text); CREATE "
      "TABLE r(id timestamp(0) PRIMARY KEY, x text)",
      {"public.s", "public.t", "public.r"});
  LoopbackDevice one("a",
                     "CREATE TABLE s(id TEXT PRIMARY KEY, x TEXT); CREATE TABLE t(id TEXT PRIMARY KEY, x TEXT); CREATE "
                     "TABLE r(id TEXT PRIMARY KEY, x TEXT)",
                     {"s", "t", "r"});
  w.sql.run(
      "INSERT INTO s VALUES ('abc', 'mine'); INSERT INTO t VALUES ('2026-01-02', 'mine'), ('infinity', 'end'), "
      "('0044-03-15 BC', 'ides')");
  one.peer.run("INSERT INTO s VALUES ('abcd', 'other'), ('ok', 'fine')");
  one.peer.run(
      "INSERT INTO t VALUES ('2026-01-01T24:00:00Z', 'other'), ('2026-01-02T01:00:00+01', 'other'), "
      "('2026-01-01T23:59:60Z', 'other'), ('2026-01-01T00:00:00Z', 'fine')");
  one.peer.run("INSERT INTO r VALUES ('2026-01-01 00:00:00.7', 'rounded'), ('2026-01-01 00:00:00', 'fine')");
  for (int i = 0; i < 2; ++i) w.sync(one);
  EXPECT_EQ(w.sql.rows("SELECT * FROM s ORDER BY id"), "abc|mine\nok|fine\n");
  EXPECT_EQ(w.sql.rows("SELECT x FROM t ORDER BY id"), "ides\nfine\nmine\nend\n");
  EXPECT_EQ(w.sql.rows("SELECT x FROM r ORDER BY id"), "fine\n");
  EXPECT_EQ(rejections(one), 5) << reasons(one);
  EXPECT_EQ(one.peer.rows("SELECT id FROM t WHERE x = 'end'"), "'infinity'\n");
  one.peer.run("UPDATE t SET x = 'the end' WHERE id = 'infinity'");
  w.sync(one);
  EXPECT_EQ(w.sql.rows("SELECT x FROM t WHERE id = 'infinity'"), "the end\n");
  w.expect_sound();
}

TEST_F(PostgresTypes, KeysTooLongForAnIndexHoldUpNothing) {
  PostgresWorld w("CREATE TABLE s(id text PRIMARY KEY, x text)", {"public.s"});
  LoopbackDevice one("a", "CREATE TABLE s(id TEXT PRIMARY KEY, x TEXT)", {"s"});
  one.peer.run("INSERT INTO s VALUES (hex(randomblob(1300)), 'long'), ('short', 'fine')");
  w.sync(one);
  EXPECT_EQ(w.sql.rows("SELECT x FROM s"), "fine\n");
  EXPECT_NE(reasons(one).find("2601 bytes"), std::string::npos) << reasons(one);
  w.sql.run(
      "INSERT INTO s SELECT string_agg(md5(i::text), ''), 'by SQL' FROM generate_series(1, 83) AS i; INSERT INTO s "
      "VALUES ('next', 'fine too')");
  w.sync(one);
  EXPECT_EQ(one.peer.rows("SELECT x FROM s WHERE id = 'next'"), "'fine too'\n");
}

TEST_F(PostgresTypes, WhatHasNoCounterpartIsRefusedAtTrackWithItsName) {
  PostgresWorld w(
      "CREATE TYPE pair AS (a int, b int); CREATE DOMAIN spot AS point;"
      "CREATE TABLE parent(id int PRIMARY KEY); CREATE TABLE child() INHERITS (parent);"
      "CREATE VIEW view AS SELECT 1 AS id; CREATE MATERIALIZED VIEW mat AS SELECT 1 AS id;"
      "CREATE TABLE parts(id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE part PARTITION OF parts DEFAULT;"
      "CREATE UNLOGGED TABLE unlogged(id int PRIMARY KEY); CREATE TEMP TABLE temporary(id int PRIMARY KEY);"
      "CREATE TABLE nokey(id int); CREATE TABLE floating(id double precision PRIMARY KEY);"
      "CREATE TABLE late(id int PRIMARY KEY DEFERRABLE); CREATE TABLE gen(a int, id int GENERATED ALWAYS AS (a) "
      "STORED, PRIMARY KEY (a, id));"
      "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);"
      "CREATE TABLE blindkey(id text COLLATE blind PRIMARY KEY)");
  auto refused_with = [&](const std::string& table, const std::string& why) {
    postgres::TrackRequest request;
    request.relation = table;
    request.tenant = "main";
    auto done = postgres::track(w.sql.connection(), request, system_random(), {});
    ASSERT_FALSE(done.ok()) << table;
    EXPECT_EQ(done.error().code, Code::untrackable);
    EXPECT_NE(done.error().message.find(why), std::string::npos) << done.error().message;
    EXPECT_NE(done.error().message.find(table.substr(table.find('.') + 1)), std::string::npos) << done.error().message;
    EXPECT_EQ(w.sql.number("SELECT count(*) FROM rejoin.tracked"), 0);
  };
  for (const std::string type :
       {"point", "tsvector", "xml", "int4range", "pair", "spot", "point[]", "jsonb[]", "int2vector", "oid", "money"}) {
    SCOPED_TRACE(type);
    w.sql.run("DROP TABLE IF EXISTS bad; CREATE TABLE bad(id int PRIMARY KEY, secret " + type + ")");
    refused_with("public.bad", "its column secret has the type " +
                                   std::string(type == "pair" || type == "spot" ? "public." + type : type));
  }
  refused_with("public.view", "it is a view");
  refused_with("public.mat", "it is a view");
  refused_with("public.parts", "partitioned");
  refused_with("public.part", "partitioned");
  refused_with("public.unlogged", "unlogged");
  refused_with("pg_temp.temporary", "temporary");
  refused_with("public.nokey", "no PRIMARY KEY");
  refused_with("public.floating", "double precision");
  refused_with("public.late", "DEFERRABLE");
  refused_with("public.gen", "generated");
  refused_with("public.blindkey", "nondeterministic");
  refused_with("public.parent", "inherit");
  refused_with("public.child", "inherit");
  refused_with("rejoin.meta", "Rejoin itself");
  postgres::TrackRequest missing;
  missing.relation = "public.nothing";
  missing.tenant = "main";
  EXPECT_EQ(postgres::track(w.sql.connection(), missing, system_random(), {}).error().code, Code::not_found);
}

// Keys are looked at before PostgreSQL is asked for their rows: whatever it holds must pass.
TEST(PostgresKeyTypes, ThoseAtTheEndsOfTheirTypesAreSynced) {
  struct Case {
    const char *type, *keys;
    int64_t count;
  };
  for (const Case& c :
       {Case{"date",
             "('4714-11-24 BC'), ('0044-03-15 BC'), ('0001-02-29 BC'), ('0001-01-01'), ('2024-02-29'), "
             "('5874897-12-31'), ('infinity'), ('-infinity')",
             8},
        Case{"timestamp",
             "('4714-11-24 00:00:00 BC'), ('0001-02-29 23:59:59.999999 BC'), ('10000-01-01 00:00:00'), "
             "('294276-12-31 23:59:59.999999'), ('infinity')",
             5},
        Case{"timestamptz",
             "('4714-11-24 00:00:00+00 BC'), ('2026-01-01 00:00:00.5+00'), ('10000-01-01 00:00:00+00'), "
             "('294276-12-31 23:59:59.999999+00'), ('-infinity')",
             5},
        Case{"smallint", "(-32768), (32767)", 2}, Case{"uuid", "('FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF')", 1},
        Case{"bytea", "(''), ('\\xff')", 2}, Case{"varchar(3)", "(''), ('äöü')", 2}}) {
    SCOPED_TRACE(c.type);
    PostgresWorld world("CREATE TABLE a(id " + std::string(c.type) + " PRIMARY KEY, title text)", {"public.a"});
    LoopbackDevice d("d", "CREATE TABLE a(id ANY PRIMARY KEY NOT NULL, title TEXT) STRICT", {"a"});
    world.sql.run("INSERT INTO a(id) VALUES" + std::string(c.keys));
    world.sync(d);
    EXPECT_EQ(d.peer.number("SELECT count(*) FROM a"), c.count);
    world.sql.run("UPDATE a SET title = 'x'; DELETE FROM a; INSERT INTO a(id) VALUES" + std::string(c.keys));
    world.sync(d);
    EXPECT_EQ(d.peer.number("SELECT count(*) FROM a WHERE title IS NULL"), c.count);
    EXPECT_EQ(world.track("public.a").rows, 0);
    world.sql.run("DELETE FROM a");
    world.sync(d);
    EXPECT_EQ(d.peer.number("SELECT count(*) FROM a"), 0);
    world.expect_sound();
  }
}

}  // namespace
}  // namespace rejoin::testing
