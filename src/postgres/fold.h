// Captured writes (rejoin.outbox) become row records and log entries, with the tenant's own site as their writer.
#pragma once

#include "postgres/work.h"

namespace rejoin::postgres {

// Everything that is committed when it is called. The outbox is a queue, not read by watermark, so a transaction that
// commits late is never skipped. Within a transaction of Mode::merge.
Status fold(Work& work);

}  // namespace rejoin::postgres
