// The audit log in PostgreSQL: rejoin.audit, a partition for each day, made and dropped by rejoin.audit_partitions().
#pragma once

#include "postgres/connection.h"
#include "sync/audit.h"

namespace rejoin::postgres {

class AuditTable final : public sync::AuditSink {
 public:
  explicit AuditTable(Connection& db) : db_(db) {}
  // In a transaction of its own; none may be open. Errors: not_found (a schema without it; with the cure), and what
  // PostgreSQL reports.
  Status write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) override;

 private:
  Connection& db_;
};

// Has the installed schema one? Errors: as installed_version().
Result<bool> has_audit(Connection& db);

}  // namespace rejoin::postgres
