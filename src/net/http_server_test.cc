// Server and client over real sockets: large and hostile requests, limits, stop. What a limit test waits for is an
// answer, never a time.
#include "net/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "net/compress.h"
#include "net/http_client.h"
#include "net/raw_peer.h"

namespace rejoin::net {
namespace {

class HttpServerTest : public testing::Test {
 protected:
  void start(HttpServerOptions options = {}) {
    HttpHandlers handlers;
    handlers.admit = [](HttpRequest& request) -> std::optional<HttpResponse> {
      if (request.path == "/now") return HttpResponse{200, "text/plain", {}, "now"};
      if (request.path == "/no") return HttpResponse{403, "text/plain", {}, "not admitted"};
      request.lane = request.header("lane");
      return std::nullopt;
    };
    handlers.handle = [this](HttpRequest& request) { return handle(request); };
    handlers.refuse = [](const HttpRequest&, const Error& error, int64_t retry_after_ms) {
      HttpResponse response{
          code_http_status(error.code), "text/plain", {}, std::string(code_name(error.code)) + ": " + error.message};
      if (retry_after_ms) response.headers.emplace_back("Retry-After", std::to_string(retry_after_ms / 1000));
      return response;
    };
    handlers.done = [this](const HttpRequest&, const HttpResponse&, uint64_t) { ++answered; };
    auto started = HttpServer::start(std::move(options), std::move(handlers), log);
    ASSERT_TRUE(started.ok()) << started.error().message;
    server = std::move(*started);
  }

  Url url() const { return Url{false, "127.0.0.1", server->port(), ""}; }

  NullLog log;
  std::function<HttpResponse(HttpRequest&)> handle = [](HttpRequest& request) {
    return HttpResponse{200, "text/plain", {}, std::move(request.body)};
  };
  std::atomic<int> answered = 0;
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTest, EchoesOverOneKeptConnection) {
  start();
  HttpClient client(url());
  for (int i = 0; i < 50; ++i) {
    const std::string body(static_cast<size_t>(i) * 1000, static_cast<char>('a' + i % 26));
    const auto reply = client.post("/echo?x=1", {}, body);
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->status, 200);
    EXPECT_EQ(reply->body, body);
  }
  EXPECT_EQ(server->gauges().connections, 1u);
  EXPECT_EQ(server->gauges().body_bytes, 0u);
}

TEST_F(HttpServerTest, LargeBodiesGoBothWays) {
  start();
  HttpClient client(url());
  std::string body(20 << 20, '\0');
  for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i * 2654435761u >> 13);
  const auto reply = client.post("/", {}, body);
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_TRUE(reply->body == body);
}

TEST_F(HttpServerTest, ZstdBodiesAreUnpackedAndAnswersPacked) {
  start();
  HttpClient client(url());
  const std::string body(100'000, 'q');
  const auto reply =
      client.post("/", {{"Content-Encoding", "zstd"}, {"Accept-Encoding", "gzip, zstd"}}, zstd_compress(body));
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->header("content-encoding"), "zstd");
  EXPECT_LT(reply->body.size(), 1000u);
  EXPECT_TRUE(*zstd_decompress(reply->body, 1 << 20) == body);
  const auto plain =
      client.post("/", {{"Content-Encoding", "zstd"}, {"Accept-Encoding", "zstd;q=0"}}, zstd_compress(body));
  EXPECT_TRUE(plain->body == body);
  EXPECT_EQ(client.post("/", {{"Content-Encoding", "gzip"}}, body)->status, 415);
  EXPECT_EQ(client.post("/", {{"Content-Encoding", "zstd"}}, "garbage")->status, 400);
}

TEST_F(HttpServerTest, BombsAreRefused) {
  HttpServerOptions options;
  options.max_body = 1 << 20;
  start(options);
  HttpClient client(url());
  const auto reply = client.post("/", {{"Content-Encoding", "zstd"}}, zstd_compress(Bytes(64 << 20, '\0'), 19));
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->status, 413);
}

