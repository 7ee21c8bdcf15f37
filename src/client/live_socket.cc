#include "client/live_socket.h"

#include <optional>

#include "client/server_answer.h"

namespace rejoin::client {

Result<std::unique_ptr<net::WebSocketClient>> open_live_socket(const net::Url& url, const std::string& token,
                                                               const std::string& ca_file,
                                                               const std::function<bool()>& cancelled,
                                                               int64_t& retry_after_ms) {
  for (char c : token)
    if (c <= ' ' || c == 0x7f)
      return fail(Code::bad_argument, "the access token has a space or a control character in it; copy it anew");
  net::WebSocketClientOptions options;
  options.ca_file = ca_file;
  options.cancelled = cancelled;
  net::HttpHeaders headers{{"User-Agent", client_version()}, {"Sec-WebSocket-Protocol", "rejoin.v1"}};
  if (!token.empty()) headers.emplace_back("Authorization", "Bearer " + token);
  std::optional<net::HttpReply> refusal;
  auto opened = net::WebSocketClient::open(url, "/v1/live", headers, options, &refusal);
  retry_after_ms = refusal ? refusal->retry_after_ms() : 0;
  if (refusal) return error_of_refusal(url, *refusal);
  return opened;
}

}  // namespace rejoin::client
