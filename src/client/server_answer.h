// What a server's answer means that is no message of the sync protocol.
#pragma once

#include "base/result.h"
#include "net/http_client.h"
#include "net/url.h"

namespace rejoin::client {

// "rejoin/0.1.0": what this client calls itself.
const char* client_version();

// A proxy, a load balancer or some other server has answered.
Error error_of_status(int status, const net::Url& url, const net::HttpReply& reply);

// The same for a refused WebSocket: the server's own words, if it is ours.
Error error_of_refusal(const net::Url& url, const net::HttpReply& reply);

}  // namespace rejoin::client
