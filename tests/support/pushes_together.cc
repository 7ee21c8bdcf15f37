#include "tests/support/pushes_together.h"

#include <utility>
#include <vector>

namespace rejoin::testing {

class PushesTogether::One final : public sync::TenantStore {
 public:
  One(PushesTogether& all, size_t device) : all_(all), device_(device) {}
  Result<sync::PushReply> push(const sync::PushRequest& request) override { return all_.push(device_, request); }
  Result<sync::PullReply> pull(const sync::PullRequest& request) override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.pull(request);
  }
  Result<sync::Restored> restored(const std::string& device, const crdt::SiteId& site, BytesView token,
                                  BytesView cursor) override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.restored(device, site, token, cursor);
  }
  Result<std::string> contract_fingerprint() override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.contract_fingerprint();
  }
  Result<std::string> contract_json() override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.contract_json();
  }
  Result<bool> knows_contract(const std::string& fingerprint, bool may_create) override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.knows_contract(fingerprint, may_create);
  }
  Status adopt_contract(const std::string& json, bool may_create) override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.adopt_contract(json, may_create);
  }
  Result<std::string> published_contract() override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.published_contract();
  }
  Status publish_contract(const std::string& json) override {
    const std::lock_guard turn(all_.mutex_);
    return all_.store_.publish_contract(json);
  }

 private:
  PushesTogether& all_;
  const size_t device_;
};

std::unique_ptr<sync::TenantStore> PushesTogether::store(size_t device) { return std::make_unique<One>(*this, device); }

void PushesTogether::leave() {
  const std::lock_guard turn(mutex_);
  --there_;
  write_if_all_wait();
}

Result<sync::PushReply> PushesTogether::push(size_t device, const sync::PushRequest& request) {
  std::unique_lock turn(mutex_);
  waiting_[device] = &request;
  write_if_all_wait();
  changed_.wait(turn, [&] { return replies_.contains(device); });
  Result<sync::PushReply> reply = std::move(replies_.at(device));
  replies_.erase(device);
  return reply;
}

void PushesTogether::write_if_all_wait() {
  if (waiting_.empty() || waiting_.size() < there_) return;
  std::vector<sync::PushRequest> requests;
  std::vector<const sync::PushRequest*> all;
  Bytes torn;
  for (const auto& [device, request] : waiting_) {
    requests.push_back(*request);
    if (device != torn_ || std::exchange(tore_, true)) continue;
    torn = Bytes(request->frame.substr(0, request->frame.size() - 3));
    requests.back().frame = torn;
  }
  for (const sync::PushRequest& request : requests) all.push_back(&request);
  std::vector<Result<sync::PushReply>> replies = store_.push_together(all);
  if (all.size() > 1) together_ += all.size();
  size_t at = 0;
  for (const auto& entry : waiting_) replies_.emplace(entry.first, std::move(replies[at++]));
  waiting_.clear();
  changed_.notify_all();
}

}  // namespace rejoin::testing
