// How long the calls of a tenant's store take, by what they do.
#pragma once

#include <chrono>
#include <functional>
#include <type_traits>
#include <utility>

#include "server/tenants.h"
#include "sync/store.h"

namespace rejoin::server {

// Passes calls on and tells what each took, whatever came of it. `inner` and `tell` outlive it.
class TimedStore final : public sync::TenantStore {
 public:
  // `merges`: a push is one merge, and told as both. Where pushes are merged together, whoever does it tells the merge.
  TimedStore(sync::TenantStore& inner, const Tenants::Worked& tell, bool merges)
      : inner_(inner), tell_(tell), merges_(merges) {}

  Result<sync::PushReply> push(const sync::PushRequest& request) override {
    const auto began = Clock::now();
    Result<sync::PushReply> reply = inner_.push(request);
    const auto took = Clock::now() - began;
    if (tell_) tell_(StoreWork::push, took);
    if (tell_ && merges_) tell_(StoreWork::merge, took);
    return reply;
  }
  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    return timed(StoreWork::pull, [&] { return inner_.pull(request); });
  }
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    return timed(StoreWork::pull, [&] { return inner_.restored(device, site, token, cursor); });
  }
  Result<std::string> contract_fingerprint() override {
    return timed(StoreWork::contract, [&] { return inner_.contract_fingerprint(); });
  }
  Result<std::string> contract_json() override {
    return timed(StoreWork::contract, [&] { return inner_.contract_json(); });
  }
  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    return timed(StoreWork::contract, [&] { return inner_.knows_contract(fingerprint, may_create); });
  }
  Status adopt_contract(const std::string& json, bool may_create) override {
    return timed(StoreWork::contract, [&] { return inner_.adopt_contract(json, may_create); });
  }
  Result<std::string> published_contract() override {
    return timed(StoreWork::contract, [&] { return inner_.published_contract(); });
  }
  Status publish_contract(const std::string& json) override {
    return timed(StoreWork::contract, [&] { return inner_.publish_contract(json); });
  }

 private:
  using Clock = std::chrono::steady_clock;

  template <typename Call>
  std::invoke_result_t<Call> timed(StoreWork kind, const Call& call) const {
    const auto began = Clock::now();
    std::invoke_result_t<Call> result = call();
    if (tell_) tell_(kind, Clock::now() - began);
    return result;
  }

  sync::TenantStore& inner_;
  const Tenants::Worked& tell_;
  const bool merges_;
};

}  // namespace rejoin::server
