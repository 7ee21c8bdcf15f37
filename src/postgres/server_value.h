// What the server has of rows that it refused: for the device's list, and for taking the refusal's place there.
#pragma once

#include <vector>

#include "postgres/impersonate.h"
#include "sync/store.h"

namespace rejoin::postgres {

// Fills in `server` of each row, as far as the caller may see it. Within the merge's transaction, after its last write.
Status tell_rows(Work& work, const Persona& persona, std::vector<sync::RefusedRow>& refused);

}  // namespace rejoin::postgres
