// What sync/store.h promises of a tenant's store, call by call, of the embedded one and of PostgreSQL's.
#include <gtest/gtest.h>

#include <thread>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "contract/contract.h"
#include "tests/support/store_device.h"
#include "tests/support/store_world.h"

namespace rejoin::testing {
namespace {

using Device = StoreDevice;
const auto& kTables = kStoreTables;
const std::string& kSchema = kStoreSchema;
const std::vector<std::string>& kNames = kStoreNames;
const std::string kTodos = "SELECT id, title, done FROM todos ORDER BY id";

class StoreConformance : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreConformance() : world(StoreWorld::make(GetParam(), kTables)) {}
  sync::TenantStore& store(size_t node = 0) { return world->store(node); }
  // Pushes all that the device has written since its last push.
  void push_all(Device& device) {
    const Bytes frame = device.frame();
    if (frame.empty()) return;
    auto reply = device.push(store(), frame);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->outcome.refused.size(), 0u);
  }
  void expect_shows(Device& device) {
    EXPECT_EQ(difference(plain_rows(device.peer, kTodos), world->rows(kTodos)), "");
    device.peer.expect_sound();
    world->expect_sound();
  }
  std::unique_ptr<StoreWorld> world;
};

// ---- pushes

TEST_P(StoreConformance, ARetryIsAnsweredAsTheFirstTimeAndDoneOnce) {
  Device a("a");
  a.write("x", 3);
  a.peer.run("CREATE TABLE extra(id TEXT PRIMARY KEY)");
  a.peer.track("extra");
  a.peer.run("INSERT INTO extra VALUES('e')");
  const Bytes frame = a.frame();
  const sync::PushRequest request = a.request(frame);
  auto first = a.push(store(), request);
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_FALSE(first->repeated);
  EXPECT_EQ(first->outcome.rows_seen, 4u);
  ASSERT_EQ(first->outcome.refused.size(), 1u);
  world->run("UPDATE todos SET title='since' WHERE id='x1'");
  for (const size_t node : {0, 1}) {
    auto again = store(node).push(request);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_TRUE(again->repeated);
    EXPECT_EQ(again->next_chain_token, first->next_chain_token);
    EXPECT_EQ(again->outcome.rows_seen, first->outcome.rows_seen);
    EXPECT_EQ(again->outcome.rows_changed, first->outcome.rows_changed);
    ASSERT_EQ(again->outcome.refused.size(), 1u);
    EXPECT_EQ(again->outcome.refused[0].table, "extra");
    EXPECT_EQ(again->outcome.refused[0].key, first->outcome.refused[0].key);
    EXPECT_EQ(again->outcome.refused[0].key_json, "[\"e\"]");
    EXPECT_EQ(again->outcome.refused[0].code, Code::schema_refused);
    EXPECT_EQ(again->outcome.refused[0].reason, first->outcome.refused[0].reason);
  }
  EXPECT_EQ(world->rows("SELECT title FROM todos WHERE id='x1'"), "since\n");
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 3);
}

TEST_P(StoreConformance, AChainGoesOnFromAnyNode) {
  Device a("a");
  for (size_t i = 0; i < 4; ++i) {
    a.write("n" + std::to_string(i) + "-", 2);
    const Bytes frame = a.frame();
    auto reply = a.push(store(i % 2), frame);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
  }
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 8);
}

TEST_P(StoreConformance, AnEarlierTokenIsStaleAndChangesNothing) {
  Device a("a");
  a.write("x", 1);
  push_all(a);
  const Bytes early = a.token;
  a.write("y", 1);
  push_all(a);
  a.write("z", 1);
  const Bytes frame = a.frame();
  for (const Bytes& token : {early, Bytes()}) {
    sync::PushRequest request = a.request(frame);
    request.chain_token = token;
    EXPECT_EQ(code_of(store().push(request)), Code::stale_chain);
  }
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 2);
  EXPECT_TRUE(a.push(store(), frame).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 3);
}

