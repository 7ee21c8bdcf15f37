// P1 with every constraint at once: random writes and random deliveries among three replicas. In the end all show and
// hide the same, and so does one that hears of everything in one go: what is visible is a function of the merged state.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/random.h"
#include "sqlite/api.h"
#include "tests/support/peer.h"
#include "tests/support/sanitized.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema =
    "CREATE TABLE lists(id TEXT PRIMARY KEY, name TEXT COLLATE NOCASE, code INTEGER, UNIQUE(name), UNIQUE(code));"
    "CREATE TABLE entries(id TEXT PRIMARY KEY, list TEXT REFERENCES lists ON DELETE CASCADE,"
    "  up TEXT REFERENCES entries ON DELETE SET NULL, code INTEGER DEFAULT 1 REFERENCES lists(code) ON DELETE SET "
    "DEFAULT,"
    "  low INTEGER DEFAULT 0, high INTEGER DEFAULT 9, CHECK (low <= high));"
    "CREATE INDEX entries_list ON entries(list);"
    "CREATE UNIQUE INDEX entries_low ON entries(low + 0) WHERE high < 9;"
    "CREATE TABLE tasks(id TEXT PRIMARY KEY, list TEXT DEFAULT 'l0' REFERENCES lists ON DELETE SET DEFAULT, pos "
    "INTEGER,"
    "  up TEXT REFERENCES tasks ON DELETE SET NULL, named TEXT REFERENCES lists(name) ON DELETE SET NULL,"
    "  label TEXT COLLATE NOCASE, UNIQUE (list, pos), CHECK (up IS NOT NULL OR pos < 3));"
    "CREATE UNIQUE INDEX tasks_label ON tasks(label COLLATE BINARY);"
    "CREATE UNIQUE INDEX tasks_first ON tasks(pos) WHERE named IS NULL AND up IS NULL;"
    "CREATE TABLE seen(id TEXT PRIMARY KEY);"
    "CREATE TRIGGER entries_i AFTER INSERT ON entries BEGIN INSERT INTO seen VALUES(NEW.id); END;"
    "CREATE TRIGGER entries_d AFTER DELETE ON entries BEGIN DELETE FROM seen WHERE id = OLD.id; END;"
    "CREATE TRIGGER entries_u AFTER UPDATE ON entries BEGIN DELETE FROM seen WHERE id = OLD.id; INSERT OR REPLACE INTO "
    "seen "
    "VALUES(NEW.id); END;";
const std::vector<std::string> kTables{"entries", "lists", "tasks"};

struct Writer {
  SeededRandom random;
  int below(int n) { return static_cast<int>(random.u64() % static_cast<uint64_t>(n)); }
  std::string list() { return below(6) == 0 ? "NULL" : "'l" + std::to_string(below(4)) + "'"; }
  std::string entry() { return below(4) == 0 ? "NULL" : "'e" + std::to_string(below(5)) + "'"; }
  std::string task() { return below(4) == 0 ? "NULL" : "'t" + std::to_string(below(5)) + "'"; }
  std::string name() { return std::string("'") + "aAbBc"[below(5)] + "'"; }
  std::string number() { return below(6) == 0 ? "NULL" : std::to_string(below(4)); }
  std::string or_() { return below(4) == 0 ? "OR REPLACE " : ""; }
  std::string statement() {
    switch (below(17)) {
      case 0:
      case 1:
        return "INSERT " + or_() + "INTO lists VALUES('l" + std::to_string(below(4)) + "', " + name() + ", " +
               number() + ")";
      case 2:
        return "UPDATE " + or_() + "lists SET name = " + name() + " WHERE id = " + list();
      case 3:
        return "UPDATE " + or_() + "lists SET code = " + number() + " WHERE id = " + list();
      case 4:
        return "DELETE FROM lists WHERE id = " + list();
      case 5:
      case 6:
        return "INSERT " + or_() + "INTO entries VALUES('e" + std::to_string(below(5)) + "', " + list() + ", " +
               entry() + ", " + number() + ", " + std::to_string(below(6)) + ", " + std::to_string(4 + below(6)) + ")";
      case 7:
        return "UPDATE entries SET list = " + list() + " WHERE id = " + entry();
      case 8:
        return "UPDATE entries SET up = " + entry() + " WHERE id = " + entry();
      case 9:
        return "UPDATE " + or_() + "entries SET low = " + std::to_string(below(6)) + " WHERE id = " + entry();
      case 10:
        return "UPDATE " + or_() + "entries SET code = " + number() + ", high = " + std::to_string(4 + below(6)) +
               " WHERE id = " + entry();
      case 11:
      case 12:
        return "INSERT " + or_() + "INTO tasks VALUES('t" + std::to_string(below(5)) + "', " + list() + ", " +
               number() + ", " + task() + ", " + (below(2) ? name() : "NULL") + ", " + name() + ")";
      case 13:
        return "UPDATE " + or_() + "tasks SET list = " + list() + ", pos = " + number() + " WHERE id = " + task();
      case 14:
        return "UPDATE " + or_() + "tasks SET up = " + task() + ", named = " + name() + " WHERE id = " + task();
      case 15:
        return "DELETE FROM tasks WHERE id = " + task();
      default:
        return "DELETE FROM entries WHERE id = " + entry();
    }
  }
};

