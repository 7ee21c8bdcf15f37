// Parameters and results in PostgreSQL's binary format (libpq format 1): no quoting, no parsing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/bytes.h"

namespace rejoin::postgres {

// Type numbers of pg_type that this room sends; they are the same in every PostgreSQL.
inline constexpr uint32_t kByteaOid = 17, kInt8Oid = 20, kTextOid = 25, kByteaArrayOid = 1001, kTextArrayOid = 1009,
                          kInt8ArrayOid = 1016;

// A one-dimensional array parameter under construction.
class Array {
 public:
  explicit Array(uint32_t element) : element_(element), body_(kHead, '\0') {}
  static Array texts() { return Array(kTextOid); }
  static Array byteas() { return Array(kByteaOid); }
  static Array integers() { return Array(kInt8Oid); }
  void add(BytesView value);
  void add(int64_t value);
  void add_null();
  size_t size() const { return count_; }
  uint32_t array_oid() const {
    return element_ == kTextOid ? kTextArrayOid : element_ == kByteaOid ? kByteaArrayOid : kInt8ArrayOid;
  }
  Bytes finish() const&;
  Bytes finish() &&;  // without a copy

 private:
  static constexpr size_t kHead = 20;  // what comes before the elements
  uint32_t element_;
  uint32_t count_ = 0;
  bool nulls_ = false;
  Bytes body_;
};

// The parameters $1, $2, … of a statement.
class Params {
 public:
  Params& text(std::string_view v) { return add(kTextOid, Bytes(v)); }
  Params& bytea(BytesView v) { return add(kByteaOid, Bytes(v)); }
  Params& integer(int64_t v);
  Params& array(const Array& v) { return add(v.array_oid(), v.finish()); }
  Params& array(Array&& v) {
    const uint32_t oid = v.array_oid();
    return add(oid, std::move(v).finish());
  }
  Params& null(uint32_t oid);
  size_t size() const { return oids_.size(); }

  // As libpq takes them. Valid until the next change.
  const uint32_t* oids() const { return oids_.data(); }
  std::vector<const char*> values() const;
  std::vector<int> lengths() const;

 private:
  Params& add(uint32_t oid, Bytes value);
  std::vector<uint32_t> oids_;
  std::vector<Bytes> values_;
  std::vector<bool> null_;
};

// The elements of a text[] in binary format. Nothing of it is copied; false when it is no such array.
struct TextElement {
  bool null = false;
  std::string_view text;
};
bool read_text_array(BytesView in, std::vector<TextElement>& out);

}  // namespace rejoin::postgres
