// A WebSocket to a server's /v1/live.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "net/url.h"
#include "net/websocket_client.h"

namespace rejoin::client {

// `retry_after_ms`: how long the server that refused wants to be left alone. Errors: the server's own, or what its
// answer means; network, timeout, interrupted; bad_argument (the token, the certificate file).
Result<std::unique_ptr<net::WebSocketClient>> open_live_socket(const net::Url& url, const std::string& token,
                                                               const std::string& ca_file,
                                                               const std::function<bool()>& cancelled,
                                                               int64_t& retry_after_ms);

}  // namespace rejoin::client
