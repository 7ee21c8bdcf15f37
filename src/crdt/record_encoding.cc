// Row records at rest: encode_record and decode_record (docs/formats-record.md).
#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "crdt/record.h"

namespace rejoin::crdt {
namespace {

enum Flag : uint8_t {
  kAlive = 1,
  kLive = 2,
  kBirth = 4,
  kBornWithLive = 8,
  kBase = 16,
  kHidden = 32,
  kGroups = 64,
};

// What the parts take at most: the head, a group with inline columns, a word of a column set that is not inline.
constexpr size_t kHeadBytes =
    1 + (6 + 3 + 5) + (8 + 3 + 5) + 3 + 3 + 2;  // the last 2: the first stamp writes past its end
constexpr size_t kGroupBytes = (1 + 10) + (8 + 3 + 5);
constexpr size_t kWordBytes = 10;

// Whether columns 0..n-1 less `others` are exactly `base`, with n = base.end(): then the base group says it in one
// number.
bool is_base(uint64_t base, uint64_t others) {
  return base != 0 && (~uint64_t{0} >> std::countl_zero(base) & ~(base | others)) == 0;
}

bool is_base(const ColumnSet& base, const ColumnSet& others) {
  const size_t last = base.words() - 1;
  for (size_t i = 0; i < last; ++i)
    if (~(base.word(i) | others.word(i))) return false;
  return is_base(base.word(last), others.word(last));
}

// Writes to memory that is large enough.
struct Writer {
  char* p;
  Hlc first = kBottomHlc;

  void varint(uint64_t v) {
    while (v >= 0x80) {
      *p++ = static_cast<char>(v | 0x80);
      v >>= 7;
    }
    *p++ = static_cast<char>(v);
  }
  void stamp(Stamp s) {
    if (first == kBottomHlc) {
      first = s.hlc;
      uint64_t ms_first = __builtin_bswap64(s.hlc);
      std::memcpy(p, &ms_first, 8);  // two bytes too many, which what follows overwrites
      p += 6;
      varint(s.hlc & 0xffff);
    } else {
      int64_t later = ms_of_hlc(s.hlc) - ms_of_hlc(first);
      uint64_t counter = s.hlc & 0xffff;
      varint(zigzag(later) << 1 | (counter != 0));
      if (counter) varint(counter);
    }
    varint(s.site);
  }
  void columns(const ColumnSet& set) {
    if (set.narrow() && !(set.word(0) >> 63)) return varint(set.word(0) << 1);
    varint(set.words() << 1 | 1);
    for (size_t i = 0; i < set.words(); ++i) varint(set.word(i));
  }
};

[[gnu::always_inline]] inline char* write_record(const RowRecord& record, const CellGroup* base, char* p) {
  Writer out{p + 1};
  unsigned flags = (record.alive ? kAlive : 0) | (record.hidden ? kHidden : 0);
  if (!record.live.bottom()) flags |= kLive, out.stamp(record.live);
  if (!record.birth.bottom()) {
    if (record.birth == record.live)
      flags |= kBornWithLive;
    else
      flags |= kBirth, out.stamp(record.birth);
  }
  if (base) flags |= kBase, out.varint(base->columns.end());
  if (size_t groups = record.groups.size() - (base ? 1 : 0)) {
    flags |= kGroups;
    out.varint(groups);
    for (const CellGroup& group : record.groups) {
      if (&group == base) continue;
      out.columns(group.columns);
      out.stamp(group.stamp);
    }
  }
  *p = static_cast<char>(flags);
  return out.p;
}

// Any record, for those with many groups or columns beyond 63.
[[gnu::noinline]] void encode_large(const RowRecord& record, Bytes& out) {
  const CellGroup* born = nullptr;
  ColumnSet others;
  size_t bound = kHeadBytes + record.groups.size() * kGroupBytes;
  for (const CellGroup& group : record.groups) {
    if (group.stamp == record.birth)
      born = &group;
    else
      others |= group.columns;
    bound += (group.columns.words() - 1) * kWordBytes;
  }
  if (born && !is_base(born->columns, others)) born = nullptr;
  const size_t at = out.size();
  out.resize(at + bound);
  out.resize(static_cast<size_t>(write_record(record, born, out.data() + at) - out.data()));
}

// The readers below take and give the position in the input; null: refused.
const char* get_long_varint(const char* p, const char* end, uint64_t& v) {
  v = 0;
  for (int shift = 0; p != end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*p++);
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (shift == 63 && byte > 1) return nullptr;
    if (byte < 0x80) return byte == 0 && shift != 0 ? nullptr : p;  // the shortest form only
  }
  return nullptr;
}

inline const char* get_varint(const char* p, const char* end, uint64_t& v) {
  if (p == end || static_cast<int8_t>(*p) < 0) [[unlikely]]
    return get_long_varint(p, end, v);
  v = static_cast<uint8_t>(*p);
  return p + 1;
}

struct Reader {
  const char* end;
  size_t site_count;
  Hlc first = kBottomHlc;

