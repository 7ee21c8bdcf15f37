// Keys as bytes (docs/formats-record.md): the order of the bytes is SQLite's order of the keys, and one key has one
// form.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>

#include "base/uuid.h"
#include "crdt/key.h"
#include "crdt/law_generators.h"

namespace rejoin::crdt {
namespace {

struct Field {
  ValueType type = ValueType::null;
  int64_t integer = 0;
  double real = 0;
  Bytes bytes;
  ValueRef ref() const {
    switch (type) {
      case ValueType::null:
        return ValueRef::of_null();
      case ValueType::integer:
        return ValueRef::of_integer(integer);
      case ValueType::real:
        return ValueRef::of_real(real);
      case ValueType::text:
        return ValueRef::of_text(bytes);
      case ValueType::blob:
        return ValueRef::of_blob(bytes);
    }
    return {};
  }
};
void showValue(const Field& field, std::ostream& out) { out << value_json(field.ref()); }

// SQLite's order of two values of one type under the BINARY collation.
int sqlite_order(const Field& a, const Field& b) {
  switch (a.type) {
    case ValueType::null:
      return 0;
    case ValueType::integer:
      return (a.integer > b.integer) - (a.integer < b.integer);
    case ValueType::real:
      return (a.real > b.real) - (a.real < b.real);
    case ValueType::text:
    case ValueType::blob:
      break;
  }
  int c = a.bytes.compare(b.bytes);
  return (c > 0) - (c < 0);
}

constexpr ValueType kTypes[] = {ValueType::integer, ValueType::real, ValueType::text, ValueType::blob};

rc::Gen<int64_t> integers() {
  return rc::gen::oneOf(rc::gen::element<int64_t>(-2, -1, 0, 1, 2, 255, 256, std::numeric_limits<int64_t>::min(),
                                                  std::numeric_limits<int64_t>::max()),
                        rc::gen::arbitrary<int64_t>());
}

rc::Gen<double> reals() {
  const double inf = std::numeric_limits<double>::infinity();
  return rc::gen::oneOf(rc::gen::element(0.0, -0.0, 1.0, -1.0, inf, -inf, 5e-324, -5e-324, 1e300, -1e300),
                        rc::gen::map(rc::gen::arbitrary<double>(), [](double v) { return std::isnan(v) ? 0.5 : v; }));
}

// Short strings of bytes that the escapes and terminators are made of.
rc::Gen<Bytes> strings() {
  return rc::gen::map(law::few(rc::gen::element('\x00', '\x01', '\x02', 'a', '\xfe', '\xff'), 4),
                      [](const std::vector<char>& v) { return Bytes(v.begin(), v.end()); });
}

rc::Gen<Field> field(ValueType type) {
  return rc::gen::build<Field>(rc::gen::set(&Field::type, rc::gen::just(type)),
                               rc::gen::set(&Field::integer, integers()), rc::gen::set(&Field::real, reals()),
                               rc::gen::set(&Field::bytes, strings()));
}

rc::Gen<Bytes> uuids() {
  return rc::gen::map(rc::gen::container<Bytes>(16, rc::gen::element('\x00', '\x01', '\x7f', '\x80', '\xff', '\x9a')),
                      uuid_text);
}

rc::Gen<Field> any_field() {
  return rc::gen::exec([] {
    auto type =
        *rc::gen::element(ValueType::null, ValueType::integer, ValueType::real, ValueType::text, ValueType::blob);
    Field f = *field(type);
    if (*rc::gen::element(0, 0, 1)) f.bytes = *uuids();
    return f;
  });
}

Bytes encoded(const std::vector<Field>& fields) {
  std::vector<ValueRef> refs;
  for (const Field& f : fields) refs.push_back(f.ref());
  Bytes out;
  encode_key(refs, out);
  return out;
}

int byte_order(const Bytes& a, const Bytes& b) {
  int c = a.compare(b);  // as unsigned bytes, a prefix before what it begins
  return (c > 0) - (c < 0);
}

RC_GTEST_PROP(KeyOrder, BytesOrderAsSqliteOrdersOneColumn, ()) {
  auto type = *rc::gen::elementOf(std::vector<ValueType>(std::begin(kTypes), std::end(kTypes)));
  auto a = *field(type), b = *field(type);
  RC_ASSERT(byte_order(encoded({a}), encoded({b})) == sqlite_order(a, b));
}

RC_GTEST_PROP(KeyOrder, BytesOrderAsSqliteOrdersCompositeKeys, ()) {
  auto types = *rc::gen::container<std::vector<ValueType>>(
      3, rc::gen::elementOf(std::vector<ValueType>(std::begin(kTypes), std::end(kTypes))));
  std::vector<Field> a, b;
  int expected = 0;
  for (ValueType type : types) {
    a.push_back(*field(type));
    // Often the same, so that later columns decide.
    b.push_back(*rc::gen::element(0, 1) ? a.back() : *field(type));
    if (expected == 0) expected = sqlite_order(a.back(), b.back());
  }
  RC_ASSERT(byte_order(encoded(a), encoded(b)) == expected);
}

RC_GTEST_PROP(KeyOrder, UuidsOrderAsTheirText, ()) {
  auto a = *uuids(), b = *uuids();
  Field fa{ValueType::text, 0, 0, a}, fb{ValueType::text, 0, 0, b};
  RC_ASSERT(byte_order(encoded({fa}), encoded({fb})) == sqlite_order(fa, fb));
  RC_ASSERT(encoded({fa}).size() == 17u);
}

RC_GTEST_PROP(KeyOrder, RoundTrip, ()) {
  auto fields = *law::few(any_field());
  Bytes key = encoded(fields), scratch = "left over";
  std::vector<ValueRef> values(3);
  RC_ASSERT(decode_key(key, fields.size(), values, scratch));
  RC_ASSERT(values.size() == fields.size());
  for (size_t i = 0; i < fields.size(); ++i) {
    ValueRef expected = fields[i].ref();
    if (expected.type == ValueType::real && expected.real == 0) expected.real = 0.0;
    RC_ASSERT(same_value(values[i], expected));
  }
  std::vector<ValueRef> other;
  RC_ASSERT(!decode_key(key, fields.size() + 1, other, scratch));
}

RC_GTEST_PROP(KeyOrder, EveryByteStringFailsOrIsTheEncodingOfItsKey, ()) {
  auto fields = *law::few(any_field(), 3);
  Bytes key = encoded(fields);
  for (int n = *rc::gen::element(0, 1, 2); n > 0 && !key.empty(); --n) {
    size_t at = *rc::gen::arbitrary<uint16_t>() % key.size();
    char byte = *rc::gen::element('\x00', '\x01', '\xff', '\x30', '\x38', '\x80');
    switch (*rc::gen::element(0, 1, 2, 3)) {
      case 0:
        key[at] = byte;
        break;
      case 1:
        key.erase(at, 1);
        break;
      case 2:
        key.insert(at, 1, byte);
        break;
      default:
        key.resize(at);
        break;
    }
  }
  for (size_t columns = 0; columns < 5; ++columns) {
    std::vector<ValueRef> values;
    Bytes scratch, again;
    if (!decode_key(key, columns, values, scratch)) continue;
    encode_key(values, again);
    RC_ASSERT(to_hex(again) == to_hex(key));
  }
}

std::string hex_of(std::vector<ValueRef> values) {
  Bytes out;
  encode_key(values, out);
  return to_hex(out);
}

// The worked examples of docs/formats-record.md. Whoever changes these bytes changes the format.
TEST(KeyOrder, WorkedExamplesOfTheDocumentation) {
  EXPECT_EQ(hex_of({ValueRef::of_integer(1)}), "108000000000000001");
  EXPECT_EQ(hex_of({ValueRef::of_integer(-1)}), "107fffffffffffffff");
  EXPECT_EQ(hex_of({ValueRef::of_real(1.5)}), "20bff8000000000000");
  EXPECT_EQ(hex_of({ValueRef::of_real(-1.5)}), "204007ffffffffffff");
  EXPECT_EQ(hex_of({ValueRef::of_text("5c1e0a77-91ab-7cde-8123-0123456789ab")}), "385c1e0a7791ab7cde81230123456789ab");
  EXPECT_EQ(hex_of({ValueRef::of_text("DE"), ValueRef::of_integer(4)}), "3044450001108000000000000004");
  EXPECT_EQ(hex_of({ValueRef::of_blob(BytesView("a\0b", 3)), ValueRef::of_text("x")}), "406100ff6200013078");
  EXPECT_EQ(hex_of({ValueRef::of_text("x"), ValueRef::of_blob(BytesView("a\0b", 3))}), "3078000140610062");
  EXPECT_EQ(hex_of({}), "");
}

TEST(KeyOrder, WhatSqliteTakesForOneKeyHasOneForm) {
  EXPECT_EQ(hex_of({ValueRef::of_real(-0.0)}), hex_of({ValueRef::of_real(0.0)}));
  EXPECT_EQ(hex_of({ValueRef::of_real(std::nan(""))}), hex_of({ValueRef::of_null()}));
}

TEST(KeyOrder, OtherFormsAreRefused) {
  const std::tuple<const char*, size_t, const char*> refused[] = {
      {"", 1, "no field"},
      {"108000000000000001", 0, "a field too many"},
      {"10800000000000000100", 1, "a byte too many"},
      {"1080000000000000", 1, "cut"},
      {"207fffffffffffffff", 1, "-0.0"},
      {"20fff8000000000000", 1, "NaN"},
      {"20000000000000000f", 1, "a negative NaN"},
      {"3035633165306137372d393161622d376364652d383132332d303132333435363738396162", 1, "a UUID as text"},
      {"3035633165306137372d393161622d376364652d383132332d3031323334353637383961620001"
       "08",
       2, "a UUID as text, not last"},
      {"385c1e0a7791ab7cde81230123456789", 1, "a short UUID"},
      {"306100", 2, "a text that ends in an escape"},
      {"3061", 2, "a text without its end"},
      {"306100020108", 2, "an unknown escape"},
      {"00", 1, "an unknown tag"},
      {"ff", 1, "an unknown tag"},
  };
  for (auto [hex, columns, why] : refused) {
    std::vector<ValueRef> values;
    Bytes scratch;
    EXPECT_FALSE(decode_key(from_hex(hex).value(), columns, values, scratch)) << why;
    EXPECT_EQ(key_json(from_hex(hex).value(), columns), "(damaged)");
  }
  // A UUID in capitals is a different text, and stays one.
  EXPECT_EQ(hex_of({ValueRef::of_text("5C1E0A77-91AB-7CDE-8123-0123456789AB")}).substr(0, 2), "30");
}

TEST(KeyOrder, ManyUuidsAreAllReadable) {
  std::vector<Field> fields(20, Field{ValueType::text, 0, 0, "5c1e0a77-91ab-7cde-8123-0123456789ab"});
  Bytes scratch, key = encoded(fields);
  std::vector<ValueRef> values;
  ASSERT_TRUE(decode_key(key, 20, values, scratch));
  for (const ValueRef& v : values) EXPECT_EQ(v.bytes, fields[0].bytes);
}

TEST(KeyOrder, KeysReadAsJson) {
  Bytes key;
  std::vector<ValueRef> values = {ValueRef::of_text("5c1e0a77-91ab-7cde-8123-0123456789ab"), ValueRef::of_integer(-4),
                                  ValueRef::of_text(BytesView("a\0\"", 3)), ValueRef::of_blob(BytesView("\0\xff", 2))};
  encode_key(values, key);
  EXPECT_EQ(key_json(key, 4), R"(["5c1e0a77-91ab-7cde-8123-0123456789ab",-4,"a\u0000\"",{"blob":"00ff"}])");
  EXPECT_EQ(key_json("", 0), "[]");
}

}  // namespace
}  // namespace rejoin::crdt
