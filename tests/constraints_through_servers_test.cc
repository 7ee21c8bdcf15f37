// P2, P9 through a server, over both stores: rows that one constraint allows only one of. Nothing is lost, nothing
// blocks: each row of a device is at the server, or listed as rejected; each row of the server is visible at a device,
// or listed as parked. PostgreSQL is the referee, the embedded store passes everything on.
#include <gtest/gtest.h>

#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

struct Case {
  const char* name;
  std::vector<StoreTable> tables;
  std::string before;         // at the first device, and everywhere before the others are
  std::string first, second;  // apart, in this order of time
  // What all devices show with the embedded store, by this query.
  std::string query, rows;
};

const StoreTable kPlain{"plain", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"TwoInsertsOfOneValue",
       {{"users", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       "",
       "INSERT INTO users VALUES('2', 'e@x')",
       "INSERT INTO users VALUES('1', 'e@x')",
       "SELECT * FROM users ORDER BY id",
       "2|e@x\n"},
      {"UpdatesIntoOneValue",
       {{"users", "id TEXT PRIMARY KEY, mail TEXT UNIQUE", "id text PRIMARY KEY, mail text UNIQUE"}},
       "INSERT INTO users VALUES('1', 'a'), ('2', 'b')",
       "UPDATE users SET mail = 'c' WHERE id = '2'",
       "UPDATE users SET mail = 'c' WHERE id = '1'",
       "SELECT * FROM users ORDER BY id",
       "2|c\n"},
      {"AParentDeletedWhileAChildIsMade",
       {{"lists", "id TEXT PRIMARY KEY", "id text PRIMARY KEY"},
        {"entries", "id TEXT PRIMARY KEY, list TEXT REFERENCES lists",
         "id text PRIMARY KEY, list text REFERENCES lists DEFERRABLE INITIALLY DEFERRED"}},
       "INSERT INTO lists VALUES('l')",
       "DELETE FROM lists",
       "INSERT INTO entries VALUES('e', 'l')",
       "SELECT * FROM entries",
       ""},
      {"TwoValidEditsThatACheckJoins",
       {{"spans", "id TEXT PRIMARY KEY, low INTEGER, high INTEGER, CHECK (low <= high)",
         "id text PRIMARY KEY, low bigint, high bigint, CHECK (low <= high)"}},
       "INSERT INTO spans VALUES('1', 1, 10)",
       "UPDATE spans SET low = 8",
       "UPDATE spans SET high = 5",
       "SELECT low, high FROM spans",
       "1|5\n"},
  };
  return all;
}

struct Param {
  StoreKind kind;
  size_t at;
  bool second_first;  // the younger write reaches the server first
  size_t devices;
};

void PrintTo(const Param& p, std::ostream* out) { *out << cases()[p.at].name; }

class ConstraintsThroughServers : public ::testing::TestWithParam<Param> {};

std::string row_of(const std::string& table, const std::string& key) {
  return "SELECT id FROM " + table + " WHERE id = '" + key + "'";
}

TEST_P(ConstraintsThroughServers, NothingIsLostAndNothingWaitsBehindIt) {
  const Case& c = cases()[GetParam().at];
  std::vector<StoreTable> tables = c.tables;
  tables.push_back(kPlain);
  std::string schema = "PRAGMA foreign_keys = ON;";
  std::vector<std::string> names;
  for (const StoreTable& t : tables)
    schema += "CREATE TABLE " + t.name + "(" + t.on_device + ");", names.push_back(t.name);
  auto world = StoreWorld::make(GetParam().kind, tables);
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
  for (size_t i = 0; i < GetParam().devices; ++i)
    devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), schema, names));
  auto write = [&](size_t i, const std::string& sql) {
    if (!sql.empty()) devices[i]->peer.run(sql);
  };
  devices[0]->peer.clock().set(system_clock().now_ms() - 3'600'000);
  write(0, c.before);
  for (auto& d : devices) world->sync(*d);
  const int64_t now = system_clock().now_ms();
  devices[0]->peer.clock().set(now - 2'000);
  write(0, c.first);
  devices[1]->peer.clock().set(now - 1'000);
  write(1, c.second);
  // Behind them in the queue.
  write(0, "INSERT INTO plain VALUES('0', 'x')");
  write(1, "INSERT INTO plain VALUES('1', 'y')");
  std::vector<size_t> order{0, 1};
  if (GetParam().second_first) std::swap(order[0], order[1]);
  if (devices.size() > 2) order.push_back(2);
  for (int round = 0; round < 3; ++round)
    for (size_t i : order) world->sync(*devices[i]);

  for (auto& d : devices) {
    EXPECT_EQ(plain_rows(d->peer, "SELECT * FROM plain ORDER BY id"), "0|x\n1|y\n");
    d->peer.expect_sound(true);
    EXPECT_EQ(d->peer.rows("PRAGMA foreign_key_check"), "");
    if (GetParam().kind == StoreKind::embedded) {
      EXPECT_EQ(plain_rows(d->peer, c.query), c.rows);
      EXPECT_EQ(d->peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
    }
    for (const StoreTable& t : c.tables) {
      const std::string listed = " WHERE table_name = '" + t.name + "' AND key = '[\"";
      for (const char* key : {"1", "2", "l", "e"}) {
        const bool here = !plain_rows(d->peer, row_of(t.name, key)).empty();
        const bool there = !world->rows(row_of(t.name, key)).empty();
        const bool parked = d->peer.number("SELECT count(*) FROM rejoin_parked" + listed + key + "\"]'") > 0;
        const bool rejected = d->peer.number("SELECT count(*) FROM rejoin_rejections" + listed + key + "\"]'") > 0;
        EXPECT_TRUE(here || !there || parked || rejected) << t.name << " " << key;
        EXPECT_TRUE(there || !here || rejected) << t.name << " " << key;
      }
    }
  }
  // The embedded store hides rows itself, which its own soundness does not allow for.
  if (GetParam().kind == StoreKind::postgres) world->expect_sound();
}

std::vector<Param> params() {
  std::vector<Param> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (size_t at = 0; at < cases().size(); ++at)
      for (bool second_first : {false, true})
        for (size_t devices : {size_t{2}, size_t{3}}) out.push_back({kind, at, second_first, devices});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, ConstraintsThroughServers, ::testing::ValuesIn(params()), [](const auto& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded" : "postgres") + "_" + cases()[of.param.at].name +
         (of.param.second_first ? "_youngerFirst_" : "_olderFirst_") + std::to_string(of.param.devices);
});

}  // namespace
}  // namespace rejoin::testing