  const char* stamp(const char* p, Stamp& s) { return first == kBottomHlc ? first_stamp(p, s) : later_stamp(p, s); }

  const char* first_stamp(const char* p, Stamp& s) {
    if (end - p < 8) return nullptr;
    Hlc ms = load_be64(p) & ~Hlc{0xffff};
    uint64_t counter;
    p = get_varint(p + 6, end, counter);
    if (!p || counter > 0xffff) return nullptr;
    s.hlc = first = ms | counter;
    return site(p, s);
  }

  const char* later_stamp(const char* p, Stamp& s) {
    uint64_t head, counter = 0;
    p = get_varint(p, end, head);
    if (!p) return nullptr;
    if (head & 1) {
      p = get_varint(p, end, counter);
      if (!p || counter == 0 || counter > 0xffff) return nullptr;
    }
    int64_t ms = ms_of_hlc(first) + unzigzag(head >> 1);
    if (ms >> 48) return nullptr;
    s.hlc = static_cast<Hlc>(ms) << 16 | counter;
    return site(p, s);
  }

  const char* site(const char* p, Stamp& s) {
    uint64_t site;
    p = get_varint(p, end, site);
    if (!p || s.bottom() || site >= site_count) return nullptr;
    s.site = static_cast<uint32_t>(site);
    return p;
  }

  const char* columns(const char* p, ColumnSet& set) {
    uint64_t head;
    p = get_varint(p, end, head);
    if (!p || head == 0) return nullptr;
    if (head & 1) return many_columns(p, head >> 1, set);
    set = ColumnSet::of_bits(head >> 1);
    return p;
  }

