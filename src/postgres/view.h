// What each view (postgres/impersonate.h) was given of tables under row-level security, so that a row which its caller
// may not see any more leaves the device, and nobody hears of a row that was never theirs. docs/adr/0007.
#pragma once

#include <map>
#include <vector>

#include "postgres/impersonate.h"

namespace rejoin::postgres {

// Keys by table.
using Keys = std::map<int64_t, std::vector<Bytes>>;

struct Shown {
  bool ever = false;  // it was given to the view, or to the one before
  bool now = false;   // it was visible to the view when that was last looked at
};

// Queues the question what two views were given of these keys; read_shown() takes the answer.
void send_shown(Work& work, const Table& table, const std::vector<BytesView>& keys, uint64_t view, uint64_t other);
std::vector<Shown> read_shown(const Rows& rows, size_t keys);

// Is everything of guarded tables that a replica of this view has noted? Not if it kept rows of a table that it only
// pushes.
Result<bool> is_noted(Work& work, uint64_t view);
bool notes_all(const Catalog& catalog, const Persona& persona);
// Is it noted what the view was given, and was it used since then?
Result<bool> is_known(Work& work, uint64_t view, int64_t since_ms = 0);
// Queue, within a merge: the view is given these rows; it has lost sight of those; it is known from now on.
void note_shown(Work& work, uint64_t view, const Keys& keys);
void note_hidden(Work& work, uint64_t view, const Keys& keys);
void note_used(Work& work, uint64_t view, bool whole);
// Queues: no view was given these keys.
void forget_shown(Work& work, const Table& table, const Array& keys);
// Queues: views that nobody has used since `before_ms` are forgotten.
void forget_views(Work& work, int64_t before_ms);

// Other tables than a row's own can decide who sees it (a membership, say), and no capture tells of that. Asks for
// every row whether the view sees it now, and puts those into the log of which the answer has changed since they were
// given, but of tables that the reader's pages leave out. Gives the tables that cannot be read. A transaction of its
// own, or two.
Result<LeftOut> recheck_view(Connection& db, Tenant& tenant, const Impersonation& as, const sync::Identity* who,
                             const crdt::SiteId& site, const std::vector<uint64_t>& left_out);

}  // namespace rejoin::postgres
