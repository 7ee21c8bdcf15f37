#include "crdt/record.h"

#include <algorithm>
#include <utility>

namespace rejoin::crdt {
namespace {

// Above this many pairs of groups a join goes column by column: what a hostile record can cost stays linear in its
// columns.
constexpr size_t kManyPairs = 1024;

bool is_tidy(const std::vector<CellGroup>& groups) {
  uint32_t least = 0;
  for (const CellGroup& group : groups) {
    const uint32_t smallest = group.columns.smallest();
    if (smallest < least || smallest == ColumnSet::kMaxColumns) return false;
    least = smallest;
  }
  return true;
}

// Restores the canonical order of disjoint groups after some have shrunk or been added: drops the empty, orders the
// rest by their smallest column.
void tidy(std::vector<CellGroup>& groups) {
  if (is_tidy(groups)) return;
  std::erase_if(groups, [](const CellGroup& group) { return group.columns.empty(); });
  std::sort(groups.begin(), groups.end(),
            [](const CellGroup& a, const CellGroup& b) { return a.columns.smallest() < b.columns.smallest(); });
}

// Adds columns that no group has to the group of the stamp.
void add_columns(std::vector<CellGroup>& groups, const ColumnSet& columns, Stamp stamp) {
  for (CellGroup& group : groups) {
    if (group.stamp != stamp) continue;
    group.columns |= columns;
    return;
  }
  groups.push_back({columns, stamp});
}

// One stamp per column, for records with so many groups that comparing group with group would be slow.
std::vector<Stamp> spread(const std::vector<CellGroup>& groups, const SiteTable& sites) {
  std::vector<Stamp> stamps;
  for (const CellGroup& group : groups) {
    if (stamps.size() < group.columns.end()) stamps.resize(group.columns.end());
    group.columns.each([&](uint32_t column) {
      if (compare(group.stamp, stamps[column], sites) > 0) stamps[column] = group.stamp;
    });
  }
  return stamps;
}

void gather(const std::vector<Stamp>& stamps, std::vector<CellGroup>& groups) {
  std::vector<uint32_t> order;
  for (uint32_t column = 0; column < stamps.size(); ++column)
    if (!stamps[column].bottom()) order.push_back(column);
  std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return stamps[a].hlc != stamps[b].hlc ? stamps[a].hlc < stamps[b].hlc : stamps[a].site < stamps[b].site;
  });
  groups.clear();
  for (uint32_t column : order) {
    if (groups.empty() || groups.back().stamp != stamps[column]) groups.push_back({{}, stamps[column]});
    groups.back().columns.add(column);
  }
  tidy(groups);
}

void join_many(std::vector<CellGroup>& mine, const std::vector<CellGroup>& theirs, Stamp birth, const SiteTable& sites,
               JoinOutcome& outcome) {
  std::vector<Stamp> a = spread(mine, sites), b = spread(theirs, sites);
  if (a.size() < b.size()) a.resize(b.size());
  for (uint32_t column = 0; column < b.size(); ++column) {
    if (b[column].bottom()) continue;
    int c = compare(b[column], a[column], sites);
    if (compare(b[column], birth, sites) < 0 || c < 0)
      outcome.lost.add(column);
    else if (c > 0)
      a[column] = b[column], outcome.won.add(column);
  }
  gather(a, mine);
}

void join_few(std::vector<CellGroup>& mine, const std::vector<CellGroup>& theirs, Stamp birth, const SiteTable& sites,
              JoinOutcome& outcome) {
  for (const CellGroup& incoming : theirs) {
    if (incoming.stamp.bottom()) continue;
    if (compare(incoming.stamp, birth, sites) < 0) {
      outcome.lost |= incoming.columns;
      continue;
    }
    ColumnSet left = incoming.columns;  // what no group of mine has kept
    CellGroup *same = nullptr, *emptied = nullptr;
    for (CellGroup& group : mine) {
      if (group.stamp == incoming.stamp) {
        same = &group;
        left -= group.columns;
      } else if (group.columns.intersects(incoming.columns)) {
        if (compare(incoming.stamp, group.stamp, sites) > 0) {
          group.columns -= incoming.columns;
          if (group.columns.empty()) emptied = &group;
        } else {
          ColumnSet kept = group.columns;
          kept &= incoming.columns;
          outcome.lost |= kept;
          left -= kept;
        }
      }
    }
    if (left.empty()) continue;
    outcome.won |= left;
    if (same)
      same->columns |= left;
    else if (emptied)
      *emptied = {std::move(left), incoming.stamp};
    else
      mine.push_back({std::move(left), incoming.stamp});
  }
  if (!outcome.won.empty() || !outcome.dropped.empty()) tidy(mine);
}

bool among(std::span<const uint32_t> sites, uint32_t site) {
  return std::find(sites.begin(), sites.end(), site) != sites.end();
}