TEST_P(StoreConformance, ATokenThatWasNeverGivenIsUnknownAndTheChainBeginsAnew) {
  Device a("a");
  a.write("x", 1);
  const Bytes first = a.frame();
  a.token = "0123456789abcdef";
  EXPECT_EQ(code_of(a.push(store(), first)), Code::unknown_chain);
  a.token.clear();
  ASSERT_TRUE(a.push(store(), first).ok());
  a.write("y", 1);
  const Bytes second = a.frame();
  const Bytes mine = a.token;
  for (const Bytes& token : {Bytes("\x7f-------........", 16), Bytes(mine.substr(0, 8) + "otherone")}) {
    a.token = token;
    EXPECT_EQ(code_of(a.push(store(), second)), Code::unknown_chain);
    EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 1);
    // Asking about a token that is known forgets nothing.
    for (const Bytes& asked : {mine, token}) EXPECT_EQ(code_of(store().restored("a", a.site(), asked, {})), Code::ok);
    a.token.clear();
    ASSERT_TRUE(a.push(store(), first).ok());  // everything again
  }
  ASSERT_TRUE(a.push(store(), second).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 2);
}

TEST_P(StoreConformance, ASiteIsOfTheDeviceThatBroughtItFirst) {
  Device a("a");
  a.write("x", 1);
  push_all(a);
  a.write("y", 1);
  const Bytes frame = a.frame();
  sync::PushRequest request = a.request(frame);
  request.device = "thief";
  request.chain_token.clear();
  EXPECT_EQ(code_of(store().push(request)), Code::stale_chain);
  request.chain_token = a.token;
  EXPECT_EQ(code_of(store().push(request)), Code::stale_chain);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 1);
  EXPECT_TRUE(a.push(store(), frame).ok());
}

TEST_P(StoreConformance, ANonceOfAnotherSizeIsAMistake) {
  Device a("a");
  a.write("x", 1);
  const Bytes frame = a.frame();
  for (const size_t size : {0, 15, 17}) {
    sync::PushRequest request = a.request(frame);
    request.nonce.resize(size);
    EXPECT_EQ(code_of(store().push(request)), Code::bad_argument);
  }
}

TEST_P(StoreConformance, AStampFromTheFutureRefusesTheWholePush) {
  Device a("a");
  a.write("good", 2);
  a.peer.clock().advance(3'600'000);
  a.write("ahead", 1);
  const Bytes frame = a.frame();
  EXPECT_EQ(code_of(a.push(store(), frame)), Code::clock_ahead);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 0);
  EXPECT_EQ(world->kept("device"), 0);
  // Within what the server allows it is taken.
  sync::PushRequest request = a.request(frame);
  request.drift_ms = 2 * 3'600'000;
  EXPECT_TRUE(a.push(store(), request).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 3);
  // Nobody else's clock is poisoned: a write of now is below it, one after it above.
  Device b("b");
  b.write("now", 1);
  push_all(b);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 4);
}

TEST_P(StoreConformance, WritesOfOtherSitesAreRefusedOneByOneUnlessItMayRelay) {
  Device a("a"), b("b");
  a.write("a", 2);
  b.peer.apply(a.peer.changeset());
  b.write("b", 2);
  b.peer.run("UPDATE todos SET title='by b' WHERE id='a1'");
  const Bytes frame = b.frame(~uint64_t{0}, false);
  auto reply = b.push(store(), frame);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_GE(reply->outcome.refused.size(), 1u);
  for (const sync::RefusedRow& row : reply->outcome.refused) EXPECT_EQ(row.code, Code::forbidden) << row.reason;
  EXPECT_EQ(world->rows("SELECT id FROM todos WHERE id LIKE 'b%' ORDER BY id"), "b1\nb2\n");
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id='a2'"), 0);
  b.take_all(store());
  sync::PushRequest relayed = b.request(frame);
  relayed.may_relay = true;
  reply = b.push(store(), relayed);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->outcome.refused.size(), 0u);
  EXPECT_EQ(world->rows("SELECT id, title FROM todos WHERE id LIKE 'a%' ORDER BY id"),
            "a1|by b\na2|title of row number 2\n");
  // What a relay brought of others is not sent back to it.
  EXPECT_EQ(b.take_all(store()), 0u);
}

TEST_P(StoreConformance, AFrameAboveALimitIsTooLarge) {
  Device a("a");
  a.write("x", 50);
  const Bytes frame = a.frame();
  sync::PushRequest request = a.request(frame);
  request.limits.frame_bytes = frame.size() - 1;
  EXPECT_EQ(code_of(store().push(request)), Code::too_large);
  request = a.request(frame);
  request.limits.rows = 49;
  EXPECT_EQ(code_of(store().push(request)), Code::too_large);
  EXPECT_EQ(world->kept("device"), 0);
  request = a.request(frame);
  request.limits.rows = 50;
  request.limits.frame_bytes = frame.size();
  EXPECT_TRUE(a.push(store(), request).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 50);
}

