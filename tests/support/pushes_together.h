// Several devices at one store whose pushes meet: each waits until all the others push too, or have ended; then they
// are written together.
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>

#include "postgres/store.h"

namespace rejoin::testing {

// Thread-safe: each device has a thread of its own.
class PushesTogether {
 public:
  // Devices are numbered from 0. The first push of `torn` comes damaged.
  PushesTogether(postgres::TenantStore& store, size_t devices, std::optional<size_t> torn = {})
      : store_(store), there_(devices), torn_(torn) {}
  // As the device sees it.
  std::unique_ptr<sync::TenantStore> store(size_t device);
  // A device has ended.
  void leave();
  // How many pushes were not written alone.
  uint64_t together() const { return together_; }
  bool tore() const { return tore_; }

 private:
  class One;
  Result<sync::PushReply> push(size_t device, const sync::PushRequest& request);
  // The mutex is held.
  void write_if_all_wait();

  postgres::TenantStore& store_;
  std::mutex mutex_;  // and whose turn it is at the store
  std::condition_variable changed_;
  size_t there_;
  std::optional<size_t> torn_;
  bool tore_ = false;
  uint64_t together_ = 0;
  std::map<size_t, const sync::PushRequest*> waiting_;
  std::map<size_t, Result<sync::PushReply>> replies_;
};

}  // namespace rejoin::testing
