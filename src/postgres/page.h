// Pages of news for a device, read in one snapshot.
#pragma once

#include <set>

#include "codec/changeset.h"
#include "postgres/view.h"
#include "sync/store.h"

namespace rejoin::postgres {

// A table as frames name it.
codec::WireTable wire_table(const Table& table);

// What a page means for its view, to be noted before anybody gets the page.
struct PageNotes {
  Keys shown;                   // rows that the view sees and was not given
  Keys hidden;                  // rows that it was given and does not see
  bool whole = true;            // these and earlier notes say all that the replica has
  bool new_view = false;        // it is not known yet
  LeftOut failing;              // tables that could not be read
  std::vector<Error> withheld;  // values that no device takes, as far as they are to be told
  bool any() const { return !shown.empty() || !hidden.empty() || new_view; }
};

// `behind`: the device has missed deletions that are forgotten here (postgres/purge.h): it gets all that there is, and
// what does not come again leaves it.
// `work` is a look, begun after a fold. What was captured since that fold is left out cell by cell and announced as
// still to come. A table of which a policy fails is left out, of this page and of those that follow, until it is one of
// `readable`: then it comes whole.
Result<sync::PullReply> read_page(Work& work, const Persona& persona, const sync::PullRequest& request,
                                  PageNotes& notes, const std::set<int64_t>& readable = {}, bool behind = false);

}  // namespace rejoin::postgres