TEST_P(StoreConformance, AValueAboveTheLimitRefusesItsRowAlone) {
  Device a("a");
  a.write("x", 2);
  a.peer.run("INSERT INTO todos VALUES('long', hex(zeroblob(600)), 1)");
  const Bytes frame = a.frame();
  sync::PushRequest request = a.request(frame);
  request.limits.value_bytes = 1000;
  auto reply = a.push(store(), request);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->outcome.refused.size(), 1u);
  EXPECT_EQ(reply->outcome.refused[0].code, Code::too_large);
  EXPECT_EQ(reply->outcome.refused[0].key_json, "[\"long\"]");
  EXPECT_NE(reply->outcome.refused[0].reason.find("1000"), std::string::npos) << reply->outcome.refused[0].reason;
  EXPECT_EQ(world->number("SELECT count(*) FROM todos WHERE id<>'long'"), 2);
}

TEST_P(StoreConformance, ADamagedFrameChangesNothing) {
  Device a("a");
  a.write("x", 5);
  const Bytes frame = a.frame();
  for (size_t at = 0; at < frame.size(); at += 7) {
    Bytes damaged = frame;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x20);
    const Code code = code_of(store().push(a.request(damaged)));
    EXPECT_TRUE(code == Code::corrupt || code == Code::unsupported) << at << ": " << code_name(code);
    const Bytes cut = frame.substr(0, at);
    EXPECT_EQ(code_of(store().push(a.request(cut))), Code::corrupt) << at;
  }
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 0);
  EXPECT_EQ(world->kept("device"), 0);
  EXPECT_EQ(world->kept("staged"), 0);
  EXPECT_TRUE(a.push(store(), frame).ok());
}

TEST_P(StoreConformance, AFrameWithoutRowsIsTaken) {
  Device a("a");
  crdt::SiteTable sites;
  codec::FrameInfo info;
  info.source = a.site();
  const Bytes frame = codec::ChangesetWriter(info, sites).finish();
  auto reply = a.push(store(), frame);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->outcome.rows_seen, 0u);
  EXPECT_FALSE(reply->outcome.staged);
  a.write("x", 1);
  push_all(a);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 1);
}

TEST_P(StoreConformance, APositionThatNoLogHasIsCorrupt) {
  Device a("a");
  crdt::SiteTable sites;
  codec::FrameInfo info;
  info.source = a.site();
  for (const bool of_horizon : {false, true}) {
    info.through = of_horizon ? 0 : ~uint64_t{0};
    info.horizon = of_horizon ? ~uint64_t{0} : 0;
    const Bytes frame = codec::ChangesetWriter(info, sites).finish();
    EXPECT_EQ(code_of(a.push(store(), frame)), Code::corrupt);
  }
}

// ---- pushes in several pages

TEST_P(StoreConformance, PagesWaitForTheirHorizonAndShowAtOnce) {
  Device a("a"), b("b");
  a.write("x", 100);
  std::vector<Bytes> frames;
  do {
    frames.push_back(a.frame(500));
  } while (a.more);
  ASSERT_GT(frames.size(), 3u);
  for (size_t i = 0; i < frames.size(); ++i) {
    const sync::PushRequest request = a.request(frames[i]);
    for (const bool again : {false, true}) {
      auto reply = a.push(store(i % 2), request);
      ASSERT_TRUE(reply.ok()) << reply.error().message;
      EXPECT_EQ(reply->outcome.staged, i + 1 < frames.size());
      EXPECT_EQ(reply->repeated, again);
    }
    const int64_t shown = i + 1 < frames.size() ? 0 : 100;
    EXPECT_EQ(world->number("SELECT count(*) FROM todos"), shown);
    EXPECT_EQ(b.take_all(store()), static_cast<uint64_t>(shown));
  }
  EXPECT_EQ(world->kept("staged"), 0);
  expect_shows(b);
}

