// TLS between the server and the client: sizes, many at once, a certificate that changes meanwhile.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/http_client.h"
#include "net/http_server.h"
#include "net/raw_peer.h"
#include "net/server_tls.h"
#include "net/test_certificate.h"

namespace rejoin::net {
namespace {

class HttpServerTlsTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    options.tls_cert_file = mine.cert_file();
    options.tls_key_file = mine.key_file();
    HttpHandlers handlers;
    handlers.admit = [](HttpRequest& request) -> std::optional<HttpResponse> {
      if (request.path == "/now") return HttpResponse{200, "text/plain", {}, request.https ? "secure" : "plain"};
      request.lane = request.header("lane");
      return std::nullopt;
    };
    handlers.handle = [](HttpRequest& request) { return HttpResponse{200, "text/plain", {}, std::move(request.body)}; };
    handlers.refuse = [](const HttpRequest&, const Error& error, int64_t) {
      return HttpResponse{code_http_status(error.code), "text/plain", {}, std::string(code_name(error.code))};
    };
    handlers.done = [](const HttpRequest&, const HttpResponse&, uint64_t) {};
    handlers.handshake = [this](std::string_view outcome) {
      if (outcome == "done") ++shaken;
      if (outcome == "plain_http") ++plain;
      if (outcome == "failed") ++failed;
      if (outcome == "timeout") ++timeouts;
    };
    auto started = HttpServer::start(std::move(options), std::move(handlers), log);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server = std::move(*started);
  }

  std::unique_ptr<HttpClient> client(const TestCertificate& authority) const {
    HttpClientOptions options;
    options.ca_file = authority.cert_file();
    return std::make_unique<HttpClient>(Url{true, "127.0.0.1", server->port(), ""}, options);
  }

  const TestCertificate mine{"mine"};
  NullLog log;
  std::atomic<int> shaken = 0, plain = 0, failed = 0, timeouts = 0;
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTlsTest, BodiesOfAnySizeOverOneConnection) {
  start();
  const auto device = client(mine);
  for (const size_t size : {0, 1, 100, 16'000, 17'000, 100'000, 3'000'000}) {
    Bytes body(size, 'x');
    for (size_t i = 0; i < size; i += 97) body[i] = static_cast<char>(i);
    const auto reply = device->post("/", {{"Accept-Encoding", "identity"}}, body);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->body, body);
  }
  EXPECT_EQ(device->get("/now")->body, "secure");
  EXPECT_EQ(shaken, 1);
  EXPECT_GT(server->gauges().certificate_expires, 0);
}

TEST_F(HttpServerTlsTest, ManyAtOnceWhileTheCertificateChanges) {
  start();
  const TestCertificate other("other");
  const TestCertificate first("copy");
  first.become(mine);
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        // Whichever is in force: one of the two vouches for it.
        auto reply = client(first)->post("/", {{"Lane", std::to_string(t)}}, "body");
        if (!reply.ok()) reply = client(other)->post("/", {{"Lane", std::to_string(t)}}, "body");
        if (reply.ok() && reply->body == "body") ++good;
      }
    });
  // Once only: with more, both tries of one could meet the other's.
  mine.become(other);
  EXPECT_TRUE(server->reload().ok());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 40);
  EXPECT_TRUE(client(other)->get("/now").ok());
  EXPECT_FALSE(client(first)->get("/now").ok());
}

TEST_F(HttpServerTlsTest, ABadNewPairKeepsTheOldOne) {
  start();
  const auto kept = client(mine);
  EXPECT_EQ(kept->get("/now")->status, 200);
  const TestCertificate copy("copy"), other("other");
  copy.become(mine);
  std::filesystem::copy_file(other.key_file(), mine.key_file(), std::filesystem::copy_options::overwrite_existing);
  const Status reloaded = server->reload();
  ASSERT_FALSE(reloaded.ok());
  EXPECT_EQ(reloaded.error().code, Code::bad_argument);
  EXPECT_NE(reloaded.error().message.find(mine.key_file()), std::string::npos);
  EXPECT_EQ(kept->get("/now")->status, 200);
  EXPECT_EQ(client(copy)->get("/now")->status, 200);
  std::filesystem::remove(mine.cert_file());
  EXPECT_EQ(server->reload().error().code, Code::not_found);
  EXPECT_EQ(client(copy)->get("/now")->status, 200);
}

TEST_F(HttpServerTlsTest, WhatIsNoTlsIsNotLetIn) {
  HttpServerOptions options;
  options.head_timeout_ms = 200;
  start(options);
  RawPeer http(server->port());
  http.send("GET /now HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(http.read_all().find("https://"), std::string::npos);
  EXPECT_EQ(plain, 1);
  RawPeer nonsense(server->port());
  nonsense.send(std::string(1000, '\xff'));
  EXPECT_EQ(nonsense.read_all().find("HTTP/1.1 2"), std::string::npos);
  EXPECT_EQ(failed, 1);
  RawPeer slow(server->port());
  slow.send("\x16\x03\x01");
  EXPECT_EQ(slow.read_all(), "");  // it is closed by the server
  EXPECT_EQ(timeouts, 1);
  EXPECT_EQ(client(mine)->get("/now")->status, 200);
}

TEST_F(HttpServerTlsTest, StopEndsHandshakesAndIdleConnections) {
  start();
  const auto idle = client(mine);
  EXPECT_EQ(idle->get("/now")->status, 200);
  RawPeer half(server->port());
  half.send("\x16\x03\x01");
  while (server->gauges().connections < 2) std::this_thread::yield();
  server->stop();
  EXPECT_EQ(half.read_all(), "");
  EXPECT_EQ(server->gauges().connections, 0u);
}

TEST_F(HttpServerTlsTest, AKeyThatOthersMayReadIsNone) {
  for (const mode_t mode : {0604, 0644, 0620, 0660, 0601}) {
    ::chmod(mine.key_file().c_str(), mode);
    const auto identity = TlsIdentity::load(mine.cert_file(), mine.key_file());
    ASSERT_FALSE(identity.ok()) << mode;
    EXPECT_EQ(identity.error().code, Code::forbidden);
  }
  for (const mode_t mode : {0600, 0400, 0640, 0440}) {
    ::chmod(mine.key_file().c_str(), mode);
    EXPECT_TRUE(TlsIdentity::load(mine.cert_file(), mine.key_file()).ok()) << mode;
  }
  EXPECT_EQ(TlsIdentity::load(mine.key_file(), mine.key_file()).error().code, Code::bad_argument);
  EXPECT_EQ(TlsIdentity::load(mine.cert_file(), "/tmp").error().code, Code::bad_argument);
}

}  // namespace
}  // namespace rejoin::net
