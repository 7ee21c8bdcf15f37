#include "net/server_stream.h"

#include <boost/asio/dispatch.hpp>

namespace rejoin::net {
namespace {

class PlainStream final : public ServerStream {
 public:
  explicit PlainStream(boost::asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}
  boost::asio::ip::tcp::socket& socket() override { return socket_; }
  bool tls() const override { return false; }
  void handshake(Done done) override { done(ErrorCode()); }
  void read_some(boost::asio::mutable_buffer buffer, Io done) override {
    socket_.async_read_some(buffer, std::move(done));
  }
  void write_some(const Buffers& buffers, Io done) override { socket_.async_write_some(buffers, std::move(done)); }
  void finish(Done done) override {
    ErrorCode error;
    socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, error);
    done(error);
  }

 private:
  boost::asio::ip::tcp::socket socket_;
};

}  // namespace

std::unique_ptr<ServerStream> make_plain_stream(boost::asio::ip::tcp::socket socket) {
  return std::make_unique<PlainStream>(std::move(socket));
}

}  // namespace rejoin::net
