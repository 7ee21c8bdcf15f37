#include "server/secret.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"
#include "server/jwt.h"

namespace rejoin::server {
namespace {

constexpr size_t kMostSecretBytes = 4096;

// Closes when it goes.
struct File {
  int fd;
  ~File() {
    if (fd >= 0) ::close(fd);
  }
};

Code code_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Code::not_found;
    case EACCES:
    case EPERM:
    case EROFS:
      return Code::forbidden;
    default:
      return Code::disk;
  }
}

Error file_error(const char* doing, const std::string& path, int error) {
  return fail(code_of(error), std::string("cannot ") + doing + " '" + path + "': " + std::strerror(error) +
                                  "; check the path, its permissions and the room on the disk");
}

Result<std::string> checked(std::string secret, const std::string& where) {
  while (!secret.empty() &&
         (secret.back() == '\n' || secret.back() == '\r' || secret.back() == ' ' || secret.back() == '\t'))
    secret.pop_back();
  if (secret.size() < kLeastSecretBytes)
    return fail(Code::bad_argument, "the secret in " + where + " has " + std::to_string(secret.size()) +
                                        " bytes; at least " + std::to_string(kLeastSecretBytes) +
                                        " are needed (try: openssl rand -hex 32)");
  return secret;
}

Status write_all(int fd, BytesView bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(Code::disk, std::strerror(errno));
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return {};
}

}  // namespace

Result<std::string> read_secret_file(const std::string& path) {
  const File file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return file_error("open the secret", path, errno);
  struct stat info {};
  if (::fstat(file.fd, &info) != 0) return file_error("look at the secret", path, errno);
  if (!S_ISREG(info.st_mode)) return fail(Code::bad_argument, "the secret '" + path + "' is not a file");
  if (info.st_mode & 077)
    return fail(Code::forbidden, "the secret '" + path +
                                     "' can be read by other users, so it is no secret; run: chmod 600 '" + path +
                                     "' (and make a new one if others have used this machine)");
  std::string text(kMostSecretBytes + 1, '\0');
  const ssize_t n = ::read(file.fd, text.data(), text.size());
  if (n < 0) return file_error("read the secret", path, errno);
  if (static_cast<size_t>(n) > kMostSecretBytes)
    return fail(Code::bad_argument,
                "the secret '" + path + "' is longer than " + std::to_string(kMostSecretBytes) + " bytes");
  text.resize(static_cast<size_t>(n));
  return checked(std::move(text), "'" + path + "'");
}

Result<std::string> load_or_make_secret(const std::string& path, Random& random) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0) return read_secret_file(path);
  if (errno != ENOENT) return file_error("look at the secret", path, errno);

  // Written aside and linked into place, so that nobody ever sees half of it and the first of two starters wins.
  const std::string aside = path + "." + to_hex(random.bytes(8)) + ".new";
  {
    const File file{::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)};
    if (file.fd < 0) return file_error("make the secret", aside, errno);
    Status written = write_all(file.fd, to_hex(random.bytes(32)) + "\n");
    if (written.ok() && ::fsync(file.fd) != 0) written = fail(Code::disk, std::strerror(errno));
    if (!written.ok()) {
      ::unlink(aside.c_str());
      return fail(Code::disk,
                  "cannot write the secret '" + aside + "': " + written.error().message + "; make room on the disk");
    }
  }
  const int linked = ::link(aside.c_str(), path.c_str());
  const int error = errno;
  ::unlink(aside.c_str());
  if (linked != 0 && error != EEXIST) return file_error("make the secret", path, error);
  return read_secret_file(path);
}

Result<std::string> find_secret(const std::string& data_dir, const std::string& file, Random& random) {
  if (!file.empty()) return read_secret_file(file);
  if (const char* text = std::getenv("REJOIN_SECRET"); text && *text)
    return checked(text, "the variable REJOIN_SECRET");
  REJOIN_TRY(make_folder(data_dir));
  return load_or_make_secret(data_dir + "/secret", random);
}

Status make_folder(const std::string& path) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(path, error);
  if (error) return file_error("make the folder", path, error.value());
  if (made) ::chmod(path.c_str(), 0700);
  if (!std::filesystem::is_directory(path, error))
    return fail(Code::bad_argument, "'" + path + "' is not a folder; give another --data");
  return {};
}

}  // namespace rejoin::server
