#include "postgres/complaint.h"

#include <gtest/gtest.h>

#include "crdt/key.h"

namespace rejoin::postgres {
namespace {

using crdt::OwnedValue;
using crdt::ValueRef;

class Complaint : public ::testing::Test {
 protected:
  Complaint() {
    table.display = "public.todos";
    table.key = {column("id", "int8")};
    table.columns = {column("title", "text"), column("list", "int8"), column("odd, name", "text")};
    const ValueRef id = ValueRef::of_integer(7);
    crdt::encode_key(std::span(&id, 1), key);
    values[0] = OwnedValue::of(ValueRef::of_text("Milk"));
    values[1] = OwnedValue::of(ValueRef::of_integer(-3));
  }
  static Column column(const std::string& name, const std::string& type) {
    Column out;
    out.name = name;
    out.quoted = quote(name);
    out.type = *type_of("b", "X", type, type);
    return out;
  }
  bool about(const std::string& state, const std::string& detail, const std::string& relation = "public.todos",
             bool deleted = false) const {
    return is_about({state, "", detail, relation}, {&table, key, deleted, &values});
  }
  Table table;
  Bytes key;
  std::map<uint32_t, OwnedValue> values;
};

TEST_F(Complaint, NamesColumnsAndValuesInAnyLanguage) {
  EXPECT_TRUE(about("23505", "Key (title)=(Milk) already exists."));
  EXPECT_TRUE(about("23505", "Schlüssel »(title)=(Milk)« existiert bereits."));
  EXPECT_TRUE(about("23503", "Schlüssel (list)=(-3) ist nicht in Tabelle »lists« vorhanden."));
  EXPECT_TRUE(about("23503", "テーブル\"lists\"にキー(list)=(-3)がありません。"));
  EXPECT_TRUE(about("23505", "Key (title, list)=(Milk, -3) already exists."));
  EXPECT_TRUE(about("23505", "Key (id)=(7) already exists."));
}

TEST_F(Complaint, OfAnotherRowIsNotAboutThis) {
  EXPECT_FALSE(about("23505", "Key (title)=(milk) already exists."));
  EXPECT_FALSE(about("23505", "Key (title)=(Milk!) already exists."));
  EXPECT_FALSE(about("23505", "Key (title, list)=(Milk, 3) already exists."));
  EXPECT_FALSE(about("23505", "Key (name)=(Milk) already exists."));
  EXPECT_FALSE(about("23505", "Key (title)=(Milk) already exists.", "public.other"));
  EXPECT_FALSE(about("23514", "Key (title)=(Milk) already exists."));
}

TEST_F(Complaint, ThatNamesMoreThanTheRowWritesIsAboutItWhenTheRestAgrees) {
  EXPECT_TRUE(about("23505", "Key (tenant, title)=(main, Milk) already exists."));
  EXPECT_FALSE(about("23505", "Key (tenant, title)=(main, Bread) already exists."));
}

TEST_F(Complaint, OfAnExpressionMayShowAnotherCase) {
  EXPECT_TRUE(about("23505", "Key (lower(title))=(milk) already exists."));
  EXPECT_TRUE(about("23505", "Key (lower(title), list)=(milk, -3) already exists."));
  EXPECT_FALSE(about("23505", "Key (lower(title))=(bread) already exists."));
  EXPECT_TRUE(about("23505", "Key (lower(title), title_of(listed))=(milk, x) already exists."));
}

TEST_F(Complaint, OfAParentNamesItsChildrensTable) {
  const std::string detail = "Key (id)=(7) is still referenced from table \"parts\".";
  EXPECT_TRUE(about("23503", detail, "public.parts", true));
  EXPECT_FALSE(about("23503", detail, "public.parts", false));
  EXPECT_FALSE(about("23505", detail, "public.todos", true));
}

TEST_F(Complaint, WithoutValuesIsAboutNobody) {
  for (const char* detail :
       {"", "Key is not present in table \"lists\".", "(", ")", "()=()", ")=(", "(title)=(", "(title)=()",
        "Key (title)=(Mil, k) already exists.", "(a)=(b)=(c)", "Key (title, list)=(Milk) already exists."})
    EXPECT_FALSE(about("23505", detail)) << detail;
}

TEST_F(Complaint, WhatOthersCanReferToAreKeysAndUniqueValues) {
  table.unique.add(0);
  EXPECT_EQ(offered_values({&table, key, false, &values}), (std::vector<std::string>{"Milk", "7"}));
  EXPECT_EQ(offered_values({&table, key, true, &values}), std::vector<std::string>());
  EXPECT_EQ(named_values({"23503", "", "Key (a, b)=(1, x) is not present in table \"t\".", ""}),
            (std::vector<std::string>{"1", "x"}));
}

TEST_F(Complaint, NullIsNoValueThatIsTaken) {
  values[0] = OwnedValue();
  EXPECT_FALSE(about("23505", "Key (title)=(null) already exists."));
}

}  // namespace
}  // namespace rejoin::postgres