TEST_P(StoreConformance, APageOutOfOrderIsAGap) {
  Device a("a");
  a.write("x", 60);
  std::vector<Bytes> frames;
  do {
    frames.push_back(a.frame(500));
  } while (a.more);
  ASSERT_GT(frames.size(), 3u);
  EXPECT_EQ(code_of(a.push(store(), frames[1])), Code::gap);
  ASSERT_TRUE(a.push(store(), frames[0]).ok());
  EXPECT_EQ(code_of(a.push(store(), frames[2])), Code::gap);
  EXPECT_EQ(code_of(a.push(store(), frames.back())), Code::gap);
  EXPECT_EQ(world->kept("staged"), 1);
  // A page that is here already is not kept twice, whatever its nonce.
  auto again = a.push(store(), frames[0]);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_TRUE(again->outcome.staged);
  EXPECT_EQ(world->kept("staged"), 1);
  for (size_t i = 1; i < frames.size(); ++i) ASSERT_TRUE(a.push(store(), frames[i]).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 60);
  EXPECT_EQ(world->kept("staged"), 0);
}

TEST_P(StoreConformance, AStreamThatBeginsAnewDropsWhatWaited) {
  Device a("a");
  a.write("x", 60);
  ASSERT_TRUE(a.push(store(), a.frame(500)).ok());
  ASSERT_TRUE(a.push(store(), a.frame(500)).ok());
  EXPECT_EQ(world->kept("staged"), 2);
  a.position.clear();
  ASSERT_TRUE(a.push(store(), a.frame(800)).ok());
  EXPECT_EQ(world->kept("staged"), 1);
  a.position.clear();
  ASSERT_TRUE(a.push(store(), a.frame()).ok());  // whole
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 60);
  EXPECT_EQ(world->kept("staged"), 0);
}

// ---- what becomes of rows

TEST_P(StoreConformance, RowsOfUnknownTablesAndColumnsAreRefusedOneByOne) {
  Device a("a");
  a.peer.run(
      "CREATE TABLE extra(id TEXT PRIMARY KEY); ALTER TABLE todos ADD COLUMN prio INTEGER;"
      "INSERT INTO todos VALUES('with', 'prio', 0, 9); INSERT INTO notes VALUES('n', 1, x'00ff')");
  a.peer.track("extra");
  a.peer.run("INSERT INTO extra VALUES('e')");
  auto reply = a.push(store(), a.frame());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->outcome.rows_seen, 3u);
  ASSERT_EQ(reply->outcome.refused.size(), 2u);
  for (const sync::RefusedRow& row : reply->outcome.refused) EXPECT_EQ(row.code, Code::schema_refused) << row.reason;
  EXPECT_EQ(world->rows("SELECT id, title FROM todos"), "with|prio\n");
  EXPECT_EQ(world->number("SELECT count(*) FROM notes"), 1);
}

TEST_P(StoreConformance, TheDeadTravelWithTheirValuesAndComeBack) {
  Device a("a"), b("b");
  a.write("x", 3);
  push_all(a);
  a.peer.run("DELETE FROM todos WHERE id='x2'");
  push_all(a);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 2);
  b.take_all(store());
  expect_shows(b);
  // An edit of a dead row does not revive it, and shows when it is restored elsewhere.
  b.peer.clock().advance(10);
  a.take_all(store());
  EXPECT_TRUE(b.peer.restore("todos", {sim::Value::text("x2")}));
  b.peer.run("UPDATE todos SET title='restored by b' WHERE id='x2'");
  push_all(b);
  EXPECT_EQ(world->rows("SELECT id, title, done FROM todos WHERE id='x2'"), "x2|restored by b|0\n");
  a.take_all(store());
  expect_shows(a);
}

TEST_P(StoreConformance, AnEditOfADeadRowIsKeptForItsRestore) {
  Device a("a"), b("b");
  a.write("x", 1);
  push_all(a);
  b.take_all(store());
  a.peer.run("DELETE FROM todos");
  push_all(a);
  b.peer.clock().advance(10);
  b.peer.run("UPDATE todos SET title='edited meanwhile'");
  push_all(b);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 0);
  a.take_all(store());
  a.peer.clock().advance(20);
  EXPECT_TRUE(a.peer.restore("todos", {sim::Value::text("x1")}));
  push_all(a);
  EXPECT_EQ(world->rows("SELECT title FROM todos"), "edited meanwhile\n");
  b.take_all(store());
  expect_shows(b);
}

TEST_P(StoreConformance, AnOlderWriteLosesAndANewerOneWinsWhateverTheOrder) {
  Device a("a"), b("b");
  a.write("x", 1);
  push_all(a);
  b.take_all(store());
  a.peer.clock().advance(2000);
  b.peer.clock().advance(1000);
  a.peer.run("UPDATE todos SET title='later'");
  b.peer.run("UPDATE todos SET title='earlier', done=5");
  push_all(a);
  push_all(b);
  EXPECT_EQ(world->rows(kTodos), "x1|later|5\n");
  a.take_all(store());
  b.take_all(store());
  expect_shows(a);
  expect_shows(b);
}

