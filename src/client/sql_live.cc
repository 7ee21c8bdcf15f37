#include "client/sql_live.h"

#include <pthread.h>

#include <atomic>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <set>
#include <thread>

#include "client/live.h"
#include "net/url.h"
#include "net/websocket_client.h"

namespace rejoin::client {
namespace {

// How long the end of the process waits for threads that are in the middle of something.
constexpr std::chrono::milliseconds kPatience{2'000};
// Between two tries to open a file that is locked.
constexpr std::chrono::milliseconds kFirstWait{50}, kLongestWait{2'000};

// What a thread and its owner share; the thread may outlive its owner at the end of the process.
struct Shared {
  std::atomic<bool> stop = false;
  std::atomic<bool> over = false;
  std::mutex mutex;
  std::string state = "connecting";
  std::string error, not_migrated;
  uint64_t pushed = 0, pulled = 0;
};

// Never destroyed: at the end of the process threads may still be there.
struct Running {
  std::mutex mutex;
  std::set<std::shared_ptr<Shared>> all;
};
Running& running() {
  static auto* const all = new Running();
  return *all;
}

// A thread that goes on while the process takes its libraries apart would crash.
void stop_all() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  std::set<std::shared_ptr<Shared>> all;
  {
    std::lock_guard lock(running().mutex);
    all = running().all;
  }
  for (const auto& shared : all) shared->stop = true;
  for (const auto& shared : all)
    while (!shared->over && std::chrono::steady_clock::now() < until)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

void tell(Shared& shared, const LiveTold& told) {
  std::lock_guard lock(shared.mutex);
  if (const auto* connected = std::get_if<LiveConnected>(&told)) {
    shared.state = "connected";
    shared.error.clear();
    shared.not_migrated = connected->not_migrated ? connected->not_migrated->message : std::string();
  } else if (const auto* synced = std::get_if<LiveSynced>(&told)) {
    shared.pushed += synced->totals.rows_pushed;
    shared.pulled += synced->totals.rows_pulled;
    shared.error = synced->error ? synced->error->message : std::string();
  } else if (const auto* waiting = std::get_if<LiveWaiting>(&told)) {
    shared.state = "waiting";
    shared.error = waiting->why.message;
  }
}

// As often as it takes: the application may hold its lock for as long as it likes.
Result<std::unique_ptr<sqlite::Database>> open_when_free(const std::string& file,
                                                         const sqlite::DatabaseOptions& options, const Shared& shared) {
  for (auto wait = kFirstWait;; wait = std::min(2 * wait, kLongestWait)) {
    Result<std::unique_ptr<sqlite::Database>> database = sqlite::Database::open(file, options);
    if (database.ok() || database.error().code != Code::busy || shared.stop) return database;
    const auto until = std::chrono::steady_clock::now() + wait;
    while (!shared.stop && std::chrono::steady_clock::now() < until) std::this_thread::sleep_for(kFirstWait);
  }
}

Status keep_in_sync(const std::string& file, const sqlite::Connection& connection, Shared& shared) {
  sqlite::DatabaseOptions open;
  open.create = false;
  open.wal = false;  // as the application has it
  open.full_sync = true;
  REJOIN_ASSIGN(const std::unique_ptr<sqlite::Database> database, open_when_free(file, open, shared));
  LiveOptions options;
  options.cancelled = [&] { return shared.stop.load(); };
  options.told = [&](const LiveTold& told) { tell(shared, told); };
  // The application stores a fresh one with rejoin_connect().
  options.migrate = connection.migrate.value_or(false);
  options.token = [&, good = connection.token]() mutable {
    const auto stored = sqlite::stored_connection(database->replica());
    if (stored.ok() && *stored && (*stored)->url == connection.url) good = (*stored)->token;
    return good;
  };
  return run_live(*database, connection.url, options);
}

class LiveThread final : public sqlite::LiveConnection {
 public:
  LiveThread(const std::string& file, const sqlite::Connection& connection) : url_(connection.url) {
    {
      std::lock_guard lock(running().mutex);
      running().all.insert(shared_);
    }
    // Signals are the application's threads' business.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([shared = shared_, file, connection] {
      Status ended;
      try {
        ended = keep_in_sync(file, connection, *shared);
      } catch (const std::exception& e) {
        ended = fail(Code::internal, e.what());
      }
      {
        std::lock_guard lock(shared->mutex);
        shared->state = "stopped";
        if (!ended.ok()) shared->error = ended.error().message;
      }
      shared->over = true;
    });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  ~LiveThread() override {
    shared_->stop = true;
    thread_.join();
    std::lock_guard lock(running().mutex);
    running().all.erase(shared_);
  }

  std::string status_json() override {
    std::lock_guard lock(shared_->mutex);
    boost::json::object out{
        {"state", shared_->state}, {"url", url_}, {"pushed", shared_->pushed}, {"pulled", shared_->pulled}};
    if (shared_->error.empty())
      out["error"] = nullptr;
    else
      out["error"] = shared_->error;
    if (!shared_->not_migrated.empty()) out["not_migrated"] = shared_->not_migrated;
    return boost::json::serialize(out);
  }

 private:
  const std::string url_;
  const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
  std::thread thread_;
};

Result<std::unique_ptr<sqlite::LiveConnection>> start(const std::string& file, const sqlite::Connection& connection) {
  try {
    REJOIN_TRY(net::parse_url(connection.url));
    static std::once_flag once;
    std::call_once(once, [] {
      net::prepare_tls();
      std::atexit(stop_all);
    });
    return std::unique_ptr<sqlite::LiveConnection>(std::make_unique<LiveThread>(file, connection));
  } catch (const std::exception& e) {
    return fail(Code::internal, std::string("no thread for the live connection: ") + e.what());
  }
}

}  // namespace

void install_sql_live() { sqlite::install_live_function(&start); }

}  // namespace rejoin::client
