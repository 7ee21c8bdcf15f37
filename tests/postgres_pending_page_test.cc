// A page that is read while captured writes wait to be folded leaves those out, and nothing is lost by it: whatever mix
// of such pages, folds, restores and writes of everybody, all end up the same, the values of deleted rows included.
#include <gtest/gtest.h>

#include "postgres/page.h"
#include "tests/support/postgres_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kPg = "CREATE TABLE t(id text PRIMARY KEY, a text, b text, c integer)";
const std::string kDevice = "CREATE TABLE t(id TEXT PRIMARY KEY, a TEXT, b TEXT, c INTEGER)";
constexpr int kKeys = 5;

// Reads pages as if all that waits in the outbox had come between the fold and the reading.
class UnfoldedStore final : public sync::TenantStore {
 public:
  explicit UnfoldedStore(const std::string& url) : tenant_("main", system_clock(), system_random()) {
    auto db = postgres::Connection::open(url);
    EXPECT_TRUE(db.ok());
    db_ = std::move(*db);
    store_ = postgres::make_tenant_store(*db_, tenant_, false);
  }
  Result<sync::PushReply> push(const sync::PushRequest& request) override { return store_->push(request); }
  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    auto look = postgres::Work::begin(*db_, tenant_, postgres::Work::Mode::look);
    if (!look.ok()) return look.error();
    postgres::PageNotes notes;
    auto reply = postgres::read_page(*look, {}, request, notes);
    if (!reply.ok()) return reply;
    // Once: a real pull folds, and the next page has what this one lacks.
    reply->more = false;
    if (Status done = look->commit(); !done.ok()) return done.error();
    return reply;
  }
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    return store_->restored(device, site, token, cursor);
  }
  Result<std::string> contract_fingerprint() override { return store_->contract_fingerprint(); }
  Result<std::string> contract_json() override { return store_->contract_json(); }
  Result<bool> knows_contract(const std::string& f, bool create) override { return store_->knows_contract(f, create); }
  Status adopt_contract(const std::string& json, bool create) override { return store_->adopt_contract(json, create); }
  Result<std::string> published_contract() override { return store_->published_contract(); }
  Status publish_contract(const std::string& json) override { return store_->publish_contract(json); }

 private:
  std::unique_ptr<postgres::Connection> db_;
  postgres::Tenant tenant_;
  std::unique_ptr<sync::TenantStore> store_;
};

std::string plain(Peer& p, const std::string& sql) {
  std::string out = p.rows(sql);
  std::erase(out, '\'');
  return out;
}

class PostgresPendingPage : public ::testing::Test {
 protected:
  PostgresPendingPage()
      : world(kPg, {"public.t"}),
        a("a", kDevice, {"t"}),
        b("b", kDevice, {"t"}),
        unfolded(std::make_unique<UnfoldedStore>(world.url)) {}
  void expect_same() {
    for (int i = 0; i < 3; ++i) world.sync(a), world.sync(b);
    const std::string sql = "SELECT * FROM t ORDER BY id";
    const std::string truth = world.sql.rows(sql);
    for (LoopbackDevice* d : {&a, &b}) {
      ASSERT_EQ(difference(plain(d->peer, sql), truth), "");
      EXPECT_EQ(d->peer.rows("SELECT key, reason FROM rejoin_rejections"), "");
      d->peer.expect_sound();
    }
    world.expect_sound();
  }
  void sync_unfolded(LoopbackDevice& d) {
    d.peer.clock().set(system_clock().now_ms());
    unfolded.peer().clock().set(system_clock().now_ms());
    d.must_sync(unfolded);
  }
  // A row that there never was, or that is alive, is none to restore.
  static void try_restore(LoopbackDevice& d, const std::string& key) {
    (void)d.peer.rejoin().restore("t", {crdt::ValueRef::of_text(key)}).ok();
  }
  PostgresWorld world;
  LoopbackDevice a, b;
  LoopbackServer unfolded;
};

class PostgresPendingPages : public PostgresPendingPage, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(PostgresPendingPages, LoseNothing) {
  SeededRandom dice(GetParam());
  auto pick = [&](uint64_t n) { return dice.u64() % n; };
  int value = 0;
  auto key = [&] { return "'k" + std::to_string(pick(kKeys)) + "'"; };
  auto one_write = [&](bool device) {
    const std::string v = "'" + std::string(device ? "d" : "s") + std::to_string(value++) + "'", k = key();
    switch (pick(6)) {
      case 0:
        return "INSERT INTO t VALUES (" + k + ", " + v + ", " + v +
               ", 1) ON CONFLICT (id) DO UPDATE SET a = excluded.a";
      case 1:
        return "DELETE FROM t WHERE id = " + k;
      case 2:
        return "UPDATE t SET b = " + v + " WHERE id = " + k;
      case 3:
        return "UPDATE t SET a = " + v + ", c = c + 1 WHERE id = " + k;
      case 4:
        return "UPDATE t SET c = NULL WHERE id <> " + k;
      default:
        return "INSERT INTO t(id, b) VALUES (" + k + ", " + v + ") ON CONFLICT DO NOTHING";
    }
  };
  for (int step = 0; step < 120; ++step) {
    LoopbackDevice& d = pick(2) ? a : b;
    switch (pick(8)) {
      case 0:
      case 1:
      case 2: {
        std::string sql = "BEGIN; ";
        for (uint64_t n = 1 + pick(4); n > 0; --n) sql += one_write(false) + "; ";
        world.sql.run(sql + (pick(5) ? "COMMIT" : "ROLLBACK"));
        break;
      }
      case 3:
      case 4:
        d.peer.run(one_write(true));
        break;
      case 5:
        sync_unfolded(d);
        break;
      case 6:
        world.sync(d);
        break;
      default:
        try_restore(d, "k" + std::to_string(pick(kKeys)));
        break;
    }
  }
  ASSERT_NO_FATAL_FAILURE(expect_same());
  // What is kept of deleted rows is the same everywhere too: each shows the same after a restore.
  world.sql.run("DELETE FROM t WHERE id < 'k2'");
  sync_unfolded(a);
  expect_same();
  for (int i = 0; i < kKeys; ++i) try_restore(a, "k" + std::to_string(i));
  ASSERT_NO_FATAL_FAILURE(expect_same());
}

INSTANTIATE_TEST_SUITE_P(Seeds, PostgresPendingPages, ::testing::Range<uint64_t>(1, 13));

// The entry about a table that nobody syncs any more must not keep a staged page waiting.
TEST_F(PostgresPendingPage, APageThatWaitsForAnEntryOfNothingIsShownAllTheSame) {
  a.peer.run("INSERT INTO t VALUES ('k', 'x', 'y', 1)");
  world.sync(a);
  world.sql.run("INSERT INTO rejoin.outbox(tenant, tbl, op, ms, key) VALUES ('main', 4711, 1, 1, ARRAY['x'])");
  sync_unfolded(b);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM t"), 0);  // waits for the position after the entry
  world.sync(b);
  EXPECT_EQ(b.peer.number("SELECT count(*) FROM t"), 1);
  expect_same();
}

}  // namespace
}  // namespace rejoin::testing
