// Random scripts of three devices and a server, months long: whatever deletions are forgotten meanwhile, everybody
// shows what they would show if none ever were. The exception is the one that docs/adr/0009 makes: what a device
// inserted or restored and nobody else can know comes through as an insert of now, where a deletion would have won
// otherwise.
//
//   REJOIN_FORGETTING_SCRIPTS=n  how many scripts (150; with PostgreSQL 10)
//   REJOIN_FORGETTING_SEED=s     this one alone
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <set>

#include "base/random.h"
#include "tests/support/forgetting_server.h"
#include "tests/support/model_run.h"

namespace rejoin::testing {
namespace {

constexpr int64_t kDay = int64_t{24} * 3600 * 1000;
constexpr int kKeys = 4;

// The oracle: docs/algebra.md, naively, and nothing is ever forgotten. Every statement has a millisecond of its own.
struct Cell {
  int64_t stamp = 0, value = 0;
};
struct Row {
  bool alive = false;
  int64_t life = 0, birth = 0;
  std::array<Cell, 2> cells;  // v, w
  bool visible() const { return alive && birth; }
  void insert(int64_t now, int64_t v, int64_t w) { *this = {true, now, now, {{{now, v}, {now, w}}}}; }
};
using Rows = std::array<Row, kKeys>;

void join(Row& into, const Row& from) {
  if (from.life > into.life) into.life = from.life, into.alive = from.alive;
  into.birth = std::max(into.birth, from.birth);
  for (size_t c = 0; c < 2; ++c) {
    if (from.cells[c].stamp > into.cells[c].stamp) into.cells[c] = from.cells[c];
    if (into.cells[c].stamp < into.birth) into.cells[c] = {};
  }
}

std::string text(int64_t value) { return "'" + std::to_string(value) + "'"; }
std::string name_of(int key) { return "k" + std::to_string(key); }

std::string print(const Rows& rows) {
  std::string out;
  for (int k = 0; k < kKeys; ++k) {
    const Row& row = rows[static_cast<size_t>(k)];
    if (row.visible())
      out += "'" + name_of(k) + "'|" + text(row.cells[0].value) + "|" + text(row.cells[1].value) + "\n";
  }
  return out;
}

class World {
 public:
  World(StoreKind kind, uint64_t seed) : kind_(kind), random_(seed), server_(ForgettingServer::make(kind)) {
    for (int i = 0; i < 3; ++i) {
      devices_.push_back(std::make_unique<LoopbackDevice>("device " + std::to_string(i), kForgettingSchema,
                                                          std::vector<std::string>{"t"}));
      // As rejoin_connect() does: a server that it only met once it may leave for good.
      EXPECT_TRUE(sqlite::store_connection(peer(i).rejoin(), {devices_.back()->url, "", {}}).ok());
    }
  }

  void run() {
    pass(0);
    sync(0);
    // Mostly the time is short, so that much is forgotten.
    for (int i = 0; i < 4; ++i)
      if (below(5)) compact(i, 2 + below(5));
    const int steps = 20 + below(40);
    for (int step = 0; step < steps && !::testing::Test::HasFailure(); ++step) {
      pass(1 + below(1000));
      const int k = below(100), who = below(3);
      if (k < 45) {
        write(below(8) == 0 ? kServer : who);
      } else if (k < 68) {
        sync(who);
      } else if (k < 85) {
        pass((below(5) == 0 ? 40 : 1 + below(6)) * kDay);
      } else {
        compact(below(3) == 0 ? who : kServer);
      }
    }
    for (int i = 0; i < 3; ++i) sync(i);
    for (int i = 0; i < 3; ++i) sync(i);
    for (int i = 0; i < 4; ++i) {
      EXPECT_EQ(print(rows_[static_cast<size_t>(i)]), print(rows_[kServer]));
      if (i == kServer)
        server_->expect_sound();
      else
        peer(i).expect_sound();
    }
    if (::testing::Test::HasFailure()) GTEST_FAIL() << story_;
  }

