// The client's connection, for any Beast stream. Internal to `net`: included by http_plain.cc and http_tls.cc only.
//
// Everything runs on the caller's thread: each call starts asynchronous operations and runs the io_context until the
// last of them is done. Reading starts before writing ends, so that a server that refuses a large body early is heard.
#pragma once

#include <atomic>
#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <optional>
#include <string>
#include <utility>

#include "net/http_connection.h"

namespace rejoin::net {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using SteadyTime = std::chrono::steady_clock::time_point;
using ErrorCode = boost::system::error_code;

// How a stream is made, shaken hands with and closed. One per kind of connection; see http_plain.cc and http_tls.cc.
//   struct Kind {
//     using Stream = ...;
//     Status prepare(const Url&, const HttpClientOptions&);                    once per connection attempt
//     Stream make(asio::io_context&);
//     static beast::tcp_stream& lowest(Stream&);
//     void handshake(Stream&, std::function<void(ErrorCode)>);
//     std::string why(Stream&, ErrorCode);                                     a handshake's failure for a person
//   };
template <class Kind>
class Connection final : public HttpConnection {
 public:
  Connection(const Url& url, const HttpClientOptions& options) : url_(url), options_(options) {}

  bool connected() const override { return connected_; }

  Status connect(SteadyTime deadline) override {
    if (cancelled_) return interrupted();
    REJOIN_TRY(kind_.prepare(url_, options_));
    buffer_.clear();
    stream_.emplace(kind_.make(context_));
    begin(std::min(deadline, SteadyTime::clock::now() + std::chrono::milliseconds(options_.connect_timeout_ms)));

    ErrorCode outcome;
    const char* stage = "look up";
    bool handshaking = false;
    asio::ip::tcp::resolver resolver(context_);
    auto finished = [&](ErrorCode error) {
      outcome = error;
      end();
    };
    auto on_connect = [&](ErrorCode error, const asio::ip::tcp::endpoint&) {
      if (error) return finished(error);
      ErrorCode ignored;
      Kind::lowest(*stream_).socket().set_option(asio::ip::tcp::no_delay(true), ignored);
      handshaking = true;
      kind_.handshake(*stream_, finished);
    };
    stop_ = [&] {
      resolver.cancel();
      drop();
    };
    ErrorCode literal;
    const asio::ip::address address = asio::ip::make_address(url_.host, literal);
    if (!literal) {
      stage = "connect to";
      const asio::ip::tcp::endpoint endpoint(address, url_.port);
      Kind::lowest(*stream_).async_connect(endpoint, [&](ErrorCode error) { on_connect(error, endpoint); });
    } else {
      resolver.async_resolve(url_.host, std::to_string(url_.port),
                             [&](ErrorCode error, const asio::ip::tcp::resolver::results_type& results) {
                               if (error) return finished(error);
                               stage = "connect to";
                               Kind::lowest(*stream_).async_connect(results, on_connect);
                             });
    }
    run();

    if (cancelled_) return close(), interrupted();
    if (timed_out_)
      return close(), fail(Code::timeout, "no connection to " + url_.text() +
                                              " within the time allowed; check the address and the network");
    if (outcome) {
      std::string why = handshaking ? kind_.why(*stream_, outcome) : outcome.message();
      close();
      if (handshaking) return fail(Code::network, "no secure connection to " + url_.text() + ": " + why);
      return fail(Code::network, std::string("could not ") + stage + " " + url_.text() + ": " + why +
                                     "; check that the server runs and that the address is right");
    }
    connected_ = true;
    return {};
  }

  Result<HttpReply> exchange(const HttpCall& call, bool* stale) override {
    if (cancelled_) return interrupted();
    http::request<http::span_body<const char>> request;
    request.method_string(call.method);
    request.target(url_.prefix + call.path);
    request.version(11);
    request.set(http::field::host, url_.authority());
    for (const auto& [name, value] : call.headers) request.set(name, value);
    request.body() = boost::beast::span<const char>(call.body.data(), call.body.size());
    if (call.method != "GET" || !call.body.empty()) request.content_length(call.body.size());
    http::request_serializer<http::span_body<const char>> serializer(request);
    http::response_parser<http::string_body> parser;
    parser.header_limit(64 << 10);
    parser.body_limit(options_.max_reply_bytes);
    if (call.method == "HEAD") parser.skip(true);

    Attempt attempt{*this, serializer, parser, call.deadline};
    attempt.idle();
    begin(attempt.until);
    stop_ = [this] { drop(); };
    attempt.read();
    attempt.write();
    run();

    const bool complete = parser.is_done() && !attempt.read_error;
    const bool reusable = complete && attempt.written && parser.get().keep_alive() && !cancelled_;
    if (!reusable) close();
    if (complete) return reply(parser.release());
    if (cancelled_) return interrupted();
    if (timed_out_)
      return fail(Code::timeout,
                  "no complete answer from " + url_.text() + " within the time allowed; try again, or allow more time");
    if (attempt.read_error == http::error::body_limit || attempt.read_error == http::error::header_limit)
      return fail(Code::too_large, "the answer of " + url_.text() + " is larger than " +
                                       std::to_string(options_.max_reply_bytes) +
                                       " bytes, which is this client's limit");
    *stale = !attempt.got_bytes;
    const ErrorCode error = attempt.write_error ? attempt.write_error : attempt.read_error;
    return fail(Code::network, "the connection to " + url_.text() + " broke: " + error.message() + "; try again");
  }