TEST_P(StoreConformance, PlainSqlBesideTheServerIsAWriteLikeAnyOther) {
  Device a("a");
  a.write("x", 3);
  push_all(a);
  world->run("UPDATE todos SET done=7 WHERE id='x1'; DELETE FROM todos WHERE id='x2'");
  world->run("INSERT INTO todos(id, title) VALUES('sql', 'direct')");
  EXPECT_EQ(a.take_all(store()), 3u);
  EXPECT_EQ(plain_rows(a.peer, kTodos), "sql|direct|0\nx1|title of row number 1|7\nx3|title of row number 3|1\n");
  expect_shows(a);
}

// ---- pulls

TEST_P(StoreConformance, AnEmptyStoreHasNoNews) {
  Device a("a");
  auto reply = store().pull(a.pull());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(reply->frame.empty());
  EXPECT_FALSE(reply->more);
  EXPECT_FALSE(reply->restarted);
  a.cursor = reply->next_cursor;
  reply = store().pull(a.pull());
  ASSERT_TRUE(reply.ok());
  EXPECT_TRUE(reply->frame.empty());
  EXPECT_FALSE(reply->restarted);
}

TEST_P(StoreConformance, ADevicesOwnWritesAreLeftOut) {
  Device a("a"), b("b");
  a.write("a", 5);
  push_all(a);
  EXPECT_EQ(a.take_all(store()), 0u);  // in a scan
  b.write("b", 2);
  push_all(b);
  EXPECT_EQ(b.take_all(store()), 5u);
  a.write("more", 5);
  push_all(a);
  EXPECT_EQ(a.take_all(store()), 2u);  // in the log
  EXPECT_EQ(b.take_all(store()), 5u);
  EXPECT_EQ(a.take_all(store()), 0u);
  expect_shows(a);
  expect_shows(b);
  // Another device of the same site table starts from nothing and gets all.
  Device c("c");
  EXPECT_EQ(c.take_all(store()), 12u);
  expect_shows(c);
}

TEST_P(StoreConformance, WhereNothingIsNewTheCursorStays) {
  Device a("a"), b("b");
  a.write("a", 5);
  push_all(a);
  b.take_all(store());
  for (const size_t node : {0, 1}) {
    auto idle = store(node).pull(b.pull());
    ASSERT_TRUE(idle.ok());
    EXPECT_TRUE(idle->frame.empty());
    EXPECT_EQ(idle->next_cursor, b.cursor);
    EXPECT_FALSE(idle->more);
  }
}

TEST_P(StoreConformance, PagesAreOfBoundedSizeAndShowAtTheirHorizon) {
  for (const bool from_log : {false, true}) {
    SCOPED_TRACE(from_log ? "from the log" : "from a scan");
    Device a("a" + std::to_string(from_log)), b("b" + std::to_string(from_log));
    const int64_t before = world->number("SELECT count(*) FROM todos");
    if (from_log) b.take_all(store());
    for (int i = 0; i < 40; ++i) {
      a.write("p" + std::to_string(from_log) + "-" + std::to_string(i) + "-", 10);
      push_all(a);
    }
    int pages = 0;
    do {
      auto reply = store(static_cast<size_t>(pages) % 2).pull(b.pull(1500));
      ASSERT_TRUE(reply.ok()) << reply.error().message;
      EXPECT_FALSE(reply->restarted);
      EXPECT_LT(reply->frame.size(), 1500u * 8);
      if (!reply->frame.empty()) b.peer.apply(reply->frame);
      b.cursor = reply->next_cursor;
      b.more = reply->more;
      if (b.more) {
        EXPECT_EQ(b.peer.number("SELECT count(*) FROM todos"), from_log ? before : 0);
      }
      // The page after next has seen what comes in meanwhile, so everything waits for it.
      if (++pages == 2) {
        a.write("meanwhile" + std::to_string(from_log) + "-", 10);
        push_all(a);
      }
    } while (b.more && pages < 1000);
    EXPECT_GT(pages, 5);
    expect_shows(b);
  }
}

