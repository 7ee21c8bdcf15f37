// Reads any text as the JSON form of both messages. What is read must mean the same after a round trip, and fit the
// binary form.
#include <cstdint>
#include <cstdlib>

#include "server/message_json.h"
#include "sync/messages.h"

using namespace rejoin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view in(reinterpret_cast<const char*>(data), size);
  const sync::MessageLimits limits;
  if (const auto request = server::request_from_json(in, limits); request.ok()) {
    const auto again = server::request_from_json(server::request_to_json(*request), limits);
    if (!again.ok() || !(*again == *request)) std::abort();
    const auto binary = sync::decode_request(sync::encode_request(*request), limits);
    if (!binary.ok() || !(*binary == *request)) std::abort();
  }
  if (const auto response = server::response_from_json(in, limits); response.ok()) {
    const auto again = server::response_from_json(server::response_to_json(*response), limits);
    if (!again.ok() || sync::encode_response(*again) != sync::encode_response(*response)) std::abort();
  }
  return 0;
}
