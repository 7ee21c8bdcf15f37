// Keys from an address, over real sockets: rotation, limits, and a service that fails. Time is told by the test.
#include "server/jwks_fetcher.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net/http_server.h"
#include "server/jwks.h"
#include "server/test_keys.h"
#include "server/token_verifier.h"

namespace rejoin::server {
namespace {

using namespace testing_keys;

class KeepingLog final : public Log {
 public:
  void write(LogLevel, std::string_view event, std::initializer_list<LogField>) override {
    std::lock_guard lock(mutex_);
    events_.emplace_back(event);
  }
  size_t count(std::string_view event) {
    std::lock_guard lock(mutex_);
    size_t n = 0;
    for (const std::string& one : events_) n += one == event;
    return n;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> events_;
};

class JwksFetcherTest : public testing::Test {
 protected:
  JwksFetcherTest() {
    net::HttpHandlers handlers;
    handlers.admit = [](net::HttpRequest&) -> std::optional<net::HttpResponse> { return std::nullopt; };
    handlers.handle = [this](net::HttpRequest& request) {
      ++asked;
      std::lock_guard lock(mutex);
      path = request.path;
      return answer;
    };
    handlers.refuse = [](const net::HttpRequest&, const Error& error, int64_t) {
      return net::HttpResponse{code_http_status(error.code), "text/plain", {}, error.message};
    };
    handlers.done = [](const net::HttpRequest&, const net::HttpResponse&, uint64_t) {};
    auto started = net::HttpServer::start({}, std::move(handlers), log);
    EXPECT_TRUE(started.ok());
    server = std::move(*started);
    options.now_ms = [this] { return now.load(); };
    options.timeout_ms = 60'000;
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(server->port()) + "/auth/keys.json"; }
  void serve(const std::string& keys, net::HttpHeaders headers = {}) {
    say({200, "application/json", std::move(headers), R"({"keys":[)" + keys + "]}"});
  }
  void say(net::HttpResponse response) {
    std::lock_guard lock(mutex);
    answer = std::move(response);
  }
  std::unique_ptr<TokenVerifier> verifier(KeySet fixed = {}) {
    TokenSettings settings;
    settings.keys = std::move(fixed);
    settings.jwks_url = url();
    settings.fetch = options;
    auto started = TokenVerifier::start(settings, "", log);
    EXPECT_TRUE(started.ok());
    return std::move(*started);
  }
  std::string asked_path() {
    std::lock_guard lock(mutex);
    return path;
  }
  // The code, or ok.
  static Code outcome(TokenVerifier& v, const std::string& token) {
    const Result<Claims> claims = v.verify(token, kNowMs);
    return claims.ok() ? Code::ok : claims.error().code;
  }
  // Until the answer is another one than "come again"; what the fetching thread does in its own time.
  static Code settled(TokenVerifier& v, const std::string& token) {
    for (;;) {
      const Code code = outcome(v, token);
      if (code != Code::overloaded) return code;
      std::this_thread::yield();
    }
  }

