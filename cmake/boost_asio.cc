// The one place where Asio's sources are compiled, TLS included; see cmake/packages.cmake.
#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