 private:
  static constexpr int kServer = 3;

  int below(int n) { return static_cast<int>(random_.u64() % static_cast<uint64_t>(n)); }
  Peer& peer(int i) { return i == kServer ? *server_->file() : devices_[static_cast<size_t>(i)]->peer; }
  Row& row(int i, int key) { return rows_[static_cast<size_t>(i)][static_cast<size_t>(key)]; }
  std::string shown(int i) {
    if (i == kServer) return server_->rows();
    return peer(i).rows("SELECT id, v, w FROM t ORDER BY id");
  }
  void tell(int i, const std::string& what) {
    story_ += "day " + std::to_string((now_ - kStart) / kDay) + ", " +
              (i == kServer ? "server" : "device " + std::to_string(i)) + ": " + what + "\n";
  }

  void pass(int64_t ms) {
    now_ += ms;
    for (int i = 0; i < 3; ++i) peer(i).clock().set(now_);
    server_->set_clock(now_);
  }

  void write(int i) {
    const int key = below(kKeys);
    Row& mine = row(i, key);
    const std::string id = "'" + name_of(key) + "'";
    std::string sql;
    // Plain SQL restores nothing.
    const bool restores = i != kServer || server_->file();
    if (!mine.visible() && restores && below(3) == 0 && restore(i, key)) return;
    if (!mine.visible()) {
      ++values_;
      mine.insert(now_, values_, -values_);
      unsent_[static_cast<size_t>(i)].insert(key);
      sql = "INSERT INTO t VALUES(" + id + ", " + text(values_) + ", " + text(-values_) + ")";
    } else if (below(2)) {
      mine.alive = false, mine.life = now_;
      sql = "DELETE FROM t WHERE id = " + id;
    } else {
      const size_t column = static_cast<size_t>(below(2));
      mine.cells[column] = {now_, ++values_};
      sql = std::string("UPDATE t SET ") + (column ? "w" : "v") + " = " + text(values_) + " WHERE id = " + id;
    }
    tell(i, sql);
    if (i == kServer)
      server_->run(sql);
    else
      peer(i).run(sql);
  }

  // False where the row is not known, or not any more.
  bool restore(int i, int key) {
    const sim::Value k = sim::Value::text(name_of(key));
    auto restored = peer(i).rejoin().restore("t", {k.ref()});
    if (!restored.ok()) {
      EXPECT_EQ(restored.error().code, Code::not_found) << restored.error().message;
      return false;
    }
    tell(i, "restore " + name_of(key));
    Row& mine = row(i, key);
    mine.alive = true, mine.life = now_;
    unsent_[static_cast<size_t>(i)].insert(key);
    if (outlived_[static_cast<size_t>(i)].contains(key))
      for (size_t c = 0; c < 2; ++c)
        mine.cells[c].value = peer(i).number(std::string("SELECT CAST(") + (c ? "w" : "v") +
                                             " AS INTEGER) FROM t WHERE id = '" + name_of(key) + "'");
    EXPECT_EQ(shown(i), print(rows_[static_cast<size_t>(i)])) << "at " << name_of(i);
    return true;
  }

  void compact(int i, std::optional<int64_t> keep_days = {}) {
    tell(i, "compact");
    if (i == kServer) return server_->compact(keep_days);
    auto gone = peer(i).rejoin().compact(keep_days);
    EXPECT_TRUE(gone.ok()) << gone.error().message;
  }

  // In milliseconds; 0: there is no such row.
  int64_t born(int i, int key) {
    if (i == kServer) return server_->born(name_of(key));
    const sim::Value k = sim::Value::text(name_of(key));
    auto json = peer(i).rejoin().explain("t", {k.ref()});
    if (!json.ok()) return 0;
    const size_t born = json->find("\"born\":{"), at = json->find("\"hlc\":", born);
    return born == std::string::npos ? 0 : std::strtoll(json->c_str() + at + 6, nullptr, 10) >> 16;
  }

