// P8: a damaged or hostile changeset is an error and changes nothing; nothing in one can break later work.
#include <gtest/gtest.h>

#include "codec/changeset.h"
#include "codec/cursor.h"
#include "crdt/key.h"
#include "tests/support/peer.h"

namespace rejoin::testing {
namespace {

constexpr const char* kSchema = "CREATE TABLE t(id TEXT PRIMARY KEY, v, w DEFAULT 5)";
constexpr uint64_t kInt64Max = ~uint64_t{0} >> 1;

// A changeset as an enemy would make it: well formed, with any numbers in it.
struct Forger {
  codec::FrameInfo info;
  crdt::SiteTable sites;
  codec::WireTable table{"t", {"id"}, {"v", "w"}};
  uint32_t site;
  Forger() {
    info.source = crdt::SiteId::from(std::string(16, '\x7e'));
    site = sites.intern(info.source);
  }
  Bytes frame(const std::string& key, crdt::Hlc hlc, bool alive = true) {
    codec::ChangesetWriter writer(info, sites);
    writer.begin_table(table);
    Bytes encoded;
    crdt::ValueRef k = crdt::ValueRef::of_text(key);
    crdt::encode_key(std::span(&k, 1), encoded);
    crdt::RowRecord record;
    record.insert({hlc, site}, static_cast<uint32_t>(table.columns.size()));
    record.alive = alive;
    std::vector<crdt::ValueRef> values(table.columns.size(), crdt::ValueRef::of_text("forged"));
    writer.add(encoded, record, crdt::ColumnSet::first(static_cast<uint32_t>(table.columns.size())), true, values);
    return writer.finish();
  }
};

crdt::Hlc now_of(Peer& p) { return crdt::hlc_of_ms(p.clock().now_ms()); }

TEST(HostileChangeset, EverySingleBitFlipIsRefusedAndChangesNothing) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.clock().advance(10);
  a.run(
      "INSERT INTO t VALUES('1', 'milk', 1.5), ('2', x'00ff', NULL), ('018f2f6e-7b1c-7abc-8def-0123456789ab', -1, "
      "'x')");
  a.run("UPDATE t SET v = 'tea' WHERE id = '1'; DELETE FROM t WHERE id = '2'");
  b.run("INSERT INTO t VALUES('1', 'rum', 2)");
  b.rejoin().fold().ok();
  const Bytes good = a.changeset(0);
  std::string before = b.dump();
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    Code code = b.apply_code(bad);
    ASSERT_TRUE(code == Code::corrupt || code == Code::unsupported) << "bit " << bit << ": " << code_name(code);
  }
  EXPECT_TRUE(b.dump() == before);
  EXPECT_EQ(b.apply(good).rows_changed, 3u);
  b.expect_sound();
}

TEST(HostileChangeset, EveryTruncationAndExtensionIsRefused) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t VALUES('1', 'milk', 1), ('2', 'tea', 2)");
  const Bytes good = a.changeset(0);
  b.rejoin().fold().ok();
  std::string before = b.dump();
  for (size_t n = 0; n < good.size(); ++n) ASSERT_NE(b.apply_code(good.substr(0, n)), Code::ok) << n;
  for (std::string more : {std::string(1, '\0'), std::string("x"), good})
    ASSERT_NE(b.apply_code(good + more), Code::ok);
  ASSERT_NE(b.apply_code(std::string(100, '\0')), Code::ok);
  ASSERT_NE(b.apply_code("not a changeset at all, but long enough to be one"), Code::ok);
  EXPECT_TRUE(b.dump() == before);
}

TEST(HostileChangeset, DamageInADatabaseThatTracksNothingCreatesNothing) {
  Peer a(kSchema, {"t"}), b;
  a.run("INSERT INTO t VALUES('1', 'milk', 1)");
  Bytes bad = a.changeset(0);
  bad[bad.size() / 2] = static_cast<char>(bad[bad.size() / 2] ^ 1);
  EXPECT_EQ(b.apply_code(bad), Code::corrupt);
  EXPECT_EQ(b.rows("SELECT name FROM sqlite_schema"), "");
}

