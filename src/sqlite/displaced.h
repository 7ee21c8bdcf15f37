// Rows that nobody logged when an OR REPLACE displaced them.
#pragma once

#include "base/result.h"
#include "sqlite/context.h"

namespace rejoin::sqlite {

// Plain SQL has made a UNIQUE index of the table, and the capture triggers did not know it when rows were written: logs
// the deletion of rows that are gone by no statement that was captured, and folds. Their values are lost.
Status log_displaced(Work& work, uint64_t table);

}  // namespace rejoin::sqlite