TEST_P(StoreConformance, ACursorOfAnotherServerBeginsAnew) {
  auto other = StoreWorld::make(GetParam(), kTables);
  Device a("a"), b("b"), writer("w");
  a.write("a", 3);
  push_all(a);
  a.write("b", 3);
  push_all(a);
  for (int i = 0; i < 9; ++i) {
    writer.write("w" + std::to_string(i), 1);
    ASSERT_TRUE(writer.push(other->store(), writer.frame()).ok());
  }
  // Behind this one's log, and within it.
  for (const int rounds : {9, 1}) {
    Device c("c");
    if (rounds == 9) {
      c.take_all(other->store());
    } else {
      codec::Cursor within;
      within.position = 1;
      within.token = 4711;
      c.cursor = codec::encode_cursor(within);
    }
    c.peer.run("DELETE FROM todos");
    auto reply = store().pull(c.pull());
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_TRUE(reply->restarted);
    EXPECT_EQ(reply->rows, 6u);
  }
  // One that scans, of another's records.
  codec::Cursor scanning;
  scanning.scanning = true;
  scanning.position = 2;
  scanning.token = 4711;
  scanning.table = 1;
  b.cursor = codec::encode_cursor(scanning);
  auto reply = store().pull(b.pull());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(reply->restarted);
  EXPECT_EQ(reply->rows, 6u);
}

TEST_P(StoreConformance, ACursorThatNobodyMadeIsAMistake) {
  Device a("a");
  a.write("a", 3);
  push_all(a);
  Device b("b");
  for (const Bytes& cursor : {Bytes("x"), Bytes(100, 'x'), Bytes("\x01\x02\x03\x04\x05")}) {
    b.cursor = cursor;
    EXPECT_EQ(code_of(store().pull(b.pull())), Code::bad_argument);
  }
  // One with a check that fits, and numbers that do not.
  for (const uint64_t position : {uint64_t{1} << 62, ~uint64_t{0}})
    for (const bool scanning : {false, true}) {
      codec::Cursor cursor;
      cursor.scanning = scanning;
      cursor.position = position;
      cursor.token = ~uint64_t{0};
      cursor.horizon = ~uint64_t{0};
      cursor.table = ~uint64_t{0};
      b.cursor = codec::encode_cursor(cursor);
      auto reply = store().pull(b.pull());
      ASSERT_TRUE(reply.ok()) << reply.error().message;
      EXPECT_TRUE(reply->restarted);
      EXPECT_EQ(reply->rows, 3u);
    }
}

TEST_P(StoreConformance, WhoWasAwayWhileTheLogWasForgottenMissesNothing) {
  Device a("a"), b("b"), sleeper("s");
  sleeper.write("s", 2);
  push_all(sleeper);
  for (Device* d : {&a, &b, &sleeper}) d->take_all(store());
  a.write("a", 3), push_all(a);
  b.write("b", 3), push_all(b);
  sleeper.take_all(store());
  a.peer.run("DELETE FROM todos WHERE id='s1'");
  push_all(a);
  world->lengthen_log();
  world->age_device("s");
  for (int i = 0; i < 3; ++i)
    for (Device* d : {&a, &b}) {
      d->take_all(store());
      d->write("again" + std::to_string(i) + d->name, 1);
      push_all(*d);
    }
  EXPECT_LT(world->kept("log"), 5000);
  for (Device* d : {&a, &b, &sleeper}) {
    d->take_all(store());
    EXPECT_FALSE(d->restarted);
    expect_shows(*d);
  }
}

TEST_P(StoreConformance, APullOfAnOlderStateOfTheDeviceIsFoundOut) {
  Device a("a");
  a.write("x", 1);
  push_all(a);
  const Bytes early = a.token;
  a.write("y", 1);
  push_all(a);
  sync::PullRequest pull = a.pull();
  pull.chain_token = a.token;
  EXPECT_EQ(code_of(store().pull(pull)), Code::ok);
  pull.chain_token = early;
  EXPECT_EQ(code_of(store().pull(pull)), Code::stale_chain);
  pull.chain_token = Bytes("\x7f-------........", 16);
  EXPECT_EQ(code_of(store().pull(pull)), Code::unknown_chain);
  pull.chain_token.clear();
  EXPECT_EQ(code_of(store().pull(pull)), Code::ok);
  Device b("b");
  pull = b.pull();
  pull.chain_token = a.token;
  EXPECT_EQ(code_of(store().pull(pull)), Code::unknown_chain);
}

// ---- after a backup was restored

