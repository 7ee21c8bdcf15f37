// For tests only: rapidcheck generators over domains so small that stamps, sites and columns collide all the time, and
// a model of the record that is obviously right.
#pragma once

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cstdlib>
#include <map>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "crdt/print.h"
#include "crdt/record.h"
#include "crdt/version.h"

namespace rejoin::crdt {

inline void showValue(const RowRecord& record, std::ostream& out);

namespace law {

// More examples than rapidcheck's 100, because they are small. RC_PARAMS from outside has precedence.
inline const int kMoreExamples = setenv("RC_PARAMS", "max_success=500", 0);

// Three sites whose indexes are not in the order of their ids.
inline const SiteTable& sites() {
  static const SiteTable table = [] {
    SiteTable t;
    for (char c : {'m', 'a', 'z'}) t.intern(SiteId::from(c + Bytes(15, 's')));
    return t;
  }();
  return table;
}

inline rc::Gen<Stamp> stamp() {
  return rc::gen::map(rc::gen::pair(rc::gen::element<Hlc>(1, 2, 3, 4, 5), rc::gen::element<uint32_t>(0, 1, 2)),
                      [](std::pair<Hlc, uint32_t> p) {
                        return Stamp{p.first, p.second};
                      });
}

inline rc::Gen<Stamp> stamp_or_bottom() {
  return rc::gen::weightedOneOf<Stamp>({{1, rc::gen::just(Stamp{})}, {4, stamp()}});
}

// Mostly the first five columns, sometimes one around the limits of the encodings' and the sets' words.
inline rc::Gen<uint32_t> column() {
  return rc::gen::weightedOneOf<uint32_t>(
      {{8, rc::gen::element<uint32_t>(0, 1, 2, 3, 4)}, {1, rc::gen::element<uint32_t>(62, 63, 64, 127, 128, 700)}});
}

// A vector of a few: with rapidcheck's up to 100 every set would be full.
template <class T>
rc::Gen<std::vector<T>> few(rc::Gen<T> gen, int most = 6) {
  return rc::gen::resize(most, rc::gen::container<std::vector<T>>(rc::gen::resize(rc::kNominalSize, std::move(gen))));
}

inline rc::Gen<ColumnSet> column_set() {
  return rc::gen::map(few(column()), [](const std::vector<uint32_t>& columns) {
    ColumnSet set;
    for (uint32_t c : columns) set.add(c);
    return set;
  });
}

// What a record says, one column at a time. Versions carry the site's id itself.
struct Model {
  using Version = std::pair<Hlc, std::string>;  // bottom: {0, ""}
  std::pair<Version, bool> live;
  Version birth;
  std::map<uint32_t, Version> cells;

