// The two messages of the sync protocol and their binary form. proto/rejoin.proto is the contract; this is its
// hand-written codec.
//
// Decoders treat every byte as hostile: limits first, no allocation beyond the input's size, a failed decode changes
// nothing. Unknown fields are skipped, known fields with a foreign wire type and repeated singular messages are
// refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "crdt/version.h"
#include "sync/store.h"

namespace rejoin::sync {

inline constexpr uint32_t kProtocol = 1;
inline constexpr size_t kNonceBytes = 16;

struct Hello {
  crdt::SiteId site;
  std::string contract_fingerprint;
  std::string contract_json;  // only after the server asked for it
  std::string client_version;
  friend bool operator==(const Hello&, const Hello&) = default;
};

struct Push {
  Bytes chain_token;
  Bytes nonce;
  Bytes frame;
  friend bool operator==(const Push&, const Push&) = default;
};

struct Pull {
  Bytes cursor;
  uint64_t max_bytes = 0;  // 0: as the server likes
  Bytes chain_token;       // as the last Ack gave it, in requests without a push; empty: not checked
  bool own = false;        // from the beginning: with what came from this device itself
  bool unpushed = false;   // there is no token, as this file has pushed nothing to this server
  friend bool operator==(const Pull&, const Pull&) = default;
};

struct SyncRequest {
  uint32_t protocol = kProtocol;
  Hello hello;
  std::optional<Push> push;
  std::optional<Pull> pull;
  friend bool operator==(const SyncRequest&, const SyncRequest&) = default;
};

struct Ack {
  Bytes nonce;
  Bytes next_chain_token;
  std::vector<RefusedRow> refused;
  uint64_t rows = 0;
};

struct PageMessage {
  Bytes frame;  // empty: nothing new
  Bytes next_cursor;
  bool more = false;
  bool restarted = false;
  uint64_t rows = 0;
  std::vector<EvictedRows> evicted;
};

struct WireError {
  Code code = Code::internal;
  std::string message;
  uint64_t retry_after_ms = 0;
};

struct SyncResponse {
  uint32_t protocol = kProtocol;
  ServerFacts facts;  // now_ms included
  bool need_contract = false;
  std::optional<Ack> ack;
  std::optional<PageMessage> page;
  std::optional<WireError> error;
  std::optional<Restored> restored;  // with unknown_chain and with a page that says `restarted`
};

// What a decoder accepts. Defaults suit a device; a server sets `frame_bytes` to its own limit.
struct MessageLimits {
  uint64_t frame_bytes = 256ull << 20;
  uint64_t contract_bytes = 16ull << 20;
  uint64_t cursor_bytes = 64ull << 20;  // a cursor may hold a row's key
  uint64_t token_bytes = 4096;
  uint64_t name_bytes = 4096;
  uint64_t text_bytes = 64 << 10;
  uint64_t refused_rows = 1 << 20;
  uint64_t evicted_rows = 1 << 20;
};

Bytes encode_request(const SyncRequest& request);
Bytes encode_response(const SyncResponse& response);

// Errors: corrupt; too_large naming the limit; unsupported when `protocol` is another number (checked first, so that a
// newer peer gets this answer and not a complaint about bytes).
Result<SyncRequest> decode_request(BytesView in, const MessageLimits& limits = {});
Result<SyncResponse> decode_response(BytesView in, const MessageLimits& limits = {});

// The checks that hold for either form of a request: protocol, limits, sizes. Codecs call it last.
Status check_request(const SyncRequest& request, const MessageLimits& limits);

// A response that says nothing but this.
SyncResponse error_response(const Error& error, const ServerFacts& facts = {}, uint64_t retry_after_ms = 0);

}  // namespace rejoin::sync
