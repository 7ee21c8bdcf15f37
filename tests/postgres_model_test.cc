// P1, P2, P3, P4: random scripts of devices and direct SQL writers on one PostgreSQL, through two server nodes, end as
// a small oracle says: in the order of their times, a write to a cell wins over earlier ones, an insert begins a new
// life, and an edit of a row that was dead by then shows nothing.
//
//   REJOIN_POSTGRES_SCRIPTS=n   how many scripts (60)
//   REJOIN_POSTGRES_SEED=s      this one alone
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <thread>

#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

constexpr int kKeys = 4;
const std::string kDevice = "CREATE TABLE item(id TEXT PRIMARY KEY, a TEXT, b INTEGER, c REAL)";

struct OracleRow {
  bool alive = false;
  std::string a = "null", b = "null", c = "null";
};

class Script {
 public:
  Script(PostgresWorld& world, uint64_t seed) : world_(world), random_(seed), tenant_("s" + std::to_string(seed)) {
    for (int i = 0; i < 3; ++i)
      devices_.push_back(
          std::make_unique<LoopbackDevice>("device " + std::to_string(i), kDevice, std::vector<std::string>{"item"}));
  }

  void run() {
    const int steps = 10 + below(20);
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) step();
    // Until nobody has news for anybody.
    for (int round = 0; round < 3; ++round)
      for (size_t d = 0; d < devices_.size(); ++d) sync(d, static_cast<int>(d) % 2);
    check();
    world_.close(tenant_);
  }

  std::string log;

 private:
  int below(int n) { return static_cast<int>(random_.u64() % static_cast<uint64_t>(n)); }
  void note(const std::string& line) { log += "  " + line + "\n"; }

  // Each write has a millisecond of its own, so that times order them.
  int64_t next_moment() {
    int64_t now;
    while ((now = system_clock().now_ms()) <= moment_ + 1) std::this_thread::yield();
    return moment_ = now;
  }

  std::string set(OracleRow& row, bool sql, std::string& described) {
    std::string out;
    auto add = [&](const char* column, const std::string& literal, std::string& cell, const std::string& shown) {
      out += (out.empty() ? "" : ", ") + std::string(column) + " = " + literal;
      described += std::string(column) + "=" + shown + " ";
      cell = shown;
    };
    const int which = 1 + below(7);
    if (which & 1) {
      const std::string v = std::string(sql ? "sql" : "device") + std::to_string(below(1000));
      add("a", "'" + v + "'", row.a, v);
    }
    if (which & 2) {
      const std::string v = std::to_string(below(1000) - 500);
      add("b", v, row.b, v);
    }
    if (which & 4) {
      const std::string v = std::to_string(below(100)) + ".5";
      add("c", v, row.c, v);
    }
    return out;
  }

  void step() {
    const int what = below(12);
    if (what < 4) return sync(static_cast<size_t>(below(3)), below(2));
    const int writer = below(4);  // 3: plain SQL
    const std::string key = "k" + std::to_string(below(kKeys));
    next_moment();
    if (writer == 3) return write_sql(key, what);
    Peer& peer = devices_[static_cast<size_t>(writer)]->peer;
    peer.clock().set(moment_);
    const bool here = peer.number("SELECT count(*) FROM item WHERE id = '" + key + "'") != 0;
    OracleRow& row = rows_[key];
    std::string described;
    if (!here) {
      OracleRow fresh;
      fresh.alive = true;
      fresh.a = "new" + std::to_string(below(1000));
      fresh.b = std::to_string(below(100));
      peer.run("INSERT INTO item(id, a, b) VALUES('" + key + "', '" + fresh.a + "', " + fresh.b + ")");
      row = fresh;
      described = "insert a=" + fresh.a + " b=" + fresh.b;
    } else if (what == 4) {
      peer.run("DELETE FROM item WHERE id = '" + key + "'");
      row.alive = false;
      described = "delete";
    } else {
      OracleRow edited = row;
      const std::string assignments = set(edited, false, described);
      peer.run("UPDATE item SET " + assignments + " WHERE id = '" + key + "'");
      // Of a row that is dead elsewhere: kept there, not shown.
      if (row.alive) row = edited;
      described = "update " + described;
    }
    note("device " + std::to_string(writer) + " " + key + ": " + described);
    EXPECT_TRUE(peer.rejoin().fold().ok());
  }

  void write_sql(const std::string& key, int what) {
    const std::string where = " WHERE org = '" + tenant_ + "' AND id = '" + key + "'";
    const bool here = world_.sql.number("SELECT count(*) FROM item" + where) != 0;
    OracleRow& row = rows_[key];
    std::string described;
    if (!here) {
      OracleRow fresh;
      fresh.alive = true;
      fresh.a = "sqlnew" + std::to_string(below(1000));
      fresh.b = std::to_string(below(100));
      world_.sql.run("INSERT INTO item(org, id, a, b) VALUES('" + tenant_ + "', '" + key + "', '" + fresh.a + "', " +
                     fresh.b + ")");
      row = fresh;
      described = "insert a=" + fresh.a + " b=" + fresh.b;
    } else if (what == 4) {
      world_.sql.run("DELETE FROM item" + where);
      row.alive = false;
      described = "delete";
    } else {
      OracleRow edited = row;
      const std::string assignments = set(edited, true, described);
      if (what == 5) {
        // What is rolled back never happened.
        world_.sql.run("BEGIN; UPDATE item SET " + assignments + where + "; ROLLBACK");
        described = "update rolled back";
      } else {
        world_.sql.run("UPDATE item SET " + assignments + where);
        if (row.alive) row = edited;
        described = "update " + described;
      }
    }
    note("sql " + key + ": " + described);
    next_moment();
  }

  void sync(size_t device, int node) {
    note("sync device " + std::to_string(device) + " at node " + std::to_string(node));
    next_moment();
    world_.sync_as(*devices_[device], tenant_ + (node ? "#2" : ""));
  }

  void check() {
    std::string wanted;
    for (const auto& [key, row] : rows_)
      if (row.alive) wanted += key + "|" + row.a + "|" + row.b + "|" + row.c + "\n";
    EXPECT_EQ(world_.sql.rows("SELECT id, a, b, c FROM item WHERE org = '" + tenant_ + "' ORDER BY id"), wanted);
    for (auto& device : devices_) {
      std::string shown = device->peer.rows(
          "SELECT id, coalesce(a, 'null'), coalesce(b, 'null'), coalesce(CAST(c AS TEXT), 'null') FROM item ORDER BY "
          "id");
      std::erase(shown, '\'');
      EXPECT_EQ(shown, wanted);
      device->peer.expect_sound();
    }
  }

  PostgresWorld& world_;
  SeededRandom random_;
  std::string tenant_;
  std::vector<std::unique_ptr<LoopbackDevice>> devices_;
  std::map<std::string, OracleRow> rows_;
  int64_t moment_ = 0;
};

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

TEST(PostgresModel, RandomScriptsEndAsTheOracleSays) {
  PostgresWorld world(
      "CREATE TABLE item(org text, id text, a text, b integer, c double precision, PRIMARY KEY(org, id))",
      {"public.item"}, "org");
  const uint64_t alone = setting("REJOIN_POSTGRES_SEED", 0);
  const uint64_t first = alone ? alone : 1, count = alone ? 1 : setting("REJOIN_POSTGRES_SCRIPTS", 60);
  for (uint64_t seed = first; seed < first + count; ++seed) {
    Script script(world, seed);
    script.run();
    if (HasFailure()) {
      ADD_FAILURE() << "seed " << seed << ":\n" << script.log << "replay: REJOIN_POSTGRES_SEED=" << seed;
      return;
    }
  }
  world.expect_sound();
}

}  // namespace
}  // namespace rejoin::testing