TEST_P(StoreConformance, AStoreThatWentBackKnowsNeitherLaterTokensNorLaterCursors) {
  Device a("a"), b("b"), d("d");
  a.write("a", 3);
  push_all(a);
  b.take_all(store());
  d.write("d", 1);
  push_all(d);
  world->back_up();
  a.write("later", 3);
  push_all(a);
  d.write("d later", 1);
  push_all(d);
  b.write("b", 1);
  push_all(b);
  b.take_all(store());
  const Bytes late = b.cursor;
  world->go_back();
  // Who starts over when a pull said so, without a token, is no copy.
  sync::PullRequest late_pull = d.pull();
  late_pull.chain_token = d.token;
  EXPECT_EQ(code_of(store().pull(late_pull)), Code::unknown_chain);
  EXPECT_EQ(code_of(store().restored("d", d.site(), d.token, {})), Code::ok);
  d.token.clear();
  d.position.clear();
  EXPECT_EQ(code_of(d.push(store(), d.frame())), Code::ok);
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 5);
  a.write("new", 1);
  const Bytes frame = a.frame();
  EXPECT_EQ(code_of(a.push(store(), frame)), Code::unknown_chain);
  sync::PullRequest pull = b.pull();
  pull.chain_token = b.token;
  EXPECT_EQ(code_of(store().pull(pull)), Code::unknown_chain);
  // The log may have come as far as the late cursor by the time that it is shown.
  Device c("c");
  for (int i = 0; i < 5; ++i) {
    c.write("c" + std::to_string(i), 1);
    push_all(c);
  }
  auto reply = store().pull(b.pull());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(reply->restarted);
  // Everything again, from the beginning of the chain.
  EXPECT_EQ(code_of(store().restored("a", a.site(), a.token, {})), Code::ok);
  a.token.clear();
  a.position.clear();
  ASSERT_TRUE(a.push(store(), a.frame()).ok());
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 3 + 3 + 1 + 5 + 2);
}

// ---- contracts

std::string contract_of(const std::string& schema, const std::vector<std::string>& names, std::string& fingerprint) {
  Peer peer(schema, names);
  auto json = peer.rejoin().contract_json();
  EXPECT_TRUE(json.ok());
  auto parsed = contract::from_json(*json);
  EXPECT_TRUE(parsed.ok());
  fingerprint = contract::fingerprint(*parsed);
  return *json;
}

TEST_P(StoreConformance, ItsContractIsNamedByItsFingerprint) {
  auto json = store().contract_json();
  ASSERT_TRUE(json.ok()) << json.error().message;
  auto parsed = contract::from_json(*json);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->tables.size(), 2u);
  auto fingerprint = store().contract_fingerprint();
  ASSERT_TRUE(fingerprint.ok());
  EXPECT_EQ(*fingerprint, contract::fingerprint(*parsed));
  for (const bool may_create : {false, true}) {
    EXPECT_TRUE(*store().knows_contract(*fingerprint, may_create));
    EXPECT_FALSE(*store().knows_contract("0123456789abcdef0123456789abcdef", may_create));
  }
}

TEST_P(StoreConformance, AContractIsAskedForOnceAndAgainByWhoMayCreate) {
  std::string fingerprint;
  const std::string json = contract_of(kSchema + "CREATE TABLE extra(id TEXT PRIMARY KEY, v TEXT)",
                                       {"todos", "notes", "extra"}, fingerprint);
  EXPECT_FALSE(*store().knows_contract(fingerprint, false));
  ASSERT_TRUE(store().adopt_contract(json, false).ok());
  for (const size_t node : {0, 1}) {
    EXPECT_TRUE(*store(node).knows_contract(fingerprint, false));
    EXPECT_FALSE(*store(node).knows_contract(fingerprint, true));
  }
  ASSERT_TRUE(store().adopt_contract(json, true).ok());
  for (const size_t node : {0, 1}) {
    EXPECT_TRUE(*store(node).knows_contract(fingerprint, false));
    EXPECT_TRUE(*store(node).knows_contract(fingerprint, true));
  }
  EXPECT_EQ(world->number("SELECT count(*) FROM extra"), 0);
  Device a("a", kSchema + "CREATE TABLE extra(id TEXT PRIMARY KEY, v TEXT)", {"todos", "notes", "extra"});
  a.peer.run("INSERT INTO extra VALUES('e', 'v')");
  push_all(a);
  EXPECT_EQ(world->rows("SELECT id, v FROM extra"), "e|v\n");
}

