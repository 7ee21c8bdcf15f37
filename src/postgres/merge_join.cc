// What a row's news mean for the record and for the application's table.
#include "crdt/admission.h"
#include "postgres/merge_incoming.h"
#include "postgres/merge_plan.h"

namespace rejoin::postgres {

// News of a row that is unknown here may be of one whose deletion was forgotten. False: they are refused, or nothing.
// `theirs`: what of them is let in, which may be `without_birth`.
bool Merge::let_in(Plan& plan, crdt::RowRecord& without_birth, const crdt::RowRecord*& theirs) {
  const crdt::Hlc horizon = work_.state.horizon;
  const crdt::RowRecord& mine = plan.stored.record;
  if (horizon == 0 || !crdt::may_be_forgotten(mine)) return true;
  const Incoming& row = *plan.row;
  const crdt::Admission verdict =
      crdt::admission(mine, *theirs, work_.sites(), horizon, options_.only_site.has_value(), options_.stale);
  if (verdict == crdt::Admission::admit) return true;
  if (!plan.stored.known && !plan.looked) {
    // It may be older than its table's tracking.
    otherwise_ = true;
    return false;
  }
  switch (verdict) {
    case crdt::Admission::admit:
      return true;
    case crdt::Admission::in_part:
      if ((row.whole ? *row.whole : row.theirs).birth.hlc > horizon) return true;
      without_birth = *theirs;
      without_birth.birth = {};
      theirs = &without_birth;
      return true;
    case crdt::Admission::forget:
      break;
    case crdt::Admission::refuse: {
      crdt::JoinOutcome news;
      crdt::RowRecord joined = mine;
      crdt::join(joined, *theirs, work_.sites(), news);
      if (plan.stored.known && !news.changed()) return true;
      refuse(row, Code::before_horizon, crdt::before_horizon(horizon));
      break;
    }
  }
  plan.done = false;
  return false;
}

// The columns with what was there before tracking.
crdt::ColumnSet never_written(const crdt::RowRecord& record) {
  crdt::ColumnSet columns;
  for (const crdt::CellGroup& group : record.groups)
    if (group.stamp.hlc == crdt::kBeforeTrackingHlc) columns |= group.columns;
  return columns;
}

Status Merge::join(Plan& plan) {
  Incoming& row = *plan.row;
  crdt::RowRecord& mine = plan.stored.record;
  plan.was_alive = mine.alive;
  const bool missing = mine.alive && !plan.exists;
  crdt::RowRecord without_birth;
  const crdt::RowRecord* theirs = &row.theirs;
  if (!let_in(plan, without_birth, theirs)) return {};
  const crdt::ColumnSet old = plan.was_alive && plan.exists ? never_written(mine) : crdt::ColumnSet();
  crdt::join(mine, *theirs, work_.sites(), plan.join);
  // A device that made the row leaves out what others wrote of it. When the table was tracked anew (it has another key)
  // what they wrote is in the table, and has no version any more.
  if (plan.join.birth_won && mine.alive) {
    plan.kept = plan.join.dropped;
    plan.kept &= old;
    plan.join.dropped -= plan.kept;
  }
  if (!plan.join.changed()) {
    if (row.whole) {
      // Is it news, or known already?
      crdt::JoinOutcome news;
      crdt::RowRecord copy = mine, whole = *row.whole;
      if (theirs == &without_birth) whole.birth = {};
      crdt::join(copy, whole, work_.sites(), news);
      if (news.changed())
        refuse(
            row, Code::forbidden,
            "it carries another replica's changes and this token may not relay; ask for a token with relay, or let the "
            "other replica push them");
    }
    return {};
  }
  const Table& table = *row.table;
  if (mine.alive && missing && !plan.join.birth_won) {
    refuse(row, Code::refused,
           "the row was deleted from " + table.display +
               " while capture was off, so the rest of its values is not there; "
               "run rejoin pg track " +
               command_name(table));
    plan.done = false;
    return {};
  }
  if (mine.alive) {
    for (uint32_t c = 0; c < table.columns.size(); ++c) {
      if (!table.columns[c].present) continue;
      auto sent = row.values.find(c);
      if (plan.join.won.has(c)) {
        if (sent != row.values.end()) plan.columns.add(c), plan.values[c] = sent->second;
      } else if (plan.exists) {
        if (plan.join.dropped.has(c)) plan.columns.add(c), plan.values[c] = {};
      } else if (!mine.stamp_of(c).bottom()) {
        // Values that were kept of the dead row, or that are in the frame although they are no news.
        if (auto held = plan.stored.held.find(c); held != plan.stored.held.end())
          plan.columns.add(c), plan.values[c] = held->second;
        else if (sent != row.values.end() && row.theirs.stamp_of(c) == mine.stamp_of(c))
          plan.columns.add(c), plan.values[c] = sent->second;
      }
    }
    // Devices say NULL for what only PostgreSQL can fill in (an identity column, a time of creation). A row that is
    // there and that they wrote anew (REPLACE) keeps what it has, which is told like what is filled in.
    if (!plan.exists || plan.join.birth_won)
      for (const auto& [c, v] : plan.values)
        if (v.scalar.type == crdt::ValueType::null && table.columns[c].not_null && table.columns[c].has_default) {
          plan.columns.remove(c);
          if (plan.exists) plan.echoed.add(c);
        }
    plan.action = !plan.exists ? Plan::insert : plan.columns.empty() ? Plan::nothing : Plan::update;
    return {};
  }
  plan.join.won.each([&](uint32_t c) {
    if (auto sent = row.values.find(c); sent != row.values.end()) plan.values[c] = sent->second;
  });
  if (plan.exists) {
    plan.action = Plan::erase;
  } else if (options_.persona.on()) {
    // What a dead row holds shows again when it is restored, and what is said of one that is not born yet when it is:
    // no policy can be asked about that now. Of a row that came and went at the device only the end is kept.
    if (!plan.join.won.empty() && (plan.stored.known || row.theirs.birth.bottom())) {
      refuse(row, Code::forbidden, kRoleMayNot);
      plan.done = false;
    }
  } else {
    for (auto& [c, v] : plan.values) plan.stored.held[c] = v;
  }
  return {};
}

}  // namespace rejoin::postgres
