// Decodes any bytes as both messages. What decodes must encode to something that decodes to the same.
#include <cstdint>
#include <cstdlib>

#include "sync/messages.h"

using namespace rejoin;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const BytesView in(reinterpret_cast<const char*>(data), size);
  if (const auto request = sync::decode_request(in); request.ok()) {
    const auto again = sync::decode_request(sync::encode_request(*request));
    if (!again.ok() || !(*again == *request)) std::abort();
  }
  if (const auto response = sync::decode_response(in); response.ok()) {
    const Bytes bytes = sync::encode_response(*response);
    const auto again = sync::decode_response(bytes);
    if (!again.ok() || sync::encode_response(*again) != bytes) std::abort();
  }
  return 0;
}
