#include "net/http_client.h"

#include <algorithm>
#include <charconv>

#include "net/http_connection.h"

namespace rejoin::net {

std::string_view HttpReply::header(std::string_view name) const {
  for (const auto& [key, value] : headers)
    if (key == name) return value;
  return {};
}

int64_t HttpReply::retry_after_ms() const {
  const std::string_view text = header("retry-after");
  int64_t seconds = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || end != text.data() + text.size() || seconds < 0) return 0;
  return std::min<int64_t>(seconds, 86'400) * 1000;
}

HttpClient::HttpClient(Url url, HttpClientOptions options)
    : url_(std::move(url)),
      connection_(url_.tls ? make_tls_connection(url_, options) : make_plain_connection(url_, options)) {}

HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::send(const HttpCall& call) {
  for (int attempt = 0;; ++attempt) {
    const bool kept = connection_->connected();
    if (!kept) REJOIN_TRY(connection_->connect(call.deadline));
    bool stale = false;
    Result<HttpReply> reply = connection_->exchange(call, &stale);
    if (reply.ok() || !kept || !stale || attempt != 0) return reply;
  }
}

Result<HttpReply> HttpClient::post(const std::string& path, HttpHeaders headers, BytesView body,
                                   std::chrono::steady_clock::time_point deadline) {
  return send(HttpCall{"POST", path, std::move(headers), body, deadline});
}

Result<HttpReply> HttpClient::get(const std::string& path, HttpHeaders headers) {
  return send(HttpCall{"GET", path, std::move(headers), {}, std::chrono::steady_clock::time_point::max()});
}

void HttpClient::cancel() { connection_->cancel(); }

}  // namespace rejoin::net
