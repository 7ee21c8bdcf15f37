// The whole server in one process: many devices at once, while it is watched and reloaded.
#include "server/server.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/http_client.h"

namespace rejoin::server {
namespace {

class ServerTest : public testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/rejoin-server-XXXXXX";
    ASSERT_NE(::mkdtemp(folder), nullptr);
    settings.data_dir = folder;
    settings.dev = true;
  }
  void TearDown() override {
    server.reset();
    std::filesystem::remove_all(settings.data_dir);
  }
  void start() {
    auto started = Server::start(settings, log);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server = std::move(*started);
  }
  net::Url url() const { return {false, "127.0.0.1", server->port(), ""}; }
  // The status of one exchange, 0 when there was none.
  static int exchange(net::HttpClient& client, char device, const std::string& origin = "") {
    const std::string site = "AAECAwQFBgcICQoLDA0O" + std::string(1, device) + "w==";
    net::HttpHeaders headers = {{"Content-Type", "application/json"},
                                {"traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}};
    if (!origin.empty()) headers.emplace_back("Origin", origin);
    const auto reply =
        client.post("/v1/sync", headers, R"({"protocol":1,"hello":{"site":")" + site + R"("},"pull":{}})");
    return reply.ok() ? reply->status : 0;
  }

  Settings settings;
  NullLog log;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, ManyDevicesWhileItIsWatchedAndReloaded) {
  settings.cors_origins = {"https://app.example.com"};
  start();
  std::atomic<int> good = 0, seen = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      net::HttpClient client(url());
      for (int i = 0; i < 20; ++i)
        good += exchange(client, static_cast<char>('A' + t), i % 2 ? "https://app.example.com" : "") == 200;
    });
  threads.emplace_back([&] {
    net::HttpClient client(url());
    for (int i = 0; i < 20; ++i) {
      const auto reply = client.get("/metrics");
      seen += reply.ok() && reply->body.find("rejoin_build_info") != Bytes::npos;
      server->reload();
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 80);
  EXPECT_EQ(seen, 20);
}

TEST_F(ServerTest, ATenantsRateIsForAllItsDevicesTogether) {
  settings.tenant_rate = {1.0 / 3600, 10};
  start();
  std::atomic<int> good = 0, refused = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      net::HttpClient client(url());
      for (int i = 0; i < 10; ++i) {
        const int status = exchange(client, static_cast<char>('A' + t));
        good += status == 200;
        refused += status == 429;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 10);
  EXPECT_EQ(refused, 30);
}

TEST_F(ServerTest, SettingsThatContradictEachOtherAreNamed) {
  settings.cors_origins = {"*"};
  EXPECT_NE(Server::start(settings, log).error().message.find("cors-origin"), std::string::npos);
  settings.cors_origins = {"https://app.example.com/"};
  EXPECT_EQ(Server::start(settings, log).error().code, Code::bad_argument);
  settings.cors_origins.clear();
  settings.http.tls_cert_file = settings.data_dir + "/none.pem";
  settings.http.tls_key_file = settings.data_dir + "/none.key";
  EXPECT_EQ(Server::start(settings, log).error().code, Code::not_found);
}

}  // namespace
}  // namespace rejoin::server
