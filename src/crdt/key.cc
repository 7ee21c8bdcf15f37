#include "crdt/key.h"

#include "base/uuid.h"
#include "crdt/print.h"

namespace rejoin::crdt {
namespace {

constexpr char kNull = 0x08, kInteger = 0x10, kReal = 0x20, kText = 0x30, kUuid = 0x38, kBlob = 0x40;
constexpr uint64_t kSign = uint64_t{1} << 63;

void put_tagged64(char tag, uint64_t v, Bytes& out) {
  char buffer[9];
  buffer[0] = tag;
  v = __builtin_bswap64(v);
  std::memcpy(buffer + 1, &v, 8);
  out.append(buffer, 9);
}

void put_real(double v, Bytes& out) {
  // As SQLite stores keys: it takes -0.0 for 0.0 and NaN for NULL.
  if (v != v) return out.push_back(kNull);
  uint64_t bits = 0;
  if (v != 0) std::memcpy(&bits, &v, 8);
  put_tagged64(kReal, bits & kSign ? ~bits : bits | kSign, out);
}

void put_escaped(BytesView v, Bytes& out) {
  for (size_t from = 0;;) {
    size_t zero = v.find('\0', from);
    if (zero == BytesView::npos) {
      out.append(v.substr(from)).append("\x00\x01", 2);
      return;
    }
    out.append(v.substr(from, zero - from)).append("\x00\xff", 2);
    from = zero + 1;
  }
}

void put_value(const ValueRef& value, bool last, Bytes& out) {
  switch (value.type) {
    case ValueType::null:
      out.push_back(kNull);
      return;
    case ValueType::integer:
      put_tagged64(kInteger, static_cast<uint64_t>(value.integer) ^ kSign, out);
      return;
    case ValueType::real:
      put_real(value.real, out);
      return;
    case ValueType::text: {
      char buffer[17];
      buffer[0] = kUuid;
      if (value.bytes.size() == 36 && uuid_pack(value.bytes, buffer + 1)) {
        out.append(buffer, 17);
        return;
      }
      break;
    }
    case ValueType::blob:
      break;
  }
  out.push_back(value.type == ValueType::text ? kText : kBlob);
  if (last)
    out.append(value.bytes);
  else
    put_escaped(value.bytes, out);
}

// Reads the fields of one key. Every step gives false, for good, when the key is not what encode_key writes.
class KeyReader {
 public:
  KeyReader(BytesView key, Bytes& scratch) : in_(key), scratch_(scratch) {}

  bool value(bool last, ValueRef& out) {
    switch (char tag = static_cast<char>(in_.u8())) {
      case kNull:
        out = ValueRef::of_null();
        return in_.ok();
      case kInteger:
        out = ValueRef::of_integer(static_cast<int64_t>(in_.be64() ^ kSign));
        return in_.ok();
      case kReal:
        return real(out);
      case kUuid:
        return uuid(out);
      case kText:
      case kBlob: {
        BytesView bytes;
        if (last)
          bytes = in_.take(in_.left());
        else if (!escaped(bytes))
          return false;
        char packed[16];
        if (tag == kText && uuid_pack(bytes, packed)) return false;  // a UUID has its own form
        out = tag == kText ? ValueRef::of_text(bytes) : ValueRef::of_blob(bytes);
        return true;
      }
      default:
        return false;
    }
  }
  bool at_end() const { return in_.at_end(); }

 private:
  bool real(ValueRef& out) {
    uint64_t bits = in_.be64();
    bits = bits & kSign ? bits ^ kSign : ~bits;
    double v;
    std::memcpy(&v, &bits, 8);
    out = ValueRef::of_real(v);
    return in_.ok() && v == v && bits != kSign;
  }

  bool uuid(ValueRef& out) {
    BytesView packed = in_.take(16);
    if (!in_.ok()) return false;
    char* text = room();
    uuid_unpack(packed.data(), text);
    used_ += 36;
    out = ValueRef::of_text(BytesView(text, 36));
    return true;
  }

  // The bytes of a field that is not the last. A view into the key when no zero byte had to be written differently.
  bool escaped(BytesView& out) {
    BytesView rest(in_.position(), in_.left());
    char* unescaped = nullptr;
    size_t n = 0;  // bytes at `unescaped`
    for (size_t from = 0;;) {
      size_t zero = rest.find('\0', from);
      if (zero == BytesView::npos || zero + 1 == rest.size()) return false;
      bool end = rest[zero + 1] == '\x01';
      if (!end && rest[zero + 1] != '\xff') return false;
      if (end && !unescaped) {
        out = rest.substr(0, zero);
      } else {
        if (!unescaped) unescaped = room();
        size_t piece = zero - from + (end ? 0 : 1);  // with the zero itself
        if (piece) std::memcpy(unescaped + n, rest.data() + from, piece);
        n += piece;
        if (end) out = BytesView(unescaped, n), used_ += n;
      }
      from = zero + 2;
      if (end) return in_.take(from), true;
    }
  }

  // Where the next bytes go in the scratch, which is made big enough for the whole key at once, because views must not
  // move: the worst field is a UUID, 17 bytes that unpack to 36.
  char* room() {
    if (used_ == 0) scratch_.resize(in_.left() * 3 + 64);
    return scratch_.data() + used_;
  }

  ByteReader in_;
  Bytes& scratch_;
  size_t used_ = 0;
};

}  // namespace

void encode_key(std::span<const ValueRef> values, Bytes& out) {
  for (size_t i = 0; i < values.size(); ++i) put_value(values[i], i + 1 == values.size(), out);
}

bool decode_key(BytesView key, size_t columns, std::vector<ValueRef>& values, Bytes& scratch) {
  values.clear();
  KeyReader reader(key, scratch);
  for (size_t i = 0; i < columns; ++i)
    if (!reader.value(i + 1 == columns, values.emplace_back())) return false;
  return reader.at_end();
}

std::string key_json(BytesView key, size_t columns) {
  std::vector<ValueRef> values;
  Bytes scratch;
  if (!decode_key(key, columns, values, scratch)) return "(damaged)";
  std::string out = "[";
  for (const ValueRef& value : values) {
    if (out.size() > 1) out += ",";
    out += value_json(value);
  }
  return out + "]";
}

}  // namespace rejoin::crdt
