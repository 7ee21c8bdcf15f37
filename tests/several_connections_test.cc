// Several connections (and processes) on one file: all are captured, none needs to know of the others.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "sqlite/api.h"
#include "tests/support/model_run.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v)";

TEST(SeveralConnections, TakeTurns) {
  Peer a(kSchema, {"t"}, "turns.db"), b(kSchema, {"t"});
  for (int i = 0; i < 30; ++i) {
    a.run_on(i % 3, "INSERT INTO t VALUES('k" + std::to_string(i) + "', " + std::to_string(i) + ")");
    if (i % 4 == 0) a.changeset(0, i % 2);
    if (i % 5 == 0) {
      ASSERT_TRUE(a.rejoin(i % 2).fold().ok());
    }
  }
  EXPECT_EQ(b.fetch(a), 30u);
  EXPECT_EQ(a.changeset(0, 1), a.changeset(0, 0));
  a.expect_sound();
}

TEST(SeveralConnections, MergesAndSitesOfTheOtherAreSeen) {
  Peer a(kSchema, {"t"}, "sites.db"), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.rejoin(0).site().ok();
  a.rejoin(1).site().ok();
  b.run("INSERT INTO t VALUES('b', 1)");
  c.run("INSERT INTO t VALUES('c', 1)");
  a.apply(b.changeset(0), 0);
  a.apply(c.changeset(0), 1);
  a.run_on(0, "UPDATE t SET v = 2");
  Bytes from_zero = a.changeset(0, 0), from_one = a.changeset(0, 1);
  EXPECT_EQ(from_zero, from_one);
  b.apply(from_one);
  EXPECT_EQ(b.rows("SELECT * FROM t ORDER BY id"), "'b'|2\n'c'|2\n");
}

TEST(SeveralConnections, StatusAndSiteAreReadWhileAnotherWrites) {
  Peer a(kSchema, {"t"}, "reading.db");
  a.run_on(0, "INSERT INTO t VALUES('folded', 1)");
  a.changeset(0, 0);
  a.run_on(0, "INSERT INTO t VALUES('not folded', 1)");
  a.run_on(0, "BEGIN IMMEDIATE; INSERT INTO t VALUES('open', 1)");
  auto status = sqlite::status_json(a.rejoin(1));
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_TRUE(a.rejoin(1).tables().ok());
  EXPECT_TRUE(a.rejoin(1).site().ok());
  EXPECT_TRUE(a.rejoin(1).seq().ok());
  // What must be of now says that it cannot.
  auto explained = a.rejoin(1).doctor();
  ASSERT_FALSE(explained.ok());
  EXPECT_EQ(explained.error().code, Code::busy);
  a.run_on(0, "COMMIT");
  a.expect_sound();
}

TEST(SeveralConnections, TablesTrackedByTheOtherAreSeen) {
  Peer a(std::string(kSchema) + "; CREATE TABLE u(id TEXT PRIMARY KEY, w)", {"t"}, "tables.db");
  a.changeset(0, 1);
  a.track("u");
  a.run_on(1, "INSERT INTO u VALUES('k', 1)");
  auto tables = a.rejoin(1).tables();
  ASSERT_TRUE(tables.ok());
  EXPECT_EQ(tables->size(), 2u);
  Peer b("CREATE TABLE u(id TEXT PRIMARY KEY, w)", {"u"});
  b.apply(a.changeset(0, 1));
  EXPECT_EQ(b.rows("SELECT * FROM u"), "'k'|1\n");
  ASSERT_TRUE(a.rejoin(1).untrack("u").ok());
  tables = a.rejoin(0).tables();
  ASSERT_TRUE(tables.ok());
  EXPECT_EQ(tables->size(), 1u);
}

