// Captured writes (rejoin.outbox) become row records and log entries, with the tenant's own site as their writer.
#pragma once

#include "postgres/records.h"

namespace rejoin::postgres {

// Everything that is committed when it is called, but of tables that stand aside: that stays. The outbox is a queue,
// not read by watermark, so a transaction that commits late is never skipped. Within a transaction of Mode::merge.
Status fold(Work& work);

// The key of an entry (outbox.key). Nothing: a NULL is in it, so that no record can be of it.
struct CapturedKey {
  Bytes encoded;
  bool held = true;  // false: the key's columns cannot hold it now, so no row is there
};
std::optional<CapturedKey> captured_key(const Table& table, BytesView key);

// The values that an entry about a deletion holds (outbox.was). Columns that the table lost since are left out.
Held read_was(const Table& table, BytesView was);

}  // namespace rejoin::postgres
