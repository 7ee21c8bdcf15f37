// A settings file says what it says, or names the line that it does not say well.
#include "cli/config_file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace rejoin::cli {
namespace {

std::string error_of(std::string_view text) {
  const auto parsed = parse_config(text, "f");
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(ConfigFile, ReadsWhatTomlWrites) {
  const auto parsed = parse_config(
      "# a comment\n\n"
      "listen = \"0.0.0.0:8427\"   # behind it\r\n"
      "dev=true\n"
      "max-rows = 1_000_000\n"
      "path = 'C:\\x # no comment'\n"
      "cors-origin = [ \"https://a\",\n  'https://b', # two\n]\n"
      "empty = []\n"
      "odd = \"\\\"\\\\\\n\\t\"",
      "f");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  std::vector<std::pair<std::string, std::vector<std::string>>> got;
  for (const ConfigEntry& entry : *parsed) got.emplace_back(entry.name, entry.values);
  const decltype(got) want = {{"listen", {"0.0.0.0:8427"}},     {"dev", {"true"}}, {"max-rows", {"1000000"}},
                              {"path", {"C:\\x # no comment"}}, {"empty", {}},     {"odd", {"\"\\\n\t"}}};
  ASSERT_EQ(got.size(), want.size() + 1);
  EXPECT_EQ(got[4], std::make_pair(std::string("cors-origin"), std::vector<std::string>{"https://a", "https://b"}));
  got.erase(got.begin() + 4);
  EXPECT_EQ(got, want);
  EXPECT_EQ((*parsed)[0].line, 3u);
  EXPECT_EQ((*parsed)[5].line, 10u);
}

TEST(ConfigFile, NamesTheLineThatIsWrongAndTheCure) {
  EXPECT_EQ(error_of("a = 1\nb = off"),
            "f, line 2: the value of 'b' is no number and neither true nor false, so it stands in quotes: b = \"…\"");
  EXPECT_NE(error_of("a = 1\n\na = 2").find("line 3: 'a' was set in line 1"), std::string::npos);
  EXPECT_NE(error_of("[serve]").find("without [sections]"), std::string::npos);
  for (const char* text :
       {"a", "a =", "a = # b", "= 1", "a = \"x", "a = \"x\ny\"", "a = 'x", "a = [1", "a = [1 2]", "a = 1 2",
        "a = \"\\q\"", "a = 1.5", "a = 01", "a = 1__0", "a = [[1]]", "a.b = 1", "\"a\" = 1", "a = \"\\"})
    EXPECT_TRUE(error_of(text).starts_with("f, line 1: ")) << text << ": " << error_of(text);
}

RC_GTEST_PROP(ConfigFile, AnyTextComesBackAsItWasWritten, ()) {
  std::string text = *rc::gen::arbitrary<std::string>();
  std::erase(text, '\0');
  const auto parsed = parse_config("a = " + config_value(text) + "\n", "f");
  RC_ASSERT(parsed.ok());
  RC_ASSERT((*parsed)[0].values == std::vector<std::string>{text});
}

RC_GTEST_PROP(ConfigFile, AnyBytesAreReadOrRefused, (const std::string& text)) {
  const auto parsed = parse_config(text, "f");
  RC_ASSERT(parsed.ok() || parsed.error().message.find(", line ") != std::string::npos);
}

}  // namespace
}  // namespace rejoin::cli
