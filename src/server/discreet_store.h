// What of a store's errors is for devices: which database a server has, where, and under which role, is for its log.
#pragma once

#include <functional>

#include "base/result.h"
#include "sync/store.h"

namespace rejoin::server {

// Is the error about the server's database, and not about what the device sent?
bool about_the_database(const Error& error);
// What a device is told instead. The code stays, but where it would say something about the device: that the database
// does not let the server in is no reason to look for another token.
Error for_devices(const Error& error);

// Passes calls on. An error that is about the database is reported to `tell` and given on as for_devices() says.
// `inner` and `tell` outlive it.
class DiscreetStore final : public sync::TenantStore {
 public:
  using Tell = std::function<void(const Error&)>;
  DiscreetStore(sync::TenantStore& inner, const Tell& tell) : inner_(inner), tell_(tell) {}
  Result<sync::PushReply> push(const sync::PushRequest& request) override;
  Result<sync::PullReply> pull(const sync::PullRequest& request) override;
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override;
  Result<std::string> contract_fingerprint() override;
  Result<std::string> contract_json() override;
  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override;
  Status adopt_contract(const std::string& json, bool may_create) override;
  Result<std::string> published_contract() override;
  Status publish_contract(const std::string& json) override;

 private:
  template <typename T>
  Result<T> look(Result<T> result) const {
    if (result.ok() || !about_the_database(result.error())) return result;
    tell_(result.error());
    return for_devices(result.error());
  }

  Status look(const Status& status) const {
    if (status.ok() || !about_the_database(status.error())) return status;
    tell_(status.error());
    return for_devices(status.error());
  }

  sync::TenantStore& inner_;
  const Tell& tell_;
};

}  // namespace rejoin::server
