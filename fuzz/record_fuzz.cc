// Hostile row records. Input: one record; read a second way, a length byte, that many bytes of a first record, and a
// second one.
//
// A record that decodes must encode to the same bytes. Two that decode must join to one result in either order, which
// joining either again leaves alone, and which encodes and decodes to itself.
#include <cstddef>
#include <cstdint>

#include "crdt/print.h"
#include "crdt/record.h"

namespace {

using namespace rejoin;
using namespace rejoin::crdt;

#define REQUIRE(condition) ((condition) ? (void)0 : __builtin_trap())

// Indexes that are not in the order of the ids.
const SiteTable& sites() {
  static const SiteTable table = [] {
    SiteTable t;
    for (char c : {'m', 'a', 'z', 'b'}) t.intern(SiteId::from(c + Bytes(15, 's')));
    return t;
  }();
  return table;
}

bool decode(BytesView bytes, RowRecord& record) {
  if (!decode_record(bytes, sites().size(), record)) return false;
  Bytes again;
  encode_record(record, again);
  REQUIRE(again == bytes);
  REQUIRE(!record_text(record, sites()).empty());
  return true;
}

void check_join(RowRecord a, RowRecord b) {
  // What decode_record cannot check without the sites: cells that tie with the birth's clock and lose by site.
  canonicalise(a, sites());
  canonicalise(b, sites());
  a.hidden = b.hidden = false;
  JoinOutcome outcome;
  RowRecord ab = a, ba = b;
  join(ab, b, sites(), outcome);
  join(ba, a, sites(), outcome);
  REQUIRE(ab == ba);
  for (const RowRecord* again : {&a, &b, &ba}) {
    join(ab, *again, sites(), outcome);
    REQUIRE(!outcome.changed());
    REQUIRE(ab == ba);
  }
  RowRecord same = ab;
  canonicalise(same, sites());
  REQUIRE(same == ab);
  Bytes bytes;
  encode_record(ab, bytes);
  RowRecord back;
  REQUIRE(decode(bytes, back));
  REQUIRE(back == ab);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  BytesView in(reinterpret_cast<const char*>(data), size);
  RowRecord a, b;
  if (decode(in, a)) check_join(a, a);
  if (in.empty()) return 0;
  const size_t length = data[0];
  if (length + 1 > size) return 0;
  if (decode(in.substr(1, length), a) && decode(in.substr(1 + length), b)) check_join(a, b);
  return 0;
}