const std::vector<std::string> kLooks{"SELECT * FROM lists ORDER BY id", "SELECT * FROM entries ORDER BY id",
                                      "SELECT * FROM tasks ORDER BY id",
                                      "SELECT table_name, key, reason FROM rejoin_parked ORDER BY 1, 2"};

void run(uint64_t seed) {
  SCOPED_TRACE("REJOIN_CONSTRAINT_SEED=" + std::to_string(seed));
  Writer writer{SeededRandom(seed)};
  std::string story;
  std::vector<std::unique_ptr<Peer>> peers;
  // Without them SQLite tells no trigger of the application's, either, of a row that OR REPLACE displaces.
  const bool recursive = writer.below(2);
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<Peer>(kSchema, kTables));
    peers.back()->run(std::string("PRAGMA foreign_keys = ") + (writer.below(2) ? "ON" : "OFF"));
    if (recursive) peers.back()->run("PRAGMA recursive_triggers = ON");
  }
  int64_t now = 1'700'000'000'000;
  for (int step = 0; step < 40; ++step) {
    for (auto& p : peers) p->clock().set(now += writer.below(3));
    const int at = writer.below(3);
    Peer& peer = *peers[static_cast<size_t>(at)];
    if (writer.below(3) == 0) {
      const int from = (at + 1 + writer.below(2)) % 3;
      story += std::to_string(at) + " hears of " + std::to_string(from) + "\n";
      peer.fetch(*peers[static_cast<size_t>(from)]);
    } else {
      const std::string sql = writer.statement();
      const int rc = peer.attempt(sql);
      ASSERT_TRUE(rc == SQLITE_OK || rc == SQLITE_CONSTRAINT) << sql << ": " << peer.database().last_error(0);
      if (rc == SQLITE_OK) story += std::to_string(at) + ": " + sql + "\n";
    }
  }
  uint64_t changed = 1;
  for (int round = 0; round < 6 && changed; ++round) {
    changed = 0;
    for (auto& to : peers)
      for (auto& from : peers)
        if (to != from) changed += to->fetch(*from);
  }
  EXPECT_EQ(changed, 0u) << "the replicas still answer each other";
  Peer fresh(kSchema, kTables);
  fresh.fetch(*peers[0]);
  for (const std::string& look : kLooks) {
    const std::string expected = fresh.rows(look);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(peers[i]->rows(look), expected) << "replica " << i << ": " << look;
  }
  for (size_t i = 0; i < 3; ++i) {
    peers[i]->expect_sound(true);
    EXPECT_EQ(peers[i]->rows("PRAGMA foreign_key_check"), "") << "replica " << i;
    if (recursive) {
      EXPECT_EQ(peers[i]->rows("SELECT * FROM seen ORDER BY id"), fresh.rows("SELECT id FROM entries ORDER BY id"));
    }
  }
  EXPECT_EQ(fresh.rows("PRAGMA foreign_key_check"), "");
  if (::testing::Test::HasFailure()) GTEST_FAIL() << story;
}

TEST(ConstraintConvergence, WhateverIsWrittenWhereverAndHoweverItTravels) {
  if (const char* seed = std::getenv("REJOIN_CONSTRAINT_SEED")) return run(std::strtoull(seed, nullptr, 10));
  const char* count = std::getenv("REJOIN_CONSTRAINT_SCRIPTS");
  const uint64_t scripts = count ? std::strtoull(count, nullptr, 10) : kSanitized ? 25 : 60;
  for (uint64_t seed = 1; seed <= scripts && !HasFailure(); ++seed) run(seed);
}

}  // namespace
}  // namespace rejoin::testing
