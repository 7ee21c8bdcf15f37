#include "server/key_files.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "server/jwks.h"

namespace rejoin::server {
namespace {

constexpr size_t kMostPemBytes = 64 << 10;

Result<std::string> read_file(const std::string& path, size_t most) {
  const auto failed = [&](int error) {
    const Code code = error == ENOENT || error == ENOTDIR ? Code::not_found
                      : error == EACCES || error == EPERM ? Code::forbidden
                                                          : Code::disk;
    return fail(code, "cannot read the key file '" + path + "': " + std::strerror(error) +
                          "; check the path and its permissions");
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"), std::fclose);
  if (!file) return failed(errno);
  struct stat info {};
  if (::fstat(::fileno(file.get()), &info) != 0) return failed(errno);
  if (S_ISDIR(info.st_mode)) return fail(Code::bad_argument, "the key file '" + path + "' is a folder");
  std::string text(most + 1, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file.get()));
  if (std::ferror(file.get())) return failed(errno);
  if (text.size() > most)
    return fail(Code::bad_argument,
                "the key file '" + path + "' has more than " + std::to_string(most) + " bytes; that is no public key");
  return text;
}

// The makers' messages go on after the name of what they speak of.
Error about(const std::string& path, const Error& error) {
  return fail(Code::bad_argument, "the key file '" + path + "' " + error.message);
}

}  // namespace

Status add_pem_file(const std::string& path, KeySet& keys) {
  REJOIN_ASSIGN(const std::string text, read_file(path, kMostPemBytes));
  Result<TokenKey> key = TokenKey::from_pem(text);
  if (!key.ok()) return about(path, key.error());
  return keys.add(std::move(*key));
}

Status add_jwks_file(const std::string& path, KeySet& keys) {
  REJOIN_ASSIGN(const std::string text, read_file(path, kMostJwksBytes));
  const Result<Jwks> set = parse_jwks(text);
  if (!set.ok()) return about(path, set.error());
  if (!set->refused.empty())
    return fail(Code::bad_argument, "in the key file '" + path + "' " + set->refused.front() + "; correct the file");
  if (set->keys.empty())
    return fail(Code::bad_argument,
                "the key file '" + path + "' has no key for RS256, ES256 or EdDSA (use \"sig\"); it must have one");
  if (Status added = keys.add(set->keys); !added.ok())
    return fail(added.error().code, "the key file '" + path + "' cannot be used: " + added.error().message);
  return {};
}

}  // namespace rejoin::server
