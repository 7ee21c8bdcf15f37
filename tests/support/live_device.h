// Devices with a live connection to a server of this process: a file, the application's connection to it, and a thread
// that keeps it in sync.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "client/live.h"
#include "net/websocket_client.h"
#include "server/server.h"

namespace rejoin::testing {

// An empty folder that goes with it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline constexpr const char* kLiveSecret = "a secret for tests that is long enough to be one";

// A token that is good for so long.
// `hidden`: a table that its device may not see.
std::string live_token(const std::string& device, const std::string& tenant = "main", int64_t seconds = 3600,
                       const std::string& hidden = "");

// True as soon as it is so; false when it is not within a minute.
bool eventually(const std::function<bool()>& so);

class LiveDevice {
 public:
  // Makes and tracks todos(id TEXT PRIMARY KEY, title TEXT).
  LiveDevice(const std::string& folder, const std::string& name);
  ~LiveDevice();
  void connect(const std::string& url, std::function<std::string()> token = nullptr,
               std::vector<std::string> topics = {});
  bool ended() const { return over_; }
  // How the connection's thread ended.
  Status disconnect();

  void run(const std::string& sql);
  // Gives up all that was refused.
  void discard();
  std::string rows(const std::string& sql = "SELECT id, title FROM todos ORDER BY id");
  bool comes_to(const std::string& rows);
  size_t connections() const { return connections_; }
  std::vector<sync::AppMessage> messages() const;
  // How long the connection's thread waits for a lock of the application's.
  int patience_ms = 5'000;

 private:
  const std::string name_;
  std::unique_ptr<sqlite::Database> app_;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<bool> over_ = false;
  std::atomic<size_t> connections_ = 0;
  Status ended_;
  mutable std::mutex mutex_;
  std::vector<sync::AppMessage> messages_;
};

// A live connection that says what it is told and keeps what it hears.
class LivePeer {
 public:
  LivePeer(uint16_t port, const std::string& token);
  bool connected() const { return socket_ != nullptr; }
  void send(const sync::LiveRequest& request);
  // The next event; nothing when the connection is gone.
  std::optional<sync::LiveEvent> next();
  // An exchange with a pull at this place, of this site; the answer.
  std::optional<sync::SyncResponse> follow(const Bytes& cursor = {}, char site = 's');
  uint16_t close_code() const { return socket_->close_code(); }
  net::WebSocketClient& socket() { return *socket_; }

 private:
  std::unique_ptr<net::WebSocketClient> socket_;
};

// A number of the server's /metrics.
double metric(uint16_t port, const std::string& name);

}  // namespace rejoin::testing
