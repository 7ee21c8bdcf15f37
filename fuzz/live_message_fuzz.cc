// Decodes any bytes as both messages of a live connection, in both forms. What decodes must encode to something that
// decodes to the same.
#include <cstdint>
#include <cstdlib>

#include "server/live_protocols.h"
#include "server/message_json.h"
#include "sync/live_messages.h"

using namespace rejoin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const BytesView in(reinterpret_cast<const char*>(data), size);
  if (const auto request = sync::decode_live_request(in); request.ok()) {
    const auto again = sync::decode_live_request(sync::encode_live_request(*request));
    if (!again.ok() || !(*again == *request)) std::abort();
  }
  if (const auto event = sync::decode_live_event(in); event.ok()) {
    const Bytes bytes = sync::encode_live_event(*event);
    const auto again = sync::decode_live_event(bytes);
    if (!again.ok() || sync::encode_live_event(*again) != bytes) std::abort();
  }
  if (const auto request = server::live_request_from_json(in, {}); request.ok()) {
    const auto again = sync::decode_live_request(sync::encode_live_request(*request));
    if (!again.ok() || !(*again == *request)) std::abort();
  }
  (void)server::live_protocols(in);
  return 0;
}
