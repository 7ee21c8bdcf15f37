// P9 through a server, over both stores: what a constraint keeps back comes by itself when its cause goes, by an
// ordinary write of another device. With the embedded store a row waits on every device, and shows with the sync that
// brings that write; PostgreSQL refuses it, and takes it when its device tries again, ten minutes later.
#include <gtest/gtest.h>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

// Row '1' is the older one, row '2' the younger. `later` is written by a third device, about what is shown there.
struct Case {
  const char* name;
  std::vector<StoreTable> tables;
  std::string indexes = {};      // on devices and at the server
  std::string in_postgres = {};  // instead of these in PostgreSQL, and more
  std::string before = {}, first = {}, second = {}, later = {};
  std::string table = {};  // of which the row waits
  std::string after = {};  // when the younger row, or write, has waited
  // PostgreSQL took the younger one first. Empty `after`: not in this order.
  struct {
    std::string after = {}, later = {};  // no `later`: the same
  } younger = {};
  bool only_postgres = false;
  std::string at_the_server = {};  // instead of a device's `later`
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {.name = "AValueThatIsChanged",
       .tables = {{"users", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       .first = "INSERT INTO users VALUES('1', 'e@x')",
       .second = "INSERT INTO users VALUES('2', 'e@x')",
       .later = "UPDATE users SET mail = 'free' WHERE mail = 'e@x'",
       .table = "users",
       .after = "1|free\n2|e@x\n",
       .younger = {"1|e@x\n2|free\n"}},
      {.name = "AValueThatIsTakenByUpdate",
       .tables = {{"members", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       .before = "INSERT INTO members VALUES('1', 'a'), ('2', 'b')",
       .first = "UPDATE members SET mail = 'c' WHERE id = '1'",
       .second = "UPDATE members SET mail = 'c' WHERE id = '2'",
       .later = "UPDATE members SET mail = NULL WHERE mail = 'c'",
       .table = "members",
       .after = "1|null\n2|c\n",
       .younger = {"1|c\n2|null\n"}},
      {.name = "ARowThatIsDeleted",
       .tables = {{"seats", "id TEXT PRIMARY KEY, line INTEGER, seat INTEGER, UNIQUE (line, seat)",
                   "id text PRIMARY KEY, line bigint, seat bigint, UNIQUE (line, seat)"}},
       .first = "INSERT INTO seats VALUES('1', 1, 1)",
       .second = "INSERT INTO seats VALUES('2', 1, 1)",
       .later = "DELETE FROM seats",
       .table = "seats",
       .after = "2|1|1\n",
       .younger = {"1|1|1\n"}},
      {.name = "ARowThatLeavesAPartialIndex",
       .tables = {{"offers", "id TEXT PRIMARY KEY, code TEXT, open INTEGER",
                   "id text PRIMARY KEY, code text, open bigint"}},
       .indexes = "CREATE UNIQUE INDEX offers_open ON offers(code) WHERE open > 0",
       .first = "INSERT INTO offers VALUES('1', 'x', 1)",
       .second = "INSERT INTO offers VALUES('2', 'x', 1)",
       .later = "UPDATE offers SET open = 0",
       .table = "offers",
       .after = "1|x|0\n2|x|1\n",
       .younger = {"1|x|1\n2|x|0\n"}},
      {.name = "AnExpressionOfAnotherValue",
       .tables = {{"tags", "id TEXT PRIMARY KEY, tag TEXT", "id text PRIMARY KEY, tag text"}},
       .indexes = "CREATE UNIQUE INDEX tags_lower ON tags(lower(tag))",
       .first = "INSERT INTO tags VALUES('1', 'Mail')",
       .second = "INSERT INTO tags VALUES('2', 'mAIL')",
       .later = "UPDATE tags SET tag = 'post'",
       .table = "tags",
       .after = "1|post\n2|mAIL\n",
       .younger = {"1|Mail\n2|post\n"}},
      {.name = "AParentThatIsMadeAnew",
       .tables = {{"lists", "id TEXT PRIMARY KEY", "id text PRIMARY KEY"},
                  {"entries", "id TEXT PRIMARY KEY, list TEXT REFERENCES lists",
                   "id text PRIMARY KEY, list text REFERENCES lists"}},
       .before = "INSERT INTO lists VALUES('l')",
       .first = "DELETE FROM lists",
       .second = "INSERT INTO entries VALUES('2', 'l')",
       .later = "INSERT INTO lists VALUES('l')",
       .table = "entries",
       .after = "2|l\n"},
      // Devices without the CHECK write each column alone.
      {.name = "ACheckThatOtherValuesPass",
       .tables = {{"spans", "id TEXT PRIMARY KEY, low INTEGER, high INTEGER",
                   "id text PRIMARY KEY, low bigint, high bigint, CHECK (low <= high)"}},
       .before = "INSERT INTO spans VALUES('1', 1, 10)",
       .first = "UPDATE spans SET low = 8",
       .second = "UPDATE spans SET high = 5",
       .later = "UPDATE spans SET low = 2",
       .table = "spans",
       .after = "1|2|5\n",
       .younger = {"1|8|9\n", "UPDATE spans SET high = 9"},
       .only_postgres = true},
      {.name = "ACheckThatIsDropped",
       .tables = {{"prices", "id TEXT PRIMARY KEY, n INTEGER", "id text PRIMARY KEY, n bigint CHECK (n > 0)"}},
       .first = "INSERT INTO prices VALUES('1', 5)",
       .second = "INSERT INTO prices VALUES('2', -5)",
       .table = "prices",
       .after = "1|5\n2|-5\n",
       .only_postgres = true,
       .at_the_server = "ALTER TABLE prices DROP CONSTRAINT prices_n_check"},
      {.name = "ATriggerThatRefusesNoMore",
       .tables = {{"days", "id TEXT PRIMARY KEY, closed INTEGER", "id text PRIMARY KEY, closed bigint"},
                  {"posts", "id TEXT PRIMARY KEY, day TEXT", "id text PRIMARY KEY, day text"}},
       .in_postgres = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF EXISTS (SELECT FROM "
                      "days WHERE id = NEW.day AND closed > 0) THEN RAISE 'the day is closed'; END IF; RETURN NEW; "
                      "END $$; CREATE TRIGGER refuse BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION refuse()",
       .before = "INSERT INTO days VALUES('d', 0)",
       .first = "UPDATE days SET closed = 1",
       .second = "INSERT INTO posts VALUES('2', 'd')",
       .later = "UPDATE days SET closed = 0",
       .table = "posts",
       .after = "2|d\n",
       .only_postgres = true},
  };
  return all;
}

struct Param {
  StoreKind kind;
  bool second_first;  // the younger write reaches the server first
};

void PrintTo(const Param& p, std::ostream* out) { *out << (p.second_first ? "younger first" : "older first"); }

class WaitingRowsThroughServers : public ::testing::TestWithParam<Param> {
 protected:
  bool embedded() const { return GetParam().kind == StoreKind::embedded; }
  void make(const std::vector<StoreTable>& tables, const std::string& indexes, const std::string& there) {
    std::string schema;
    std::vector<std::string> names;
    for (const StoreTable& t : tables)
      schema += "CREATE TABLE " + t.name + "(" + t.on_device + ");", names.push_back(t.name);
    world = StoreWorld::make(GetParam().kind, tables);
    if (!there.empty()) world->run(there);
    for (size_t i = 0; i < 3; ++i)
      devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), schema + indexes, names));
    start = system_clock().now_ms() - 60'000;
  }
  // Each a second after the one before.
  void write(size_t i, const std::string& sql) {
    devices[i]->peer.clock().set(start += 1'000);
    devices[i]->peer.run(sql);
    devices[i]->peer.seq();
  }
  void sync(const std::vector<size_t>& order) {
    for (int round = 0; round < 2; ++round)
      for (size_t i : order) world->sync(*devices[i]);
  }
  // `minutes` from now, by its clock.
  void sync_later(size_t i, int minutes) {
    devices[i]->peer.clock().set(system_clock().now_ms() + minutes * 60 * 1000);
    devices[i]->must_sync(world->node());
  }
  std::string keys(size_t i, const std::string& list, const std::string& table) {
    return devices[i]->peer.rows("SELECT DISTINCT key FROM " + list + " WHERE table_name = '" + table + "' ORDER BY 1");
  }
  void expect_everywhere(const std::string& query, const std::string& rows) {
    EXPECT_EQ(world->rows(query), rows);
    for (size_t i = 0; i < devices.size(); ++i) {
      SCOPED_TRACE("device " + std::to_string(i));
      EXPECT_EQ(plain_rows(devices[i]->peer, query), rows);
    }
  }
  void expect_nothing_waits() {
    for (auto& d : devices) {
      EXPECT_EQ(d->peer.rows("SELECT * FROM rejoin_rejections"), "");
      d->peer.expect_sound();  // rejoin_parked is empty
    }
    world->expect_sound();
  }
  std::unique_ptr<StoreWorld> world;
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
  int64_t start = 0;
};

// All of them share devices: each is what the others might wait for, or be lost behind.
TEST_P(WaitingRowsThroughServers, ComeByThemselvesWhenTheCauseGoes) {
  const bool younger_first = GetParam().second_first;
  // Only with PostgreSQL does the order decide who waits.
  const bool by_order = younger_first && !embedded();
  const size_t refused = by_order ? 0 : 1;
  std::vector<Case> told;
  std::vector<StoreTable> tables;
  std::string indexes, there;
  for (const Case& c : cases()) {
    if ((embedded() && c.only_postgres) || (by_order && c.younger.after.empty())) continue;
    told.push_back(c);
    tables.insert(tables.end(), c.tables.begin(), c.tables.end());
    indexes += c.indexes + ";";
    there += c.indexes + ";" + (embedded() ? "" : c.in_postgres + ";");
  }
  make(tables, indexes, there);
  for (const Case& c : told) write(0, c.before);
  sync({0, 1, 2});
  for (const Case& c : told) write(0, c.first), write(1, c.second);
  sync(younger_first ? std::vector<size_t>{1, 0, 2} : std::vector<size_t>{0, 1, 2});
  std::vector<std::string> waits;
  for (const Case& c : told) {
    SCOPED_TRACE(c.name);
    waits.push_back(keys(refused, embedded() ? "rejoin_parked" : "rejoin_rejections", c.table));
    EXPECT_NE(waits.back(), "");
    for (size_t i = 0; i < devices.size(); ++i) {
      if (embedded()) {
        EXPECT_EQ(keys(i, "rejoin_parked", c.table), waits.back()) << i;
      } else if (i != refused) {
        EXPECT_EQ(keys(i, "rejoin_rejections", c.table), "") << i;
      }
    }
  }
  for (const Case& c : told) {
    if (!c.at_the_server.empty())
      world->run(c.at_the_server);
    else
      write(2, by_order && !c.younger.later.empty() ? c.younger.later : c.later);
  }
  sync({2, 1, 0});
  if (!embedded()) {
    // Not with every sync.
    for (size_t i = 0; i < told.size(); ++i)
      EXPECT_EQ(keys(refused, "rejoin_rejections", told[i].table), waits[i]) << told[i].name;
    sync_later(refused, 11);
    sync({0, 1, 2});
  }
  for (const Case& c : told) {
    SCOPED_TRACE(c.name);
    expect_everywhere("SELECT * FROM " + c.table + " ORDER BY id", by_order ? c.younger.after : c.after);
  }
  expect_nothing_waits();
}

class AValueThatThreeWant : public WaitingRowsThroughServers {};

// One gets it when it is free, and the rest wait on.
TEST_P(AValueThatThreeWant, IsGivenToOneAfterTheOther) {
  make({{"users", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}}, "", "");
  for (size_t i = 0; i < 3; ++i) write(i, "INSERT INTO users VALUES('" + std::to_string(i) + "', 'e@x')");
  sync({0, 1, 2});
  for (int64_t free = 0; free < 2; ++free) {
    SCOPED_TRACE(free);
    write(0, "UPDATE users SET mail = 'of ' || id WHERE mail = 'e@x'");
    sync({0, 1, 2});
    if (!embedded()) {
      for (size_t i : {1, 2}) sync_later(i, 11 * static_cast<int>(free + 1));
      sync({0, 1, 2});
    }
    const std::string shown = free ? "0|of 0\n1|of 1\n2|e@x\n" : "0|of 0\n1|e@x\n";
    EXPECT_EQ(plain_rows(devices[0]->peer, "SELECT * FROM users ORDER BY id"), shown);
    EXPECT_EQ(world->rows("SELECT * FROM users ORDER BY id"), shown);
    const char* list = embedded() ? "rejoin_parked" : "rejoin_rejections";
    EXPECT_EQ(keys(2, list, "users"), free ? "" : "'[\"2\"]'\n");
    EXPECT_EQ(keys(1, list, "users"), free || !embedded() ? "" : "'[\"2\"]'\n");
  }
  expect_everywhere("SELECT * FROM users ORDER BY id", "0|of 0\n1|of 1\n2|e@x\n");
  expect_nothing_waits();
}

std::string name_of(const ::testing::TestParamInfo<Param>& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded" : "postgres") +
         (of.param.second_first ? "_youngerFirst" : "_olderFirst");
}

INSTANTIATE_TEST_SUITE_P(Stores, WaitingRowsThroughServers,
                         ::testing::Values(Param{StoreKind::embedded, false}, Param{StoreKind::embedded, true},
                                           Param{StoreKind::postgres, false}, Param{StoreKind::postgres, true}),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Stores, AValueThatThreeWant,
                         ::testing::Values(Param{StoreKind::embedded, false}, Param{StoreKind::postgres, false}),
                         name_of);

}  // namespace
}  // namespace rejoin::testing