  void sync(int i) {
    LoopbackDevice& device = *devices_[static_cast<size_t>(i)];
    const size_t node = kind_ == StoreKind::postgres ? static_cast<size_t>(below(2)) : 0;
    pass(1);
    tell(i, "sync");
    const Rows before = rows_[static_cast<size_t>(i)];
    if (below(4) == 0) device.options.chunk_bytes = device.options.page_bytes = 64;
    const uint64_t faulty = static_cast<uint64_t>(below(6));
    const Fault fault = below(3) == 0 ? Fault::lose_response : below(2) ? Fault::repeat_request : Fault::none;
    device.fault = [&](uint64_t n) { return n == faulty ? fault : Fault::none; };
    device.must_sync(server_->node(node));
    device.fault = nullptr;
    // What was refused concerns rows that are gone, and is given up then.
    std::vector<std::vector<sim::Value>> refused;
    std::set<int> given_up;
    ASSERT_TRUE(device.peer.database().query(0, "SELECT key, code, reason FROM rejoin_rejections", refused));
    for (const auto& r : refused) {
      EXPECT_EQ(r[1].bytes, "before_horizon") << r[0].bytes << ": " << r[2].bytes;
      EXPECT_FALSE(row(kServer, r[0].bytes[3] - '0').visible()) << r[0].bytes << " was refused, but is alive";
      given_up.insert(r[0].bytes[3] - '0');
    }
    for (int key = 0; key < kKeys; ++key) {
      if (!given_up.contains(key)) join(row(kServer, key), row(i, key));
      row(i, key) = row(kServer, key);
    }
    ASSERT_TRUE(device.peer.rejoin().discard_all().ok());
    device.must_sync(server_->node(node));
    for (int key : std::exchange(unsent_[static_cast<size_t>(i)], {})) {
      if (born(i, key) < now_) continue;
      const Row& mine = before[static_cast<size_t>(key)];
      tell(i, name_of(key) + " was written anew");
      row(i, key).insert(now_, mine.cells[0].value, mine.cells[1].value);
      row(kServer, key) = row(i, key);
    }
    for (int key = 0; key < kKeys; ++key)
      if (!row(i, key).visible() && born(kServer, key) == 0)
        outlived_[static_cast<size_t>(i)].insert(key);
      else
        outlived_[static_cast<size_t>(i)].erase(key);
    EXPECT_EQ(shown(i), print(rows_[static_cast<size_t>(i)])) << "at " << name_of(i);
    EXPECT_EQ(shown(kServer), print(rows_[kServer])) << "at the server";
    if (::testing::Test::HasFailure()) GTEST_FAIL() << story_;
  }

  static constexpr int64_t kStart = 1'700'000'000'000;
  const StoreKind kind_;
  SeededRandom random_;
  std::unique_ptr<ForgettingServer> server_;
  std::vector<std::unique_ptr<LoopbackDevice>> devices_;
  std::array<Rows, 4> rows_;
  std::array<std::set<int>, 4> unsent_;  // keys that were inserted or restored since the last sync
  // Keys that a device and the server know to be deleted, but of which the server has forgotten the last values: those
  // of the device may be older.
  std::array<std::set<int>, 4> outlived_;
  int64_t now_ = kStart, values_ = 0;
  std::string story_;
};

class ForgottenDeletionsModel : public ::testing::TestWithParam<StoreKind> {};

TEST_P(ForgottenDeletionsModel, NobodyCanTellThatDeletionsAreForgotten) {
  const uint64_t first = environment_number("REJOIN_FORGETTING_SEED", 1),
                 scripts = GetParam() == StoreKind::embedded ? 150 : 10;
  const uint64_t count =
      environment_number("REJOIN_FORGETTING_SEED", 0) ? 1 : environment_number("REJOIN_FORGETTING_SCRIPTS", scripts);
  for (uint64_t seed = first; seed < first + count && !HasFailure(); ++seed) {
    SCOPED_TRACE("REJOIN_FORGETTING_SEED=" + std::to_string(seed));
    World(GetParam(), seed).run();
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ForgottenDeletionsModel, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
