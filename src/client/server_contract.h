// The contract that a server gives out, over HTTP.
#pragma once

#include <string>

#include "base/result.h"
#include "net/http_client.h"
#include "sqlite/replica.h"

namespace rejoin::client {

struct ServerContract {
  std::string json;
  std::string fingerprint;
  bool published = false;  // devices are to follow it; else it only tells what tables the server has
};
// Errors: what the server says, network, unsupported (an answer that is none).
Result<ServerContract> get_contract(net::HttpClient& client, const std::string& token);
// Publishes one (canonical JSON). Errors likewise.
Result<ServerContract> put_contract(net::HttpClient& client, const std::string& token, const std::string& json);

// Makes what of a published contract is missing in the replica. Returns how many tables and columns were made; 0 for a
// server that knows nothing of it. Errors: those of get_contract() and of Replica::migrate().
Result<int64_t> follow_contract(sqlite::Replica& replica, net::HttpClient& client, const std::string& token);

}  // namespace rejoin::client