  KeepingLog log;
  JwksFetchOptions options;
  std::atomic<int64_t> now = 1'000'000;
  std::atomic<int> asked = 0;
  std::mutex mutex;
  std::string path;
  net::HttpResponse answer;
  std::unique_ptr<net::HttpServer> server;
  const TestKey a = TestKey::ed25519(), b = TestKey::p256();
  const std::string of_a = a.token(good_claims(), "a"), of_b = b.token(good_claims(), "b");
};

TEST_F(JwksFetcherTest, RotationIsNoticedByAnUnknownKid) {
  serve(a.jwk("a"));
  const auto v = verifier();
  EXPECT_EQ(asked_path(), "/auth/keys.json");
  EXPECT_EQ(outcome(*v, of_a), Code::ok);
  EXPECT_EQ(outcome(*v, of_b), Code::unauthorized);  // the pause after the first fetch is not over
  EXPECT_EQ(asked, 1);

  serve(b.jwk("b"));
  now += options.pause_ms;
  EXPECT_EQ(outcome(*v, of_b), Code::overloaded);  // come again
  EXPECT_EQ(settled(*v, of_b), Code::ok);
  EXPECT_EQ(outcome(*v, of_a), Code::unauthorized);  // the old key is gone
  EXPECT_EQ(asked, 2);
}

TEST_F(JwksFetcherTest, StrangersCannotMakeItFetchAgainAndAgain) {
  serve(a.jwk("a"));
  const auto v = verifier();
  for (int round = 0; round < 3; ++round) {
    now += options.pause_ms;
    EXPECT_EQ(settled(*v, of_b), Code::unauthorized);
    EXPECT_EQ(asked, 2 + round);
    for (int i = 0; i < 50; ++i)
      EXPECT_EQ(outcome(*v, b.token(good_claims(), "kid-" + std::to_string(i))), Code::unauthorized);
    now += options.pause_ms - 1;
    EXPECT_EQ(outcome(*v, of_b), Code::unauthorized);
    EXPECT_EQ(asked, 2 + round);
    now -= options.pause_ms - 1;
  }
  // Not by what no published key could sign, and not by a known or missing kid.
  now += options.pause_ms;
  const int before = asked;
  for (const std::string& token :
       {std::string("garbage"), a.token_with(R"({"alg":"HS256","kid":"x"})", good_claims()),
        a.token_with(R"({"alg":"none","kid":"x"})", good_claims()),
        a.token_with(R"({"alg":"EdDSA","kid":7})", good_claims()), TestKey::ed25519().token(good_claims(), "a"),
        TestKey::ed25519().token(good_claims())})
    EXPECT_EQ(outcome(*v, token), Code::unauthorized);
  EXPECT_EQ(asked, before);
}

TEST_F(JwksFetcherTest, TheLastGoodSetOutlivesFailures) {
  serve(a.jwk("a"));
  const auto v = verifier();
  const net::HttpResponse failures[] = {
      {500, "text/plain", {}, "no"},
      {302, "text/plain", {{"Location", url()}}, ""},
      {200, "text/html", {}, "<html>maintenance</html>"},
      {200, "application/json", {}, R"({"keys":[)" + a.jwk("k") + "," + b.jwk("k") + "]}"},
      {200, "application/json", {}, std::string(kMostJwksBytes + 1, ' ')},
      {200, "application/json", {}, R"({"keys":[)" + b.jwk("b") + "]}" + std::string(8 << 20, ' ')},
  };
  size_t failed = 0;
  for (const net::HttpResponse& failure : failures) {
    say(failure);
    now += options.pause_ms;
    const int before = asked;
    EXPECT_EQ(outcome(*v, of_b), Code::overloaded);
    while (log.count("jwks_failed") == failed) std::this_thread::yield();
    ++failed;
    EXPECT_EQ(asked, before + 1);
    EXPECT_EQ(outcome(*v, of_a), Code::ok);
    // While it is not known whether there is such a key, a device is not told that its token is bad.
    EXPECT_EQ(outcome(*v, of_b), Code::overloaded);
  }
  server->stop();
  now += options.pause_ms;
  EXPECT_EQ(outcome(*v, of_b), Code::overloaded);
  while (log.count("jwks_failed") == failed) std::this_thread::yield();
  EXPECT_EQ(outcome(*v, of_a), Code::ok);
}

TEST_F(JwksFetcherTest, AServerCanStartBeforeTheService) {
  say({503, "text/plain", {}, "starting"});
  options.first_retry_ms = 1;
  const auto v = verifier();
  EXPECT_EQ(v->ready().error().code, Code::overloaded);
  EXPECT_EQ(outcome(*v, of_a), Code::overloaded);
  EXPECT_EQ(outcome(*v, a.token(good_claims())), Code::overloaded);  // one without a kid may be good too
  serve(a.jwk("a"));
  while (!v->ready().ok()) std::this_thread::yield();
  EXPECT_EQ(outcome(*v, of_a), Code::ok);
}

TEST_F(JwksFetcherTest, ItFetchesByItselfWhenTheSetIsOld) {
  options.fresh_ms = options.longest_ms = 1;
  serve(a.jwk("a"));
  const auto v = verifier();
  serve(b.jwk("b"));
  while (outcome(*v, of_a) == Code::ok) std::this_thread::yield();  // revoked without anybody asking
  EXPECT_EQ(settled(*v, of_b), Code::ok);
}

TEST_F(JwksFetcherTest, AnEmptySetIsWhatTheServiceSays) {
  serve("");
  const auto v = verifier();
  EXPECT_TRUE(v->ready().ok());
  EXPECT_EQ(outcome(*v, of_a), Code::unauthorized);
}

TEST_F(JwksFetcherTest, FixedKeysAreThereBesideTheFetchedOnes) {
  say({500, "text/plain", {}, "no"});
  const auto v = verifier(set_of({b.verifier("b")}));
  EXPECT_EQ(outcome(*v, of_b), Code::ok);
  EXPECT_EQ(outcome(*v, of_a), Code::overloaded);
  serve(a.jwk("b"));  // nobody takes the place of a fixed key
  now += options.pause_ms;
  (void)outcome(*v, of_a);
  while (log.count("jwks_failed") < 2) std::this_thread::yield();
  EXPECT_EQ(outcome(*v, of_b), Code::ok);
  EXPECT_EQ(outcome(*v, a.token(good_claims(), "b")), Code::unauthorized);
}

TEST_F(JwksFetcherTest, ManyThreadsVerifyWhileKeysChange) {
  options.pause_ms = 0;
  options.fresh_ms = options.longest_ms = 1;
  serve(a.jwk("a") + "," + b.jwk("b"));
  const auto v = verifier();
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      const std::string stranger = TestKey::p256().token(good_claims(), "kid-" + std::to_string(t));
      for (int i = 0; i < 200; ++i) {
        if (outcome(*v, of_b) != Code::ok) ++wrong;
        if (outcome(*v, stranger) == Code::ok) ++wrong;
      }
    });
  for (int i = 0; i < 20; ++i) serve(i % 2 ? b.jwk("b") : a.jwk("a") + "," + b.jwk("b"));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(JwksFetcherTest, ItStopsWhileAFetchHangs) {
  serve(a.jwk("a"));
  auto v = verifier();
  std::unique_lock held(mutex);  // the service does not answer any more
  now += options.pause_ms;
  EXPECT_EQ(outcome(*v, of_b), Code::overloaded);
  while (asked < 2) std::this_thread::yield();
  EXPECT_EQ(outcome(*v, of_a), Code::ok);  // nobody waits for it
  v.reset();
}

TEST(JwksUrl, MustBeSafeOnItsWay) {
  for (const char* good : {"https://login.example.com/.well-known/jwks.json", "http://127.0.0.1:54321/keys",
                           "http://localhost/keys", "http://[::1]:80/keys", "https://10.0.0.1"})
    EXPECT_TRUE(parse_jwks_url(good).ok()) << good;
  for (const char* bad :
       {"http://login.example.com/jwks.json", "http://127.0.0.1.evil.example/", "http://10.0.0.1/keys",
        "ftp://login.example.com", "login.example.com", "", "https://", "file:///etc/passwd"})
    EXPECT_EQ(parse_jwks_url(bad).error().code, Code::bad_argument) << bad;
}

}  // namespace
}  // namespace rejoin::server
