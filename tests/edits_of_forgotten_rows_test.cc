// A deletion that was forgotten stays one, also when an edit of the row, by somebody who was away, reaches the server
// by another way first: through a device that hears of it in a file. The edit is listed where it was made.
#include <gtest/gtest.h>

#include "tests/support/forgetting_server.h"

namespace rejoin::testing {
namespace {

constexpr int64_t kDay = int64_t{24} * 3600 * 1000;
const std::string kAll = "SELECT * FROM t ORDER BY id";
const std::string kRejections = "SELECT key, code, server FROM rejoin_rejections ORDER BY key";

class EditsOfForgottenRows : public ::testing::TestWithParam<StoreKind> {
 protected:
  EditsOfForgottenRows()
      : server(ForgettingServer::make(GetParam())),
        a("a", kForgettingSchema, {"t"}),
        relay("relay", kForgettingSchema, {"t"}),
        reader("reader", kForgettingSchema, {"t"}),
        editor("editor", kForgettingSchema, {"t"}),
        all{&a, &relay, &reader, &editor} {
    server->set_clock(a.peer.clock().now_ms());
    relay.caller.may_relay = true;
    a.peer.run("INSERT INTO t VALUES('k', 'old', 'old'), ('l', 'old', 'old'), ('m', 'old', 'old')");
    for (int i = 0; i < 2; ++i)
      for (LoopbackDevice* d : all) d->must_sync(server->node());
    pass(1);
    // The others are away.
    a.peer.run("DELETE FROM t WHERE id = 'k'");
    for (int i = 0; i < 2; ++i) a.must_sync(server->node()), relay.must_sync(server->node());
    pass(40);
    for (int i = 0; i < 2; ++i) a.must_sync(server->node()), relay.must_sync(server->node());
    server->compact();
    EXPECT_EQ(server->records(), 2);
  }
  void pass(int64_t days) {
    for (LoopbackDevice* d : all) d->peer.clock().advance(days * kDay);
    server->advance(days * kDay);
  }
  // The relay hears of it in a file.
  void relay_edits() {
    relay.peer.fetch(editor.peer);
    relay.must_sync(server->node());
    EXPECT_EQ(server->records(), 3) << "the server has heard of an edit of k";
  }
  // Trying again and editing again change nothing.
  void goes_when_discarded() {
    ASSERT_TRUE(editor.peer.rejoin().retry().ok());
    editor.must_sync(server->node());
    EXPECT_EQ(editor.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"k\"]'|'before_horizon'\n");
    editor.peer.run("UPDATE t SET w = 'later' WHERE id = 'k'");
    editor.must_sync(server->node());
    EXPECT_EQ(editor.peer.rows("SELECT key, code FROM rejoin_rejections"), "'[\"k\"]'|'before_horizon'\n");
    EXPECT_EQ(server->rows({"id"}), "'l'\n'm'\n");
    ASSERT_TRUE(editor.peer.rejoin().discard_all().ok());
    for (int i = 0; i < 2; ++i) editor.must_sync(server->node());
    expect_gone(editor);
    server->expect_sound();
  }
  void expect_gone(LoopbackDevice& d) {
    EXPECT_EQ(difference(d.peer.rows(kAll), server->rows()), "") << d.caller.device;
    EXPECT_EQ(d.peer.rows(kRejections), "") << d.caller.device;
    d.peer.expect_sound();
  }

  std::unique_ptr<ForgettingServer> server;
  LoopbackDevice a, relay, reader, editor;
  std::vector<LoopbackDevice*> all;
};

TEST_P(EditsOfForgottenRows, DoNotKeepTheRowOnADeviceThatWasAway) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id IN ('k', 'l')");
  relay_edits();
  reader.must_sync(server->node());
  expect_gone(reader);
  EXPECT_EQ(reader.peer.rows(kAll), "'l'|'late'|'old'\n'm'|'old'|'old'\n");
  for (int i = 0; i < 2; ++i)
    for (LoopbackDevice* d : {&reader, &a}) d->must_sync(server->node()), expect_gone(*d);
  server->expect_sound();
}

TEST_P(EditsOfForgottenRows, AreListedWhereTheyWereMade) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id IN ('k', 'l')");
  relay_edits();
  for (int i = 0; i < 2; ++i) {
    editor.must_sync(server->node());
    EXPECT_EQ(editor.peer.rows(kRejections), "'[\"k\"]'|'before_horizon'|'null'\n");
    EXPECT_EQ(editor.peer.rows(kAll), "'k'|'late'|'old'\n'l'|'late'|'old'\n'm'|'old'|'old'\n");
  }
  goes_when_discarded();
}

// The server takes the edit, then: who makes it knows of all deletions by now. There is no row that has it.
TEST_P(EditsOfForgottenRows, StayListedWhereTheServerRefusedThem) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id = 'k'");
  editor.must_sync(server->node());
  EXPECT_EQ(editor.peer.number("SELECT count(*) FROM rejoin_rejections WHERE code = 'before_horizon'"), 1);
  goes_when_discarded();
}

TEST_P(EditsOfForgottenRows, AreNotListedAnyMoreWhenTheRowIsDeletedHereToo) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id = 'k'");
  relay_edits();
  editor.must_sync(server->node());
  editor.peer.run("DELETE FROM t WHERE id = 'k'");
  editor.must_sync(server->node());
  expect_gone(editor);
}

TEST_P(EditsOfForgottenRows, OfADeviceThatHadThemInAFileDoNotKeepTheRow) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id = 'k'");
  reader.peer.fetch(editor.peer);
  relay_edits();
  reader.must_sync(server->node());
  expect_gone(reader);
  EXPECT_EQ(reader.peer.rows("SELECT id FROM t ORDER BY id"), "'l'\n'm'\n");
}

// What is alive stays, with edits of whoever was away, before and while it reads everything anew.
TEST_P(EditsOfForgottenRows, OfRowsThatAreThereGoThrough) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id = 'l'");
  bool wrote = false;
  editor.during_response = [&](uint64_t) {
    if (!std::exchange(wrote, true)) editor.peer.run("UPDATE t SET w = 'meanwhile' WHERE id = 'm'");
  };
  editor.must_sync(server->node());
  editor.during_response = nullptr;
  for (int i = 0; i < 2; ++i)
    for (LoopbackDevice* d : all) d->must_sync(server->node());
  EXPECT_EQ(server->rows(), "'l'|'late'|'old'\n'm'|'old'|'meanwhile'\n");
  for (LoopbackDevice* d : all) expect_gone(*d);
}

// The key can be used again, by those too who listed an edit of it.
TEST_P(EditsOfForgottenRows, GiveWayToAnInsertOfTheKey) {
  editor.peer.run("UPDATE t SET v = 'late' WHERE id = 'k'");
  relay_edits();
  for (LoopbackDevice* d : {&reader, &editor}) d->must_sync(server->node());
  pass(1);
  a.must_sync(server->node());
  a.peer.run("INSERT INTO t VALUES('k', 'again', 'again')");
  for (int i = 0; i < 2; ++i)
    for (LoopbackDevice* d : all) d->must_sync(server->node());
  EXPECT_EQ(server->rows({"id", "v", "w"}, "id = 'k'"), "'k'|'again'|'again'\n");
  for (LoopbackDevice* d : {&a, &relay, &reader}) expect_gone(*d);
  EXPECT_EQ(editor.peer.rows(kAll), server->rows());
  ASSERT_TRUE(editor.peer.rejoin().discard_all().ok());
  editor.must_sync(server->node());
  expect_gone(editor);
}

INSTANTIATE_TEST_SUITE_P(Stores, EditsOfForgottenRows, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
