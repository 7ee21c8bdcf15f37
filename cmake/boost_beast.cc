// The one place where Beast's sources are compiled; see cmake/packages.cmake.
#include <boost/beast/src.hpp>
