#include "sync/chain.h"

namespace rejoin::sync {
namespace {

// Of an outcome at rest: what was said before rows came with the server's values has none of them.
constexpr uint8_t kWithServerRows = 2;
constexpr size_t kTokenBytes = 16;

Link link_of_token(const Chain& known, BytesView token) {
  if (token == known.token) return Link::next;
  const uint64_t theirs = token.size() == kTokenBytes ? load_be64(token.data()) : 0;
  return theirs < known.counter ? Link::stale : Link::unknown;
}

}  // namespace

Link link_of(const Chain* known, bool taken, BytesView token, BytesView nonce) {
  if (!known) return taken ? Link::stale : token.empty() ? Link::next : Link::unknown;
  if (!known->nonce.empty() && known->nonce == nonce) return Link::repeat;
  return link_of_token(*known, token);
}

bool is_unknown(const Chain& known, BytesView token) { return link_of_token(known, token) == Link::unknown; }

Error stale_chain() {
  return fail(Code::stale_chain,
              "this database file was copied or restored from a backup: another copy has pushed since. It takes a new "
              "site id and keeps its unsent writes");
}

Error unknown_chain() {
  return fail(
      Code::unknown_chain,
      "the server does not know this device's last acknowledgement: it was restored from a backup or replaced, or "
      "told to forget the device. The device sends everything again");
}

Status check_pull(const Chain* known, BytesView token, bool unpushed) {
  if (token.empty()) return unpushed && known && known->counter > 0 ? Status(stale_chain()) : Status();
  switch (known ? link_of_token(*known, token) : Link::unknown) {
    case Link::stale:
      return stale_chain();
    case Link::unknown:
      return unknown_chain();
    default:
      return {};
  }
}

Bytes make_chain_token(Random& random, uint64_t counter) {
  Bytes token;
  put_be64(token, counter);
  return token + random.bytes(kTokenBytes - token.size());
}

Bytes encode_outcome(const ApplyOutcome& o, crdt::Hlc last) {
  Bytes out;
  put_varint(out, o.rows_seen);
  put_varint(out, o.rows_changed);
  put_varint(out, o.rows_parked);
  put_u8(out, static_cast<uint8_t>(o.staged | kWithServerRows));
  put_varint(out, o.refused.size());
  for (const auto& r : o.refused) {
    put_bytes(out, r.table);
    put_bytes(out, r.key);
    put_bytes(out, r.key_json);
    put_varint(out, static_cast<uint64_t>(r.code));
    put_bytes(out, r.reason);
    put_bytes(out, r.server);
  }
  put_be64(out, o.staged ? 0 : last);
  return out;
}

namespace {

ApplyOutcome read_outcome(ByteReader& r) {
  ApplyOutcome o;
  o.rows_seen = r.varint();
  o.rows_changed = r.varint();
  o.rows_parked = r.varint();
  const uint8_t flags = r.u8();
  o.staged = flags & 1;
  for (uint64_t n = r.count(5); n > 0 && r.ok(); --n) {
    RefusedRow row;
    row.table = r.bytes();
    row.key = r.bytes();
    row.key_json = r.bytes();
    row.code = code_from_number(r.varint()).value_or(Code::internal);
    row.reason = r.bytes();
    if (flags & kWithServerRows) row.server = r.bytes();
    o.refused.push_back(std::move(row));
  }
  return o;
}

}  // namespace

ApplyOutcome decode_outcome(BytesView in) {
  ByteReader r(in);
  return read_outcome(r);
}

crdt::Hlc stamped_through(BytesView outcome) {
  ByteReader r(outcome);
  (void)read_outcome(r);
  const crdt::Hlc last = r.be64();
  return r.ok() ? last : 0;
}

}  // namespace rejoin::sync