TEST_F(HttpServerTest, OversizedBodiesAreRefusedBeforeTheyAreSentAndTheClientHears) {
  HttpServerOptions options;
  options.max_body = 1000;
  start(options);
  for (size_t size : {size_t{1001}, size_t{50} << 20}) {
    HttpClient client(url());
    const auto reply = client.post("/", {}, Bytes(size, 'x'));
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    EXPECT_EQ(reply->status, 413);
    EXPECT_NE(reply->body.find("1000"), std::string::npos);
    const auto exact = client.post("/", {}, Bytes(1000, 'x'));
    ASSERT_TRUE(exact.ok()) << exact.error().message;
    EXPECT_EQ(exact->status, 200);
  }
  RawPeer chunked(server->port());
  chunked.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  for (int i = 0; i < 5; ++i) chunked.send("12c\r\n" + std::string(300, 'c') + "\r\n");
  EXPECT_NE(chunked.read_until("\r\n").find("413"), std::string::npos);
  RawPeer lying(server->port());
  lying.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n");
  EXPECT_NE(lying.read_until("\r\n").find("HTTP/1.1 4"), std::string::npos);
}

TEST_F(HttpServerTest, RefusalsInAdmitComeBeforeTheBody) {
  start();
  RawPeer peer(server->port());
  peer.send("POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nonly this much");
  const std::string answer = peer.read_all();
  EXPECT_NE(answer.find("HTTP/1.1 403"), std::string::npos);
  EXPECT_NE(answer.find("not admitted"), std::string::npos);
}