  void close() override {
    connected_ = false;
    if (!stream_) return;
    drop();
    stream_.reset();
  }

  void cancel() override {
    cancelled_ = true;
    asio::post(context_, [this] {
      if (stop_) stop_();
    });
  }

 private:
  // One request on its way out and its reply on its way in, at the same time.
  struct Attempt {
    Connection& self;
    http::request_serializer<http::span_body<const char>>& serializer;
    http::response_parser<http::string_body>& parser;
    SteadyTime deadline;
    SteadyTime until{};
    bool written = false;
    bool got_bytes = false;
    ErrorCode write_error{};
    ErrorCode read_error{};

    void idle() {
      until = std::min(deadline, SteadyTime::clock::now() + std::chrono::milliseconds(self.options_.idle_timeout_ms));
      self.until_ = until;
    }
    void write() {
      http::async_write_some(*self.stream_, serializer, [this](ErrorCode error, size_t) {
        if (!self.running_) return;
        if (error) {
          // The server may have closed its reading half after an early refusal: what it said can still be read.
          write_error = error;
          self.until_ = std::min(self.until_, SteadyTime::clock::now() + std::chrono::seconds(2));
          self.arm();
          return;
        }
        idle();
        if (serializer.is_done())
          written = true;
        else
          write();
      });
    }
    void read() {
      http::async_read_some(*self.stream_, self.buffer_, parser, [this](ErrorCode error, size_t bytes) {
        if (bytes != 0) got_bytes = true;
        if (error) {
          read_error = error;
          return finish();
        }
        idle();
        if (parser.is_done())
          finish();
        else
          read();
      });
    }
    void finish() {
      if (!written) self.drop();
      self.end();
    }
  };

  Error interrupted() const { return fail(Code::interrupted, "the request to " + url_.text() + " was stopped"); }

  // The watchdog: one timer that is moved along with progress.
  void begin(SteadyTime until) {
    context_.restart();
    timed_out_ = false;
    running_ = true;
    until_ = until;
    arm();
  }
  void arm() {
    const SteadyTime look = SteadyTime::clock::now() + std::chrono::milliseconds(100);
    timer_.expires_at(options_.cancelled ? std::min(until_, look) : until_);
    timer_.async_wait([this](ErrorCode error) {
      if (error || !running_) return;
      if (options_.cancelled && options_.cancelled()) {
        cancelled_ = true;
        if (stop_) stop_();
        return;
      }
      if (SteadyTime::clock::now() < until_) return arm();
      timed_out_ = true;
      if (stop_) stop_();
    });
  }
  void end() {
    running_ = false;
    timer_.cancel();
  }
  void run() {
    if (cancelled_ && stop_) stop_();
    context_.run();
    running_ = false;
    stop_ = nullptr;
  }
  void drop() {
    if (!stream_) return;
    ErrorCode ignored;
    Kind::lowest(*stream_).socket().close(ignored);
  }

  static HttpReply reply(http::response<http::string_body> message) {
    HttpReply out;
    out.status = static_cast<int>(message.result_int());
    for (const auto& field : message) {
      std::string name(field.name_string());
      for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
      out.headers.emplace_back(std::move(name), std::string(field.value()));
    }
    out.body = std::move(message.body());
    return out;
  }

  const Url url_;
  const HttpClientOptions options_;
  Kind kind_;
  asio::io_context context_{1};
  asio::steady_timer timer_{context_};
  std::optional<typename Kind::Stream> stream_;
  beast::flat_buffer buffer_;
  std::function<void()> stop_;
  SteadyTime until_{};
  bool running_ = false;
  bool timed_out_ = false;
  bool connected_ = false;
  std::atomic<bool> cancelled_ = false;
};

}  // namespace rejoin::net
