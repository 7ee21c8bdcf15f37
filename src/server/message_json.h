// The JSON form of the sync messages: proto3's JSON mapping of proto/rejoin.proto, for people and simple clients.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sync/live_messages.h"

namespace rejoin::server {

// Field names as in the contract (site) or in lowerCamelCase; bytes in base64; 64-bit numbers as numbers or strings.
// Unknown fields are skipped. Errors as sync::decode_request.
Result<sync::SyncRequest> request_from_json(std::string_view text, const sync::MessageLimits& limits);
Result<sync::SyncResponse> response_from_json(std::string_view text, const sync::MessageLimits& limits);
std::string request_to_json(const sync::SyncRequest& request);
std::string response_to_json(const sync::SyncResponse& response);

Result<sync::LiveRequest> live_request_from_json(std::string_view text, const sync::MessageLimits& limits);
// `event` has its responses as response_to_json makes them.
std::string live_event_to_json(const sync::LiveEvent& event);

// {"error":{"code":13,"name":"unauthorized","message":"…"}}: the body of every refusal outside a sync exchange.
std::string error_to_json(const Error& error, int64_t retry_after_ms = 0);

}  // namespace rejoin::server
