// Where PostgreSQL is to have a synchronous standby, nothing is acknowledged that no standby is known to have: not when
// the time is over, not when the wait is cancelled, and not to a retry.
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "postgres/audit.h"
#include "tests/support/postgres_loopback.h"
#include "tests/support/pushing_device.h"

namespace rejoin::testing {
namespace {

constexpr std::chrono::milliseconds kALittle{200};

void wait_for(const std::function<bool()>& what) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!what()) {
    ASSERT_LT(std::chrono::steady_clock::now(), end) << "it does not come about";
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

class PostgresSynchronousStandby : public ::testing::Test {
 protected:
  PostgresSynchronousStandby() : world("CREATE TABLE todos(id text PRIMARY KEY, title text)", {"public.todos"}) {
    world.sql.run("SET synchronous_commit = local; CREATE TABLE probe(n integer)");
  }
  ~PostgresSynchronousStandby() override { comes_back(); }

  // From now on what is to be on a standby waits.
  void goes_away() {
    set("ALTER SYSTEM SET synchronous_standby_names = 'away'");
    // PostgreSQL takes it up a little later.
    for (bool waits = false; !waits;) {
      std::atomic<bool> done = false;
      std::thread probing([&] {
        auto probe = open();
        (void)probe->query("INSERT INTO probe VALUES (1)").ok();
        done = true;
      });
      wait_for([&] { return (waits = waiting() > 0) || done; });
      if (waits) stop_waiting("pg_cancel_backend");
      probing.join();
    }
  }
  void comes_back() {
    set("ALTER SYSTEM RESET synchronous_standby_names");
    wait_for([&] { return waiting() == 0; });
  }
  void stop_waiting(const std::string& by) {
    wait_for([&] { return waiting() > 0; });
    wait_for([&] {
      world.sql.run("SELECT " + by + "(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
      return waiting() == 0;
    });
  }
  int64_t waiting() { return world.sql.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"); }
  std::string titles() { return world.sql.rows("SELECT id, title FROM todos ORDER BY id"); }

  std::unique_ptr<postgres::Connection> open() {
    auto opened = postgres::Connection::open(world.url);
    EXPECT_TRUE(opened.ok());
    return std::move(*opened);
  }
  // With what another server would know.
  static std::vector<Result<sync::PushReply>> push(postgres::Connection& db,
                                                   const std::vector<sync::PushRequest>& requests,
                                                   const std::string& name = "main") {
    postgres::Tenant tenant{name, system_clock(), system_random()};
    std::vector<const sync::PushRequest*> all;
    for (const sync::PushRequest& r : requests) all.push_back(&r);
    return postgres::make_tenant_store(db, tenant, false)->push_together(all);
  }
  static std::vector<Result<sync::PushReply>> push_a_little(postgres::Connection& db,
                                                            const std::vector<sync::PushRequest>& requests,
                                                            const std::string& name = "main") {
    db.set_deadline(std::chrono::steady_clock::now() + kALittle);
    return push(db, requests, name);
  }
  // However long it takes to come to the COMMIT.
  static void push_into_doubt(postgres::Connection& db, const std::vector<sync::PushRequest>& requests,
                              const std::string& name = "main") {
    for (auto time = kALittle; !db.in_doubt() && time < std::chrono::minutes(1); time *= 2) {
      db.set_deadline(std::chrono::steady_clock::now() + time);
      expect_told_to_come_again(push(db, requests, name));
    }
    EXPECT_TRUE(db.in_doubt());
  }
  static void expect_told_to_come_again(const std::vector<Result<sync::PushReply>>& replies) {
    for (const auto& reply : replies) {
      ASSERT_FALSE(reply.ok());
      EXPECT_TRUE(code_retryable(reply.error().code)) << reply.error().message;
    }
  }

  PostgresWorld world;
  const sync::AuditEntry entry = [] {
    sync::AuditEntry out;
    out.device = "a", out.event = "refused";
    return out;
  }();
  PushingDevice a{"a", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"};
  PushingDevice b{"b", "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)"};

 private:
  void set(const std::string& sql) {
    world.sql.run(sql);
    world.sql.run("SELECT pg_reload_conf()");
  }
};

TEST_F(PostgresSynchronousStandby, WhatNoneHasInTimeIsNotAcknowledgedAndArrivesWhenOneIsBack) {
  goes_away();
  a.write("one"), b.write("two");
  const std::vector<sync::PushRequest> requests{a.request(), b.request()};
  auto db = open(), other = open();
  push_into_doubt(*db, requests);
  EXPECT_FALSE(db->usable());
  EXPECT_FALSE(db->answered());
  // It was not cancelled, and nobody sees it yet.
  EXPECT_EQ(waiting(), 1);
  EXPECT_EQ(titles(), "");
  // The connection is good for nothing more, and whoever tries again over another waits for the same, and makes it no
  // more that wait.
  expect_told_to_come_again(push_a_little(*db, requests));
  expect_told_to_come_again(push_a_little(*other, requests));
  EXPECT_FALSE(other->in_doubt());
  EXPECT_TRUE(other->usable());
  EXPECT_EQ(waiting(), 1);
  EXPECT_EQ(titles(), "");
  comes_back();
  wait_for([&] { return db->answered(); });
  EXPECT_EQ(titles(), "a1|one\nb1|two\n");
  other->set_deadline(std::nullopt);
  for (const auto& reply : push(*other, requests)) {
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_TRUE(reply->repeated);
  }
  world.expect_sound();
}

// As it is when the program ends, too.
TEST_F(PostgresSynchronousStandby, WhatWaitsGoesOnWithoutItsConnection) {
  goes_away();
  a.write("one");
  const std::vector<sync::PushRequest> requests{a.request()};
  {
    auto db = open();
    push_into_doubt(*db, requests);
  }
  EXPECT_EQ(waiting(), 1);
  EXPECT_EQ(titles(), "");
  comes_back();
  auto other = open();
  const auto replies = push(*other, requests);
  ASSERT_TRUE(replies[0].ok()) << replies[0].error().message;
  EXPECT_TRUE(replies[0]->repeated);
  EXPECT_EQ(titles(), "a1|one\n");
}

TEST_F(PostgresSynchronousStandby, AWaitThatIsCancelledAcknowledgesNothingNorDoesTheRetry) {
  for (const std::string by : {"pg_cancel_backend", "pg_terminate_backend"}) {
    SCOPED_TRACE(by);
    goes_away();
    a.write(by);
    const std::vector<sync::PushRequest> requests{a.request()};
    auto db = open();
    std::vector<Result<sync::PushReply>> replies;
    std::thread pushing([&] { replies = push(*db, requests); });
    stop_waiting(by);
    pushing.join();
    expect_told_to_come_again(replies);
    EXPECT_EQ(db->usable(), by == "pg_cancel_backend");
    // PostgreSQL shows it now. That is not enough.
    EXPECT_EQ(world.sql.number("SELECT count(*) FROM todos WHERE title = '" + by + "'"), 1);
    auto again = open();
    push_into_doubt(*again, requests);
    EXPECT_EQ(waiting(), 1);
    comes_back();
    auto other = open();
    replies = push(*other, requests);
    ASSERT_TRUE(replies[0].ok()) << replies[0].error().message;
    EXPECT_TRUE(replies[0]->repeated);
    a.token = replies[0]->next_chain_token;
  }
  world.expect_sound();
}

TEST_F(PostgresSynchronousStandby, ACancelledWaitOfPushesWrittenTogetherIsWaitedForOnceMore) {
  goes_away();
  a.write("one"), b.write("two");
  const std::vector<sync::PushRequest> requests{a.request(), b.request()};
  auto db = open();
  std::vector<Result<sync::PushReply>> replies;
  std::thread pushing([&] { replies = push(*db, requests); });
  wait_for([&] { return waiting() > 0; });
  world.sql.run("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
  // The row is shown when the first wait has ended; then there is another.
  wait_for([&] { return !titles().empty() && waiting() > 0; });
  comes_back();
  pushing.join();
  for (const auto& reply : replies) {
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_TRUE(reply->repeated);
  }
  EXPECT_EQ(titles(), "a1|one\nb1|two\n");
}

TEST_F(PostgresSynchronousStandby, ATimeThatIsOverBeforeTheCommitLeavesNothing) {
  goes_away();
  auto db = open();
  postgres::Tenant tenant{"main", system_clock(), system_random()};
  {
    auto work = postgres::Work::begin(*db, tenant, postgres::Work::Mode::merge);
    ASSERT_TRUE(work.ok());
    db->set_deadline(std::chrono::steady_clock::now());
    const Status kept = work->commit();
    ASSERT_FALSE(kept.ok());
    EXPECT_EQ(kept.error().code, Code::timeout);
  }
  EXPECT_TRUE(db->usable());
  EXPECT_FALSE(db->in_transaction());
  EXPECT_EQ(waiting(), 0);
}

// Who waits keeps others from reading, so that a server bounds both waits.
TEST_F(PostgresSynchronousStandby, APushThatMayNotWaitLongIsToldSoAndLeavesNothingOrOneInDoubt) {
  goes_away();
  a.write("one"), b.write("two");
  const std::vector<sync::PushRequest> requests{a.request(), b.request()};
  std::vector<const sync::PushRequest*> all{&requests[0], &requests[1]};
  postgres::Tenant tenant{"main", system_clock(), system_random()};
  tenant.commit_ms = 200;
  tenant.deadline = std::chrono::steady_clock::now() + std::chrono::minutes(10);
  // However long it takes to come to the COMMIT.
  std::unique_ptr<postgres::Connection> db;
  do {
    db = open();
    db->set_deadline(tenant.deadline);
    tenant.stalled = false;
    expect_told_to_come_again(postgres::make_tenant_store(*db, tenant, false)->push_together(all));
    EXPECT_TRUE(tenant.stalled);
  } while (!db->in_doubt());
  auto other = open();
  for (const int64_t lock_timeout_ms : {int64_t{0}, int64_t{60'000}}) {
    postgres::Tenant behind{"main", system_clock(), system_random()};
    behind.turn_ms = 50, behind.lock_timeout_ms = lock_timeout_ms;
    const auto replies = postgres::make_tenant_store(*other, behind, false)->push_together(all);
    for (const auto& reply : replies) {
      ASSERT_FALSE(reply.ok());
      EXPECT_EQ(reply.error().code, Code::busy);
    }
    EXPECT_TRUE(behind.stalled);
  }
  EXPECT_TRUE(other->usable());
  EXPECT_FALSE(other->in_transaction());
  EXPECT_EQ(waiting(), 1);
  comes_back();
  for (const auto& reply : push(*other, requests)) ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(titles(), "a1|one\nb1|two\n");
  world.expect_sound();
}

// Nor does the retry of a tenant's first push, which waits for the one that makes the tenant.
TEST_F(PostgresSynchronousStandby, RetriesForANewTenantDoNotWaitBesideIt) {
  goes_away();
  a.write("one");
  const std::vector<sync::PushRequest> requests{a.request()};
  auto db = open(), other = open();
  push_into_doubt(*db, requests, "newcomer");
  std::atomic<bool> met = false, done = false;
  std::thread retrying([&] {
    for (auto time = kALittle; !met && time < std::chrono::minutes(1); time *= 2) {
      other->set_deadline(std::chrono::steady_clock::now() + time);
      expect_told_to_come_again(push(*other, requests, "newcomer"));
    }
    done = true;
  });
  wait_for([&] {
    return done || (met = world.sql.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND "
                                           "query LIKE 'INSERT INTO rejoin.tenant%'") > 0);
  });
  retrying.join();
  EXPECT_TRUE(met);
  EXPECT_FALSE(other->in_doubt());
  EXPECT_TRUE(other->usable());
  EXPECT_EQ(waiting(), 1);
}

// The only sign that a wait was cancelled is a warning.
TEST_F(PostgresSynchronousStandby, ARoleThatWantsNoWarningsIsNotAcknowledgedACancelledWait) {
  world.sql.run("SELECT rejoin.audit_partitions()");
  world.sql.run(
      "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET client_min_messages = error', current_database()); END $$");
  goes_away();
  a.write("one");
  const std::vector<sync::PushRequest> requests{a.request()};
  {
    auto db = open();
    std::vector<Result<sync::PushReply>> replies;
    std::thread pushing([&] { replies = push(*db, requests); });
    stop_waiting("pg_cancel_backend");
    pushing.join();
    expect_told_to_come_again(replies);
  }
  auto db = open();
  Status written;
  std::thread writing([&] { written = postgres::AuditTable(*db).write("main", {entry}); });
  stop_waiting("pg_cancel_backend");
  writing.join();
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, Code::interrupted);
}

TEST_F(PostgresSynchronousStandby, AnAuditEntryWaitsLikeWhatItTellsOf) {
  world.sql.run("SELECT rejoin.audit_partitions()");
  goes_away();
  auto db = open();
  for (auto time = kALittle; !db->in_doubt() && time < std::chrono::minutes(1); time *= 2) {
    db->set_deadline(std::chrono::steady_clock::now() + time);
    const Status written = postgres::AuditTable(*db).write("main", {entry});
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, Code::timeout) << written.error().message;
  }
  EXPECT_TRUE(db->in_doubt());
  EXPECT_EQ(waiting(), 1);
  // Its retries wait for it, and not beside it.
  auto other = open();
  other->set_deadline(std::chrono::steady_clock::now() + kALittle);
  EXPECT_FALSE(postgres::AuditTable(*other).write("main", {entry}).ok());
  EXPECT_FALSE(other->in_doubt());
  EXPECT_EQ(waiting(), 1);
  comes_back();
  auto third = open();
  EXPECT_TRUE(postgres::AuditTable(*third).write("main", {entry}).ok());
}

// PostgreSQL takes no notice of a cancel that comes before the statement does.
// Symptom: readers of all tenants waited behind devices with a new contract, and everybody for the table's lock.
TEST_F(PostgresSynchronousStandby, ANewContractAndAColumnOfItWaitForNone) {
  auto db = open();
  a.write("one");
  for (const auto& reply : push(*db, {a.request()})) ASSERT_TRUE(reply.ok()) << reply.error().message;
  goes_away();
  Peer peer("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, later TEXT)", {"todos"});
  postgres::Tenant tenant{"main", system_clock(), system_random()};
  db->set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(30));
  const auto store = postgres::make_tenant_store(*db, tenant, true);
  for (const bool may_create : {false, true}) {
    const Status adopted = store->adopt_contract(*peer.rejoin().contract_json(), may_create);
    ASSERT_TRUE(adopted.ok()) << adopted.error().message;
  }
  EXPECT_EQ(world.sql.rows("SELECT title, later FROM todos"), "one|null\n");
  EXPECT_EQ(world.sql.number("SELECT complete::integer FROM rejoin.contract"), 1);
}

TEST_F(PostgresSynchronousStandby, WhatIsSentWhenItsTimeIsOverWaitsForNoLock) {
  auto holder = open(), db = open();
  holder->send("BEGIN");
  ASSERT_TRUE(holder->query("LOCK TABLE probe").ok());
  db->set_deadline(std::chrono::steady_clock::now());
  for (int i = 0; i < 20; ++i) {
    const auto looked = db->query("SELECT n FROM probe");
    ASSERT_FALSE(looked.ok());
    EXPECT_EQ(looked.error().code, Code::timeout) << looked.error().message;
  }
}

// The application's own warnings say nothing of standbys.
TEST_F(PostgresSynchronousStandby, ATriggersWarningIsNone) {
  world.sql.run(
      "CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE WARNING 'canceling wait for "
      "synchronous replication due to user request'; RETURN NEW; END $$; CREATE CONSTRAINT TRIGGER warns AFTER INSERT "
      "ON todos DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION warn()");
  a.write("one");
  auto db = open();
  const auto replies = push(*db, {a.request()});
  EXPECT_TRUE(replies[0].ok()) << replies[0].error().message;
}

}  // namespace
}  // namespace rejoin::testing
