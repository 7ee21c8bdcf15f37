// No tenant's name escapes its folder or meets another tenant's file.
#include "server/tenant_files.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace rejoin::server {
namespace {

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  return text;
}

TEST(TenantFiles, NamesComeBack) {
  for (const std::string name : {"acme", "Acme", "ACME", "..", ".", "a/b", "../../etc/passwd", "a%2fb", "%", "con",
                                 "größe", "租户", "a b", "-rf", "a.db"}) {
    ASSERT_TRUE(check_tenant_name(name).ok()) << name;
    const std::string file = tenant_file_name(name);
    EXPECT_EQ(file.find_first_of("/\\. "), std::string::npos) << file;
    EXPECT_EQ(tenant_of_file_name(file), name);
  }
}

TEST(TenantFiles, NoTwoNamesMeetEvenWhereCaseIsIgnored) {
  std::set<std::string> files;
  const std::string pieces[] = {"a", "A", "%", "2", "6", "1", "/", ".", "%61", "%41", "-", "_"};
  size_t names = 0;
  std::set<std::string> seen;
  for (const auto& x : pieces)
    for (const auto& y : pieces)
      for (const auto& z : pieces) {
        if (!seen.insert(x + y + z).second) continue;
        ++names;
        files.insert(lower(tenant_file_name(x + y + z)));
      }
  EXPECT_EQ(files.size(), names);
}

TEST(TenantFiles, RefusesWhatIsNoName) {
  for (const std::string& name :
       {std::string(), std::string(65, 'a'), std::string("a\0b", 3), std::string("a\nb"), std::string("\x7f"),
        std::string("\xff"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"), std::string("\xe2\x82")})
    EXPECT_EQ(check_tenant_name(name).error().code, Code::bad_argument);
}

TEST(TenantFiles, OtherFilesAreNoTenants) {
  for (const char* file : {"", "Acme", "a.db", "%6", "%zz", "%61", "%2F", "..", "a/b"})
    EXPECT_FALSE(tenant_of_file_name(file)) << file;
}

}  // namespace
}  // namespace rejoin::server
