// A file of an older build goes on where it was: its metadata is brought up to date by the first use, nothing is lost.
#include <gtest/gtest.h>

#include "sqlite/functions.h"
#include "tests/support/sync_loopback.h"

namespace rejoin::testing {
namespace {

const std::string kSchema = "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT);";

// As the builds before format 5 made it, met by a connection that has never seen it.
void make_format_4(Peer& peer) {
  peer.run(
      "PRAGMA legacy_alter_table=ON; ALTER TABLE rejoin_aside RENAME TO rejoin_parked; PRAGMA legacy_alter_table=OFF");
  if (peer.number("SELECT format FROM rejoin_state") == 5) peer.run("UPDATE rejoin_state SET format = 4");
  for (int i = 0; i < 3; ++i) peer.database().close(i);
}

// As the builds before format 4 made it.
void make_format_3(Peer& peer) {
  make_format_4(peer);
  peer.run("DROP INDEX rejoin_parked_due; DROP INDEX rejoin_parked_hidden");
  if (peer.number("SELECT format FROM rejoin_state") == 4) peer.run("UPDATE rejoin_state SET format = 3");
  for (int i = 0; i < 3; ++i) peer.database().close(i);
}

// As the builds before format 3 made it.
void make_format_2(Peer& peer) {
  make_format_3(peer);
  for (const char* column : {"horizon", "purged", "sent", "keep_days", "looked", "look_table", "look_key"})
    peer.run(std::string("ALTER TABLE rejoin_state DROP COLUMN ") + column);
  if (peer.number("SELECT format FROM rejoin_state") == 3)
    peer.run("ALTER TABLE rejoin_evicted DROP COLUMN horizon; UPDATE rejoin_state SET format = 2");
  peer.run("DROP TABLE rejoin_former; ALTER TABLE rejoin_peer DROP COLUMN migrate");
  for (int i = 0; i < 3; ++i) peer.database().close(i);
}

// As the builds before format 2 made it.
void make_format_1(Peer& peer) {
  peer.run(
      "ALTER TABLE rejoin_peer DROP COLUMN pull_all; ALTER TABLE rejoin_rejections DROP COLUMN server;"
      "ALTER TABLE rejoin_rejections DROP COLUMN versions; ALTER TABLE rejoin_rejections DROP COLUMN told;"
      "DROP TABLE rejoin_evicted; DROP TABLE rejoin_discarded; UPDATE rejoin_state SET format = 1");
  make_format_2(peer);
}

class OlderFile : public ::testing::Test {
 protected:
  OlderFile()
      : device("a", kSchema, {"todos"},
               std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + ".db") {
    device.peer.run("INSERT INTO todos VALUES ('1', 'synced')");
    device.must_sync(server);
    device.peer.run("INSERT INTO todos VALUES ('2', 'not sent yet')");
    make_format_1(device.peer);
  }
  LoopbackServer server;
  LoopbackDevice device;
};

TEST_F(OlderFile, SyncsOn) {
  device.must_sync(server);
  EXPECT_EQ(server.peer().rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'synced'\n'2'|'not sent yet'\n");
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 5);
  server.settings.max_value_bytes = 10;
  device.peer.run("UPDATE todos SET title = 'a title that is too long' WHERE id = '2'");
  device.must_sync(server);
  EXPECT_EQ(device.peer.rejoin().discard_all().ok(), true);
  EXPECT_EQ(device.peer.rows("SELECT title FROM todos WHERE id = '2'"), "'not sent yet'\n");
  device.peer.expect_sound();
}

// What was refused of a row was not noted then.
TEST_F(OlderFile, GivesUpWhatWasRefusedBefore) {
  device.must_sync(server);
  server.settings.max_value_bytes = 10;
  device.peer.run(
      "UPDATE rejoin_peer SET max_value_bytes=NULL; UPDATE todos SET title = 'a title that is too long' WHERE id = "
      "'1'; INSERT INTO todos VALUES('3', 'another one that is too long')");
  device.must_sync(server);
  make_format_1(device.peer);
  auto discarded = device.peer.rejoin().discard_all();
  ASSERT_TRUE(discarded.ok());
  EXPECT_EQ(*discarded, 2);
  device.must_sync(server);
  EXPECT_EQ(device.peer.rows("SELECT id, title FROM todos ORDER BY id"), "'1'|'synced'\n'2'|'not sent yet'\n");
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM rejoin_rejections"), 0);
  EXPECT_EQ(device.must_sync(server).rows_pushed, 0u);
  device.peer.expect_sound();
}

TEST_F(OlderFile, IsReadOn) {
  auto page = device.peer.rejoin().page({});
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_GT(page->rows, 0u);
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 5);
  EXPECT_EQ(device.peer.rows("SELECT count(*) FROM rejoin_evicted"), "0\n");
}

// What was acknowledged then is known elsewhere: it is not written anew when a server has forgotten it.
TEST_F(OlderFile, OfFormat2IsToo) {
  device.must_sync(server);
  make_format_2(device.peer);
  auto page = device.peer.rejoin().page({});
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 5);
  EXPECT_EQ(device.peer.number("SELECT sent FROM rejoin_state"), device.peer.number("SELECT pushed FROM rejoin_peer"));
  device.must_sync(server);
  device.peer.expect_sound();
}

TEST_F(OlderFile, OfFormat3GetsItsIndexes) {
  device.must_sync(server);
  make_format_3(device.peer);
  device.must_sync(server);
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 5);
  EXPECT_EQ(device.peer.number("SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND tbl_name = "
                               "'rejoin_aside'"),
            3);
  device.peer.expect_sound();
}

// Also where a statement reads, which keeps tables from being dropped, and views of the application's are out of order.
TEST_F(OlderFile, OfFormat4ListsWhatWaitsWithItsValues) {
  device.must_sync(server);
  Peer other("CREATE TABLE notes(id TEXT PRIMARY KEY, text TEXT)", {"notes"});
  other.run("INSERT INTO notes VALUES('n', 'waits')");
  device.peer.fetch(other);
  device.peer.run("CREATE VIEW broken AS SELECT * FROM nowhere; CREATE VIEW waiting AS SELECT key FROM rejoin_parked");
  make_format_4(device.peer);
  // As long as nothing of Rejoin was used it is the stored table.
  EXPECT_EQ(device.peer.rows("SELECT table_name, key FROM rejoin_parked"), "'notes'|'[\"n\"]'\n");
  ASSERT_TRUE(sqlite::register_functions(device.peer.handle(), device.peer.rejoin()).ok());
  EXPECT_NE(device.peer.rows("SELECT * FROM rejoin_changes"), "");
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 5);
  EXPECT_EQ(device.peer.rows("SELECT table_name, key, \"values\" FROM rejoin_parked"),
            "'notes'|'[\"n\"]'|'{\"id\":\"n\",\"text\":\"waits\"}'\n");
  EXPECT_EQ(device.peer.rows("SELECT * FROM waiting"), "'[\"n\"]'\n");
  EXPECT_EQ(device.peer.number("PRAGMA legacy_alter_table"), 0);
  device.peer.run("DROP VIEW broken");
  device.peer.expect_sound(true);
}

TEST_F(OlderFile, ANewerOneIsRefused) {
  device.peer.run("UPDATE rejoin_state SET format = 6");
  device.peer.database().close(0);
  auto page = device.peer.rejoin().page({});
  ASSERT_FALSE(page.ok());
  EXPECT_EQ(page.error().code, Code::unsupported);
  EXPECT_EQ(device.peer.number("SELECT format FROM rejoin_state"), 6);
}

}  // namespace
}  // namespace rejoin::testing
