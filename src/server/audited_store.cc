#include "server/audited_store.h"

#include <vector>

#include "server/utf8.h"

namespace rejoin::server {
namespace {

// Names and keys are a device's own bytes, which neither JSON nor PostgreSQL need take.
class CleanSink final : public sync::AuditSink {
 public:
  explicit CleanSink(sync::AuditSink& inner) : inner_(inner) {}
  Status write(const std::string& tenant, const std::vector<sync::AuditEntry>& entries) override {
    std::vector<sync::AuditEntry> clean = entries;
    for (sync::AuditEntry& e : clean) {
      for (std::string* text : {&e.device, &e.table, &e.key, &e.reason}) *text = clean_text(*text);
      for (std::string& column : e.columns) column = clean_text(column);
    }
    return inner_.write(tenant, clean);
  }

 private:
  static std::string clean_text(const std::string& text) {
    std::string out = clean_utf8(text);
    for (size_t at = 0; (at = out.find('\0', at)) != std::string::npos;) out.replace(at, 1, "\xef\xbf\xbd");
    return out;
  }
  sync::AuditSink& inner_;
};

}  // namespace

Result<sync::PushReply> AuditedStore::push(const sync::PushRequest& request) {
  Result<sync::PushReply> reply = inner_.push(request);
  CleanSink clean(sink_);
  if (const Status written = sync::audit_push(request, reply, tenant_, clean); !written.ok() && reply.ok())
    return written.error();
  return reply;
}

}  // namespace rejoin::server