TEST_F(HttpServerTest, ExpectContinueIsAnswered) {
  start();
  RawPeer peer(server->port());
  peer.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(peer.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  peer.send("body");
  const std::string answer = peer.read_all();
  EXPECT_NE(answer.find("200 OK"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("body"));
}

TEST_F(HttpServerTest, HostileHeadsAreRefused) {
  HttpServerOptions options;
  options.max_head = 2048;
  start(options);
  struct Case {
    std::string bytes;
    std::string status;
  };
  const Case cases[] = {
      {"GARBAGE\r\n\r\n", "400"},
      {"GET / HTTP/9.9\r\n\r\n", "400"},
      {"GET /\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "400"},
      {"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nA: b\r\n c: folded\x01\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nX: " + std::string(4000, 'x') + "\r\n\r\n", "431"},
      {"GET /" + std::string(4000, 'x') + " HTTP/1.1\r\n\r\n", "431"},
  };
  for (const Case& c : cases) {
    RawPeer peer(server->port());
    peer.send(c.bytes);
    peer.finish_sending();
    EXPECT_EQ(peer.read_until("\r\n").substr(0, 12), "HTTP/1.1 " + c.status) << c.bytes.substr(0, 60);
  }
  EXPECT_EQ(HttpClient(url()).get("/now")->body, "now");
}

TEST_F(HttpServerTest, SlowPeersAreToldAndLetGo) {
  HttpServerOptions options;
  options.head_timeout_ms = 60;
  options.stall_timeout_ms = 60;
  start(options);
  RawPeer head(server->port());
  head.send("POST / HTTP/1.1\r\nHo");
  EXPECT_NE(head.read_all().find("HTTP/1.1 408"), std::string::npos);
  RawPeer body(server->port());
  body.send("POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf");
  EXPECT_NE(body.read_until("\r\n\r\n").find("HTTP/1.1 408"), std::string::npos);
}

TEST_F(HttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  start();
  RawPeer peer(server->port());
  peer.send(
      "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n2"
      "GET /now HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answer = peer.read_all();
  const size_t one = answer.find("\r\n\r\n1"), two = answer.find("\r\n\r\n2"), three = answer.find("\r\n\r\nnow");
  EXPECT_TRUE(one < two && two < three && three != std::string::npos) << answer;
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  start();
  RawPeer peer(server->port());
  peer.send("HEAD /now HTTP/1.1\r\nConnection: close\r\n\r\n");
  const std::string answer = peer.read_all();
  EXPECT_NE(answer.find("Content-Length: 3"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\n"));
}

TEST_F(HttpServerTest, HandlersThatThrowAnswer500) {
  handle = [](HttpRequest&) -> HttpResponse { throw std::runtime_error("broken"); };
  start();
  HttpClient client(url());
  EXPECT_EQ(client.post("/", {}, "x")->status, 500);
  handle = [](HttpRequest&) -> HttpResponse { throw std::bad_alloc(); };
  EXPECT_EQ(client.post("/", {}, "x")->status, 503);
}

TEST_F(HttpServerTest, FullQueuesShedLoadWithAdvice) {
  HttpServerOptions options;
  options.workers = 1;
  options.queue = 2;
  options.queue_per_lane = 1;
  std::promise<void> open, started;
  std::shared_future<void> gate = open.get_future().share();
  std::atomic<int> calls = 0;
  handle = [&](HttpRequest&) {
    if (calls++ == 0) started.set_value();
    gate.wait();
    return HttpResponse{200, "", {}, "done"};
  };
  start(options);
  std::vector<std::future<int>> running;
  auto post = [this](std::string lane) {
    HttpClient client(url());
    return client.post("/", {{"Lane", lane}}, "x")->status;
  };
  running.push_back(std::async(std::launch::async, post, "a"));
  started.get_future().wait();
  running.push_back(std::async(std::launch::async, post, "a"));
  while (server->gauges().waiting < 1) std::this_thread::yield();
  HttpClient client(url());
  const auto same_lane = client.post("/", {{"Lane", "a"}}, "x");
  EXPECT_EQ(same_lane->status, 503);
  EXPECT_EQ(same_lane->retry_after_ms(), 1000);
  running.push_back(std::async(std::launch::async, post, "b"));
  while (server->gauges().waiting < 2) std::this_thread::yield();
  EXPECT_EQ(client.post("/", {{"Lane", "c"}}, "x")->status, 503);
  EXPECT_EQ(client.get("/now")->status, 200);  // what needs no worker is still answered
  open.set_value();
  for (auto& one : running) EXPECT_EQ(one.get(), 200);
}

TEST_F(HttpServerTest, ConnectionsAreLimited) {
  HttpServerOptions options;
  options.connections = 3;
  start(options);
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 3; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server->port()));
    peers.back()->send("GET /now HTTP/1.1\r\n\r\n");
    peers.back()->read_until("now");
  }
  EXPECT_EQ(HttpClient(url()).get("/now")->status, 503);
  peers.clear();
  while (server->gauges().connections > 0) std::this_thread::yield();
  EXPECT_EQ(HttpClient(url()).get("/now")->status, 200);
}

TEST_F(HttpServerTest, BodiesShareABudget) {
  HttpServerOptions options;
  options.body_budget = 1000;
  start(options);
  RawPeer holder(server->port());
  holder.send("POST / HTTP/1.1\r\nContent-Length: 900\r\n\r\nstarted");
  while (server->gauges().body_bytes < 900) std::this_thread::yield();
  HttpClient client(url());
  EXPECT_EQ(client.post("/", {}, Bytes(200, 'x'))->status, 503);
  EXPECT_EQ(client.post("/", {}, Bytes(90, 'x'))->status, 200);
  holder.send(std::string(893, 'x'));
  EXPECT_NE(holder.read_until("\r\n").find("200"), std::string::npos);
  EXPECT_EQ(client.post("/", {}, Bytes(200, 'x'))->status, 200);
}

TEST_F(HttpServerTest, StopLetsRunningRequestsFinish) {
  std::promise<void> open, started;
  handle = [&](HttpRequest&) {
    started.set_value();
    open.get_future().wait();
    return HttpResponse{200, "", {}, "finished"};
  };
  start();
  auto running = std::async(std::launch::async, [this] { return HttpClient(url()).post("/", {}, "x"); });
  RawPeer idle(server->port());
  idle.send("GET /now HTTP/1.1\r\n\r\n");
  idle.read_until("now");
  started.get_future().wait();
  auto stopping = std::async(std::launch::async, [this] { server->stop(); });
  EXPECT_EQ(idle.read_all(), "");  // idle connections are closed
  while (RawPeer(server->port()).connected()) std::this_thread::yield();
  open.set_value();
  const auto reply = running.get();
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->body, "finished");
  EXPECT_EQ(reply->header("connection"), "close");
  stopping.get();
  server->stop();
}

TEST_F(HttpServerTest, StopCutsWhatDoesNotFinish) {
  HttpServerOptions options;
  options.stop_timeout_ms = 50;
  start(options);
  RawPeer stuck(server->port());
  stuck.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nhalf");
  while (server->gauges().body_bytes == 0) std::this_thread::yield();
  server->stop();
  EXPECT_EQ(stuck.read_all(), "");
}

TEST_F(HttpServerTest, TakenPortsAreNamed) {
  start();
  HttpServerOptions options;
  options.port = server->port();
  const auto second = HttpServer::start(options, {}, log);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::network);
  EXPECT_NE(second.error().message.find(std::to_string(server->port())), std::string::npos);
  options.address = "not an address";
  EXPECT_EQ(HttpServer::start(options, {}, log).error().code, Code::bad_argument);
}

TEST_F(HttpServerTest, AQueueThatDoesNotMoveTakesNoMore) {
  HttpServerOptions options;
  options.workers = 1;
  options.queue_wait_ms = 20;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  handle = [gate](HttpRequest& request) {
    gate.wait();
    return HttpResponse{200, "text/plain", {}, std::move(request.body)};
  };
  start(options);
  const auto ask = [this](const char* lane) { return HttpClient(url()).post("/", {{"Lane", lane}}, "x"); };
  auto first = std::async(std::launch::async, ask, "a");
  while (server->gauges().working != 1) std::this_thread::yield();
  auto second = std::async(std::launch::async, ask, "b");
  while (server->gauges().waiting != 1) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(40));  // at least, and so long is too long
  RawPeer late(server->port());
  late.send("POST / HTTP/1.1\r\nHost: x\r\nLane: c\r\nContent-Length: 1000000\r\n\r\n");
  const std::string refused = late.read_until("overloaded");
  EXPECT_NE(refused.find("HTTP/1.1 503 "), std::string::npos) << refused;
  EXPECT_NE(refused.find("Retry-After: 1\r\n"), std::string::npos) << refused;
  EXPECT_EQ(HttpClient(url()).get("/now")->status, 200);  // needs no worker
  open.set_value();
  EXPECT_EQ(first.get()->status, 200);
  EXPECT_EQ(second.get()->status, 200);
  EXPECT_EQ(ask("c")->status, 200);
}

