// The contract's JSON is canonical, comes back as it was, and is refused with the place and the cause otherwise.
#include <gtest/gtest.h>
// gtest first
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "contract/contract.h"
#include "contract/contract_samples.h"

namespace rejoin::contract {
namespace {

using namespace samples;

// As docs/contract.md shows it.
constexpr std::string_view kTodos =
    R"({"tables":[{"columns":[{"name":"id","not_null":true,"type":"TEXT"},)"
    R"({"default":"it's","name":"title","not_null":true,"type":"TEXT"},{"default":0,"name":"done","not_null":true,"type":"INTEGER"},)"
    R"({"name":"note","not_null":false,"type":"TEXT"}],"integer_key":false,"key":["id"],"name":"todos","strict":false,"without_rowid":false}]})";

TEST(ContractJson, is_this_text) {
  EXPECT_EQ(to_json({{todos()}}), kTodos);
  EXPECT_EQ(fingerprint({{todos()}}), "155522f87839dbf00a4fe2cfaf90c060");
  EXPECT_EQ(to_json({}), R"({"tables":[]})");
}

TEST(ContractJson, every_kind_of_default_comes_back) {
  Contract contract = everything();
  ASSERT_TRUE(check(contract).ok()) << check(contract).error().message;
  Result<Contract> again = from_json(to_json(contract));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(*again, contract);
}

RC_GTEST_PROP(ContractJsonRoundTrip, any_contract_comes_back, ()) {
  Contract contract = Maker(*rc::gen::arbitrary<uint64_t>()).contract();
  Status sound = check(contract);
  if (!sound.ok()) RC_FAIL(sound.error().message);
  Result<Contract> again = from_json(to_json(contract));
  if (!again.ok()) RC_FAIL(again.error().message);
  RC_ASSERT(*again == contract);
  RC_ASSERT(to_json(*again) == to_json(contract));
  RC_ASSERT(diff(contract, *again).empty());
}

TEST(ContractJson, zero_and_minus_zero_differ) {
  Contract zero{{todos()}}, minus = zero;
  zero.tables[0].columns[3].default_value = 0.0;
  minus.tables[0].columns[3].default_value = -0.0;
  EXPECT_NE(to_json(zero), to_json(minus));
  EXPECT_TRUE(std::signbit(std::get<double>(*from_json(to_json(minus))->tables[0].columns[3].default_value)));
  EXPECT_EQ(diff(zero, minus).size(), 1u);
}

TEST(ContractJson, equal_contracts_have_equal_text_however_they_were_written) {
  std::string spaced =
      R"( { "tables" : [ {"without_rowid":false, "strict":false, "name":"b", "key":["id"], "integer_key":false,
      "columns":[{"type":"TEXT","not_null":true,"name":"\u0069d"}] },
      {"without_rowid":false,"strict":false,"name":"a","key":["id"],"integer_key":false,"columns":[{"type":"TEXT","not_null":true,"name":"id"}]} ] } )";
  Result<Contract> contract = from_json(spaced);
  ASSERT_TRUE(contract.ok()) << contract.error().message;
  EXPECT_EQ(contract->tables[0].name, "a");
  EXPECT_EQ(fingerprint(*contract), fingerprint(*from_json(to_json(*contract))));
  std::swap(contract->tables[0], contract->tables[1]);
  EXPECT_EQ(to_json(*contract), to_json(*from_json(spaced))) << "tables are written by name whatever their order";
}

TEST(ContractJson, the_last_writer_wins_whether_a_column_says_so_or_not) {
  std::string text(kTodos);
  text.insert(text.find(R"("name":"title")"), R"("merge":"lww",)");
  Result<Contract> contract = from_json(text);
  ASSERT_TRUE(contract.ok()) << contract.error().message;
  EXPECT_EQ(to_json(*contract), kTodos);
}

