# What users get, in <build>/dist: the `rejoin` binary and the loadable extension `rejoin.so`. scripts/build copies both
# to dist/. With sanitizers they are built only when asked for by name: no test of those presets uses them.

set(REJOIN_DIST "${CMAKE_BINARY_DIR}/dist")
set(REJOIN_PRODUCTS "")

if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/src/cli/main.cc")
  add_executable(rejoin src/cli/main.cc)
  target_link_libraries(rejoin PRIVATE rejoin_cli)
  set_target_properties(rejoin PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${REJOIN_DIST}")
  list(APPEND REJOIN_PRODUCTS rejoin)
endif()

if(REJOIN_SOURCES_extension)
  add_library(rejoin_module MODULE ${REJOIN_SOURCES_extension})
  target_link_libraries(rejoin_module PRIVATE rejoin_client_ext rejoin_sqlite_ext rejoin_net rejoin_base)
  set_target_properties(rejoin_module PROPERTIES
    OUTPUT_NAME rejoin PREFIX "" SUFFIX ".so" LIBRARY_OUTPUT_DIRECTORY "${REJOIN_DIST}")
  # One exported symbol, everything else local: the host process may have its own OpenSSL, zstd or C++ library.
  # nodelete: a connection that closes must not unmap code that another thread still runs.
  set(map "${CMAKE_CURRENT_SOURCE_DIR}/cmake/rejoin.map")
  set_target_properties(rejoin_module PROPERTIES LINK_DEPENDS "${map}")
  target_link_options(rejoin_module PRIVATE -Wl,--exclude-libs,ALL "-Wl,--version-script,${map}" -Wl,-z,nodelete)
  if(NOT REJOIN_SANITIZE)
    # The sanitizers' runtimes come from the loading process and need the shared C++ library.
    target_link_options(rejoin_module PRIVATE -static-libstdc++ -static-libgcc -Wl,-z,defs)
  endif()
  list(APPEND REJOIN_PRODUCTS rejoin_module)
endif()

if(REJOIN_SANITIZE AND REJOIN_PRODUCTS)
  set_target_properties(${REJOIN_PRODUCTS} PROPERTIES EXCLUDE_FROM_ALL ON)
  set(REJOIN_PRODUCTS "")
endif()
