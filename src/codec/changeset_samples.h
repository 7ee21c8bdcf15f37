// For tests and fuzz seeds only: changesets that are known row by row, made from a seed.
#pragma once

#include <algorithm>
#include <bit>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "base/uuid.h"
#include "codec/changeset.h"
#include "crdt/key.h"
#include "crdt/record.h"

namespace rejoin::codec::samples {

using crdt::ColumnSet;
using crdt::Hlc;
using crdt::RowRecord;
using crdt::SiteId;
using crdt::SiteTable;
using crdt::Stamp;
using crdt::ValueRef;
using crdt::ValueType;

// A value that owns its bytes.
struct Value {
  ValueType type = ValueType::null;
  int64_t integer = 0;
  double real = 0;
  Bytes bytes;
  ValueRef ref() const {
    switch (type) {
      case ValueType::integer:
        return ValueRef::of_integer(integer);
      case ValueType::real:
        return ValueRef::of_real(real);
      case ValueType::text:
        return ValueRef::of_text(bytes);
      case ValueType::blob:
        return ValueRef::of_blob(bytes);
      default:
        return ValueRef::of_null();
    }
  }
  static Value null() { return {}; }
  static Value of(int64_t v) { return {ValueType::integer, v, 0, {}}; }
  static Value real_of(double v) { return {ValueType::real, 0, v, {}}; }
  static Value text(Bytes v) { return {ValueType::text, 0, 0, std::move(v)}; }
  static Value blob(Bytes v) { return {ValueType::blob, 0, 0, std::move(v)}; }
  static Value from(const ValueRef& v) {
    switch (v.type) {
      case ValueType::integer:
        return of(v.integer);
      case ValueType::real:
        return real_of(v.real);
      case ValueType::text:
        return text(Bytes(v.bytes));
      case ValueType::blob:
        return blob(Bytes(v.bytes));
      default:
        return null();
    }
  }
  friend bool operator==(const Value& a, const Value& b) { return crdt::same_value(a.ref(), b.ref()); }
};

inline Bytes key_of(const std::vector<Value>& values) {
  std::vector<ValueRef> refs;
  for (const Value& v : values) refs.push_back(v.ref());
  Bytes key;
  crdt::encode_key(refs, key);
  return key;
}

struct Row {
  Bytes key;
  RowRecord record;
  ColumnSet columns;
  bool with_life = false;
  std::vector<Value> values;  // of `columns`
};

struct Table {
  WireTable wire;
  std::vector<Row> rows;  // by key
};

struct Sample {
  FrameInfo info;
  SiteTable sites;
  std::vector<Table> tables;

  Bytes frame() const {
    ChangesetWriter writer(info, sites);
    std::vector<ValueRef> refs;
    for (const Table& table : tables) {
      writer.begin_table(table.wire);
      for (const Row& row : table.rows) {
        refs.clear();
        for (const Value& v : row.values) refs.push_back(v.ref());
        writer.add(row.key, row.record, row.columns, row.with_life, refs);
      }
    }
    return writer.finish();
  }
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}
  uint64_t below(uint64_t n) { return random_.u64() % n; }
  bool chance(uint64_t one_in) { return below(one_in) == 0; }
  Bytes bytes(size_t n) { return random_.bytes(n); }
  std::string uuid() { return uuid_text(random_.bytes(16)); }

  Stamp stamp() {
    // Few enough that they meet; extremes now and then.
    static constexpr Hlc kHlcs[] = {1, 0xffff, 0x10000, ~Hlc{0}, ~Hlc{0} - 1, Hlc{1} << 63};
    Hlc now = Hlc{1'700'000'000'000} << 16;
    Hlc hlc = chance(20) ? kHlcs[below(std::size(kHlcs))] : now + (below(5) << 16) + (chance(4) ? below(3) : 0);
    return {hlc, static_cast<uint32_t>(below(site_count_))};
  }

