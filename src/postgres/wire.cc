#include "postgres/wire.h"

#include <utility>

namespace rejoin::postgres {
namespace {

void store_be32(char* out, uint32_t v) {
  for (int i = 0; i < 4; ++i) out[i] = static_cast<char>(v >> (24 - 8 * i));
}

void put_be32(Bytes& out, uint32_t v) {
  char bytes[4];
  store_be32(bytes, v);
  out.append(bytes, sizeof bytes);
}

class Reader {
 public:
  explicit Reader(BytesView in) : in_(in) {}
  int32_t be32() {
    BytesView b = in_.take(4);
    uint32_t v = 0;
    for (char c : b) v = v << 8 | static_cast<uint8_t>(c);
    return static_cast<int32_t>(v);
  }
  BytesView take(uint64_t n) { return in_.take(n); }
  bool ok() const { return in_.ok(); }
  bool at_end() const { return in_.at_end(); }

 private:
  ByteReader in_;
};

}  // namespace

void Array::add(BytesView value) {
  put_be32(body_, static_cast<uint32_t>(value.size()));
  body_ += value;
  ++count_;
}

void Array::add(int64_t value) {
  put_be32(body_, 8);
  put_be64(body_, static_cast<uint64_t>(value));
  ++count_;
}

void Array::add_null() {
  put_be32(body_, ~uint32_t{0});
  nulls_ = true;
  ++count_;
}

// src/backend/utils/adt/arrayfuncs.c, array_send: dimensions, has-null flag, element type, then per dimension its
// length and lower bound, then each element with its length.
Bytes Array::finish() && {
  const uint32_t head[] = {count_ ? 1u : 0u, nulls_, element_, count_, 1};
  for (size_t i = 0; i < 5; ++i) store_be32(body_.data() + 4 * i, head[i]);
  if (count_ == 0) body_.resize(12);  // no dimension
  return std::move(body_);
}

Bytes Array::finish() const& { return Array(*this).finish(); }

Params& Params::integer(int64_t v) {
  Bytes out;
  put_be64(out, static_cast<uint64_t>(v));
  return add(kInt8Oid, std::move(out));
}

Params& Params::null(uint32_t oid) {
  add(oid, {});
  null_.back() = true;
  return *this;
}

Params& Params::add(uint32_t oid, Bytes value) {
  oids_.push_back(oid);
  values_.push_back(std::move(value));
  null_.push_back(false);
  return *this;
}

std::vector<const char*> Params::values() const {
  std::vector<const char*> out;
  for (size_t i = 0; i < values_.size(); ++i) out.push_back(null_[i] ? nullptr : values_[i].data());
  return out;
}

std::vector<int> Params::lengths() const {
  std::vector<int> out;
  for (const Bytes& v : values_) out.push_back(static_cast<int>(v.size()));
  return out;
}

bool read_text_array(BytesView in, std::vector<TextElement>& out) {
  out.clear();
  Reader r(in);
  const int32_t dimensions = r.be32();
  r.be32();  // has nulls
  const int32_t element = r.be32();
  if (!r.ok() || dimensions < 0 || dimensions > 1 || element != static_cast<int32_t>(kTextOid)) return false;
  if (dimensions == 0) return r.at_end();
  const int32_t count = r.be32();
  r.be32();  // lower bound
  if (count < 0) return false;
  for (int32_t i = 0; i < count && r.ok(); ++i) {
    const int32_t size = r.be32();
    if (size < -1) return false;
    if (size < 0)
      out.push_back({true, {}});
    else
      out.push_back({false, r.take(static_cast<uint64_t>(size))});
  }
  return r.ok() && r.at_end();
}

}  // namespace rejoin::postgres
