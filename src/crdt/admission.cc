#include "crdt/admission.h"

#include "base/clock.h"

namespace rejoin::crdt {

bool may_be_forgotten(const RowRecord& record) {
  return record.live.bottom() || (!record.alive && record.birth.bottom());
}

Admission admission(const RowRecord& mine, const RowRecord& theirs, const SiteTable& sites, Hlc horizon, bool partial,
                    bool stale) {
  const bool deleted = !mine.live.bottom();
  const Hlc newest = newest_stamp(theirs);
  if (newest == 0) return Admission::admit;  // it says nothing
  if (theirs.live.bottom()) {
    const bool old = stale || newest <= horizon;
    return old && !deleted ? Admission::refuse : Admission::in_part;
  }
  if (!theirs.alive) return newest <= horizon && mine == RowRecord() ? Admission::forget : Admission::in_part;
  // Born after the horizon it wins against all that was forgotten. So does a later restore, if it brings the whole row.
  if (theirs.birth.hlc > horizon) return Admission::admit;
  if (deleted && compare(theirs.live, mine.live, sites) < 0) return Admission::in_part;
  const bool restored = theirs.live.hlc > horizon && !theirs.birth.bottom() && !partial && !stale;
  return restored ? Admission::admit : Admission::refuse;
}

namespace {

std::string may_be_gone(Hlc horizon) {
  return "it is unknown here and from before " + iso8601(ms_of_hlc(horizon)) +
         ", up to when deletions are forgotten: it may have been deleted. ";
}

}  // namespace

std::string before_horizon(Hlc horizon) {
  return may_be_gone(horizon) + "Discard it, or delete it and insert it again";
}

std::string waits_for_row(Hlc horizon) {
  return may_be_gone(horizon) + "It is merged when a row with this key is inserted, here or where it comes from";
}

}  // namespace rejoin::crdt