TEST_P(StoreConformance, WhoMayCreateAddsColumnsToo) {
  const std::string wider =
      "CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0, prio INTEGER DEFAULT 5, \"odd "
      "name\" "
      "TEXT);";
  std::string fingerprint;
  const std::string json = contract_of(wider, {"todos"}, fingerprint);
  ASSERT_TRUE(store().adopt_contract(json, false).ok());
  EXPECT_TRUE(*store().knows_contract(fingerprint, false));
  EXPECT_FALSE(*store().knows_contract(fingerprint, true));
  world->run("INSERT INTO todos(id, title) VALUES('before', 'x')");
  ASSERT_TRUE(store().adopt_contract(json, true).ok());
  EXPECT_TRUE(*store().knows_contract(fingerprint, true));
  Device a("a", wider, {"todos"});
  a.peer.run("INSERT INTO todos VALUES('p', 'x', 0, 9, 'y')");
  push_all(a);
  EXPECT_EQ(world->rows("SELECT id, prio, \"odd name\" FROM todos ORDER BY id"), "before|5|null\np|9|y\n");
  // Who does not have them gets the rest.
  Device b("b");
  b.take_all(store(1));
  EXPECT_EQ(plain_rows(b.peer, kTodos), "before|x|0\np|x|0\n");
  world->expect_sound();
}

TEST_P(StoreConformance, ATableThatCannotBeMadeKeepsNoOtherOut) {
  world->run("CREATE VIEW taken AS SELECT 1 AS id");
  std::string fingerprint;
  const std::string json =
      contract_of("CREATE TABLE taken(id TEXT PRIMARY KEY); CREATE TABLE zebra(id TEXT PRIMARY KEY)",
                  {"taken", "zebra"}, fingerprint);
  ASSERT_TRUE(store().adopt_contract(json, true).ok());
  EXPECT_FALSE(*store().knows_contract(fingerprint, true));
  EXPECT_TRUE(*store().knows_contract(fingerprint, false));
  EXPECT_EQ(world->number("SELECT count(*) FROM zebra"), 0);
  Device a("a", "CREATE TABLE taken(id TEXT PRIMARY KEY); CREATE TABLE zebra(id TEXT PRIMARY KEY)", {"taken", "zebra"});
  a.peer.run("INSERT INTO taken VALUES('t'); INSERT INTO zebra VALUES('z')");
  auto reply = a.push(store(), a.frame());
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  ASSERT_EQ(reply->outcome.refused.size(), 1u);
  EXPECT_EQ(reply->outcome.refused[0].table, "taken");
  EXPECT_EQ(world->rows("SELECT id FROM zebra"), "z\n");
}

TEST_P(StoreConformance, WhatIsNoContractIsAMistake) {
  for (const char* json : {"", "{", "{\"tables\":1}", "[]", "{\"tables\":[{\"name\":\"rejoin_log\"}]}"})
    for (const bool may_create : {false, true})
      EXPECT_EQ(code_of(store().adopt_contract(json, may_create)), Code::bad_argument) << json;
}

// ---- at the same time

TEST_P(StoreConformance, NodesThatPushAndPullAtTheSameTimeLoseNothing) {
  constexpr int kEach = 12, kRows = 5;
  for (const size_t node : {0, 1, 2}) (void)store(node);  // open before the threads
  auto pushing = [&](size_t node) {
    Device device("d" + std::to_string(node));
    for (int i = 0; i < kEach; ++i) {
      device.write("d" + std::to_string(node) + "-" + std::to_string(i) + "-", kRows);
      const Bytes frame = device.frame();
      const sync::PushRequest request = device.request(frame);
      for (int tries = 0;; ++tries) {
        auto reply = device.push(store(node), request);
        if (reply.ok()) break;
        ASSERT_TRUE(code_retryable(reply.error().code)) << reply.error().message;
        ASSERT_LT(tries, 100);
      }
    }
  };
  Device reader("r");
  std::thread one([&] { pushing(0); }), two([&] { pushing(1); });
  for (int i = 0; i < 20; ++i) reader.take(store(2), 2000);
  one.join(), two.join();
  reader.take_all(store(2));
  EXPECT_EQ(world->number("SELECT count(*) FROM todos"), 2 * kEach * kRows);
  expect_shows(reader);
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreConformance, ::testing::Values(StoreKind::embedded, StoreKind::postgres),
                         [](const auto& of) { return of.param == StoreKind::embedded ? "embedded" : "postgres"; });

}  // namespace
}  // namespace rejoin::testing
