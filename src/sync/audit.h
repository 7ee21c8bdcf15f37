// Who pushed what: the entries of an audit log, made from a push and its answer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "sync/store.h"

namespace rejoin::sync {

struct AuditEntry {
  std::string device;
  std::string event;  // "push"; "refused": a row, or without a table the whole push; "device_forgotten"
  Bytes nonce;        // of the push; a repeated one has the same
  std::string op;     // "insert" (or a restore), "update", "delete"
  std::string table;
  std::string key;                   // JSON array
  std::vector<std::string> columns;  // that were sent
  int64_t written_ms = 0;            // when the device wrote it, by the clock that its stamps follow
  std::string code, reason;          // of a refusal
};

// Where entries go.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  // Durably, in this order. Texts are UTF-8 without NUL.
  virtual Status write(const std::string& tenant, const std::vector<AuditEntry>& entries) = 0;
};

// Puts the entries of a push that was answered, some thousand at a time. A push that failed for a passing reason has
// none: it comes again. Errors: those of the sink.
Status audit_push(const PushRequest& request, const Result<PushReply>& reply, const std::string& tenant,
                  AuditSink& sink);

}  // namespace rejoin::sync
