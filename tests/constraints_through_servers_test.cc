// P2, P9 through a server, over both stores: writes that the application's constraints allow only one of, and what its
// triggers do about others'. Nothing is lost, nothing blocks: each row is the same at a device and at the server, or
// the device lists it as parked or rejected. PostgreSQL is the referee, the embedded store passes everything on.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "tests/support/constraint_cases.h"

namespace rejoin::testing {
namespace {

using Group = ConstraintGroup;
using Case = ConstraintCase;

const StoreTable kPlain{"plain", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"};

struct Param {
  StoreKind kind;
  bool second_first;  // the younger write reaches the server first
  size_t devices;
  const char* name;
  const char* pragmas;
  Group group;
};

void PrintTo(const Param& p, std::ostream* out) { *out << p.name; }

class ConstraintsThroughServers : public ::testing::TestWithParam<Param> {};

using Rows = std::map<std::string, std::string>;

// By key, of "SELECT *".
Rows by_key(const std::string& lines) {
  Rows out;
  for (size_t at = 0; at < lines.size();) {
    const size_t end = lines.find('\n', at);
    const std::string line = lines.substr(at, end - at);
    out[line.substr(0, line.find('|'))] = line;
    at = end + 1;
  }
  return out;
}

// What a device lists of a case: of `table` "rejoin_parked" or "rejoin_rejections".
std::string listed(LoopbackDevice& d, const Case& c, const std::string& table, const std::string& prefix) {
  std::string names;
  for (const StoreTable& t : c.tables) names += (names.empty() ? "'" : ", '") + t.name + "'";
  return plain_rows(d.peer, "SELECT DISTINCT '" + prefix + "' || table_name || key FROM " + table +
                                " WHERE table_name IN (" + names + ") ORDER BY 1");
}

TEST_P(ConstraintsThroughServers, NothingIsLostAndNothingWaitsBehindIt) {
  const Param& p = GetParam();
  const bool embedded = p.kind == StoreKind::embedded;
  std::vector<Case> told;
  for (const Case& c : constraint_cases())
    if (c.group == p.group) told.push_back(c);
  std::vector<StoreTable> tables{kPlain};
  std::string triggers;
  for (const Case& c : told) {
    tables.insert(tables.end(), c.tables.begin(), c.tables.end());
    triggers += c.indexes + ";" + c.on_devices + ";";
  }
  std::string schema = p.pragmas;
  std::vector<std::string> names;
  for (const StoreTable& t : tables)
    schema += "CREATE TABLE " + t.name + "(" + t.on_device + ");", names.push_back(t.name);
  auto world = StoreWorld::make(p.kind, tables);
  for (const Case& c : told) {
    const std::string& sql = embedded || c.in_postgres.empty() ? c.indexes : c.in_postgres;
    if (!sql.empty()) world->run(sql);
  }
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
  for (size_t i = 0; i < p.devices; ++i)
    devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), schema + triggers, names));
  auto write = [&](size_t i, std::string Case::*sql) {
    for (const Case& c : told)
      if (!(c.*sql).empty()) devices[i]->peer.run(c.*sql + ";" + p.pragmas);
  };
  devices[0]->peer.clock().set(system_clock().now_ms() - 3'600'000);
  write(0, &Case::before);
  for (auto& d : devices) world->sync(*d);
  const int64_t now = system_clock().now_ms();
  devices[0]->peer.clock().set(now - 2'000);
  write(0, &Case::first);
  devices[1]->peer.clock().set(now - 1'000);
  write(1, &Case::second);
  // Behind them in the queue.
  devices[0]->peer.run("INSERT INTO plain VALUES('0', 'x')");
  devices[1]->peer.run("INSERT INTO plain VALUES('1', 'y')");
  std::vector<size_t> order{0, 1};
  if (p.second_first) std::swap(order[0], order[1]);
  if (devices.size() > 2) order.push_back(2);
  for (int round = 0; round < 3; ++round)
    for (size_t i : order) world->sync(*devices[i]);
  for (size_t i : order) {
    const sync::SyncTotals last = world->sync(*devices[i]);
    EXPECT_EQ(last.rows_pushed, 0u) << "device " << i;
    EXPECT_EQ(last.rows_pulled, 0u) << "device " << i;
  }

  for (auto& d : devices) {
    EXPECT_EQ(plain_rows(d->peer, "SELECT * FROM plain ORDER BY id"), "0|x\n1|y\n");
    d->peer.expect_sound(true);
    EXPECT_EQ(d->peer.rows("PRAGMA foreign_key_check"), "");
  }
  for (const Case& c : told) {
    SCOPED_TRACE(c.name);
    std::string refused;
    for (size_t i = 0; i < devices.size(); ++i) {
      SCOPED_TRACE("device " + std::to_string(i));
      LoopbackDevice& d = *devices[i];
      const std::string parked = listed(d, c, "rejoin_parked", ""), rejected = listed(d, c, "rejoin_rejections", "");
      refused += listed(d, c, "rejoin_rejections", std::to_string(i) + " ");
      if (embedded) {
        EXPECT_EQ(plain_rows(d.peer, c.query), c.rows);
        EXPECT_EQ(parked, c.parked);
      }
      EXPECT_EQ(c.never.empty() ? "" : plain_rows(d.peer, c.never), "");
      for (const StoreTable& t : c.tables) {
        Rows here = by_key(plain_rows(d.peer, "SELECT * FROM " + t.name));
        Rows there = by_key(world->rows("SELECT * FROM " + t.name));
        std::set<std::string> keys;
        for (const auto& row : here) keys.insert(row.first);
        for (const auto& row : there) keys.insert(row.first);
        for (const std::string& key : keys) {
          const std::string name = t.name + "[\"" + key + "\"]\n";
          const bool is_rejected = rejected.find(name) != std::string::npos;
          const bool may_differ = is_rejected || (there.count(key) && parked.find(name) != std::string::npos);
          EXPECT_TRUE(here[key] == there[key] || may_differ) << name << here[key] << " at the server: " << there[key];
        }
      }
    }
    const std::optional<ConstraintOutcome> otherwise = embedded ? std::nullopt : p.second_first ? c.younger : c.older;
    EXPECT_EQ(world->rows(c.query), otherwise ? otherwise->rows : c.rows);
    EXPECT_EQ(refused, otherwise ? otherwise->refused : "");
  }
  // The embedded store hides rows itself, which its own soundness does not allow for.
  if (!embedded) world->expect_sound();
}

std::vector<Param> params() {
  const char* enforced = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = OFF;";
  const char* recursive = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;";
  const char* unenforced = "PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF;";
  std::vector<Param> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (bool second_first : {false, true})
      for (size_t devices : {size_t{2}, size_t{3}}) {
        out.push_back({kind, second_first, devices, "values", enforced, Group::values});
        out.push_back({kind, second_first, devices, "valuesRecursiveTriggers", recursive, Group::values});
        out.push_back({kind, second_first, devices, "references", enforced, Group::references});
        out.push_back({kind, second_first, devices, "referencesUnenforced", unenforced, Group::references});
      }
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, ConstraintsThroughServers, ::testing::ValuesIn(params()), [](const auto& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded_" : "postgres_") + of.param.name +
         (of.param.second_first ? "_youngerFirst_" : "_olderFirst_") + std::to_string(of.param.devices);
});

const char* const kParked = "SELECT DISTINCT table_name || key FROM rejoin_parked ORDER BY 1";
const char* const kRejected = "SELECT table_name || key FROM rejoin_rejections ORDER BY 1";

struct OneStricter {
  StoreKind kind;
  bool strict_first;  // the stricter device syncs first
  size_t devices;
};

void PrintTo(const OneStricter& p, std::ostream* out) { *out << p.devices << " devices"; }

class AStricterTableOnOneDevice : public ::testing::TestWithParam<OneStricter> {
 protected:
  // The first device is the stricter one.
  void make(const std::vector<StoreTable>& tables, const std::string& stricter, const std::string& others) {
    std::vector<std::string> names;
    for (const StoreTable& t : tables) names.push_back(t.name);
    world = StoreWorld::make(GetParam().kind, tables);
    for (size_t i = 0; i < GetParam().devices; ++i)
      devices.push_back(std::make_unique<LoopbackDevice>("device" + std::to_string(i), i ? others : stricter, names));
  }
  void settle() {
    for (int round = 0; round < 2; ++round)
      for (size_t i = 0; i < devices.size(); ++i)
        world->sync(*devices[GetParam().strict_first ? i : devices.size() - 1 - i]);
  }
  void write(size_t i, const std::string& sql) {
    devices[i]->peer.clock().set(system_clock().now_ms());
    devices[i]->peer.run(sql);
  }
  std::string shown(size_t i, const std::string& sql) { return plain_rows(devices[i]->peer, sql); }
  void expect_sound() {
    for (auto& d : devices) d->peer.expect_sound(true);
    if (GetParam().kind == StoreKind::postgres) world->expect_sound();
  }
  std::unique_ptr<StoreWorld> world;
  std::vector<std::unique_ptr<LoopbackDevice>> devices;
};

// What the table refuses waits there alone, is passed on all the same, and shows when its writer mends it. PostgreSQL
// refuses the text for a number itself.
TEST_P(AStricterTableOnOneDevice, ShowsWhatItCanTakeAndTheRestWhenItIsMended) {
  const std::string texts = "; CREATE TABLE texts(id TEXT PRIMARY KEY, v TEXT";
  make({{"measures", "id TEXT PRIMARY KEY, n INTEGER", "id text PRIMARY KEY, n bigint"},
        {"texts", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"}},
       "CREATE TABLE measures(id TEXT PRIMARY KEY, n INTEGER) STRICT" + texts + " NOT NULL DEFAULT '')",
       "CREATE TABLE measures(id TEXT PRIMARY KEY, n INTEGER)" + texts + ")");
  write(0, "INSERT INTO measures VALUES('0', 5); INSERT INTO texts VALUES('0', 'of 0')");
  write(1, "INSERT INTO measures VALUES('1', 'many'), ('2', 7); INSERT INTO texts VALUES('1', NULL), ('2', 'of 2')");
  settle();
  const bool embedded = GetParam().kind == StoreKind::embedded;
  const std::string refused = "measures[\"1\"]\n";
  for (size_t i = 1; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM measures ORDER BY id"), embedded || i == 1 ? "0|5\n1|many\n2|7\n" : "0|5\n2|7\n");
    EXPECT_EQ(shown(i, "SELECT * FROM texts ORDER BY id"), "0|of 0\n1|null\n2|of 2\n");
    EXPECT_EQ(shown(i, kParked), "");
    EXPECT_EQ(shown(i, kRejected), embedded || i > 1 ? "" : refused);
  }
  EXPECT_EQ(shown(0, "SELECT * FROM measures ORDER BY id"), "0|5\n2|7\n");
  EXPECT_EQ(shown(0, "SELECT * FROM texts ORDER BY id"), "0|of 0\n2|of 2\n");
  EXPECT_EQ(shown(0, kParked), (embedded ? refused : "") + "texts[\"1\"]\n");
  write(1, "UPDATE measures SET n = 9 WHERE id = '1'; UPDATE texts SET v = 'of 1' WHERE id = '1'");
  settle();
  for (size_t i = 0; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM measures ORDER BY id"), "0|5\n1|9\n2|7\n");
    EXPECT_EQ(shown(i, "SELECT * FROM texts ORDER BY id"), "0|of 0\n1|of 1\n2|of 2\n");
    EXPECT_EQ(shown(i, kParked) + shown(i, kRejected), "");
  }
  expect_sound();
}

TEST_P(AStricterTableOnOneDevice, GetsANotNullColumnThatTheOthersGetLater) {
  const StoreTable table{"docs", "id TEXT PRIMARY KEY, v TEXT", "id text PRIMARY KEY, v text"};
  const std::string schema = "CREATE TABLE docs(id TEXT PRIMARY KEY, v TEXT)";
  make({table}, schema, schema);
  const std::string add = "ALTER TABLE docs ADD COLUMN state TEXT NOT NULL DEFAULT 'new'";
  write(0, "INSERT INTO docs VALUES('0', 'a')");
  settle();
  write(0, add + "; UPDATE docs SET state = 'done'");
  write(1, "UPDATE docs SET v = 'b'; INSERT INTO docs VALUES('1', 'c')");
  settle();
  EXPECT_EQ(shown(0, "SELECT * FROM docs ORDER BY id"), "0|b|done\n1|c|new\n");
  for (size_t i = 1; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM docs ORDER BY id"), "0|b\n1|c\n");
    devices[i]->peer.run(add);
  }
  settle();
  for (size_t i = 0; i < devices.size(); ++i) {
    EXPECT_EQ(shown(i, "SELECT * FROM docs ORDER BY id"), "0|b|done\n1|c|new\n");
    EXPECT_EQ(shown(i, kParked) + shown(i, kRejected), "");
  }
  expect_sound();
}

std::vector<OneStricter> one_stricter() {
  std::vector<OneStricter> out;
  for (StoreKind kind : {StoreKind::embedded, StoreKind::postgres})
    for (bool strict_first : {true, false})
      for (size_t devices : {size_t{2}, size_t{3}}) out.push_back({kind, strict_first, devices});
  return out;
}

INSTANTIATE_TEST_SUITE_P(Stores, AStricterTableOnOneDevice, ::testing::ValuesIn(one_stricter()), [](const auto& of) {
  return std::string(of.param.kind == StoreKind::embedded ? "embedded" : "postgres") +
         (of.param.strict_first ? "_strictFirst_" : "_strictLast_") + std::to_string(of.param.devices);
});

}  // namespace
}  // namespace rejoin::testing