  Value value() {
    switch (below(12)) {
      case 0:
        return Value::null();
      case 1:
        return Value::of(static_cast<int64_t>(below(2)));
      case 2:
        return Value::of(static_cast<int64_t>(below(40)) - 20);
      case 3: {
        static constexpr int64_t kIntegers[] = {std::numeric_limits<int64_t>::min(),
                                                std::numeric_limits<int64_t>::max(), -1, int64_t{1} << 32,
                                                -(int64_t{1} << 53)};
        return Value::of(kIntegers[below(std::size(kIntegers))]);
      }
      case 4:
        return Value::real_of(static_cast<double>(below(100)) / 8);
      case 5: {
        static constexpr uint64_t kReals[] = {
            0, 0x8000000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001, 0xfff4000000000abc,
            1, 0x7fefffffffffffff};
        return Value::real_of(std::bit_cast<double>(kReals[below(std::size(kReals))]));
      }
      case 6:
        return Value::text("");
      case 7:
        return Value::text(bytes(below(4)) + std::string("\0x", 2));
      case 8:
        return Value::text(uuid());
      case 9:
        return Value::text(std::string(below(200), 'x'));
      case 10:
        return Value::blob(bytes(below(80)));
      default:
        return Value::text("title " + std::to_string(below(1000)));
    }
  }

  // Columns tend to have one type, some one value.
  Value value_of_column(uint64_t column, uint64_t salt) {
    Maker of_column(column * 31 + salt);
    uint64_t kind = of_column.below(8);
    Value usual = of_column.value();
    if (kind < 3) return usual;
    if (kind == 3) return value();
    for (int i = 0; i < 40; ++i) {
      Value v = value();
      if (v.type == usual.type || (kind == 4 && v.type == ValueType::null)) return v;
    }
    return usual;
  }

  Bytes key(int kind) {
    switch (kind) {
      case 0:
        return key_of({Value::text(uuid())});
      case 1:
        return key_of({Value::of(static_cast<int64_t>(below(2000)) - 1000)});
      case 2:
        return key_of({Value::text("k" + std::to_string(below(1000)))});
      case 3:
        return key_of({Value::text(chance(2) ? "DE" : "FR"), Value::of(static_cast<int64_t>(below(500)))});
      case 4:
        return key_of({chance(2) ? Value::text(uuid()) : Value::text(bytes(below(6)))});
      case 5:
        return key_of({Value::text(uuid()), Value::blob(bytes(below(3)))});
      default:
        return key_of({Value::real_of(static_cast<double>(below(1000)) / 4)});
    }
  }

  RowRecord record(uint32_t columns, const SiteTable& sites) {
    RowRecord r;
    r.insert(stamp(), columns);
    if (chance(3)) return r;
    for (uint64_t n = below(4); n > 0; --n) {
      ColumnSet set = subset(columns);
      Stamp s = stamp();
      if (crdt::compare(s, r.birth, sites) >= 0 && !set.empty()) r.write(set, s);
    }
    if (columns > 2 && chance(10))
      for (uint32_t c = 0; c < columns; ++c) {
        Stamp s = stamp();
        if (crdt::compare(s, r.birth, sites) >= 0) r.write(ColumnSet::of(c), s);
      }
    if (chance(4)) r.alive = chance(3), r.live = stamp();
    if (chance(10)) r.birth = Stamp{};
    return r;
  }

  ColumnSet subset(uint32_t columns) {
    ColumnSet set;
    uint64_t density = 1 + below(4);
    for (uint32_t c = 0; c < columns; ++c)
      if (below(4) < density) set.add(c);
    return set;
  }

