// Pages of news for a device, read in one snapshot.
#pragma once

#include "codec/changeset.h"
#include "postgres/work.h"
#include "sync/store.h"

namespace rejoin::postgres {

// A table as frames name it.
codec::WireTable wire_table(const Table& table);

// `work` is a look, begun after a fold. What was captured since that fold is left out cell by cell and announced as
// still to come.
Result<sync::PullReply> read_page(Work& work, const sync::PullRequest& request);

}  // namespace rejoin::postgres