// Replaces `from`, which must be there, and expects a refusal that names `place` and `cause`.
void expect_refused(std::string_view from, std::string_view to, std::string_view place, std::string_view cause) {
  std::string text(kTodos);
  size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text.replace(at, from.size(), to);
  Result<Contract> result = from_json(text);
  ASSERT_FALSE(result.ok()) << text;
  EXPECT_EQ(result.error().code, Code::bad_argument);
  EXPECT_NE(result.error().message.find(place), std::string::npos)
      << result.error().message << " does not name " << place;
  EXPECT_NE(result.error().message.find(cause), std::string::npos)
      << result.error().message << " does not say " << cause;
}

TEST(RefusedContract, wrong_members) {
  expect_refused(R"("strict":false,)", "", "tables[0].strict", "missing");
  expect_refused(R"("strict":false,)", R"("strict":0,)", "tables[0].strict", "neither true nor false");
  expect_refused(R"("strict":false,)", R"("strict":false,"strict":true,)", "\"strict\"", "twice");
  expect_refused(R"("strict":false,)", R"("strict":false,"str\u0069ct":true,)", "\"strict\"", "twice");
  expect_refused(R"("strict":false,)", R"("strict":false,"check":"1=1",)", "tables[0].check", "not a member");
  expect_refused(R"("type":"TEXT"},{"default":"it's")", R"("type":"TEXT","sql":1},{"default":"it's")",
                 "tables[0].columns[0].sql", "not a member");
  for (const char* merge : {R"("counter")", R"("LWW")", R"("")", "null", "1", R"(["lww"])"})
    expect_refused(R"("name":"note")", std::string(R"("merge":)") + merge + R"(,"name":"note")",
                   "tables[0].columns[3].merge", "no kind of merge that this version knows");
  expect_refused(R"("name":"id")", R"("name":7)", "tables[0].columns[0].name", "not a string");
  expect_refused(R"("key":["id"])", R"("key":"id")", "tables[0].key", "not an array");
  expect_refused(R"("key":["id"])", R"("key":[null])", "tables[0].key", "not a string");
  expect_refused(R"({"name":"note","not_null":false,"type":"TEXT"})", "7", "tables[0].columns[3]", "not an object");
  expect_refused(R"({"tables":[)", R"({"views":[],"tables":[)", "views", "not a member");
  for (const char* text : {"", "null", "[]", "{}", "{\"tables\":{}}", "{\"tables\":[1]}", "{\"tables\":[]}x",
                           "{\"tables\":[],}", "{\"tables\":[/**/]}", "\xef\xbb\xbf{\"tables\":[]}",
                           "{\"tables\":[[[[[[[[[[[[]]]]]]]]]]]]}", "{'tables':[]}", "{\"tables\":[]"}) {
    Result<Contract> result = from_json(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.error().code, Code::bad_argument);
  }
}

TEST(RefusedContract, wrong_defaults) {
  auto refused = [](const char* literal, std::string_view cause) {
    expect_refused(R"("default":0)", std::string("\"default\":") + literal, "tables[0].columns[2].default", cause);
  };
  for (const char* literal : {"0.0", "1e3", "true", "[]", "{}", "{\"sql\":\"1\"}", "{\"real\":1.5}",
                              "9223372036854775808", "{\"real\":\"1\",\"blob\":\"\"}"})
    refused(literal, "is not a literal");
  for (const char* real : {"1.50", "nan", "NaN", "", "0x10", "1e999", "infinity", " 1", "1,5", "+1", "01"})
    refused((std::string("{\"real\":\"") + real + "\"}").c_str(), "is not a real in its shortest form");
  for (const char* blob : {"A0", "0", "zz"})
    refused((std::string("{\"blob\":\"") + blob + "\"}").c_str(), "hexadecimal");
  expect_refused(R"("default":0)", R"("default":"a\u0000b")", "tables[0].columns[2]", "NUL");
  expect_refused(R"("default":0)", "\"default\":\"\xff\"", "", "");
}

