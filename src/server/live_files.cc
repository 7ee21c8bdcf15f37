// What tells of other processes that write the embedded store's files: their times and sizes.
#include <sys/stat.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>

#include "server/live_feed.h"
#include "server/tenant_files.h"

namespace rejoin::server {
namespace {

using SteadyClock = std::chrono::steady_clock;

// A commit is written before it can be read, by as long as the disk takes to sync: who looks in between sees the last
// change of the file, and nothing new in it. So it is looked into again a little later.
constexpr std::chrono::seconds kSettles{3};

struct Stamp {
  int64_t time = 0, size = 0, log_time = 0, log_size = 0;
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

void look(const std::string& path, int64_t& time, int64_t& size) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return;
  time = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec;
  size = info.st_size;
}

class FileFeed final : public LiveFeed {
 public:
  FileFeed(std::string folder, const LiveSettings& settings, Heard heard)
      : folder_(std::move(folder)), poll_(settings.poll_ms), heard_(std::move(heard)), thread_([this] { run(); }) {}

  ~FileFeed() override {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  void follow(const std::string& tenant) override {
    const Stamp now = stamp(tenant);
    std::lock_guard lock(mutex_);
    followed_.emplace(tenant, Known{now, SteadyClock::now()});
  }
  void unfollow(const std::string& tenant) override {
    std::lock_guard lock(mutex_);
    followed_.erase(tenant);
  }
  void grown(const std::string&) override {}
  void tell(const std::string&, Bytes) override {}

 private:
  struct Known {
    Stamp stamp;
    SteadyClock::time_point since;
    bool settled = false;  // looked into long after its last change
  };

  Stamp stamp(const std::string& tenant) const {
    const std::string path = folder_ + "/" + tenant_file_name(tenant) + ".db";
    Stamp out;
    look(path, out.time, out.size);
    look(path + "-wal", out.log_time, out.log_size);
    return out;
  }

  void run() {
    std::unique_lock lock(mutex_);
    auto looked = SteadyClock::now();
    while (!wake_.wait_for(lock, poll_, [this] { return stopping_; })) {
      std::vector<std::string> changed;
      const auto before = std::exchange(looked, SteadyClock::now());
      for (auto& [tenant, known] : followed_) {
        const Stamp now = stamp(tenant);
        if (now == known.stamp && known.settled) continue;
        const auto time = SteadyClock::now();
        if (!(now == known.stamp)) known = {now, time};
        known.settled = time - known.since > kSettles;
        changed.push_back(tenant);
      }
      lock.unlock();
      for (const std::string& tenant : changed) heard_.changed(tenant, before);
      lock.lock();
    }
  }

  const std::string folder_;
  const std::chrono::milliseconds poll_;
  const Heard heard_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::unordered_map<std::string, Known> followed_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<LiveFeed> make_file_feed(std::string folder, const LiveSettings& settings, LiveFeed::Heard heard) {
  return std::make_unique<FileFeed>(std::move(folder), settings, std::move(heard));
}

}  // namespace rejoin::server
