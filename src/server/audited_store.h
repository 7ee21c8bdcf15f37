// A tenant's store whose pushes are written into the audit log before they are answered.
#pragma once

#include <string>

#include "sync/audit.h"
#include "sync/store.h"

namespace rejoin::server {

// Passes calls on. A push that was taken and cannot be written into the log is an error: the device repeats it, and the
// repetition is written. `inner` and `sink` outlive it.
class AuditedStore final : public sync::TenantStore {
 public:
  AuditedStore(sync::TenantStore& inner, std::string tenant, sync::AuditSink& sink)
      : inner_(inner), tenant_(std::move(tenant)), sink_(sink) {}
  Result<sync::PushReply> push(const sync::PushRequest& request) override;
  Result<sync::PullReply> pull(const sync::PullRequest& request) override { return inner_.pull(request); }
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    return inner_.restored(device, site, token, cursor);
  }
  Result<std::string> contract_fingerprint() override { return inner_.contract_fingerprint(); }
  Result<std::string> contract_json() override { return inner_.contract_json(); }
  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    return inner_.knows_contract(fingerprint, may_create);
  }
  Status adopt_contract(const std::string& json, bool may_create) override {
    return inner_.adopt_contract(json, may_create);
  }
  Result<std::string> published_contract() override { return inner_.published_contract(); }
  Status publish_contract(const std::string& json) override { return inner_.publish_contract(json); }

 private:
  sync::TenantStore& inner_;
  const std::string tenant_;
  sync::AuditSink& sink_;
};

}  // namespace rejoin::server