// Symptom: a row with such a key was kept aside for a table that is not here yet, which could not be tracked any more.
TEST(HostileChangeset, AKeyThatCannotBeReadIsNotKeptForLater) {
  for (const bool ahead : {false, true}) {  // kept until its time comes, or until there is such a table
    Peer b(kSchema + std::string("; CREATE TABLE other(id TEXT PRIMARY KEY)"), {ahead ? "t" : "other"});
    b.seq();
    const std::string before = b.dump();
    Forger forger;
    codec::ChangesetWriter writer(forger.info, forger.sites);
    writer.begin_table(forger.table);
    crdt::RowRecord record;
    record.insert({now_of(b) + (ahead ? crdt::hlc_of_ms(int64_t{86'400'000}) : 0), forger.site}, 2);
    const std::vector<crdt::ValueRef> values(2, crdt::ValueRef::of_text("forged"));
    writer.add(BytesView("\x99\x01", 2), record, crdt::ColumnSet::first(2), true, values);
    EXPECT_EQ(b.apply_code(writer.finish()), Code::corrupt);
    EXPECT_EQ(b.dump(), before);
    EXPECT_EQ(b.track_code("t"), Code::ok);
  }
}

TEST(HostileChangeset, TheGreatestPositionDoesNotBreakLaterChangesets) {
  Peer b(kSchema, {"t"}), c(kSchema, {"t"});
  for (uint64_t position : {kInt64Max, kInt64Max - 1, kInt64Max + 1, ~uint64_t{0}}) {
    Forger forger;
    forger.info.through = forger.info.horizon = position;
    Code code = b.apply_code(forger.frame("forged", now_of(b)));
    EXPECT_TRUE(code == Code::ok || code == Code::corrupt) << code_name(code);
    b.run("INSERT INTO t(id, v) VALUES(hex(randomblob(8)), 'mine')");
  }
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT id, v FROM t ORDER BY id"), b.rows("SELECT id, v FROM t ORDER BY id"));
  b.run("UPDATE t SET v = 'again'");
  EXPECT_GT(c.fetch(b), 0u);
  EXPECT_LT(b.seq(), 1000);
  b.expect_sound();
}

TEST(HostileChangeset, AHorizonThatNeverComesStagesAndBlocksNobody) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  Forger forger;
  forger.info.through = 1;
  forger.info.horizon = kInt64Max;
  EXPECT_TRUE(b.apply(forger.frame("forged", now_of(b))).staged);
  EXPECT_EQ(b.rows("SELECT * FROM t"), "");
  a.run("INSERT INTO t(id, v) VALUES('1', 'milk')");
  EXPECT_EQ(b.fetch(a), 1u);
  b.run("UPDATE t SET v = 'tea'");
  EXPECT_EQ(a.fetch(b), 1u);
  // The same source can start again.
  forger.info.through = forger.info.horizon = 5;
  EXPECT_EQ(b.apply(forger.frame("honest", now_of(b))).rows_changed, 1u);
  b.expect_sound();
}

TEST(HostileChangeset, AClockFromTheFarFutureIsParkedAndPoisonsNothing) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  Forger forger;
  forger.info.through = forger.info.horizon = 1;
  uint64_t parked = 0;
  for (crdt::Hlc hlc : {~crdt::Hlc{0}, ~crdt::Hlc{0} >> 1, crdt::Hlc{1} << 63,
                        now_of(b) + (crdt::Hlc{365ull * 24 * 3600 * 1000} << 16)}) {
    auto result = b.rejoin().apply(forger.frame("k" + std::to_string(parked), hlc));
    if (!result.ok()) {
      EXPECT_EQ(result.error().code, Code::corrupt) << result.error().message;
      continue;
    }
    ++parked;
    EXPECT_EQ(result->rows_parked, 1u);
    EXPECT_EQ(result->rows_changed, 0u);
  }
  EXPECT_EQ(b.rows("SELECT * FROM t"), "");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_parked"), static_cast<int64_t>(parked));
  // Not relayed, and not merged into the clock: an honest later write elsewhere still wins.
  b.run("INSERT INTO t(id, v) VALUES('mine', 1)");
  EXPECT_EQ(c.fetch(b), 1u);
  c.clock().advance(10);
  c.run("UPDATE t SET v = 2 WHERE id = 'mine'");
  b.fetch(c);
  EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'mine'|2\n");
  b.run("UPDATE t SET v = 3 WHERE id = 'mine'");
  c.fetch(b);
  EXPECT_EQ(c.rows("SELECT id, v FROM t"), "'mine'|3\n");
}

