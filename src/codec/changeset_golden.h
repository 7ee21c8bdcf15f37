// For tests only: the changesets that stand in tests/golden, made row by row. They use every part of the format.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "codec/changeset_samples.h"
#include "codec/cursor.h"

namespace rejoin::codec::samples {

inline constexpr Hlc kGoldenTime = Hlc{1'700'000'000'000} << 16;

inline Sample golden_start() {
  Sample s;
  s.info.source = SiteId::from("phone-0123456789");
  s.sites.intern(s.info.source);
  s.sites.intern(SiteId::from("tablet-123456789"));
  s.info.from = encode_cursor({});
  s.info.next = encode_cursor({false, 7, 0x1122334455667788, 0, 0, {}});
  s.info.through = 7;
  s.info.horizon = 9;
  return s;
}

// A fresh insert of all columns.
inline Row golden_row(const std::vector<Value>& key, Stamp stamp, std::vector<Value> values) {
  Row row;
  row.key = key_of(key);
  row.columns = ColumnSet::first(static_cast<uint32_t>(values.size()));
  row.record.insert(stamp, static_cast<uint32_t>(values.size()));
  row.with_life = true;
  row.values = std::move(values);
  return row;
}

// The worked example of docs/formats-changeset.md: two todos are new, of a third one the title was edited on another
// device.
inline Sample golden_example() {
  Sample s = golden_start();
  s.info.from.clear();
  s.info.next = "next";
  Stamp now{kGoldenTime, 0}, later{kGoldenTime + (5 << 16) + 1, 1};
  Table& table = s.tables.emplace_back();
  table.wire = {"todos", {"id"}, {"title", "done"}};
  table.rows.push_back(
      golden_row({Value::text("00000000-0000-4000-8000-000000000001")}, now, {Value::text("Milk"), Value::of(0)}));
  table.rows.push_back(
      golden_row({Value::text("00000000-0000-4000-8000-000000000002")}, now, {Value::text("Bread"), Value::of(1)}));
  Row edit = golden_row({Value::text("00000000-0000-4000-8000-000000000003")}, later, {Value::text("Tea")});
  edit.with_life = false;
  table.rows.push_back(edit);
  return s;
}

// Every mode of a column.
inline Sample golden_values() {
  Sample s = golden_start();
  s.info.starts_batch = false;
  Table& table = s.tables.emplace_back();
  table.wire = {"values of \"all\" types",
                {"id"},
                {"null", "same", "bit", "two bits", "four bits", "integers", "reals", "short", "texts", "blobs",
                 "uuids", "one uuid", "mixed"}};
  const int64_t least = std::numeric_limits<int64_t>::min(), most = std::numeric_limits<int64_t>::max();
  const std::string uuid = "5c1e0a77-91ab-4c3d-8e2f-0123456789ab";
  const std::vector<Value> mixed = {Value::null(), Value::of(-300), Value::real_of(-0.0), Value::text("t\xc3\xa4xt"),
                                    Value::text(uuid)};
  for (int i = 0; i < 5; ++i) {
    std::string other = uuid;
    other[35] = static_cast<char>('0' + i);
    table.rows.push_back(golden_row(
        {Value::of(i - 2)}, {kGoldenTime, 0},
        {Value::null(), Value::text("always this"), Value::of(-(i % 2)), Value::of(i % 2), Value::of(i - 2),
         Value::of(i == 0   ? least
                   : i == 1 ? most
                            : i * 1000),
         Value::real_of(i == 0 ? -0.0 : 1.5 * i), Value::text(std::string(static_cast<size_t>(i), 's')),
         Value::text(i == 4 ? std::string("nul\0inside, sixteen and more", 27) : "text " + std::to_string(i)),
         Value::blob(std::string(static_cast<size_t>(8 * i), static_cast<char>(0xf0 + i))), Value::text(other),
         Value::text(uuid), mixed[static_cast<size_t>(i)]}));
  }
  return s;
}

// Every shape of a block, and every form of a key.
inline Sample golden_shapes() {
  Sample s = golden_start();
  s.info.through = 0;
  s.info.last = false;
  s.info.next = encode_cursor({true, 7, 3, 9, 2, "key"});
  Stamp born{kGoldenTime, 0}, edited{kGoldenTime + 70'000, 1}, ended{kGoldenTime + (Hlc{3'600'000} << 16), 1};
  Table& orders = s.tables.emplace_back();
  orders.wire = {"orders", {"country", "number"}, {"customer", "total", "note", "never sent"}};
  auto order = [&](const char* country, int number) {
    return golden_row({Value::text(country), Value::of(number)}, born,
                      {Value::of(number), Value::real_of(number / 4.0), Value::text("note")});
  };
  Row row = order("DE", 1);  // edited since, with liveness: base and one group
  row.record.write(ColumnSet::of(1), edited);
  orders.rows.push_back(row);
  row = order("DE", 2);  // deleted, without values
  row.record.alive = false, row.record.live = ended;
  row.columns = ColumnSet(), row.values.clear();
  orders.rows.push_back(row);
  row = order("DE", 3);  // deleted, with values
  row.record.alive = false, row.record.live = ended;
  orders.rows.push_back(row);
  row = order("DK", 4);  // restored and edited since
  row.record.live = ended;
  row.record.write(ColumnSet::of_bits(6), ended);
  orders.rows.push_back(row);
  row = order("DK", 5);  // two columns with two stamps, without liveness
  row.record.write(ColumnSet::of(2), edited);
  row.columns.remove(0), row.values.erase(row.values.begin());
  row.with_life = false;
  orders.rows.push_back(row);
  row = order("DK", 6);  // one column, without liveness
  row.columns = ColumnSet::of(2), row.values.erase(row.values.begin(), row.values.begin() + 2);
  row.with_life = false;
  orders.rows.push_back(row);
  row = order("FR", 7);  // a row that existed before tracking, deleted before anybody heard of its birth
  row.record.alive = false, row.record.live = ended, row.record.birth = Stamp{};
  for (crdt::CellGroup& group : row.record.groups) group.stamp = {crdt::kBeforeTrackingHlc, 0};
  orders.rows.push_back(row);

  Table& tags = s.tables.emplace_back();  // nothing but keys
  tags.wire = {"tags", {"tag"}, {}};
  for (const char* tag : {"", "red", "red wine", "white"})
    tags.rows.push_back(golden_row({Value::text(tag)}, born, {}));

  Table& wide = s.tables.emplace_back();  // more columns than a mask has bits
  wide.wire = {"wide", {"id"}, {}};
  for (int c = 0; c < 70; ++c) wide.wire.columns.push_back("c" + std::to_string(c));
  for (int i = 0; i < 2; ++i) {
    row = golden_row({Value::text("00000000-0000-4000-8000-00000000000" + std::to_string(i))}, born,
                     std::vector<Value>(70, Value::of(i)));
    row.record.write(ColumnSet::of(static_cast<uint32_t>(3 + i)), edited);
    row.record.write(ColumnSet::of(69), ended);
    wide.rows.push_back(row);
  }
  return s;
}

inline std::vector<std::pair<std::string, Sample>> golden_samples() {
  Sample empty = golden_start();
  return {{"empty", std::move(empty)},
          {"example", golden_example()},
          {"values", golden_values()},
          {"shapes", golden_shapes()}};
}

}  // namespace rejoin::codec::samples