  // `size`: about how many rows a table may have.
  Sample sample(uint64_t size) {
    Sample s;
    s.info.source = SiteId::from(bytes(16));
    s.info.from = bytes(below(30));
    s.info.next = bytes(below(30));
    s.info.through = chance(3) ? 0 : random_.u64() >> below(64);
    s.info.horizon = random_.u64() >> below(64);
    s.info.starts_batch = chance(2);
    s.info.last = chance(2);
    site_count_ = 1 + below(4);
    for (uint64_t i = 0; i < site_count_; ++i) s.sites.intern(SiteId::from(bytes(16)));
    for (uint64_t n = size ? below(4) : 0; n > 0; --n) {
      uint32_t columns = static_cast<uint32_t>(chance(8) ? 60 + below(90) : below(7));
      Table& table = s.tables.emplace_back();
      table.wire.name = "table " + std::to_string(n);
      int key_kind = static_cast<int>(below(7));
      for (int k = 0; k < (key_kind == 3 || key_kind == 5 ? 2 : 1); ++k)
        table.wire.key.push_back("k" + std::to_string(k));
      for (uint32_t c = 0; c < columns; ++c) table.wire.columns.push_back("c" + std::to_string(c));
      std::vector<ColumnSet> shapes;
      for (int i = 0; i < 3; ++i) shapes.push_back(subset(columns));
      std::map<Bytes, Row> rows;
      uint64_t salt = below(1000), wanted = below(columns > 50 ? 5 : size + 1);
      for (uint64_t i = 0; i < wanted; ++i) {
        Row row;
        row.key = key(key_kind);
        row.record = record(columns, s.sites);
        row.with_life = chance(2);
        row.columns = chance(3) ? ColumnSet::first(columns) : shapes[below(shapes.size())];
        // Only columns with a stamp can be sent.
        ColumnSet known;
        for (const crdt::CellGroup& g : row.record.groups) known |= g.columns;
        row.columns &= known;
        row.columns.each([&](uint32_t c) { row.values.push_back(value_of_column(c, salt)); });
        if (row.columns.empty() && !row.with_life) continue;
        rows[row.key] = std::move(row);
      }
      for (auto& [k, row] : rows) table.rows.push_back(std::move(row));
    }
    return s;
  }

 private:
  SeededRandom random_;
  uint64_t site_count_ = 1;
};

// Walks all rows, as hostile input tests and the fuzzer do. False when a block is damaged. Counts the bytes that the
// rows mean.
inline bool walk(const ChangesetReader& reader, uint64_t* meaning = nullptr) {
  std::vector<uint32_t> sites(reader.sites().size());
  for (size_t i = 0; i < sites.size(); ++i) sites[i] = static_cast<uint32_t>(i);
  uint64_t sum = 0;
  bool sound = true;
  for (size_t b = 0; b < reader.blocks().size(); ++b) {
    const BlockInfo& info = reader.blocks()[b];
    std::vector<uint32_t> columns(reader.tables()[info.table].columns.size());
    for (size_t i = 0; i < columns.size(); ++i)
      columns[i] = i % 5 == 4 ? kNoColumn : static_cast<uint32_t>(columns.size() - 1 - i);
    BlockCursor cursor = reader.rows(b, sites, columns);
    uint64_t rows = 0;
    while (cursor.next()) {
      ++rows;
      uint64_t hash = cursor.newest() + cursor.key().size();
      for (char c : cursor.key()) hash = hash * 31 + static_cast<uint8_t>(c);
      for (const ValueRef& v : cursor.values()) {
        hash += static_cast<uint64_t>(v.integer) + v.bytes.size();
        sum += v.bytes.size();
        // Both ends of every view are touched, so that a sanitizer sees one that is out of bounds.
        if (!v.bytes.empty()) hash += static_cast<uint8_t>(v.bytes.front()) + static_cast<uint8_t>(v.bytes.back());
      }
      for (const crdt::CellGroup& g : cursor.record().groups) hash += g.stamp.hlc + g.columns.count();
      if (hash == 0x123456789abcdef) sum += 1;
    }
    sound = sound && cursor.ok();
    if (cursor.ok() && rows != info.rows) __builtin_trap();
  }
  if (meaning) *meaning = sum;
  return sound;
}

}  // namespace rejoin::codec::samples
