#include "net/websocket_client.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/websocket/error.hpp>
#include <deque>

#include "net/client_tls.h"
#include "net/websocket_session.h"

namespace rejoin::net {
namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;
using SteadyClock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kLook{100};
constexpr milliseconds kGoodbye{1'000};

class Client final : public WebSocketClient {
 public:
  explicit Client(const WebSocketClientOptions& options) : options_(options) {}
  ~Client() override {
    if (session_) session_->cut();
    run_until(SteadyClock::now() + kLook, [&] { return inbox_->closed; });
  }

  Status connect(const Url& url, const std::string& path, const HttpHeaders& headers,
                 std::optional<HttpReply>* refusal) {
    const auto until = SteadyClock::now() + milliseconds(options_.connect_timeout_ms);
    tcp::socket socket(context_);
    REJOIN_TRY(reach(url, socket, until));
    ErrorCode ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    std::unique_ptr<ServerStream> stream;
    if (url.tls) {
      REJOIN_ASSIGN(std::unique_ptr<TlsClientStream> secure,
                    make_tls_client_stream(std::move(socket), url.host, options_.ca_file));
      TlsClientStream& tls = *secure;
      REJOIN_TRY(step(
          until, url, [&](auto done) { tls.handshake(done); },
          [&] {
            ErrorCode e;
            tls.socket().close(e);
          },
          [&](ErrorCode error) {
            return fail(Code::network, "no secure connection to " + url.text() + ": " + tls.why(error));
          }));
      stream = std::move(secure);
    } else {
      stream = make_plain_stream(std::move(socket));
    }
    WebSocketOptions options;
    options.max_message = options_.max_message;
    options.heartbeat_ms = options_.heartbeat_ms;
    options.close_ms = options_.connect_timeout_ms;
    session_ = std::make_shared<WebSocketSession>(std::move(stream), inbox_, options);
    boost::beast::websocket::response_type answer;
    return step(
        until, url,
        [&](auto done) {
          session_->connect(url.authority(), url.prefix + path, headers,
                            [&answer, done](ErrorCode error, const boost::beast::websocket::response_type& reply) {
                              answer = reply;
                              done(error);
                            });
        },
        [&] { session_->cut(); },
        [&](ErrorCode error) {
          if (error != boost::beast::websocket::error::upgrade_declined)
            return fail(Code::network,
                        "the connection to " + url.text() + " broke: " + error.message() + "; try again");
          if (refusal) {
            HttpReply& out = refusal->emplace();
            out.status = static_cast<int>(answer.result_int());
            for (const auto& field : answer) {
              std::string name(field.name_string());
              for (char& c : name)
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
              out.headers.emplace_back(std::move(name), std::string(field.value()));
            }
            out.body = answer.body();
          }
          return fail(Code::network, url.text() + " answered with HTTP status " + std::to_string(answer.result_int()) +
                                         " and does not speak WebSocket");
        });
  }

  void send(Bytes message, bool text) override {
    session_->send(std::make_shared<const Bytes>(std::move(message)), text);
    context_.restart();
    context_.poll();
  }

  Result<std::optional<Bytes>> receive(Time until) override {
    run_until(until, [&] { return woken_ || !inbox_->messages.empty() || inbox_->closed || is_cancelled(); });
    woken_ = false;
    if (!inbox_->messages.empty()) {
      Bytes message = std::move(inbox_->messages.front());
      inbox_->messages.pop_front();
      return std::optional<Bytes>(std::move(message));
    }
    if (inbox_->closed)
      return fail(Code::network, inbox_->reason.empty() ? "the connection to the server broke"
                                                        : "the server ended the connection: " + inbox_->reason);
    return std::optional<Bytes>();
  }

  void wake() override {
    asio::post(context_, [this] { woken_ = true; });
  }

  void close(uint16_t code) override {
    session_->close(code, {});
    run_until(SteadyClock::now() + kGoodbye, [&] { return inbox_->closed; });
  }

  uint16_t close_code() const override { return inbox_->closed ? inbox_->code : 0; }
  const std::string& close_reason() const override { return inbox_->reason; }

 private:
  struct Inbox final : WebSocketOwner {
    void on_open(std::shared_ptr<WebSocket>) override {}
    void on_message(Bytes message, bool) override { messages.push_back(std::move(message)); }
    void on_drained() override {}
    void on_closed(uint16_t c, const std::string& r) override { closed = true, code = c, reason = r; }
    std::deque<Bytes> messages;
    bool closed = false;
    uint16_t code = 0;
    std::string reason;
  };

  bool is_cancelled() const { return options_.cancelled && options_.cancelled(); }

  template <class Done>
  void run_until(Time until, Done done) {
    context_.restart();
    while (!done() && SteadyClock::now() < until)
      if (context_.run_one_until(std::min<Time>(until, SteadyClock::now() + kLook)) == 0) context_.restart();
  }

  // One asynchronous step of connecting: `stop` ends it when it takes too long.
  template <class Begin, class Stop, class Explain>
  Status step(Time until, const Url& url, Begin begin, Stop stop, Explain explain) {
    auto outcome = std::make_shared<std::optional<ErrorCode>>();
    begin([outcome](ErrorCode error) { *outcome = error; });
    run_until(until, [&] { return outcome->has_value() || is_cancelled(); });
    if (outcome->has_value()) return **outcome ? Status(explain(**outcome)) : Status();
    stop();
    run_until(SteadyClock::now() + kGoodbye, [&] { return outcome->has_value(); });
    if (is_cancelled()) return fail(Code::interrupted, "the connection to " + url.text() + " was stopped");
    return fail(Code::timeout,
                "no connection to " + url.text() + " within the time allowed; check the address and the network");
  }

  Status reach(const Url& url, tcp::socket& socket, Time until) {
    const auto explain = [&](const char* what) {
      return [&url, what](ErrorCode error) {
        return fail(Code::network, std::string("could not ") + what + " " + url.text() + ": " + error.message() +
                                       "; check that the server runs and that the address is right");
      };
    };
    std::vector<tcp::endpoint> endpoints;
    ErrorCode literal;
    if (const asio::ip::address address = asio::ip::make_address(url.host, literal); !literal) {
      endpoints.emplace_back(address, url.port);
    } else {
      auto resolver = std::make_shared<tcp::resolver>(context_);
      auto found = std::make_shared<std::vector<tcp::endpoint>>();
      REJOIN_TRY(step(
          until, url,
          [&](auto done) {
            resolver->async_resolve(url.host, std::to_string(url.port),
                                    [found, done, resolver](ErrorCode error, const tcp::resolver::results_type& all) {
                                      for (const auto& one : all) found->push_back(one.endpoint());
                                      done(error);
                                    });
          },
          [&] { resolver->cancel(); }, explain("look up")));
      endpoints = *found;
    }
    return step(
        until, url,
        [&](auto done) {
          asio::async_connect(socket, endpoints, [done](ErrorCode error, const tcp::endpoint&) { done(error); });
        },
        [&] {
          ErrorCode ignored;
          socket.close(ignored);
        },
        explain("connect to"));
  }

  const WebSocketClientOptions options_;
  asio::io_context context_{1};
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  std::shared_ptr<WebSocketSession> session_;
  bool woken_ = false;
};

}  // namespace

Result<std::unique_ptr<WebSocketClient>> WebSocketClient::open(const Url& url, const std::string& path,
                                                               const HttpHeaders& headers,
                                                               const WebSocketClientOptions& options,
                                                               std::optional<HttpReply>* refusal) {
  auto client = std::make_unique<Client>(options);
  REJOIN_TRY(client->connect(url, path, headers, refusal));
  return std::unique_ptr<WebSocketClient>(std::move(client));
}

}  // namespace rejoin::net
