// Pages of news for a device, read in one snapshot.
#pragma once

#include "codec/changeset.h"
#include "postgres/view.h"
#include "sync/store.h"

namespace rejoin::postgres {

// A table as frames name it.
codec::WireTable wire_table(const Table& table);

// What a page means for its view, to be noted before anybody gets the page.
struct PageNotes {
  Keys shown;             // rows that the view sees and was not given
  Keys hidden;            // rows that it was given and does not see
  bool whole = true;      // these and earlier notes say all that the replica has
  bool new_view = false;  // it is not known yet
  bool any() const { return !shown.empty() || !hidden.empty() || new_view; }
};

// `work` is a look, begun after a fold. What was captured since that fold is left out cell by cell and announced as
// still to come.
Result<sync::PullReply> read_page(Work& work, const Persona& persona, const sync::PullRequest& request,
                                  PageNotes& notes);

}  // namespace rejoin::postgres