TEST(SeveralConnections, AWriterMakesOthersWaitOrSayBusyAndNothingIsLost) {
  Peer a(kSchema, {"t"}, "busy.db"), b(kSchema, {"t"});
  b.run("INSERT INTO t VALUES('b', 1)");
  Bytes news = b.changeset(0);
  a.run_on(1, "INSERT INTO t VALUES('before', 1)");
  a.run_on(1, "BEGIN IMMEDIATE; INSERT INTO t VALUES('open', 1)");
  auto applied = a.rejoin(0).apply(news);
  ASSERT_FALSE(applied.ok());
  EXPECT_EQ(applied.error().code, Code::busy);
  EXPECT_TRUE(code_retryable(applied.error().code));
  auto fold = a.rejoin(0).fold();
  ASSERT_FALSE(fold.ok());
  EXPECT_EQ(fold.error().code, Code::busy);
  // A reader may go on, but must not show what is not committed.
  auto changeset = a.rejoin(0).changeset(0);
  if (changeset.ok()) {
    if (*changeset) b.apply(**changeset);
    EXPECT_EQ(b.number("SELECT count(*) FROM t WHERE id = 'open'"), 0);
  } else {
    EXPECT_EQ(changeset.error().code, Code::busy);
  }
  a.run_on(1, "COMMIT");
  a.apply(news);
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id FROM t ORDER BY id"), "'b'\n'before'\n'open'\n");
  a.expect_sound();
}

TEST(SeveralConnections, AReadTransactionKeepsItsSnapshot) {
  Peer a(kSchema, {"t"}, "snapshot.db"), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('k', 1)");
  b.run("INSERT INTO t VALUES('b', 1), ('c', 1)");
  a.run_on(1, "BEGIN");
  EXPECT_EQ(a.number("SELECT count(*) FROM t", 1), 1);
  a.fetch(b);
  EXPECT_EQ(a.number("SELECT count(*) FROM t", 1), 1);
  a.run_on(1, "COMMIT");
  EXPECT_EQ(a.number("SELECT count(*) FROM t", 1), 3);
}

TEST(SeveralConnections, StampsOfManyProcessesStayInOrder) {
  Peer a(kSchema, {"t"}, "processes.db"), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('n', 0)");
  a.rejoin().fold().ok();
  // SQLite's handles must not cross a fork.
  for (int c = 0; c < 3; ++c) a.database().close(c);
  std::string path = scratch_folder() + "/processes.db";
  constexpr int kProcesses = 4, kWrites = 50;
  std::array<pid_t, kProcesses> children;
  for (int p = 0; p < kProcesses; ++p) {
    pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      // A process that never heard of Rejoin, with its own clock.
      sqlite3* db = nullptr;
      int failures = sqlite3_open(path.c_str(), &db) != SQLITE_OK;
      sqlite3_busy_timeout(db, 60'000);
      for (int i = 0; i < kWrites && !failures; ++i)
        failures += sqlite3_exec(db,
                                 "BEGIN IMMEDIATE; UPDATE t SET v = v + 1 WHERE id = 'n'; INSERT INTO t "
                                 "VALUES(hex(randomblob(16)), 1); COMMIT",
                                 nullptr, nullptr, nullptr) != SQLITE_OK;
      sqlite3_close(db);
      _exit(failures ? 1 : 0);
    }
    children[static_cast<size_t>(p)] = pid;
  }
  for (pid_t pid : children) {
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  b.clock().set(system_clock().now_ms());
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT v FROM t WHERE id = 'n'"), std::to_string(kProcesses * kWrites) + "\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM t"), kProcesses * kWrites + 1);
  a.expect_sound(), b.expect_sound();
}

TEST(SeveralConnections, ClosingWorksWhileStatementsAreCached) {
  Peer a(kSchema, {"t"}, "close.db");
  a.run("INSERT INTO t VALUES('k', 1)");
  a.changeset(0, 1);
  EXPECT_EQ(a.database().close(1), SQLITE_OK);
  a.run("INSERT INTO t VALUES('l', 1)");
  EXPECT_FALSE(a.changeset(0, 1).empty());
}

}  // namespace
}  // namespace rejoin::testing
