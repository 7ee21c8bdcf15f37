// What goes into a changeset comes out of it: keys, versions and values, bit by bit.
#include <gtest/gtest.h>
// gtest first
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <numeric>
#include <set>

#include "codec/changeset.h"
#include "codec/changeset_samples.h"
#include "crdt/print.h"

namespace rejoin::codec {
namespace {

using namespace samples;

Hlc newest_of(const RowRecord& record) {
  Hlc newest = std::max(record.live.hlc, record.birth.hlc);
  for (const crdt::CellGroup& g : record.groups) newest = std::max(newest, g.stamp.hlc);
  return newest;
}

// What a row must read as. A record that never heard of an insert or delete has no liveness to send.
RowRecord expected_record(const Row& row) {
  RowRecord expected = crdt::restrict_record(row.record, row.columns, row.with_life && !row.record.live.bottom());
  expected.hidden = false;
  return expected;
}

// Reads the frame in the sample's own terms and compares row by row.
void expect_reads_as(BytesView frame, const Sample& sample) {
  Result<ChangesetReader> opened = ChangesetReader::open(frame);
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  const ChangesetReader& reader = *opened;
  EXPECT_EQ(reader.info(), sample.info);
  std::vector<uint32_t> sites;
  for (const SiteId& id : reader.sites()) {
    ASSERT_GE(sample.sites.find(id), 0);
    sites.push_back(static_cast<uint32_t>(sample.sites.find(id)));
  }
  std::map<std::pair<std::string, Bytes>, const Row*> rows;
  std::map<std::string, const Table*> tables;
  for (const Table& table : sample.tables) {
    tables[table.wire.name] = &table;
    for (const Row& row : table.rows) rows[{table.wire.name, row.key}] = &row;
  }
  std::set<std::pair<uint32_t, uint32_t>> used;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const BlockInfo& block = reader.blocks()[b];
    const WireTable& wire = reader.tables()[block.table];
    ASSERT_TRUE(tables.count(wire.name));
    const WireTable& original = tables[wire.name]->wire;
    EXPECT_EQ(wire.key, original.key);
    std::vector<uint32_t> columns;
    for (const std::string& name : wire.columns)
      columns.push_back(static_cast<uint32_t>(std::find(original.columns.begin(), original.columns.end(), name) -
                                              original.columns.begin()));
    for (uint32_t column : block.columns) used.insert({block.table, column});
    BlockCursor cursor = reader.rows(b, sites, columns);
    Bytes before;
    uint64_t n = 0;
    while (cursor.next()) {
      EXPECT_TRUE(n++ == 0 || before < cursor.key());
      before = Bytes(cursor.key());
      auto found = rows.find({wire.name, before});
      ASSERT_NE(found, rows.end()) << to_hex(before);
      const Row& row = *found->second;
      rows.erase(found);
      RowRecord expected = expected_record(row);
      EXPECT_EQ(cursor.record(), expected) << crdt::record_text(cursor.record(), sample.sites) << "\n"
                                           << crdt::record_text(expected, sample.sites);
      EXPECT_EQ(cursor.newest(), newest_of(expected));
      EXPECT_EQ(block.with_life, row.with_life && !row.record.live.bottom());
      ASSERT_EQ(cursor.values().size(), row.values.size());
      ColumnSet sent;
      for (uint32_t column : block.columns) sent.add(columns[column]);
      EXPECT_EQ(sent, row.columns);
      for (size_t i = 0; i < row.values.size(); ++i)
        EXPECT_TRUE(crdt::same_value(cursor.values()[i], row.values[i].ref()))
            << crdt::value_json(cursor.values()[i]) << " is not " << crdt::value_json(row.values[i].ref());
    }
    EXPECT_TRUE(cursor.ok());
    EXPECT_EQ(n, block.rows);
  }
  EXPECT_TRUE(rows.empty());
  size_t named = 0;
  for (const WireTable& wire : reader.tables()) named += wire.columns.size();
  EXPECT_EQ(named, used.size()) << "the dictionary names columns that no block has";
}

RC_GTEST_PROP(ChangesetRoundTrip, any_rows_of_any_shapes_come_back, ()) {
  auto seed = *rc::gen::arbitrary<uint64_t>();
  auto size = *rc::gen::inRange<uint64_t>(0, 40);
  Sample sample = Maker(seed).sample(size);
  expect_reads_as(sample.frame(), sample);
  RC_ASSERT(!testing::Test::HasFailure());
}

TEST(ChangesetRoundTrip, rows_of_many_seeds_come_back) {
  for (uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    Sample sample = Maker(seed).sample(seed % 3 ? 10 : 120);
    SCOPED_TRACE(seed);
    expect_reads_as(sample.frame(), sample);
  }
}

RC_GTEST_PROP(ChangesetRoundTrip, equal_rows_make_equal_bytes, ()) {
  auto seed = *rc::gen::arbitrary<uint64_t>();
  RC_ASSERT(Maker(seed).sample(20).frame() == Maker(seed).sample(20).frame());
}

Sample empty_sample() {
  Sample s;
  s.info.source = SiteId::from("0123456789abcdef");
  s.sites.intern(s.info.source);
  return s;
}

Row row_of(Bytes key, Stamp stamp, std::vector<Value> values) {
  Row row;
  row.key = std::move(key);
  row.columns = ColumnSet::first(static_cast<uint32_t>(values.size()));
  row.record.insert(stamp, static_cast<uint32_t>(values.size()));
  row.with_life = true;
  row.values = std::move(values);
  return row;
}

TEST(ChangesetRoundTrip, an_empty_frame_keeps_its_header) {
  Sample s = empty_sample();
  s.info.from = "from here";
  s.info.next = "and on";
  s.info.through = ~uint64_t{0};
  s.info.horizon = 1;
  s.info.starts_batch = false;
  expect_reads_as(s.frame(), s);
  s.tables.push_back({{"nothing in it", {"id"}, {"a"}}, {}});
  expect_reads_as(s.frame(), s);
  EXPECT_TRUE(ChangesetReader::open(s.frame())->tables().empty());
}

// A table of one column with these values, on its way through a frame.
void expect_column_survives(const std::vector<Value>& values) {
  Sample s = empty_sample();
  Table& table = s.tables.emplace_back();
  table.wire = {"t", {"id"}, {"v"}};
  for (size_t i = 0; i < values.size(); ++i)
    table.rows.push_back(row_of(key_of({Value::of(static_cast<int64_t>(i))}), {7, 0}, {values[i]}));
  expect_reads_as(s.frame(), s);
}

TEST(ChangesetRoundTrip, every_bit_of_a_real_survives) {
  std::vector<Value> values;
  for (uint64_t bits : {0x0ull, 0x8000000000000000ull, 0x7ff0000000000000ull, 0xfff0000000000000ull,
                        0x7ff8000000000000ull, 0x7ff4000000000001ull, 0xffffffffffffffffull, 0x1ull})
    values.push_back(Value::real_of(std::bit_cast<double>(bits)));
  expect_column_survives(values);
  for (const Value& v : values) {
    expect_column_survives({v});
    expect_column_survives({v, v, v});
    expect_column_survives({Value::null(), v, Value::of(3), v});
  }
}

TEST(ChangesetRoundTrip, integers_at_the_limits_of_their_encodings) {
  std::vector<Value> values;
  for (int shift = 0; shift < 64; ++shift)
    for (int64_t delta : {-1, 0, 1})
      for (uint64_t sign : {0, 1}) {
        uint64_t v = (uint64_t{1} << shift) + static_cast<uint64_t>(delta);
        values.push_back(Value::of(static_cast<int64_t>(sign ? 0 - v : v)));
      }
  expect_column_survives(values);
  for (int64_t most : {0, 1, 2, 3, 4, 7, 8, 9})
    for (int64_t least : {0, -1, -2, -8, -9}) {
      std::vector<Value> some;
      for (int64_t v = least; v <= most; ++v) some.push_back(Value::of(v));
      expect_column_survives(some);
    }
}

TEST(ChangesetRoundTrip, texts_and_blobs_of_any_bytes) {
  std::string uuid = "5c1e0a77-91ab-4c3d-8e2f-0123456789ab";
  std::string upper = "5C1E0A77-91AB-4C3D-8E2F-0123456789AB";
  std::vector<Value> values = {Value::text(""),
                               Value::blob(""),
                               Value::text(Bytes("a\0b", 3)),
                               Value::text("\xff\xfe"),
                               Value::text(uuid),
                               Value::blob(uuid),
                               Value::text(upper),
                               Value::text(uuid + "0"),
                               Value::text(std::string(64, 'x')),
                               Value::text(Bytes(65, 'y')),
                               Value::blob(Bytes(70'000, '\0'))};
  expect_column_survives(values);
  for (const Value& v : values) {
    expect_column_survives({v});
    expect_column_survives({v, v});
    expect_column_survives({v, v, Value::text("z")});
    expect_column_survives({v, v, Value::null(), v});
    for (const Value& u : values) expect_column_survives({v, u});
  }
}

TEST(ChangesetRoundTrip, a_text_column_of_uuids_takes_sixteen_bytes_each) {
  Maker maker(1);
  std::vector<Value> values;
  for (int i = 0; i < 200; ++i) values.push_back(Value::text(maker.uuid()));
  expect_column_survives(values);
  Sample s = empty_sample();
  Table& table = s.tables.emplace_back();
  table.wire = {"t", {"id"}, {"v"}};
  for (size_t i = 0; i < values.size(); ++i)
    table.rows.push_back(row_of(key_of({Value::of(static_cast<int64_t>(i))}), {7, 0}, {values[i]}));
  EXPECT_LT(s.frame().size(), values.size() * (16 + 3) + 120);
}

TEST(ChangesetRoundTrip, deletes_and_restores_and_rows_without_columns) {
  Sample s = empty_sample();
  s.sites.intern(SiteId::from("another site's id"));
  Table& table = s.tables.emplace_back();
  table.wire = {"t", {"id"}, {"a", "b"}};
  for (int i = 0; i < 12; ++i) {
    Row row = row_of(key_of({Value::of(i)}), {100, 0}, {Value::of(i), Value::null()});
    if (i % 3 == 1) row.record.alive = false, row.record.live = {200, 1};
    if (i % 3 == 2) row.record.live = {300, 1};
    if (i % 4 == 1) row.record.birth = Stamp{};
    if (i % 2) row.columns = ColumnSet(), row.values.clear();
    table.rows.push_back(row);
  }
  expect_reads_as(s.frame(), s);
}

TEST(ChangesetRoundTrip, a_row_that_says_nothing_is_left_out) {
  Sample s = empty_sample();
  ChangesetWriter writer(s.info, s.sites);
  writer.begin_table({"t", {"id"}, {"a"}});
  RowRecord never_inserted;
  never_inserted.write(ColumnSet::of(0), {5, 0});
  writer.add(key_of({Value::of(1)}), never_inserted, ColumnSet(), true, {});
  writer.add(key_of({Value::of(2)}), never_inserted, ColumnSet(), false, {});
  EXPECT_EQ(writer.rows(), 0u);
  EXPECT_TRUE(ChangesetReader::open(writer.finish())->blocks().empty());
}

TEST(ChangesetRoundTrip, wide_rows_with_a_stamp_per_column) {
  for (uint32_t columns : {2u, 63u, 64u, 65u, 128u, 700u}) {
    Sample s = empty_sample();
    s.sites.intern(SiteId::from("another site's id"));
    Table& table = s.tables.emplace_back();
    table.wire = {"wide", {"id"}, {}};
    for (uint32_t c = 0; c < columns; ++c) table.wire.columns.push_back("c" + std::to_string(c));
    for (int i = 0; i < 4; ++i) {
      Row row = row_of(key_of({Value::text("k" + std::to_string(i))}), {100, 0}, {});
      row.record.insert({100, 0}, columns);
      for (uint32_t c = 0; c < columns; c += static_cast<uint32_t>(i + 1))
        row.record.write(ColumnSet::of(c), {101 + c, c % 2});
      row.columns = ColumnSet::first(columns);
      for (uint32_t c = 0; c < columns; ++c) row.values.push_back(Value::of(c * static_cast<uint32_t>(i)));
      row.with_life = i % 2;
      table.rows.push_back(row);
    }
    expect_reads_as(s.frame(), s);
  }
}

TEST(ChangesetRoundTrip, columns_and_sites_are_renamed_to_the_readers_terms) {
  Sample s = empty_sample();
  Table& table = s.tables.emplace_back();
  table.wire = {"t", {"id"}, {"a", "b", "c"}};
  Row row = row_of(key_of({Value::of(1)}), {100, 0}, {Value::of(1), Value::of(2), Value::of(3)});
  row.record.write(ColumnSet::of(2), {200, 0});
  row.record.write(ColumnSet::of(1), {300, 0});
  table.rows.push_back(row);
  Bytes frame = s.frame();
  auto reader = ChangesetReader::open(frame);
  ASSERT_TRUE(reader.ok());
  std::vector<uint32_t> sites = {9};
  {
    std::vector<uint32_t> columns = {700, kNoColumn, 3};
    BlockCursor cursor = reader->rows(0, sites, columns);
    ASSERT_TRUE(cursor.next());
    RowRecord expected;
    expected.alive = true;
    expected.live = expected.birth = {100, 9};
    expected.groups = {{ColumnSet::of(3), {200, 9}}, {ColumnSet::of(700), {100, 9}}};
    EXPECT_EQ(cursor.record(), expected);
    EXPECT_EQ(cursor.newest(), 300u);
    EXPECT_EQ(cursor.values().size(), 3u);
    EXPECT_FALSE(cursor.next());
    EXPECT_TRUE(cursor.ok());
  }
  {
    std::vector<uint32_t> one_id_for_two = {0, 1, 1};
    BlockCursor cursor = reader->rows(0, sites, one_id_for_two);
    EXPECT_FALSE(cursor.next());
    EXPECT_FALSE(cursor.ok());
  }
}

// The sizes that docs/formats-changeset.md promises.
TEST(ChangesetRoundTrip, a_changeset_of_todos_is_smaller_than_its_rows) {
  Maker maker(3);
  Sample s = empty_sample();
  Table& table = s.tables.emplace_back();
  table.wire = {"todos", {"id"}, {"title", "done", "priority"}};
  size_t own = 0;
  std::map<Bytes, Row> rows;
  for (int i = 0; i < 2000; ++i) {
    std::string title = "todo number " + std::to_string(10'000'000 + i);
    Row row = row_of(key_of({Value::text(maker.uuid())}), {Hlc{1'700'000'000'000} << 16, 0},
                     {Value::text(title), Value::of(static_cast<int64_t>(maker.below(2))),
                      Value::of(static_cast<int64_t>(maker.below(5)))});
    own += 36 + title.size() + 1 + 1;
    rows[row.key] = std::move(row);
  }
  for (auto& [key, row] : rows) table.rows.push_back(std::move(row));
  EXPECT_LT(static_cast<double>(s.frame().size()), 0.68 * static_cast<double>(own));
}

TEST(ChangesetRoundTrip, a_hundred_changes_take_little_more_than_their_keys) {
  Maker maker(4);
  Sample s = empty_sample();
  Table& table = s.tables.emplace_back();
  table.wire = {"todos", {"id"}, {"title", "done", "priority"}};
  std::map<Bytes, Row> rows;
  for (int i = 0; i < 100; ++i) {
    Hlc within_an_hour = (Hlc{1'700'000'000'000} + maker.below(3'600'000)) << 16;
    Row row = row_of(key_of({Value::text(maker.uuid())}), {within_an_hour, 0}, {});
    row.record.insert(row.record.live, 3);
    row.columns = ColumnSet::of(2);
    row.values = {Value::of(static_cast<int64_t>(maker.below(5)))};
    row.with_life = false;
    rows[row.key] = row;
  }
  for (auto& [key, row] : rows) table.rows.push_back(std::move(row));
  EXPECT_LT(s.frame().size(), 2300u);
}

TEST(ChangesetRoundTrip, the_running_size_is_close_to_the_frames) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Maker maker(seed);
    Sample s = maker.sample(200);
    ChangesetWriter writer(s.info, s.sites);
    std::vector<ValueRef> refs;
    for (const Table& table : s.tables) {
      writer.begin_table(table.wire);
      for (const Row& row : table.rows) {
        refs.clear();
        for (const Value& v : row.values) refs.push_back(v.ref());
        writer.add(row.key, row.record, row.columns, row.with_life, refs);
      }
    }
    uint64_t running = writer.bytes();
    size_t size = writer.finish().size();
    EXPECT_LT(running, 2 * size + 200);
    EXPECT_LT(size, 2 * running + 3000);
  }
}

}  // namespace
}  // namespace rejoin::codec
