// Hybrid logical clock stamps, sites and versions: the total order that decides between concurrent writes.
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace rejoin::crdt {

// A replica's 128-bit random id. Ordered bytewise.
struct SiteId {
  std::array<char, 16> bytes{};
  BytesView view() const { return BytesView(bytes.data(), bytes.size()); }
  static SiteId from(BytesView sixteen) {
    SiteId id;
    std::memcpy(id.bytes.data(), sixteen.data(), 16);
    return id;
  }
  friend bool operator==(const SiteId& a, const SiteId& b) { return a.view() == b.view(); }
  friend bool operator<(const SiteId& a, const SiteId& b) { return a.view() < b.view(); }
};

struct SiteIdHash {
  size_t operator()(const SiteId& id) const {
    uint64_t v;
    std::memcpy(&v, id.bytes.data(), 8);
    return v;
  }
};

// An HLC stamp: milliseconds since the Unix epoch << 16 | counter (Kulkarni, Demirbas et al. 2014). 0 is bottom: before
// every write.
using Hlc = uint64_t;
inline constexpr Hlc kBottomHlc = 0;
// What rows that existed before tracking get.
inline constexpr Hlc kBeforeTrackingHlc = 1;
inline Hlc hlc_of_ms(int64_t ms) {
  return ms <= 0 ? 0 : (ms >= (int64_t{1} << 47) ? ~Hlc{0} >> 1 & ~Hlc{0xffff} : static_cast<Hlc>(ms) << 16);
}
inline int64_t ms_of_hlc(Hlc hlc) { return static_cast<int64_t>(hlc >> 16); }

// A version with its site interned: an index into some SiteTable (a database's, or a changeset's dictionary).
struct Stamp {
  Hlc hlc = kBottomHlc;
  uint32_t site = 0;
  bool bottom() const { return hlc == kBottomHlc; }
  friend bool operator==(const Stamp&, const Stamp&) = default;  // within one SiteTable only
};

// Sites by small integers, in order of first meeting. No index is ever reused.
class SiteTable {
 public:
  uint32_t intern(const SiteId& id);
  // The index, or -1.
  int64_t find(const SiteId& id) const;
  const SiteId& operator[](uint32_t index) const { return ids_[index]; }
  size_t size() const { return ids_.size(); }
  bool contains(uint32_t index) const { return index < ids_.size(); }

 private:
  std::vector<SiteId> ids_;
  std::map<SiteId, uint32_t> index_;  // not a hash table: ids come from peers, who could make them collide
};

// Versions as pairs (hlc, site id bytewise). Both stamps belong to `sites`. <0, 0, >0.
inline int compare(Stamp a, Stamp b, const SiteTable& sites) {
  if (a.hlc != b.hlc) return a.hlc < b.hlc ? -1 : 1;
  if (a.site == b.site || a.bottom()) return 0;
  return sites[a.site] < sites[b.site] ? -1 : 1;
}

// The stamps that one fold gives to log entries, in log order: the running maximum of (ms << 16) and (last before the
// fold + 1). Entries of one millisecond share a stamp, as do entries whose clock stands still or goes back;
// docs/algebra.md shows why that is safe.
class FoldClock {
 public:
  // `last`: the greatest stamp that the database has given or merged before this fold. Never gives kBeforeTrackingHlc,
  // which a clock that stands at 1970 would otherwise reach.
  explicit FoldClock(Hlc last) : now_(std::max(last, kBeforeTrackingHlc) + 1), last_(last) {}
  // `ms`: wall clock of the entry's write.
  Hlc stamp(int64_t ms) { return last_ = now_ = std::max(now_, hlc_of_ms(ms)); }
  // The greatest stamp so far: `last` of the next fold.
  Hlc last() const { return last_; }

 private:
  Hlc now_;
  Hlc last_;
};

}  // namespace rejoin::crdt