TEST_F(HttpServerTest, ManyClientsAtOnce) {
  start();
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      HttpClient client(url());
      for (int i = 0; i < 50; ++i) {
        const std::string body = std::to_string(t * 1000 + i);
        const auto reply = client.post("/", {{"Lane", std::to_string(t % 3)}}, body);
        if (reply.ok() && reply->body == body) ++good;
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(good, 400);
  server->stop();
  EXPECT_EQ(answered, 400);
}

// ---- the client's own manners
// ----------------------------------------------------------------------------------------------------

TEST_F(HttpServerTest, ClientReplacesAKeptConnectionThatDied) {
  start();
  HttpClient client(url());
  EXPECT_EQ(client.get("/now")->status, 200);
  HttpServerOptions again;
  again.port = server->port();
  server->stop();
  start(again);
  const auto reply = client.get("/now");
  ASSERT_TRUE(reply.ok()) << reply.error().message;
  EXPECT_EQ(reply->body, "now");
}

TEST_F(HttpServerTest, ClientNamesServerAndCureWhenNobodyAnswers) {
  // A port that nobody is given: a free one may be another test's in a moment.
  const Url gone{false, "127.0.0.1", 1, ""};
  const auto reply = HttpClient(gone).get("/now");
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Code::network);
  EXPECT_NE(reply.error().message.find("127.0.0.1:" + std::to_string(gone.port)), std::string::npos);
  const auto unknown = HttpClient(Url{false, "no-such-host.invalid", 80, ""}).get("/");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().code, Code::network);
}

TEST_F(HttpServerTest, ClientKeepsItsDeadlineAndCanBeCancelled) {
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  handle = [gate](HttpRequest&) {
    gate.wait();
    return HttpResponse{};
  };
  start();
  const auto late =
      HttpClient(url()).post("/", {}, "x", std::chrono::steady_clock::now() + std::chrono::milliseconds(50));
  EXPECT_EQ(late.error().code, Code::timeout);
  HttpClient client(url());
  auto call = std::async(std::launch::async, [&] { return client.post("/", {}, "x"); });
  while (server->gauges().connections < 1) std::this_thread::yield();
  client.cancel();
  EXPECT_EQ(call.get().error().code, Code::interrupted);
  EXPECT_EQ(client.get("/now").error().code, Code::interrupted);
  std::atomic<bool> stop = false;
  HttpClientOptions polled;
  polled.cancelled = [&] { return stop.load(); };
  HttpClient other(url(), polled);
  auto second = std::async(std::launch::async, [&] { return other.post("/", {}, "x"); });
  stop = true;
  EXPECT_EQ(second.get().error().code, Code::interrupted);
  open.set_value();
}

TEST_F(HttpServerTest, ClientLimitsTheAnswer) {
  start();
  HttpClientOptions options;
  options.max_reply_bytes = 100;
  EXPECT_EQ(HttpClient(url(), options).post("/", {}, Bytes(101, 'x')).error().code, Code::too_large);
}

TEST_F(HttpServerTest, ClientRefusesPlainTextWhereTlsIsExpected) {
  start();
  Url secure = url();
  secure.tls = true;
  const auto reply = HttpClient(secure).get("/now");
  ASSERT_FALSE(reply.ok());
  EXPECT_EQ(reply.error().code, Code::network);
}

}  // namespace
}  // namespace rejoin::net
