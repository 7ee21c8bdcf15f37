#include "tests/support/live_device.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>

#include "net/http_client.h"
#include "server/jwt.h"
#include "sqlite/query.h"

namespace rejoin::testing {

using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

TemporaryFolder::TemporaryFolder() {
  char folder[] = "/tmp/rejoin-live-XXXXXX";
  EXPECT_NE(::mkdtemp(folder), nullptr);
  path_ = folder;
}

TemporaryFolder::~TemporaryFolder() { std::filesystem::remove_all(path_); }

std::string live_token(const std::string& device, const std::string& tenant, int64_t seconds,
                       const std::string& hidden) {
  server::Claims claims;
  claims.tenant = tenant;
  claims.device = device;
  claims.schema = true;
  if (!hidden.empty()) claims.tables.set(hidden, {false, false});
  const int64_t now = system_clock().now_ms();
  claims.expires_s = now / 1000 + seconds;
  auto token = server::mint_token(claims, kLiveSecret, now);
  EXPECT_TRUE(token.ok()) << (token.ok() ? "" : token.error().message);
  return token.ok() ? *token : "";
}

bool eventually(const std::function<bool()>& so) {
  for (const auto until = SteadyClock::now() + std::chrono::minutes(1); SteadyClock::now() < until;) {
    if (so()) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return so();
}

LiveDevice::LiveDevice(const std::string& folder, const std::string& name) : name_(name) {
  auto opened = sqlite::Database::open(folder + "/" + name + ".db");
  EXPECT_TRUE(opened.ok());
  app_ = std::move(*opened);
  run("CREATE TABLE todos(id TEXT PRIMARY KEY, title TEXT)");
  EXPECT_TRUE(app_->replica().track("todos").ok());
}

LiveDevice::~LiveDevice() { (void)disconnect(); }

void LiveDevice::connect(const std::string& url, std::function<std::string()> token, std::vector<std::string> topics) {
  if (!token) token = [fixed = live_token(name_)] { return fixed; };
  stop_ = false;
  thread_ = std::thread([this, url, token = std::move(token), topics = std::move(topics)] {
    sqlite::DatabaseOptions open;
    open.busy_timeout_ms = patience_ms;
    auto database = sqlite::Database::open(app_->path(), open);
    client::LiveOptions options;
    options.token = token;
    options.topics = topics;
    options.look_ms = 5;
    options.longest_backoff_ms = 100;
    options.cancelled = [this] { return stop_.load(); };
    options.told = [this](const client::LiveTold& told) {
      if (std::get_if<client::LiveConnected>(&told)) ++connections_;
      std::lock_guard lock(mutex_);
      if (const auto* message = std::get_if<sync::AppMessage>(&told)) messages_.push_back(*message);
    };
    ended_ = client::run_live(**database, url, options);
    over_ = true;
  });
}

Status LiveDevice::disconnect() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  return ended_;
}

void LiveDevice::run(const std::string& sql) {
  const Status done = app_->execute(sql);
  EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
}

void LiveDevice::discard() { EXPECT_TRUE(app_->replica().discard_all().ok()); }

std::string LiveDevice::rows(const std::string& sql) {
  std::string out;
  const Status done = sqlite::query(app_->handle(), sql, {}, [&](sqlite::QueryRow row) {
    for (const crdt::ValueRef& value : row) {
      if (&value != row.data()) out += '|';
      out += value.type == crdt::ValueType::null      ? "null"
             : value.type == crdt::ValueType::integer ? std::to_string(value.integer)
                                                      : std::string(value.bytes);
    }
    out += ' ';
    return true;
  });
  EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
  return out;
}

bool LiveDevice::comes_to(const std::string& wanted) {
  return eventually([&] { return rows() == wanted; });
}

std::vector<sync::AppMessage> LiveDevice::messages() const {
  std::lock_guard lock(mutex_);
  return messages_;
}

LivePeer::LivePeer(uint16_t port, const std::string& token) {
  auto opened = net::WebSocketClient::open({false, "127.0.0.1", port, ""}, "/v1/live",
                                           {{"Authorization", "Bearer " + token}}, {});
  if (opened.ok()) socket_ = std::move(*opened);
}

void LivePeer::send(const sync::LiveRequest& request) { socket_->send(sync::encode_live_request(request)); }

std::optional<sync::LiveEvent> LivePeer::next() {
  auto message = socket_->receive(SteadyClock::now() + std::chrono::minutes(1));
  if (!message.ok() || !*message) return std::nullopt;
  auto event = sync::decode_live_event(**message);
  EXPECT_TRUE(event.ok()) << (event.ok() ? "" : event.error().message);
  return event.ok() ? std::optional(std::move(*event)) : std::nullopt;
}

std::optional<sync::SyncResponse> LivePeer::follow(const Bytes& cursor, char site) {
  sync::LiveRequest request;
  request.sync.emplace();
  request.sync->hello.site = crdt::SiteId::from(std::string(16, site));
  request.sync->pull.emplace().cursor = cursor;
  send(request);
  while (auto event = next()) {
    if (!event->response) continue;
    auto response = sync::decode_response(*event->response);
    EXPECT_TRUE(response.ok());
    return response.ok() ? std::optional(std::move(*response)) : std::nullopt;
  }
  return std::nullopt;
}

double metric(uint16_t port, const std::string& name) {
  net::HttpClient client(net::Url{false, "127.0.0.1", port, ""});
  const auto reply = client.get("/metrics");
  if (!reply.ok()) return -1;
  const size_t at = reply->body.find("\n" + name + " ");
  return at == Bytes::npos ? 0 : std::stod(reply->body.substr(at + name.size() + 2));
}

}  // namespace rejoin::testing