TEST(RefusedContract, wrong_names_and_keys) {
  expect_refused(R"("name":"note")", R"("name":"")", "tables[0].columns[3]", "no name");
  expect_refused(R"("name":"note")", R"("name":"DONE")", "tables[0].columns[3]", "another column");
  expect_refused(R"("name":"note")", R"("name":"n\u0000")", "tables[0].columns[3]", "NUL");
  expect_refused(R"("name":"note")", "\"name\":\"" + std::string(4097, 'n') + "\"", "tables[0].columns[3]", "4096");
  for (const char* name : {"sqlite_master", "SQLite_x", "rejoin_log", "Rejoin_log", "todos__rejoin", "x__REJOIN_dead"})
    expect_refused(R"("name":"todos")", "\"name\":\"" + std::string(name) + "\"", "tables[0]", "keeps for itself");
  expect_refused(R"("key":["id"])", R"("key":[])", "tables[0]", "no key");
  expect_refused(R"("key":["id"])", R"("key":["nowhere"])", "tables[0]", "not among its columns");
  expect_refused(R"("key":["id"])", R"("key":["id","id"])", "tables[0]", "twice in the key");
  expect_refused(R"("integer_key":false)", R"("integer_key":true)", "tables[0]", "integer_key");
  std::string twice(kTodos);
  std::string table = twice.substr(11, twice.size() - 13);
  EXPECT_NE(from_json("{\"tables\":[" + table + "," + table + "]}").error().message.find("another table"),
            std::string::npos);
}

TEST(RefusedContract, wrong_types) {
  auto refused = [](const char* type) {
    expect_refused(R"("name":"note","not_null":false,"type":"TEXT")",
                   std::string(R"("name":"note","not_null":false,"type":")") + type + "\"", "tables[0].columns[3]",
                   "not canonical");
  };
  for (const char* type : {"text",
                           "TEXT ",
                           " TEXT",
                           "A  B",
                           "TEXT CHECK(0)",
                           "INTEGER PRIMARY KEY",
                           "TEXT DEFAULT 5",
                           "TEXT COLLATE NOCASE",
                           "TEXT NOT NULL",
                           "TEXT UNIQUE",
                           "INT REFERENCES T",
                           "TEXT GENERATED ALWAYS AS (1)",
                           "TEXT, x TEXT",
                           "TEXT)",
                           "TEXT; DROP TABLE T",
                           "TEXT--",
                           "VARCHAR( 20 )",
                           "VARCHAR(20)X",
                           "VARCHAR(-1)",
                           "VARCHAR()",
                           "D(1,2,3)",
                           "(1)",
                           "5",
                           "\xc3\x84"})
    refused(type);
  Contract strict{{todos()}};
  strict.tables[0].strict = true;
  EXPECT_TRUE(check(strict).ok());
  strict.tables[0].columns[3].type = "VARCHAR(20)";
  EXPECT_NE(check(strict).error().message.find("STRICT"), std::string::npos);
}

TEST(RefusedContract, limits) {
  Contract contract;
  contract.tables.resize(kMaxTables + 1);
  EXPECT_NE(check(contract).error().message.find("4096"), std::string::npos);
  Contract wide{{todos()}};
  for (size_t i = wide.tables[0].columns.size(); i <= kMaxColumns; ++i)
    wide.tables[0].columns.push_back(column("c" + std::to_string(i)));
  EXPECT_NE(check(wide).error().message.find("32768"), std::string::npos);
  EXPECT_NE(from_json(to_json(wide)).error().message.find("32768"), std::string::npos);
  wide.tables[0].columns.pop_back();
  EXPECT_TRUE(from_json(to_json(wide)).ok());
  Contract unsorted{{todos(), todos()}};
  unsorted.tables[1].name = "a";
  EXPECT_NE(check(unsorted).error().message.find("out of order"), std::string::npos);
}