template <class Wanted>
RowRecord part_of(const RowRecord& record, const Wanted& wanted) {
  auto stays = [&](Stamp s) { return s.bottom() || wanted(s); };
  RowRecord part = record;
  if (!stays(record.live)) part.live = {}, part.alive = false;
  if (!stays(record.birth)) part.birth = {};
  std::erase_if(part.groups, [&](const CellGroup& g) { return !stays(g.stamp); });
  return part;
}

}  // namespace

Stamp RowRecord::stamp_of(uint32_t column) const {
  for (const CellGroup& group : groups)
    if (group.columns.has(column)) return group.stamp;
  return {};
}

void RowRecord::insert(Stamp stamp, uint32_t columns) {
  alive = true, hidden = false;
  live = birth = stamp;
  groups.clear();
  if (columns) groups.push_back({ColumnSet::first(columns), stamp});
}

void RowRecord::write(const ColumnSet& columns, Stamp stamp) {
  for (CellGroup& group : groups) group.columns -= columns;
  if (!stamp.bottom() && !columns.empty()) add_columns(groups, columns, stamp);
  tidy(groups);
}

void canonicalise(RowRecord& record, const SiteTable& sites) {
  if (record.live.bottom()) record.alive = false, record.live = {};
  if (record.birth.bottom()) record.birth = {};
  for (CellGroup& group : record.groups)
    if (group.stamp.bottom() || compare(group.stamp, record.birth, sites) < 0) group.columns.clear();
  if (record.groups.size() * record.groups.size() > kManyPairs)
    return gather(spread(record.groups, sites), record.groups);
  for (size_t i = 0; i < record.groups.size(); ++i) {
    CellGroup &group = record.groups[i], *same = nullptr;
    for (size_t j = 0; j < i; ++j) {
      CellGroup& other = record.groups[j];
      if (other.columns.empty()) continue;
      if (other.stamp == group.stamp)
        same = &other;
      else if (other.columns.intersects(group.columns))
        compare(group.stamp, other.stamp, sites) > 0 ? other.columns -= group.columns : group.columns -= other.columns;
    }
    if (same) same->columns |= group.columns, group.columns.clear();
  }
  tidy(record.groups);
}

void join(RowRecord& mine, const RowRecord& theirs, const SiteTable& sites, JoinOutcome& outcome) {
  outcome.reset();
  if (&mine == &theirs) return;
  if (!theirs.live.bottom()) {
    int c = compare(theirs.live, mine.live, sites);
    if (c == 0) c = int{theirs.alive} - int{mine.alive};
    if (c > 0) mine.live = theirs.live, mine.alive = theirs.alive;
    outcome.live_won = c > 0;
    outcome.live_lost = c < 0;
  }
  if (compare(theirs.birth, mine.birth, sites) > 0) {
    mine.birth = theirs.birth;
    outcome.birth_won = true;
    for (CellGroup& group : mine.groups) {
      if (compare(group.stamp, mine.birth, sites) >= 0) continue;
      outcome.dropped |= group.columns;
      group.columns.clear();
    }
  }
  if (mine.groups.size() * theirs.groups.size() > kManyPairs)
    join_many(mine.groups, theirs.groups, mine.birth, sites, outcome);
  else
    join_few(mine.groups, theirs.groups, mine.birth, sites, outcome);
  outcome.dropped -= outcome.won;
}

bool only_of_site(const RowRecord& record, uint32_t site) { return only_of_sites(record, std::span(&site, 1)); }

RowRecord part_of_site(const RowRecord& record, uint32_t site) { return part_of_sites(record, std::span(&site, 1)); }

bool only_of_sites(const RowRecord& record, std::span<const uint32_t> sites) {
  auto theirs = [&](Stamp s) { return s.bottom() || among(sites, s.site); };
  return theirs(record.live) && theirs(record.birth) &&
         std::all_of(record.groups.begin(), record.groups.end(), [&](const CellGroup& g) { return theirs(g.stamp); });
}

RowRecord part_of_sites(const RowRecord& record, std::span<const uint32_t> sites) {
  return part_of(record, [&](Stamp s) { return among(sites, s.site); });
}

RowRecord part_of_others(const RowRecord& record, std::span<const uint32_t> sites) {
  return part_of(record, [&](Stamp s) { return !among(sites, s.site); });
}

Hlc newest_stamp(const RowRecord& record) {
  Hlc newest = std::max(record.live.hlc, record.birth.hlc);
  for (const CellGroup& group : record.groups) newest = std::max(newest, group.stamp.hlc);
  return newest;
}

RowRecord restrict_record(const RowRecord& record, const ColumnSet& columns, bool with_life) {
  RowRecord out;
  if (with_life) out.alive = record.alive, out.hidden = record.hidden, out.live = record.live, out.birth = record.birth;
  for (const CellGroup& group : record.groups) {
    ColumnSet both = group.columns;
    both &= columns;
    if (!both.empty()) out.groups.push_back({std::move(both), group.stamp});
  }
  tidy(out.groups);
  return out;
}

}  // namespace rejoin::crdt