  const char* many_columns(const char* p, uint64_t words, ColumnSet& set) {
    if (words == 0 || words > ColumnSet::kMaxColumns / 64 || words > static_cast<size_t>(end - p)) return nullptr;
    set.clear();
    for (size_t i = 0; i < words; ++i) {
      uint64_t bits;
      p = get_varint(p, end, bits);
      if (!p) return nullptr;
      set.set_word(i, bits);
    }
    // The short form is for sets below 63, and the last word says how many words there are.
    return set.words() == words && set.end() >= 64 ? p : nullptr;
  }
};

bool stamps_differ(const std::vector<CellGroup>& groups, size_t begin) {
  if (groups.size() <= 16) {
    for (size_t i = begin + 1; i < groups.size(); ++i)
      for (size_t j = begin; j < i; ++j)
        if (groups[i].stamp == groups[j].stamp) return false;
    return true;
  }
  std::vector<std::pair<Hlc, uint32_t>> stamps;
  for (size_t i = begin; i < groups.size(); ++i) stamps.emplace_back(groups[i].stamp.hlc, groups[i].stamp.site);
  std::sort(stamps.begin(), stamps.end());
  return std::adjacent_find(stamps.begin(), stamps.end()) == stamps.end();
}

// Whether the groups from `begin` on are disjoint and the birth's stamp stands where it should: not among them when
// there is a base group, nor where a base group could say it. `others`: the columns that a base group leaves out.
bool check_columns(const RowRecord& record, uint64_t base_end, ColumnSet& others) {
  const CellGroup* born = nullptr;
  for (size_t i = base_end ? 1 : 0; i < record.groups.size(); ++i) {
    const CellGroup& group = record.groups[i];
    if (others.intersects(group.columns)) return false;
    if (group.stamp == record.birth)
      born = &group;
    else
      others |= group.columns;
  }
  if (base_end) return !born && !others.has(static_cast<uint32_t>(base_end) - 1);
  return !born || (!others.intersects(born->columns) && !is_base(born->columns, others));
}

// The groups from p to the end. `base_end`: 0, or n of the base group.
inline bool read_groups(Reader reader, const char* p, uint64_t base_end, RowRecord& record) {
  uint64_t count;
  p = get_varint(p, reader.end, count);
  if (!p || count == 0 || count > static_cast<size_t>(reader.end - p) / 3) return false;
  // Groups that were there are overwritten, so that a record that is used again keeps what they own.
  record.groups.resize(count + (base_end ? 1 : 0));
  CellGroup* const begin = record.groups.data() + (base_end ? 1 : 0);
  CellGroup* const end = begin + count;
  for (CellGroup* group = begin; group != end; ++group) {
    p = reader.columns(p, group->columns);
    if (!p) return false;
    p = reader.stamp(p, group->stamp);
    if (!p || group->stamp.hlc < record.birth.hlc) return false;
    if (group != begin && group->columns.smallest() < group[-1].columns.smallest()) return false;
  }
  if (p != reader.end) return false;
  if (base_end && count == 1 && begin->columns.narrow()) {
    // One edited column or two: by far the most usual record after a fresh insert's.
    if (begin->stamp == record.birth || (base_end <= 64 && begin->columns.has(static_cast<uint32_t>(base_end) - 1)))
      return false;
    begin[-1].columns = ColumnSet::first(static_cast<uint32_t>(base_end));
    begin[-1].columns -= begin->columns;
  } else {
    ColumnSet others;
    if (!check_columns(record, base_end, others) || !stamps_differ(record.groups, base_end ? 1 : 0)) return false;
    if (!base_end) return true;
    begin[-1].columns = ColumnSet::first(static_cast<uint32_t>(base_end));
    begin[-1].columns -= others;
  }
  begin[-1].stamp = record.birth;
  for (CellGroup* group = begin; group != end && group->columns.smallest() < group[-1].columns.smallest(); ++group)
    std::swap(group[-1], *group);
  return true;
}

}  // namespace

void encode_record(const RowRecord& record, Bytes& out) {
  std::array<char, 256> buffer;
  if (kHeadBytes + record.groups.size() * kGroupBytes > buffer.size()) return encode_large(record, out);
  const CellGroup* born = nullptr;
  uint64_t others = 0;
  for (const CellGroup& group : record.groups) {
    if (!group.columns.narrow()) return encode_large(record, out);
    if (group.stamp == record.birth)
      born = &group;
    else
      others |= group.columns.word(0);
  }
  if (born && !is_base(born->columns.word(0), others)) born = nullptr;
  out.append(buffer.data(), static_cast<size_t>(write_record(record, born, buffer.data()) - buffer.data()));
}

bool decode_record(BytesView in, size_t site_count, RowRecord& record) {
  if (in.empty()) return false;
  const char* p = in.data();
  Reader reader{p + in.size(), site_count};
  const auto flags = static_cast<uint8_t>(*p++);
  if (flags & 0x80) return false;
  record.alive = flags & kAlive;
  record.hidden = flags & kHidden;
  record.live = record.birth = {};
  if (flags & kLive) {
    p = reader.first_stamp(p, record.live);
    if (!p) return false;
  } else if (flags & (kAlive | kBornWithLive)) {
    return false;
  }
  if (flags & kBornWithLive) {
    if (flags & kBirth) return false;
    record.birth = record.live;
  } else if (flags & kBirth) {
    p = reader.stamp(p, record.birth);
    if (!p || record.birth == record.live) return false;
  }
  uint64_t base_end = 0;
  if (flags & kBase) {
    p = get_varint(p, reader.end, base_end);
    if (!p || base_end == 0 || base_end > ColumnSet::kMaxColumns || record.birth.bottom()) return false;
  }
  if (flags & kGroups) return read_groups(reader, p, base_end, record);
  if (base_end) {
    record.groups.resize(1);
    record.groups[0].columns = ColumnSet::first(static_cast<uint32_t>(base_end));
    record.groups[0].stamp = record.birth;
  } else {
    record.groups.clear();
  }
  return p == reader.end;
}

}  // namespace rejoin::crdt