TEST(HostileChangeset, AStampFromTomorrowAppearsWhenItsTimeComes) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  c.clock().advance(3 * 24 * 3600 * 1000LL);
  c.run("INSERT INTO t(id, v) VALUES('k', 'from the future')");
  b.run("INSERT INTO t(id, v) VALUES('k', 'from now'), ('l', 'mine')");
  auto outcome = b.apply(c.changeset(0));
  EXPECT_EQ(outcome.rows_parked, 1u);
  EXPECT_EQ(b.rows("SELECT id, v FROM t ORDER BY id"), "'k'|'from now'\n'l'|'mine'\n");
  EXPECT_NE(b.rows("SELECT reason FROM rejoin_parked"), "");
  a.fetch(b);
  EXPECT_EQ(a.number("SELECT count(*) FROM t"), 2);
  b.clock().advance(2 * 24 * 3600 * 1000LL + 1000);
  a.run("INSERT INTO t(id, v) VALUES('m', 'news')");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT id, v FROM t ORDER BY id"), "'k'|'from the future'\n'l'|'mine'\n'm'|'news'\n");
  EXPECT_EQ(b.rows("SELECT reason FROM rejoin_parked"), "");
  a.clock().advance(3 * 24 * 3600 * 1000LL);
  a.fetch(b);
  EXPECT_EQ(a.rows("SELECT id, v FROM t ORDER BY id"), b.rows("SELECT id, v FROM t ORDER BY id"));
  b.expect_sound();
}

TEST(HostileChangeset, AStampFromTheFutureCanBeRefusedAsAWhole) {
  Peer b(kSchema, {"t"}), c(kSchema, {"t"});
  c.clock().advance(3 * 24 * 3600 * 1000LL);
  c.run("INSERT INTO t(id, v) VALUES('k', 1)");
  Bytes frame = c.changeset(0);
  b.rejoin().fold().ok();
  std::string before = b.dump();
  sqlite::ApplyOptions options;
  options.refuse_ahead = true;
  auto result = b.rejoin().apply(frame, options);
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().code, Code::clock_ahead);
  EXPECT_TRUE(b.dump() == before);
}

TEST(HostileChangeset, AClockTenYearsBehindOrAheadDoesNotBlockItsDevice) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  constexpr int64_t kTenYears = 10LL * 365 * 24 * 3600 * 1000;
  a.run("INSERT INTO t(id, v) VALUES('k', 'old')");
  b.fetch(a);
  b.clock().advance(-kTenYears);
  b.run("UPDATE t SET v = 'behind'");
  EXPECT_EQ(a.fetch(b), 1u);
  EXPECT_EQ(a.rows("SELECT v FROM t"), "'behind'\n");  // it knew the old value, so its write is later
  a.run("UPDATE t SET w = 6");
  b.fetch(a);
  EXPECT_EQ(b.rows("SELECT v, w FROM t"), "'behind'|6\n");
}

TEST(HostileChangeset, CellsOfOtherSitesAreRefusedFromADeviceThatMayNotRelay) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"}), c(kSchema, {"t"});
  a.run("INSERT INTO t(id, v) VALUES('a', 1), ('c', 3)");
  b.fetch(a);
  b.run("INSERT INTO t(id, v) VALUES('b', 2); UPDATE t SET w = 9 WHERE id = 'a'");
  sqlite::ApplyOptions options;
  options.only_site = crdt::SiteId::from(b.site());
  auto result = c.rejoin().apply(b.changeset(0), options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  // Of row a its own cell is taken, which shows when the row comes from its writer.
  EXPECT_EQ(result->rows_changed, 2u);
  ASSERT_EQ(result->refused.size(), 1u);
  EXPECT_EQ(result->refused[0].code, Code::forbidden);
  EXPECT_EQ(result->refused[0].key_json, "[\"c\"]");
  EXPECT_EQ(c.rows("SELECT id, v FROM t"), "'b'|2\n");
  c.fetch(a);
  EXPECT_EQ(c.rows("SELECT id, v, w FROM t WHERE id = 'a'"), "'a'|1|9\n");
}

TEST(HostileChangeset, AValueAboveTheLimitRefusesItsRowOnly) {
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  a.run("INSERT INTO t(id, v) VALUES('big', zeroblob(2000)), ('small', 1)");
  sqlite::ApplyOptions options;
  options.limits.value_bytes = 1000;
  auto result = b.rejoin().apply(a.changeset(0), options);
  ASSERT_TRUE(result.ok()) << result.error().message;
  ASSERT_EQ(result->refused.size(), 1u);
  EXPECT_EQ(result->refused[0].code, Code::too_large);
  EXPECT_EQ(b.rows("SELECT id, v FROM t"), "'small'|1\n");
}