TEST(CanonicalType, puts_right_what_it_can_and_keeps_the_affinity_of_the_rest) {
  auto expect = [](std::string_view declared, std::string_view canonical) {
    EXPECT_EQ(canonical_type(declared), canonical) << declared;
    EXPECT_EQ(canonical_type(canonical), canonical) << "not a fixed point";
  };
  expect("", "");
  expect("text", "TEXT");
  expect(" unsigned \t big\nint ", "UNSIGNED BIG INT");
  expect("varchar ( 20 )", "VARCHAR(20)");
  expect("Decimal(10 , 2)", "DECIMAL(10,2)");
  expect("my_type", "MY_TYPE");
  expect("timestamp with time zone", "TIMESTAMP WITH TIME ZONE");
  expect("text[]", "TEXT");
  expect("int check", "INTEGER");
  expect("national \"character\"", "TEXT");
  expect("blob!", "BLOB");
  expect("float8?", "REAL");
  expect("d\xc3\xa4tum", "NUMERIC");
  expect("decimal(10,-2)", "NUMERIC");
  expect(std::string(300, 'x'), "NUMERIC");
}

TEST(ContractDiff, names_what_changed) {
  using Kind = Difference::Kind;
  Contract before{{todos()}}, after = before;
  Table added = todos();
  added.name = "added";
  after.tables.insert(after.tables.begin(), added);
  Table& table = after.tables[1];
  table.columns[1].default_value.reset();
  table.columns.pop_back();
  table.columns.push_back(column("new"));
  table.key = {"id", "new"};
  table.strict = true;
  EXPECT_EQ(diff(before, after), (std::vector<Difference>{{Kind::table_added, "added", ""},
                                                          {Kind::key_changed, "todos", ""},
                                                          {Kind::table_changed, "todos", ""},
                                                          {Kind::column_changed, "todos", "title"},
                                                          {Kind::column_removed, "todos", "note"},
                                                          {Kind::column_added, "todos", "new"}}));
  EXPECT_EQ(diff(after, before)[0], (Difference{Kind::table_removed, "added", ""}));
  EXPECT_TRUE(diff(before, before).empty());
}

TEST(ContractDiff, the_order_of_columns_is_no_difference) {
  Contract before{{todos()}}, after = before;
  std::swap(after.tables[0].columns[1], after.tables[0].columns[2]);
  EXPECT_TRUE(diff(before, after).empty());
  EXPECT_TRUE(not_additive(before, after).empty());
}

TEST(AdditiveContract, old_apps_keep_syncing_after_additions_only) {
  Contract before{{todos()}};
  auto with = [&](Column added) {
    Contract after = before;
    after.tables[0].columns.insert(after.tables[0].columns.begin() + 1, std::move(added));
    return not_additive(before, after).empty();
  };
  EXPECT_TRUE(with(column("due")));
  EXPECT_TRUE(with(column("due", "TEXT", true, Literal(std::string("never")))));
  EXPECT_FALSE(with(column("due", "TEXT", true))) << "rows of old apps would have nothing to show";
  EXPECT_FALSE(with(column("due", "TEXT", true, Literal(std::monostate()))));
  Contract more = before;
  more.tables.push_back(todos());
  more.tables[1].name = "zzz";
  EXPECT_TRUE(not_additive(before, more).empty());
  EXPECT_FALSE(not_additive(more, before).empty());
  Contract changed = before;
  changed.tables[0].columns[1].not_null = false;
  EXPECT_FALSE(not_additive(before, changed).empty());
  EXPECT_TRUE(not_additive({}, before).empty());
}

TEST(QuotedName, doubles_inner_quotes) {
  EXPECT_EQ(quote_name("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(quote_name(""), "\"\"");
}

TEST(SqliteDdl, is_this_text) {
  EXPECT_EQ(
      sqlite_ddl(todos()),
      R"(CREATE TABLE "todos"("id" TEXT NOT NULL, "title" TEXT NOT NULL DEFAULT 'it''s', "done" INTEGER NOT NULL DEFAULT 0, "note" TEXT, PRIMARY KEY("id")))");
  EXPECT_EQ(
      sqlite_ddl(everything().tables[0]),
      R"(CREATE TABLE "all ""kinds"" of things; --"("first" INT NOT NULL, "second" TEXT NOT NULL, "any" ANY DEFAULT NULL, )"
      R"("real" REAL DEFAULT 0.1, "blob" BLOB DEFAULT X'00ff', PRIMARY KEY("second", "first")) WITHOUT ROWID, STRICT)");
}

}  // namespace
}  // namespace rejoin::contract
