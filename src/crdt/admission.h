// Whether news of a row that is unknown here are let in, where deletions up to a horizon have been forgotten.
// docs/adr/0009-forgotten-deletions.md has the rules and why they are safe.
#pragma once

#include <string>

#include "crdt/record.h"

namespace rejoin::crdt {

// Does `record` say too little to tell the row from one that was forgotten? Nothing of it is here, or edits and
// deletions only: no birth, without which the row cannot have come whole.
bool may_be_forgotten(const RowRecord& record);
// What to do with news of such a row.
enum class Admission {
  admit,
  in_part,  // all but its birth, if that is not above the horizon: not all that the row had since is here
  refuse,   // it may be one whose deletion was forgotten
  forget,   // it is a deletion that would be forgotten at once
};
// `mine`: what is here of it. `horizon`: no stamp of a row that was forgotten is above it. `partial`: what others wrote
// of the row is not in `theirs`. `stale`: from a device that has missed forgotten deletions.
Admission admission(const RowRecord& mine, const RowRecord& theirs, const SiteTable& sites, Hlc horizon, bool partial,
                    bool stale);
// Why a row is refused.
std::string before_horizon(Hlc horizon);
// Why one is kept aside until the row is known.
std::string waits_for_row(Hlc horizon);

}  // namespace rejoin::crdt