TEST(HostileChangeset, NamesThatAreSqlAreOnlyNames) {
  Peer b(kSchema, {"t"});
  for (const std::string& name : {std::string("x\"; DROP TABLE t; --"), std::string("sqlite_schema"),
                                  std::string("rejoin_state"), std::string("t__rejoin"), std::string("")}) {
    Forger forger;
    forger.info.through = forger.info.horizon = 1;
    forger.table.name = name;
    Code code = b.apply_code(forger.frame("k", now_of(b)));
    EXPECT_TRUE(code == Code::ok || code == Code::corrupt) << name;
    forger.table.name = "t";
    forger.table.columns = {name + "v\" = 1; --", "w"};
    code = b.apply_code(forger.frame("k", now_of(b)));
    EXPECT_TRUE(code == Code::ok || code == Code::corrupt) << name;
  }
  EXPECT_EQ(b.rows("PRAGMA integrity_check"), "'ok'\n");
  EXPECT_EQ(b.number("SELECT count(*) FROM rejoin_state"), 1);
}

TEST(HostileChangeset, OneVersionWithTwoValuesStaysUntilTheNextWriteHealsIt) {
  // Only damage or forgery makes such a thing. The first to arrive stays (docs/adr/0002-equal-versions.md).
  Peer a(kSchema, {"t"}), b(kSchema, {"t"});
  Forger forger;
  forger.info.through = forger.info.horizon = 1;
  auto frame = [&](const char* value) {
    codec::ChangesetWriter writer(forger.info, forger.sites);
    writer.begin_table(forger.table);
    Bytes key;
    crdt::ValueRef k = crdt::ValueRef::of_text("k");
    crdt::encode_key(std::span(&k, 1), key);
    crdt::RowRecord record;
    record.insert({now_of(a), forger.site}, 2);
    std::vector<crdt::ValueRef> values(2, crdt::ValueRef::of_text(value));
    writer.add(key, record, crdt::ColumnSet::first(2), true, values);
    return writer.finish();
  };
  a.apply(frame("one")), a.apply(frame("two"));
  b.apply(frame("two")), b.apply(frame("one"));
  EXPECT_EQ(a.rows("SELECT v, w FROM t"), "'one'|'one'\n");
  EXPECT_EQ(b.rows("SELECT v, w FROM t"), "'two'|'two'\n");
  for (Peer* p : {&a, &b}) p->expect_sound();
  a.run("UPDATE t SET v = 'healed', w = 'healed'");
  exchange(a, b);
  for (Peer* p : {&a, &b}) EXPECT_EQ(p->rows("SELECT v, w FROM t"), "'healed'|'healed'\n");
}

TEST(HostileChangeset, KeysThatNoTableCanHoldAreRefusedOrParked) {
  Peer b(kSchema, {"t"});
  Forger forger;
  forger.info.through = forger.info.horizon = 1;
  auto with_key = [&](std::vector<crdt::ValueRef> values) {
    codec::ChangesetWriter writer(forger.info, forger.sites);
    writer.begin_table(forger.table);
    Bytes key;
    crdt::encode_key(values, key);
    crdt::RowRecord record;
    record.insert({now_of(b), forger.site}, 2);
    std::vector<crdt::ValueRef> cells(2, crdt::ValueRef::of_integer(1));
    writer.add(key, record, crdt::ColumnSet::first(2), true, cells);
    return writer.finish();
  };
  // NULL, and a number that the TEXT key would turn into text.
  for (const Bytes& frame : {with_key({crdt::ValueRef::of_null()}), with_key({crdt::ValueRef::of_integer(7)})}) {
    auto result = b.rejoin().apply(frame);
    if (result.ok())
      EXPECT_GE(result->rows_parked + result->refused.size(), 1u);
    else
      EXPECT_EQ(result.error().code, Code::corrupt) << result.error().message;
  }
  EXPECT_EQ(b.rows("SELECT id, typeof(id) FROM t"), "");
  b.run("INSERT INTO t(id, v) VALUES('7', 'mine')");
  b.expect_sound(true);
}

}  // namespace
}  // namespace rejoin::testing
