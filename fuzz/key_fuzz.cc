// Hostile keys. Input: the number of columns, then a key. One that decodes must encode to the same bytes; any may be
// printed.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "crdt/key.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace rejoin;
  if (size == 0) return 0;
  const size_t columns = data[0] % 8;
  const BytesView key(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<crdt::ValueRef> values;
  Bytes scratch, again;
  const bool ok = crdt::decode_key(key, columns, values, scratch);
  if ((crdt::key_json(key, columns) == "(damaged)") == ok) __builtin_trap();
  if (!ok) return 0;
  crdt::encode_key(values, again);
  if (again != key) __builtin_trap();
  return 0;
}