  static Version version(Stamp s) {
    return s.bottom() ? Version{} : Version{s.hlc, std::string(sites()[s.site].view())};
  }
  static Model of(const RowRecord& r) {
    Model m{{version(r.live), r.alive}, version(r.birth), {}};
    for (const CellGroup& g : r.groups)
      g.columns.each([&](uint32_t c) { m.cells[c] = std::max(m.cells[c], version(g.stamp)); });
    m.forget();
    return m;
  }
  void forget() {
    std::erase_if(cells, [&](const auto& cell) { return cell.second == Version{} || cell.second < birth; });
  }
  Version at(uint32_t column) const {
    auto it = cells.find(column);
    return it == cells.end() ? Version{} : it->second;
  }
  friend Model operator|(Model a, const Model& b) {
    a.live = std::max(a.live, b.live);
    a.birth = std::max(a.birth, b.birth);
    for (const auto& [column, v] : b.cells) a.cells[column] = std::max(a.cells[column], v);
    a.forget();
    return a;
  }
  friend bool operator==(const Model&, const Model&) = default;
};

// Canonical as record.h puts it, checked the slow way.
inline bool is_canonical(const RowRecord& r) {
  if (r.live.bottom() && (r.alive || r.live.site)) return false;
  if (r.birth.bottom() && r.birth.site) return false;
  ColumnSet seen;
  for (size_t i = 0; i < r.groups.size(); ++i) {
    const CellGroup& g = r.groups[i];
    if (g.columns.empty() || g.stamp.bottom() || compare(g.stamp, r.birth, sites()) < 0) return false;
    if (g.columns.intersects(seen)) return false;
    seen |= g.columns;
    if (i > 0 && g.columns.smallest() <= r.groups[i - 1].columns.smallest()) return false;
    for (size_t j = 0; j < i; ++j)
      if (r.groups[j].stamp == g.stamp) return false;
  }
  return true;
}

struct LooseRecord {
  bool alive = false;
  bool hidden = false;
  Stamp live, birth;
  std::vector<std::pair<uint32_t, Stamp>> cells;
  RowRecord record() const {
    RowRecord r;
    r.alive = alive, r.hidden = hidden, r.live = live, r.birth = birth;
    for (auto [column, stamp] : cells) r.groups.push_back({ColumnSet::of(column), stamp});
    return r;
  }
};

// Groups that overlap, share stamps, are bottom or below birth: what canonicalise is for.
inline rc::Gen<LooseRecord> loose_record() {
  return rc::gen::build<LooseRecord>(
      rc::gen::set(&LooseRecord::alive), rc::gen::set(&LooseRecord::hidden),
      rc::gen::set(&LooseRecord::live, stamp_or_bottom()), rc::gen::set(&LooseRecord::birth, stamp_or_bottom()),
      rc::gen::set(&LooseRecord::cells, few(rc::gen::pair(column(), stamp_or_bottom()), 12)));
}

inline RowRecord canonical(RowRecord r) {
  canonicalise(r, sites());
  return r;
}

// Any canonical record; a third of them a fresh insert with a few later writes, as most real ones are.
inline rc::Gen<RowRecord> record() {
  auto any = rc::gen::map(loose_record(), [](const LooseRecord& loose) { return canonical(loose.record()); });
  auto usual = rc::gen::apply(
      [](Stamp birth, uint32_t columns, const std::vector<std::pair<ColumnSet, Stamp>>& writes) {
        RowRecord r;
        r.insert(birth, columns);
        for (const auto& [set, stamp] : writes)
          if (compare(stamp, birth, sites()) >= 0) r.write(set, stamp);
        return r;
      },
      stamp(),
      rc::gen::weightedOneOf<uint32_t>(
          {{6, rc::gen::element<uint32_t>(0, 1, 2, 3, 4, 5)}, {1, rc::gen::element<uint32_t>(63, 64, 65, 200)}}),
      few(rc::gen::pair(column_set(), stamp()), 4));
  return rc::gen::weightedOneOf<RowRecord>({{2, any}, {1, usual}});
}

// A record with so many groups that join goes column by column.
inline rc::Gen<RowRecord> wide_record() {
  return rc::gen::noShrink(rc::gen::exec([] {
    auto n = *rc::gen::resize(100, rc::gen::inRange<uint32_t>(60, 90));
    LooseRecord loose;
    loose.live = *stamp_or_bottom();
    loose.birth = *rc::gen::weightedOneOf<Stamp>({{3, rc::gen::just(Stamp{})}, {1, rc::gen::just(Stamp{20, 1})}});
    loose.alive = *rc::gen::arbitrary<bool>();
    for (uint32_t i = 0; i < n; ++i)
      loose.cells.emplace_back(
          i, Stamp{*rc::gen::resize(100, rc::gen::inRange<Hlc>(0, 60)), *rc::gen::element<uint32_t>(0, 1, 2)});
    return canonical(loose.record());
  }));
}

inline RowRecord joined(RowRecord a, const RowRecord& b) {
  JoinOutcome outcome;
  join(a, b, sites(), outcome);
  return a;
}

}  // namespace law

inline void showValue(const RowRecord& record, std::ostream& out) { out << record_text(record, law::sites()); }
inline void showValue(const ColumnSet& set, std::ostream& out) { out << "{" << column_set_text(set) << "}"; }
inline void showValue(const Stamp& stamp, std::ostream& out) { out << stamp.hlc << "@" << stamp.site; }
inline void PrintTo(const RowRecord& record, std::ostream* out) { showValue(record, *out); }

}  // namespace rejoin::crdt
