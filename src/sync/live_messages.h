// The messages of a live connection (docs/live.md): envelopes around the messages of the sync protocol, and what only a
// connection that stays has to say. The rules of messages.h hold.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sync/messages.h"

namespace rejoin::sync {

inline constexpr size_t kMostTopicBytes = 128;
inline constexpr size_t kMostTopics = 64;
// Behind PostgreSQL a message travels in the payload of a notification, 8,000 bytes at most, in base64.
inline constexpr size_t kMostAppBytes = 4096;

// Of the app's to its own kind: delivered to those who listen to the topic now, never stored.
struct AppMessage {
  std::string topic;
  Bytes data;
  std::string from;  // the sender's device name; the server sets it
  friend bool operator==(const AppMessage&, const AppMessage&) = default;
};

// From the device; each part may be absent.
struct LiveRequest {
  uint32_t protocol = kProtocol;
  std::optional<SyncRequest> sync;                 // with a pull in it: follow from where the answer ends
  std::string token;                               // a fresh access token
  std::optional<std::vector<std::string>> listen;  // the topics to hear of, in place of those before
  std::optional<AppMessage> message;
  friend bool operator==(const LiveRequest&, const LiveRequest&) = default;
};

// From the server; one part, and maybe the expiry. The SyncResponses are in the form that the event will have, or had:
// encoded, or JSON.
struct LiveEvent {
  uint32_t protocol = kProtocol;
  std::optional<Bytes> response;  // the answer to LiveRequest.sync
  std::optional<Bytes> page;      // news: begins where the last one ended
  std::optional<AppMessage> message;
  uint64_t expires_in_ms = 0;      // how long the access token is good; 0: not said
  std::optional<WireError> error;  // why a token, topics or a message were refused
};

Bytes encode_live_request(const LiveRequest& request);
// A LiveRequest of an encoded SyncRequest and nothing else.
Bytes wrap_sync_request(BytesView request);
Bytes encode_live_event(const LiveEvent& event);

// Errors: as decode_request. The responses inside an event are not looked into.
Result<LiveRequest> decode_live_request(BytesView in, const MessageLimits& limits = {});
Result<LiveEvent> decode_live_event(BytesView in, const MessageLimits& limits = {});

// The checks that hold for either form.
Status check_live_request(const LiveRequest& request, const MessageLimits& limits);

}  // namespace rejoin::sync
